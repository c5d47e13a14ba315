"""The worker's ports in memory: one world that survives worker crashes, and workers that come and go.

What is durable (records, commits, remote) lives in ``World``; what dies with a process lives in the ports.
Every port awaits at least once, so that schedules interleave as they would on a wire.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from contracts import names
from contracts.messages import Author, Message
from contracts.records import OpenRecord, StopRecord
from contracts.words import (
    Action,
    Frontend,
    MessageId,
    Mode,
    Outcome,
    StopReason,
    ThreadId,
    TurnId,
    TurnState,
)
from worker.errors import LeaseLost, RemoteUnavailable, WorkspaceError
from worker.ports import (
    AgentEvent,
    AgentResult,
    AgentTurn,
    Checkout,
    Commit,
    Draft,
    Ending,
    Push,
    Steered,
    Text,
    Updated,
)
from worker.turn import Key

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Branch:
    """A thread's branch: commits as (sha, message ids, files), the newest last."""

    commits: list[tuple[str, tuple[str, ...], frozenset[str]]] = field(default_factory=list)

    @property
    def head(self) -> str:
        return self.commits[-1][0] if self.commits else "base"

    @property
    def files(self) -> frozenset[str]:
        return self.commits[-1][2] if self.commits else frozenset()


class World:
    """Everything that outlives a worker."""

    def __init__(self) -> None:
        self.epoch = 0
        self.messages: dict[Key, Message] = {}
        self.open: dict[Key, OpenRecord] = {}
        self.outcomes: dict[Key, Outcome] = {}
        self.stops: dict[ThreadId, int] = {}
        self.deletes: dict[ThreadId, int] = {}
        self.vanished: set[Key] = set()
        """Messages of threads that were deleted."""
        self.stack: tuple[ThreadId, ...] = ()
        self.events: list[Draft] = []
        self.local: dict[str, Branch] = {}
        self.remote: dict[str, Branch] = {}
        self.current: ThreadId | None = None
        self.dirty: set[str] = set()
        self.alive: set[MemoryRun] = set()
        self.remembered: set[tuple[UUID, UUID]] = set()
        self.remote_up = True
        self.shas = 0
        self.queue: list[Key] = []
        """Pointers that nobody holds; real ones come in any order, and more than once."""
        self.commit_outcomes: dict[str, Outcome] = {}
        self.broken: list[str] = []
        """What the worker did to a port that it must not. It catches what a port raises, like all that breaks
        in a turn, so a test has to look here."""

    def must(self, holds: bool, otherwise: str) -> None:
        """Note what must not be, and fail whoever did it."""
        if not holds:
            self.broken.append(otherwise)
            raise AssertionError(otherwise)

    def post(self, thread: str, *, mode: Mode = Mode.QUEUE, action: Action | None = None) -> Key:
        """A message is recorded."""
        thread_id = ThreadId(thread)
        sequence = 1 + max((k.sequence for k in self.messages if k.thread_id == thread_id), default=0)
        key = Key(thread_id, sequence)
        received = START + timedelta(seconds=len(self.messages))
        self.messages[key] = Message(
            id=MessageId(f"{thread}-{sequence}"),
            thread_id=thread_id,
            sequence=sequence,
            text=f"text of {thread}-{sequence}",
            mode=mode,
            action=action,
            frontend=Frontend.API,
            author=Author(id="p", name="P"),
            received=received,
        )
        self.open[key] = OpenRecord(
            thread_id=thread_id,
            sequence=sequence,
            message_id=MessageId(f"{thread}-{sequence}"),
            mode=mode,
            received=received,
        )
        return key

    def branch(self, thread_id: ThreadId) -> Branch:
        return self.local.setdefault(names.branch(thread_id), Branch())

    def sha(self) -> str:
        self.shas += 1
        return f"sha{self.shas}"


