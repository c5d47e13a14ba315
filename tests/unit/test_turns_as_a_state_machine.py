"""Drives the pure core through random schedules against a model of the records, and checks the promises."""

from datetime import UTC, datetime, timedelta
from functools import partial

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from contracts.records import OpenRecord, StopRecord
from contracts.words import MessageId, Mode, Outcome, StopReason, ThreadId, TurnState
from worker import turn
from worker.decide import (
    MAX_ATTEMPTS,
    MAX_INTERRUPTIONS,
    ClearStop,
    Delete,
    End,
    Leave,
    Lift,
    Start,
    Steer,
    Stop,
    decide,
)
from worker.turn import Key, State

THREADS = [ThreadId(t) for t in ("a", "b", "c")]
START = datetime(2026, 1, 1, tzinfo=UTC)


class Worker(RuleBasedStateMachine):
    """``records`` and ``outcomes`` are durable; ``state`` dies with the worker."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[Key, OpenRecord] = {}
        self.outcomes: dict[Key, Outcome] = {}
        self.stops: dict[ThreadId, int] = {}
        self.deletes: dict[ThreadId, int] = {}
        self.stack: tuple[ThreadId, ...] = ()
        self.last: dict[ThreadId, int] = {}
        self.modes: dict[Key, Mode] = {}
        self.lifts: dict[Key, int] = {}
        self.first_starts: dict[ThreadId, list[Key]] = {}
        self.now = 0.0
        self.posts_since_preemption = 0
        self.state = State()

    # ------------------------------------------------------------ the world

    @rule(
        thread=st.sampled_from(THREADS), mode=st.sampled_from([*[Mode.QUEUE] * 4, Mode.STEER, Mode.INTERRUPT])
    )
    def post(self, thread: ThreadId, mode: Mode) -> None:
        if thread in self.deletes:
            return  # nothing enters a thread that is being deleted
        sequence = self.last[thread] = self.last.get(thread, 0) + 1
        key = Key(thread, sequence)
        received = START + timedelta(seconds=len(self.modes))
        self.modes[key] = mode
        self.records[key] = OpenRecord(
            thread_id=thread,
            sequence=sequence,
            message_id=MessageId(f"{thread}{sequence}"),
            mode=mode,
            received=received,
        )

    @rule(thread=st.sampled_from(THREADS), back=st.integers(0, 2))
    def ask_to_stop(self, thread: ThreadId, back: int) -> None:
        through = self.last.get(thread, 0) - back
        if through >= 1:
            self.stops[thread] = max(self.stops.get(thread, 0), through)

    @rule(thread=st.sampled_from(THREADS))
    def ask_to_delete(self, thread: ThreadId) -> None:
        if thread in self.last and thread not in self.deletes:
            self.stops[thread] = self.deletes[thread] = self.last[thread]

    @rule()
    def time_passes(self) -> None:
        self.now += 100.0

    # ------------------------------------------------------------ the worker

    @rule(stale=st.booleans())
    def look(self, stale: bool) -> None:
        self.state = turn.look_began(self.state)
        found, stops = list(self.records.values()), self._stop_records()
        if stale:
            self.settle()  # turns end between the read and its use, and threads go
            if self.state.removing is not None:
                self.removal_ends(well=True)
        self.state = turn.looked(self.state, number=self.state.looks, open_=found, stops=stops)

    def _stop_records(self) -> list[StopRecord]:
        goes = [StopRecord(thread_id=t, through=n, delete=True) for t, n in self.deletes.items()]
        return [StopRecord(thread_id=t, through=n) for t, n in self.stops.items()] + goes

    @rule(steps=st.integers(1, 12))
    def settle(self, steps: int = 40) -> None:
        """Do what the core decides, until it waits."""
        for _ in range(steps):
            action = decide(self.state, now=self.now)
            if action is None:
                return
            if isinstance(action, Leave):
                assert self.state.running is None
                self._restart()
                return
            self._perform(action)

    def _perform(self, action: object) -> None:
        match action:
            case Lift(key=key, stack=stack):
                assert stack[0] == key.thread_id
                self.lifts[key] = self.lifts.get(key, 0) + 1
                self.stack = stack
                self.records[key] = self.records[key].model_copy(update={"lifted": True})
                self.state = turn.lifted(self.state, key, stack=stack)
            case Start(key=key):
                self._start(key)
            case Stop(key=key, reason=reason):
                self._check_stop(key, reason)
                self.state = turn.stopping(self.state, reason)
            case Steer(key=key):
                assert self.state.running is not None
                assert key.thread_id == self.state.running.key.thread_id
                self.state = turn.steering(self.state, key)
            case End(key=key, outcome=outcome):
                self._check_end(key, outcome)
                self._end([key], outcome)
            case ClearStop(thread_id=thread, through=through):
                if self.stops.get(thread) == through:
                    assert not [k for k in self.state.open if k.thread_id == thread and k.sequence <= through]
                    del self.stops[thread]
                self.state = turn.stop_cleared(self.state, thread)
            case Delete(thread_id=thread):
                assert thread not in {k.thread_id for k in self.state.open}, "deleted with something open"
                assert self.state.running is None or self.state.running.key.thread_id != thread
                self.state = turn.removing(self.state, thread)

    def _start(self, key: Key) -> None:
        assert self.state.running is None, "two turns at once"
        assert key in self.records, "a message that has its outcome was started"
        record = self.records[key]
        assert (record.resumes_at or 0) <= self.now, "started before its usage limit ended"
        if record.state is TurnState.WAITING:
            self.first_starts.setdefault(key.thread_id, []).append(key)
            earlier = [k for k in self.state.open if k.thread_id == key.thread_id and k < key]
            assert not earlier or self.modes[key] is Mode.INTERRUPT, "started out of order"
        self.state = turn.started(self.state, key)
        running = record.model_copy(
            update={"state": TurnState.RUNNING, "attempts": record.attempts + 1, "resumes_at": None}
        )
        self.records[key] = running
        self.state = turn.recorded(self.state, running)

    def _check_stop(self, key: Key, reason: StopReason) -> None:
        assert self.state.running is not None
        assert self.state.running.key == key
        assert not self.state.running.closing, "a closing turn was stopped"
        if reason is StopReason.PREEMPTED:
            assert self.records[key].interruptions < MAX_INTERRUPTIONS
            assert self.state.stack[0] != key.thread_id or len(self.state.stack) > 1
        if reason is StopReason.USER_STOP:
            through = self.state.stops.get(key.thread_id, 0)
            replaced = any(
                k.thread_id == key.thread_id and k > key and self.modes[k] is Mode.INTERRUPT
                for k in self.records
            )
            assert key.sequence <= through or replaced, "stopped though nobody asked"

    def _check_end(self, key: Key, outcome: Outcome) -> None:
        running = self.state.running
        assert running is None or running.key != key, "the running turn was ended from outside"
        if outcome is Outcome.FAILED:
            assert self.records[key].attempts >= MAX_ATTEMPTS
            return
        through = self.state.stops.get(key.thread_id, 0)
        replaced = any(
            k.thread_id == key.thread_id and k > key and self.modes[k] is Mode.INTERRUPT for k in self.records
        )
        started = self.records[key].state is not TurnState.WAITING
        assert key.sequence <= through or (replaced and started), "ended though nobody asked"

    def _end(self, keys: list[Key], outcome: Outcome) -> None:
        for key in keys:
            assert key not in self.outcomes, "two outcomes"
            self.outcomes[key] = outcome
            del self.records[key]
        self.stack = turn.stack_without(self.state, keys)
        self.state = turn.ended(self.state, keys)

    # ------------------------------------------------------------ the turn that runs

    def _runs(self) -> bool:
        return self.state.running is not None

    @precondition(_runs)
    @rule()
    def agent_is_up(self) -> None:
        self.state = turn.ready(self.state)

    @precondition(_runs)
    @rule(failed=st.booleans())
    def agent_ends_by_itself(self, failed: bool) -> None:
        self.state = turn.closing(self.state)
        assert decide(self.state, now=self.now) is None or not isinstance(
            decide(self.state, now=self.now), Stop
        )
        assert self.state.running is not None
        keys = [self.state.running.key, *self.state.steered]
        self._end(keys, Outcome.FAILED if failed else Outcome.COMPLETED)

    @precondition(lambda self: self.state.running is not None and self.state.running.stopping is not None)
    @rule()
    def agent_is_stopped(self) -> None:
        running = self.state.running
        assert running is not None
        if running.stopping is StopReason.USER_STOP:
            self._end([running.key, *self.state.steered], Outcome.STOPPED)
        else:
            self._park(running.key, running.stopping or StopReason.PREEMPTED)

    @precondition(_runs)
    @rule()
    def usage_limit(self) -> None:
        assert self.state.running is not None
        self._park(self.state.running.key, StopReason.BUDGET)

    def _park(self, key: Key, reason: StopReason) -> None:
        record = self.records[key]
        parked = record.model_copy(
            update={
                "state": TurnState.PARKED,
                "reason": reason,
                "attempts": record.attempts - 1,
                "interruptions": record.interruptions + (reason is StopReason.PREEMPTED),
                "resumes_at": self.now + 50 if reason is StopReason.BUDGET else None,
            }
        )
        self.records[key] = parked
        self.state = turn.parked(self.state, parked)

    @precondition(lambda self: bool(self.state.steering))
    @rule()
    def steering_text_arrives(self) -> None:
        self.state = turn.steered(self.state, sorted(self.state.steering)[0])

    @precondition(lambda self: self.state.removing is not None)
    @rule(well=st.booleans())
    def removal_ends(self, well: bool) -> None:
        thread = self.state.removing
        assert thread is not None
        if not well:
            self.state = turn.not_removed(self.state, thread, now=self.now)
            return
        assert thread in self.deletes, "a thread that nobody deleted, or a new one of its name, was removed"
        assert not [k for k in self.records if k.thread_id == thread], "removed before it was ended"
        del self.deletes[thread]
        self.stops.pop(thread, None)
        self.last.pop(thread)
        for known in (self.modes, self.outcomes, self.lifts):
            for key in [k for k in known if k.thread_id == thread]:
                del known[key]
        self.state = turn.removed(self.state, thread)

    # ------------------------------------------------------------ restarts

    @rule()
    def worker_is_killed(self) -> None:
        self._restart()

    @rule()
    def worker_is_asked_to_leave(self) -> None:
        self.state = turn.draining(self.state)

    def _restart(self) -> None:
        self.state = State(stack=self.stack)
        self.look(stale=False)

    # ------------------------------------------------------------ the promises

    @invariant()
    def a_record_is_open_exactly_as_long_as_it_has_no_outcome(self) -> None:
        assert self.records.keys() | self.outcomes.keys() == self.modes.keys()
        assert not self.records.keys() & self.outcomes.keys()

    @invariant()
    def a_message_lifts_its_thread_once(self) -> None:
        assert all(n == 1 for n in self.lifts.values())

    @invariant()
    def nobody_is_interrupted_more_than_five_times(self) -> None:
        assert all(r.interruptions <= MAX_INTERRUPTIONS for r in self.records.values())

    def teardown(self) -> None:
        """Without further disturbance everything gets its outcome, in a bounded number of steps."""
        if self.state.draining:
            self._restart()
        self.look(stale=False)
        for _ in range(40 * len(self.modes) + 40):
            self.settle()
            self.now += 1000.0
            running = self.state.running
            if running is None and not (self.records or self.stops or self.deletes):
                return
            if self.state.removing is not None:
                self.removal_ends(well=True)
            if running is not None and running.stopping is not None:
                self.agent_is_stopped()
            elif running is not None:
                self.agent_ends_by_itself(failed=False)
            self.look(stale=False)
        raise AssertionError(f"never finished: {self.records} {self.stops}")


Worker.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
test_every_schedule_keeps_the_promises = Worker.TestCase


def _state(*records: OpenRecord, stack: tuple[str, ...] = ()) -> State:
    state = turn.look_began(State(stack=tuple(ThreadId(t) for t in stack)))
    return turn.looked(state, number=1, open_=records, stops=[])


def _record(thread: str, sequence: int, **fields: object) -> OpenRecord:
    base = {
        "thread_id": thread,
        "sequence": sequence,
        "message_id": f"{thread}{sequence}",
        "received": START,
        "lifted": True,
    }
    return OpenRecord.model_validate(base | fields)


def test_two_threads_without_new_messages_do_not_preempt_each_other() -> None:
    state = _state(_record("a", 1), _record("b", 1), stack=("b", "a"))
    state = turn.started(state, Key(ThreadId("b"), 1))
    assert decide(state, now=0) is None
    state = turn.ended(state, [Key(ThreadId("b"), 1)])
    assert decide(state, now=0) == Start(key=Key(ThreadId("a"), 1))
    assert decide(turn.started(state, Key(ThreadId("a"), 1)), now=0) is None


def test_a_new_message_for_another_thread_stops_the_running_turn() -> None:
    state = turn.started(_state(_record("a", 1), stack=("a",)), Key(ThreadId("a"), 1))
    state = turn.looked(turn.look_began(state), number=2, open_=[_record("b", 1, lifted=False)], stops=[])
    lift = decide(state, now=0)
    assert lift == Lift(key=Key(ThreadId("b"), 1), stack=(ThreadId("b"), ThreadId("a")))
    state = turn.lifted(state, lift.key, stack=lift.stack)
    assert decide(state, now=0) == Stop(
        key=Key(ThreadId("a"), 1), reason=StopReason.PREEMPTED, by=Key(ThreadId("b"), 1)
    )


def test_the_sixth_preemption_does_not_happen() -> None:
    tired = _record("a", 1, interruptions=MAX_INTERRUPTIONS)
    state = turn.started(_state(tired, _record("b", 1), stack=("b", "a")), Key(ThreadId("a"), 1))
    assert decide(state, now=0) is None


def test_a_stop_ends_nothing_later_than_its_sender_saw() -> None:
    state = _state(_record("a", 1), _record("a", 2), _record("a", 3), stack=("a",))
    state = turn.looked(
        turn.look_began(state), number=2, open_=[], stops=[StopRecord(thread_id=ThreadId("a"), through=2)]
    )
    ended = []
    while isinstance(action := decide(state, now=0), End):
        ended.append(action.key.sequence)
        state = turn.ended(state, [action.key])
    assert ended == [1, 2]
    assert action == ClearStop(thread_id=ThreadId("a"), through=2)


def test_a_stale_look_does_not_revive_what_has_ended() -> None:
    record = _record("a", 1)
    state = turn.look_began(_state(record, stack=("a",)))
    state = turn.ended(state, [Key(ThreadId("a"), 1)])
    state = turn.looked(state, number=2, open_=[record], stops=[])
    assert decide(state, now=0) is None
    assert partial(turn.look_began)(state).looks == 3
