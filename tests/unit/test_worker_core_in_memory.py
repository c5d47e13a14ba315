"""The whole worker core (engine, turn, closing, outbox) against ports in memory, through random schedules."""

import asyncio
import contextlib
import os
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from contracts import names
from contracts.words import Action, Mode, Outcome, StopReason, ThreadId, TurnState, WorkerId
from tests.fakes.memory import (
    MemoryAgent,
    MemoryInbox,
    MemoryLease,
    MemoryLedger,
    MemoryPreview,
    MemoryRun,
    MemoryWorkspace,
    World,
)
from worker.board import Board
from worker.decide import MAX_ATTEMPTS, MAX_INTERRUPTIONS
from worker.engine import Engine, Left, Pace
from worker.errors import DiskFull
from worker.outbox import Outbox
from worker.parts import Parts
from worker.ports import AgentResult, Push
from worker.redact import Redactor
from worker.turn import PAUSE_SECONDS, Key

DISK = "disk"
FINALS = {"turn.completed", "turn.stopped", "turn.failed"}


class Process:
    """One worker over the world; ``kill`` ends it as SIGKILL would."""

    def __init__(self, world: World, *, offline: bool = False) -> None:
        world.epoch += 1
        self.world, self.now = world, 0.0
        self.board = Board()
        ledger = MemoryLedger(world)
        self.outbox = Outbox(ledger=ledger, batch_seconds=0)
        self.workspace = MemoryWorkspace(world)
        parts = Parts(
            worker=WorkerId("w"),
            owner=f"owner{world.epoch}",
            place=DISK,
            project="p",
            offline=offline,
            board=self.board,
            ledger=ledger,
            outbox=self.outbox,
            workspace=self.workspace,
            agent=MemoryAgent(world),
            preview=MemoryPreview(),
            redactor=Redactor(),
            later=lambda work: work.close(),
            now=lambda: self.now,
        )
        self.inbox = MemoryInbox(world)
        self.engine = Engine(parts=parts, inbox=self.inbox, lease=MemoryLease(), pace=Pace())
        self.task: asyncio.Task[Left] | None = None
        self._writing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.world.alive.clear()  # a successor kills its predecessor's processes first
        await self.workspace.prepare()
        self.task = asyncio.create_task(self.engine.run())
        self._writing = asyncio.create_task(self.outbox.run())

    async def kill(self) -> None:
        """Everything of this process stops where it is."""
        mine = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)
        self.inbox.give_back()