class MemoryLedger:
    """The records, fenced by the epoch this worker was given."""

    def __init__(self, world: World) -> None:
        self._world, self._epoch = world, world.epoch

    async def _fenced(self) -> None:
        await asyncio.sleep(0)
        if self._epoch != self._world.epoch:
            raise LeaseLost("stale epoch")

    async def look(self) -> tuple[list[OpenRecord], list[StopRecord]]:
        await asyncio.sleep(0)
        found = list(self._world.open.values())
        stops = [StopRecord(thread_id=t, through=n) for t, n in self._world.stops.items()]
        stops += [StopRecord(thread_id=t, through=n, delete=True) for t, n in self._world.deletes.items()]
        await asyncio.sleep(0)  # what was read may be old when it arrives
        return found, stops

    async def stack(self) -> tuple[ThreadId, ...]:
        return self._world.stack

    async def threads(self) -> dict[ThreadId, datetime]:
        await asyncio.sleep(0)
        return {k.thread_id: m.received for k, m in self._world.messages.items()}

    async def message(self, *, thread_id: ThreadId, sequence: int) -> Message:
        await asyncio.sleep(0)
        return self._world.messages[Key(thread_id, sequence)]

    async def lift(self, record: OpenRecord, *, stack: tuple[ThreadId, ...]) -> None:
        await self._fenced()
        key = Key(record.thread_id, record.sequence)
        self._world.must(not self._world.open[key].lifted, "lifted twice")
        self._world.open[key] = record.model_copy(update={"lifted": True})
        self._world.stack = stack

    async def append(self, thread_id: ThreadId, drafts: Sequence[Draft]) -> None:
        await self._fenced()
        self._world.must(all(d.thread_id == thread_id for d in drafts), "an event in another thread's log")
        self._world.events += drafts

    async def update(self, record: OpenRecord, drafts: Sequence[Draft]) -> None:
        await self._fenced()
        key = Key(record.thread_id, record.sequence)
        self._world.must(key in self._world.open, "a turn with an outcome was written again")
        parked = record.state is TurnState.PARKED
        self._world.must(not (parked and self._world.dirty), "parked, and the work is in no commit")
        self._world.open[key] = record
        self._world.events += drafts

    async def finish(
        self,
        endings: Sequence[Ending],
        *,
        stack: tuple[ThreadId, ...],
        drafts: Sequence[Draft],
        cost_usd: float = 0.0,
    ) -> None:
        await self._fenced()
        self._check_done([e.record for e in endings if e.outcome is Outcome.COMPLETED])
        for ending in endings:
            key = Key(ending.record.thread_id, ending.record.sequence)
            self._world.must(key not in self._world.outcomes, "two outcomes")
            self._world.outcomes[key] = ending.outcome
            del self._world.open[key]
        self._world.stack = stack
        self._world.events += drafts

    def _check_done(self, done: Sequence[OpenRecord]) -> None:
        """Completed: the work is committed, and what waited its turn before it is answered."""
        self._world.must(not (done and self._world.dirty), "completed, and the work is in no commit")
        ends = {Key(r.thread_id, r.sequence) for r in done}
        waits = {k for k, r in self._world.open.items() if r.mode is Mode.QUEUE} - ends
        for record in (r for r in done if r.mode is Mode.QUEUE):
            before = [k for k in waits if k.thread_id == record.thread_id and k.sequence < record.sequence]
            self._world.must(not before, f"{record.message_id} was done before {before}")

    async def is_deleted(self, thread_id: ThreadId) -> bool:
        await self._fenced()
        return thread_id in self._world.deletes

    async def forget(self, thread_id: ThreadId) -> None:
        await self._fenced()
        world = self._world
        world.must(not [r for r in world.alive if r.turn.thread_id == thread_id], "removed under a turn")
        if thread_id not in world.deletes:
            return
        world.vanished |= {k for k in world.messages if k.thread_id == thread_id}
        for kept in (world.open, world.messages, world.outcomes):
            for key in [k for k in kept if k.thread_id == thread_id]:
                del kept[key]
            await asyncio.sleep(0)  # a worker may die between any two
        world.stops.pop(thread_id, None)
        world.events = [e for e in world.events if e.thread_id != thread_id]
        del world.deletes[thread_id]

    async def clear_stop(self, *, thread_id: ThreadId, through: int) -> None:
        await self._fenced()
        if self._world.stops.get(thread_id) == through:
            del self._world.stops[thread_id]


class MemoryWorkspace:
    """Branches as lists; refuses to mix threads."""

    def __init__(self, world: World) -> None:
        self._world, self._epoch = world, world.epoch

    @property
    def path(self) -> Path:
        return Path("/memory")

    async def prepare(self) -> None:
        await asyncio.sleep(0)
        world = self._world
        world.must(not world.alive, "the tree was touched while processes of a turn were alive")
        if world.current is not None and world.dirty:
            self._commit(world.current, ())

    async def claim(self, *, epoch: int) -> None:
        await asyncio.sleep(0)

    async def fetch(self) -> None:
        await asyncio.sleep(0)
        if not self._world.remote_up:
            raise RemoteUnavailable("no remote")

    async def tidy(self) -> None:
        await asyncio.sleep(0)

    def _commit(
        self, thread_id: ThreadId, message_ids: tuple[str, ...], outcome: Outcome = Outcome.COMPLETED
    ) -> str:
        world = self._world
        world.must(not world.alive, "a commit while processes of the turn were alive")
        world.must(world.current == thread_id, "a commit on the branch of another thread")
        branch = world.branch(thread_id)
        branch.commits.append((world.sha(), message_ids, branch.files | world.dirty))
        world.dirty = set()
        world.commit_outcomes[branch.head] = outcome
        return branch.head

    async def switch(
        self, thread_id: ThreadId, *, message_id: MessageId | None = None, onto: str | None = None
    ) -> Checkout:
        await asyncio.sleep(0)
        world = self._world
        world.must(self._epoch == world.epoch or not world.alive, "a switch of an owner that was replaced")
        world.must(
            not world.dirty or world.current == thread_id, "a switch with another thread's work in the tree"
        )
        world.current = thread_id
        return Checkout(branch=names.branch(thread_id), head=world.branch(thread_id).head, created=False)

    async def checkpoint(
        self, *, thread_id: ThreadId, turn_id: TurnId, reason: StopReason | str
    ) -> str | None:
        await asyncio.sleep(0)
        return self._commit(thread_id, ()) if self._world.dirty else None

    async def commit(
        self,
        *,
        thread_id: ThreadId,
        base: str,
        subject: str,
        body: str,
        message_ids: tuple[MessageId, ...],
        outcome: Outcome,
    ) -> Commit | None:
        await asyncio.sleep(0)
        branch = self._world.branch(thread_id)
        if not self._world.dirty and branch.head == base:
            return None
        sha = self._commit(thread_id, message_ids, outcome)
        return Commit(sha=sha, branch=names.branch(thread_id), files=1, insertions=1, deletions=0, body=body)

    async def update(
        self, *, thread_id: ThreadId, message_id: MessageId, subject: str, body: Callable[[str], str]
    ) -> Updated:
        """The default branch has always news, and they are clean."""
        await asyncio.sleep(0)
        sha = self._commit(thread_id, (message_id,))
        await asyncio.sleep(0)
        commit = Commit(
            sha=sha, branch=names.branch(thread_id), files=1, insertions=1, deletions=0, body=body("main")
        )
        return Updated(default="main", sha="main", commit=commit)

    async def takes_in(self, *, sha: str) -> bool:
        await asyncio.sleep(0)
        return True

    async def push(self, *, thread_id: ThreadId) -> Push:
        await asyncio.sleep(0)
        if not self._world.remote_up:
            raise RemoteUnavailable("no remote")
        if self._epoch != self._world.epoch:
            raise LeaseLost("stale epoch")
        name = names.branch(thread_id)
        if name not in self._world.local:
            raise WorkspaceError(f"There is no branch {name} to push.")
        self._world.remote[name] = Branch(commits=list(self._world.branch(thread_id).commits))
        return Push(branch=name, sha=self._world.branch(thread_id).head)

    async def find(
        self, *, thread_id: ThreadId, message_id: MessageId, onto: str | None = None
    ) -> Commit | None:
        await asyncio.sleep(0)
        for sha, ids, _ in self._world.branch(thread_id).commits:
            if message_id in ids:
                return Commit(
                    sha=sha,
                    branch=names.branch(thread_id),
                    files=1,
                    insertions=1,
                    deletions=0,
                    outcome=self._world.commit_outcomes[sha],
                    message_ids=tuple(MessageId(i) for i in ids),
                )
        return None

    async def remove_others(self, *, but: Collection[ThreadId]) -> list[str]:
        await asyncio.sleep(0)
        there = {names.branch(thread_id) for thread_id in but}
        gone = [name for name in self._world.local if name not in there]
        for name in gone:
            del self._world.local[name]
        return gone

    async def push_rest(
        self, *, threads: Collection[ThreadId], open_: frozenset[MessageId] | None = None
    ) -> None:
        await asyncio.sleep(0)

    async def remove(self, *, thread_id: ThreadId) -> None:
        await asyncio.sleep(0)
        world = self._world
        assert not [r for r in world.alive if r.turn.thread_id == thread_id], "removed under a turn"
        if not world.remote_up:
            raise RemoteUnavailable("no remote")
        world.remote.pop(names.branch(thread_id), None)
        await asyncio.sleep(0)
        if world.current == thread_id:
            world.current, world.dirty = None, set()
        world.local.pop(names.branch(thread_id), None)