class Core(RuleBasedStateMachine):
    """Posts, stops, progress, crashes, takeovers and drains in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.world = World()
        self.process = Process(self.world)
        self.do(self.process.start())
        self.steps()

    def do(self, work: object) -> None:
        self.loop.run_until_complete(work)  # type: ignore[arg-type]

    def steps(self, count: int = 60) -> None:
        """Let everything run that can."""

        async def turn_over() -> None:
            for _ in range(count):
                await asyncio.sleep(0)

        self.do(turn_over())
        task = self.process.task
        if task is not None and task.done():
            task.result()  # a broken engine is a finding
            self.restart()

    def restart(self) -> None:
        self.do(self.process.kill())
        now = self.process.now
        self.process = Process(self.world)
        self.process.now = now
        self.do(self.process.start())

    @property
    def run(self) -> MemoryRun | None:
        return next(iter(self.world.alive), None)

    # ------------------------------------------------------------ people

    @rule(
        thread=st.sampled_from("abc"),
        mode=st.sampled_from([*[Mode.QUEUE] * 4, Mode.STEER, Mode.INTERRUPT]),
        ring=st.sampled_from(["arrives", "arrives", "arrives", "late", "lost"]),
        count=st.integers(0, 60),
        update=st.sampled_from([False, False, False, True]),
    )
    def post(self, thread: str, mode: Mode, ring: str, count: int, update: bool) -> None:
        if ThreadId(thread) in self.world.deletes:
            return  # the dispatcher lets nothing in
        key = self.world.post(
            thread, mode=Mode.QUEUE if update else mode, action=Action.UPDATE if update else None
        )
        if ring != "lost":
            self.world.queue.append(key)
        if ring == "arrives":
            self.deliver(key)
        self.steps(count)

    def deliver(self, key: Key) -> None:
        self.process.inbox.deliver(key)
        self.process.engine.ring()

    @precondition(lambda self: bool(self.world.queue))
    @rule(which=st.integers(0, 99), count=st.integers(0, 60))
    def late_delivery(self, which: int, count: int) -> None:
        """Also of what died with its process, or was answered long ago."""
        self.deliver(self.world.queue[which % len(self.world.queue)])
        self.steps(count)

    @precondition(lambda self: bool(self.world.messages))
    @rule(which=st.integers(0, 99), count=st.integers(0, 60))
    def delivered_again(self, which: int, count: int) -> None:
        key = sorted(self.world.messages)[which % len(self.world.messages)]
        self.world.queue.append(key)
        self.deliver(key)
        self.steps(count)

    @rule(thread=st.sampled_from("abc"), back=st.integers(0, 2), count=st.integers(0, 60))
    def stop(self, thread: str, back: int, count: int) -> None:
        last = max((k.sequence for k in self.world.messages if k.thread_id == thread), default=0) - back
        if last >= 1:
            thread_id = ThreadId(thread)
            self.world.stops[thread_id] = max(self.world.stops.get(thread_id, 0), last)
            self.process.engine.ring()
            self.steps(count)

    @rule(thread=st.sampled_from("abc"), count=st.integers(0, 60))
    def delete(self, thread: str, count: int) -> None:
        thread_id = ThreadId(thread)
        last = max((k.sequence for k in self.world.messages if k.thread_id == thread), default=0)
        if last and thread_id not in self.world.deletes:
            self.world.stops[thread_id] = self.world.deletes[thread_id] = last
            self.process.engine.ring()
            self.steps(count)

    # ------------------------------------------------------------ Claude Code

    @precondition(lambda self: self.run is not None and not self.run.over)
    @rule(count=st.integers(0, 30))
    def works(self, count: int) -> None:
        assert self.run is not None
        self.run.work()
        self.steps(count)

    @precondition(lambda self: self.run is not None and not self.run.over)
    @rule()
    def takes_steering_texts(self) -> None:
        assert self.run is not None
        self.run.take_steers()
        self.steps(10)

    @precondition(lambda self: self.run is not None and not self.run.over)
    @rule(
        how=st.sampled_from(["completed", "completed", "failed", "crashed", "limited"]),
        count=st.integers(0, 60),
    )
    def ends(self, how: str, count: int) -> None:
        assert self.run is not None
        result = {
            "completed": None,
            "failed": AgentResult(ended="failed", text="model error"),
            "crashed": AgentResult(ended="failed", text="crash", crashed=True),
            "limited": AgentResult(ended="limited", text="limit", resets_at=self.process.now + 50),
        }[how]
        self.run.end(result)
        self.steps(count)

    @precondition(lambda self: self.run is not None and not self.run.over)
    @rule(count=st.integers(0, 40), frozen=st.booleans())
    def ends_and_the_worker_dies_while_it_closes(self, count: int, frozen: bool) -> None:
        assert self.run is not None
        self.run.work()
        self.run.end()
        self.steps(count)
        if frozen:
            self.taken_over_while_frozen(count)
        else:
            self.restart()

    # ------------------------------------------------------------ the world

    @rule(count=st.integers(0, 60))
    def passes(self, count: int) -> None:
        self.steps(count)

    @rule()
    def time_passes(self) -> None:
        self.process.now += 1000
        self.process.engine.ring()
        self.steps()

    @rule(up=st.booleans())
    def remote(self, up: bool) -> None:
        self.world.remote_up = up

    @rule()
    def killed(self) -> None:
        self.restart()

    @rule(count=st.integers(0, 60))
    def taken_over_while_frozen(self, count: int) -> None:
        """The epoch rises under the worker, which finds out at its next write."""
        self.world.epoch += 1
        self.steps(count)
        self.restart()

    @rule(count=st.integers(0, 60))
    def notices_that_its_lease_is_lost(self, count: int) -> None:
        """Before any write of its own fails."""
        self.world.epoch += 1
        self.process.engine.lost()
        self.steps(count)
        self.restart()

    @rule(count=st.integers(0, 60))
    def drained(self, count: int) -> None:
        self.process.engine.drain()
        self.steps(count)

    # ------------------------------------------------------------ the promises

    @invariant()
    def one_final_event_for_each_outcome_and_no_other(self) -> None:
        going = self.world.deletes
        finals = [d for d in self.world.events if d.type in FINALS and d.thread_id not in going]
        told = Counter(d.message_id for d in finals)
        assert all(n == 1 for n in told.values()), told
        ended = [k for k in self.world.outcomes if k.thread_id not in going]
        assert set(told) == {self.world.messages[k].id for k in ended}

    @invariant()
    def no_port_was_used_as_it_must_not_be(self) -> None:
        assert self.world.broken == []

    @invariant()
    def one_commit_for_each_message(self) -> None:
        for branch in [*self.world.local.values(), *self.world.remote.values()]:
            ids = Counter(i for _, message_ids, _ in branch.commits for i in message_ids)
            assert all(n == 1 for n in ids.values()), ids

    @invariant()
    def no_file_of_one_thread_on_the_branch_of_another(self) -> None:
        for name, branch in self.world.local.items():
            assert branch.files <= {f"{name.removeprefix('thread-')}.txt"}

    @invariant()
    def nobody_is_interrupted_or_tried_too_often(self) -> None:
        for record in self.world.open.values():
            assert record.interruptions <= MAX_INTERRUPTIONS
            assert record.attempts <= MAX_ATTEMPTS

    def teardown(self) -> None:
        """Left in peace, everything gets its outcome."""
        self.world.remote_up = True
        try:
            for _ in range(20 * len(self.world.messages) + 20):
                if not (self.world.open or self.world.stops or self.world.deletes):
                    break
                if self.run is not None:
                    self.run.end()
                self.process.now += 1000
                self.process.engine.ring()
                self.steps(150)
            assert not self.world.open, self.world.open
            assert not self.world.stops
            assert not self.world.deletes
            there = {names.branch(k.thread_id) for k in self.world.messages}
            assert self.world.local.keys() | self.world.remote.keys() <= there, "a deleted branch is there"
            assert set(self.world.outcomes) == set(self.world.messages)
            for key in list(self.world.queue):
                self.deliver(key)
            self.steps(150)
            assert not self.process.inbox.held, "a delivery of what is answered was not deleted"
            self.no_port_was_used_as_it_must_not_be()
            self.one_final_event_for_each_outcome_and_no_other()
            self.one_commit_for_each_message()
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                self.do(self.process.kill())
            self.loop.close()


SCHEDULES = int(os.environ.get("BRANCHLINE_SCHEDULES", "80"))
"""How many schedules are tried; thousands take minutes (`BRANCHLINE_SCHEDULES=5000`)."""
Core.TestCase.settings = settings(max_examples=SCHEDULES, stateful_step_count=30, deadline=None)
test_every_schedule_keeps_the_promises_of_the_whole_core = pytest.mark.timeout(300 + 3 * SCHEDULES)(
    Core.TestCase
)


async def settle(process: Process, *, count: int = 200) -> None:
    """Let everything run that can."""
    for _ in range(count):
        await asyncio.sleep(0)
    assert process.task is not None
    if process.task.done():
        process.task.result()


@pytest.fixture
async def process() -> Process:
    made = Process(World())
    await made.start()
    return made


def record_of(process: Process, key: Key) -> TurnState:
    return process.world.open[key].state


async def test_a_usage_limit_parks_the_turn_until_it_is_over_and_counts_no_attempt(process: Process) -> None:
    key = process.world.post("a")
    process.engine.ring()
    await settle(process)
    (run,) = process.world.alive
    run.work()
    run.end(AgentResult(ended="limited", text="limit", resets_at=500.0))
    await settle(process)
    record = process.world.open[key]
    assert (record.state, record.reason, record.attempts) == (TurnState.PARKED, StopReason.BUDGET, 0)
    (told,) = [d for d in process.world.events if d.type == "turn.interrupted"]
    assert told.data["resumes_at"] == 500.0
    process.now = 501.0
    process.engine.ring()
    await settle(process)
    (run,) = process.world.alive
    run.end()
    await settle(process)
    assert process.world.outcomes == {key: Outcome.COMPLETED}
    await process.kill()


@pytest.mark.parametrize("why", ["preempted", "drained", "limited"])
async def test_what_an_interrupted_turn_has_done_is_committed_before_it_is_parked(
    process: Process, why: str
) -> None:
    world, key = process.world, process.world.post("a")
    process.engine.ring()
    await settle(process)
    (run,) = world.alive
    run.work()
    if why == "preempted":
        world.post("b")
        process.engine.ring()
    elif why == "drained":
        process.engine.drain()
    else:
        run.end(AgentResult(ended="limited", text="limit", resets_at=500.0))
    await settle(process)
    assert record_of(process, key) is TurnState.PARKED
    assert (world.branch(key.thread_id).files, world.dirty) == ({"a.txt"}, set())
    (told,) = [d for d in world.events if d.type == "turn.interrupted"]
    assert told.data["checkpoint"] == world.branch(key.thread_id).head
    await process.kill()


async def test_a_crash_of_claude_code_is_tried_once_more_in_the_same_turn(process: Process) -> None:
    key = process.world.post("a")
    process.engine.ring()
    await settle(process)
    for _ in range(2):
        (run,) = process.world.alive
        run.end(AgentResult(ended="failed", text="Claude Code ended unexpectedly.", crashed=True))
        await settle(process)
    assert process.world.outcomes == {key: Outcome.FAILED}
    (final,) = [d for d in process.world.events if d.type == "turn.failed"]
    assert "unexpectedly" in final.data["text"]
    await process.kill()


def left_behind(world: World, key: Key, *messages: str, place: str = DISK, commits: bool = True) -> None:
    """As a worker leaves it that died between the commit of ``key`` (and more) and the record."""
    told = {"state": TurnState.RUNNING, "attempts": 1, "base": "base", "lifted": True, "place": place}
    world.open[key] = world.open[key].model_copy(update=told)
    world.stack = (key.thread_id,)
    if commits:
        branch = world.branch(key.thread_id)
        branch.commits.append((world.sha(), messages, frozenset()))
        world.commit_outcomes[branch.head] = Outcome.COMPLETED


async def test_a_stop_asks_git_about_a_dead_workers_turn_also_when_another_thread_runs() -> None:
    world = World()
    done, newcomer = world.post("a"), world.post("b")
    left_behind(world, done, "a-1")
    process = Process(world)
    await process.start()
    await settle(process)
    world.stops[done.thread_id] = 1
    process.engine.ring()
    await settle(process)
    (run,) = world.alive
    run.end()
    await settle(process)
    assert world.outcomes == {done: Outcome.COMPLETED, newcomer: Outcome.COMPLETED}
    await process.kill()


async def test_a_stop_ends_no_steering_message_while_the_commit_that_holds_it_is_read() -> None:
    world = World()
    done, steered = world.post("a"), world.post("a", mode=Mode.STEER)
    left_behind(world, done, "a-1", "a-2")
    world.stops[done.thread_id] = 2
    process = Process(world)
    await process.start()
    await settle(process)
    process.engine.ring()
    await settle(process)
    assert world.outcomes == {done: Outcome.COMPLETED, steered: Outcome.COMPLETED}
    assert len(world.branch(done.thread_id).commits) == 1
    await process.kill()


@pytest.mark.parametrize("stopped", [False, True], ids=["resumed", "stopped"])
async def test_what_another_disk_may_have_finished_waits_for_the_remote(stopped: bool) -> None:
    world = World()
    doubtful, other = world.post("a"), world.post("b")
    left_behind(world, doubtful, place="another disk", commits=False)
    world.remote_up = False
    if stopped:
        world.stops[doubtful.thread_id] = 1
    process = Process(world)
    await process.start()
    await settle(process)
    assert doubtful not in world.outcomes
    (run,) = world.alive
    assert run.turn.thread_id == other.thread_id, "the other thread does not wait"
    run.end()
    await settle(process)
    assert world.outcomes == {other: Outcome.COMPLETED}
    said = [d for d in world.events if "only the remote knows" in str(d.data.get("text"))]
    assert [d.thread_id for d in said] == [doubtful.thread_id]
    left_behind(world, doubtful, "a-1", place="another disk")
    world.remote_up = True
    process.now += PAUSE_SECONDS
    process.engine.ring()
    await settle(process)
    assert world.outcomes == {other: Outcome.COMPLETED, doubtful: Outcome.COMPLETED}
    assert len(world.branch(doubtful.thread_id).commits) == 1
    await process.kill()


async def in_doubt() -> Process:
    """A worker with one message, a-1, that another disk may have finished; the remote is away."""
    world = World()
    left_behind(world, world.post("a"), place="another disk", commits=False)
    world.remote_up = False
    process = Process(world)
    await process.start()
    await settle(process)
    return process


async def test_an_interrupt_does_not_overtake_a_turn_in_doubt() -> None:
    process = await in_doubt()
    world = process.world
    doubtful, replacing = Key(ThreadId("a"), 1), world.post("a", mode=Mode.INTERRUPT)
    process.engine.ring()
    await settle(process)
    assert not world.alive, "what replaces a turn waits until that turn has ended"
    world.remote_up = True
    process.now += PAUSE_SECONDS
    process.engine.ring()
    await settle(process)
    (run,) = world.alive
    run.end()
    await settle(process)
    assert world.outcomes == {doubtful: Outcome.STOPPED, replacing: Outcome.COMPLETED}
    await process.kill()


async def test_a_worker_that_asks_a_remote_that_hangs_leaves_when_it_is_asked_to() -> None:
    process = await in_doubt()
    process.workspace.fetch = hangs  # type: ignore[method-assign]
    process.now += PAUSE_SECONDS
    process.engine.ring()
    await settle(process)
    assert process.board.state.running is not None, "it asks right now"
    process.engine.drain()
    await settle(process)
    assert process.task is not None
    assert process.task.done()
    assert record_of(process, Key(ThreadId("a"), 1)) is TurnState.RUNNING
    await process.kill()


async def hangs() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("why", ["in doubt", "limited"])
async def test_a_turn_that_only_tries_again_pushes_nobody_out(why: str) -> None:
    world = World()
    again, other = world.post("a"), world.post("b")
    left_behind(world, again, place="another disk", commits=False)
    world.open[other] = world.open[other].model_copy(update={"lifted": True})
    world.stack, world.remote_up = (again.thread_id, other.thread_id), False
    if why == "limited":
        parked = {"state": TurnState.PARKED, "reason": StopReason.BUDGET, "resumes_at": 10.0}
        world.open[again] = world.open[again].model_copy(update=parked)
    process = Process(world)
    await process.start()
    await settle(process)
    for _ in range(5):
        process.now += 2 * PAUSE_SECONDS
        process.engine.ring()
        await settle(process)
        (run,) = world.alive
        assert run.turn.thread_id == other.thread_id
    assert not [d for d in world.events if d.type == "turn.interrupted" and d.thread_id == other.thread_id]
    await process.kill()


async def test_a_disk_that_is_full_while_git_is_asked_leaves_the_doubt() -> None:
    process = await in_doubt()
    process.workspace.fetch = full  # type: ignore[method-assign]
    process.now += PAUSE_SECONDS
    process.engine.ring()
    await settle(process)
    assert process.world.outcomes == {}
    await process.kill()


async def full(**_: object) -> None:
    raise DiskFull("There is no room left where the checkout lives: free some space and try again.")


async def test_what_cannot_even_be_ended_is_tried_again_and_keeps_its_delivery(process: Process) -> None:
    world, real = process.world, process.workspace.commit
    key = world.post("a")
    world.queue.append(key)
    process.inbox.deliver(key)
    process.engine.ring()
    await settle(process)
    process.workspace.commit = broken  # type: ignore[method-assign,assignment]
    (run,) = world.alive
    run.work()
    run.end()
    await settle(process)
    process.engine.ring()
    await settle(process)
    assert process.inbox.held
    assert key in world.open
    process.workspace.commit = real  # type: ignore[method-assign]
    process.now += PAUSE_SECONDS
    process.engine.ring()
    await settle(process)
    (run,) = world.alive
    run.end()
    await settle(process)
    assert world.outcomes == {key: Outcome.COMPLETED}
    await process.kill()


async def test_work_that_cannot_be_pushed_is_answered_and_says_so(process: Process) -> None:
    process.world.remote_up = False
    key = process.world.post("a")
    process.engine.ring()
    await settle(process)
    (run,) = process.world.alive
    run.work()
    run.end()
    await settle(process)
    assert process.world.outcomes == {key: Outcome.COMPLETED}
    (final,) = [d for d in process.world.events if d.type == "turn.completed"]
    assert "not pushed" in final.data["problem"]
    await process.kill()


async def test_what_breaks_between_commit_and_record_makes_no_second_commit(process: Process) -> None:
    key = process.world.post("a")
    process.engine.ring()
    await settle(process)
    (run,) = process.world.alive
    run.work()
    process.workspace.push = broken  # type: ignore[method-assign]
    run.end()
    await settle(process)
    assert process.world.outcomes == {key: Outcome.COMPLETED}
    assert len(process.world.branch(key.thread_id).commits) == 1
    await process.kill()


async def broken(**_: object) -> Push:
    raise RuntimeError("something nobody thought of")


async def test_the_offline_model_never_finishes_what_a_real_one_began(process: Process) -> None:
    key = process.world.post("a")
    process.engine.ring()
    await settle(process)
    process.engine.drain()
    await settle(process)
    assert record_of(process, key) is TurnState.PARKED
    await process.kill()
    offline = Process(process.world, offline=True)
    await offline.start()
    await settle(offline)
    assert not offline.world.alive
    assert record_of(offline, key) is TurnState.PARKED
    assert any("real model" in str(d.data.get("text")) for d in offline.world.events)
    other = offline.world.post("b")
    offline.engine.ring()
    await settle(offline)
    (run,) = offline.world.alive
    run.end()
    await settle(offline)
    assert offline.world.outcomes == {other: Outcome.COMPLETED}
    await offline.kill()
    again = Process(offline.world)
    await again.start()
    await settle(again)
    (run,) = again.world.alive
    run.end()
    await settle(again)
    assert again.world.outcomes[key] is Outcome.COMPLETED
    await again.kill()


async def test_a_parked_turn_that_an_earlier_worker_had_finished_on_this_disk_is_not_done_again(
    process: Process,
) -> None:
    key = process.world.post("a")
    process.engine.ring()
    await settle(process)
    process.engine.drain()
    await settle(process)
    await process.kill()
    world = process.world
    assert world.open[key].state is TurnState.PARKED
    branch = world.branch(key.thread_id)
    branch.commits.append((world.sha(), ("a-1",), branch.files))
    world.commit_outcomes[branch.head] = Outcome.COMPLETED
    later = Process(world)
    await later.start()
    await settle(later)
    assert not world.alive
    assert world.outcomes == {key: Outcome.COMPLETED}
    assert len(branch.commits) == 1
    await later.kill()