class MemoryRun:
    """A Claude Code that does what the test says."""

    def __init__(self, world: World, turn: AgentTurn) -> None:
        self._world, self.turn = world, turn
        self._events: asyncio.Queue[AgentEvent | None] = asyncio.Queue()
        self._result = AgentResult(ended="completed", text=f"answer to {turn.prompt[:40]}")
        self.steers: list[MessageId] = []
        self.over = False
        world.alive.add(self)

    async def events(self) -> AsyncIterator[AgentEvent]:
        while (event := await self._events.get()) is not None:
            yield event

    def work(self) -> None:
        """Say something and change a file."""
        self._world.must(
            self._world.current == self.turn.thread_id, "Claude Code works on another thread's branch"
        )
        self._world.dirty.add(f"{self.turn.thread_id}.txt")
        self._events.put_nowait(Text(text="working "))

    def take_steers(self) -> None:
        """The next step: texts that wait reach the model."""
        for message_id in self.steers:
            self._events.put_nowait(Steered(message_id=message_id))
        self.steers = []

    def end(self, result: AgentResult | None = None) -> None:
        if not self.over:
            self.over = True
            self._result = result or self._result
            self._events.put_nowait(None)

    def steer(self, *, message_id: MessageId, text: str) -> None:
        self.steers.append(message_id)

    async def stop(self) -> None:
        await asyncio.sleep(0)
        if not self.over:
            self.end(AgentResult(ended="stopped", text=""))
        self._world.alive.discard(self)

    async def close(self) -> AgentResult:
        await asyncio.sleep(0)
        self._world.alive.discard(self)
        return self._result


class MemoryAgent:
    """Starts runs, and remembers what sessions were told."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def start(self, turn: AgentTurn) -> MemoryRun:
        await asyncio.sleep(0)
        self._world.must(not self._world.alive, "two Claude Codes at once")
        if turn.prompt_id is not None:
            self._world.must(
                (turn.session_id, turn.prompt_id) not in self._world.remembered, "a text was said twice"
            )
            self._world.remembered.add((turn.session_id, turn.prompt_id))
        return MemoryRun(self._world, turn)

    async def remembers(self, *, session_id: UUID, prompt_id: UUID) -> bool:
        await asyncio.sleep(0)
        return (session_id, prompt_id) in self._world.remembered

    async def forget(self, *, session_id: UUID) -> None:
        await asyncio.sleep(0)
        self._world.remembered = {r for r in self._world.remembered if r[0] != session_id}

    async def forget_others(self, *, but: Collection[UUID]) -> None:
        await asyncio.sleep(0)
        self._world.remembered = {r for r in self._world.remembered if r[0] in but}

    async def sweep(self) -> int:
        killed = len(self._world.alive)
        self._world.alive.clear()
        return killed


class MemoryPreview:
    """No preview."""

    async def run(self) -> None:
        await asyncio.Event().wait()

    def switched(self) -> None:
        pass

    async def connections(self) -> int:
        return 0


class MemoryInbox:
    """Holds what a test delivers. ``settle`` deletes as the real one does, and never a message without
    outcome."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.held: list[tuple[Key, float]] = []

    def deliver(self, key: Key) -> None:
        """A pointer that was in the queue is received."""
        self._world.queue.remove(key)
        self.held.append((key, time.monotonic()))

    def give_back(self) -> None:
        """The process is gone: its deliveries are visible again."""
        self._world.queue += [key for key, _ in self.held]
        self.held = []

    def settle(self, *, open_keys: Collection[tuple[ThreadId, int]], before: float) -> None:
        done = [h for h in self.held if h[1] < before and h[0] not in open_keys]
        over = self._world.outcomes.keys() | self._world.vanished
        self._world.must(all(k in over for k, _ in done), "a delivery without outcome was deleted")
        self.held = [h for h in self.held if h not in done]


class MemoryLease:
    """A lease that is only fenced by the epoch."""

    async def cold(self) -> None:
        await asyncio.sleep(0)

    async def warm(self) -> None:
        await asyncio.sleep(0)
