"""What a state of the protocol is: everything durable, everything in flight, everything a process knows.

All of it is immutable and small, so that states can be compared, hashed and counted. No step is taken here.
Messages are named by their place in ``Setup.messages``, workers by their slot, times do not exist: what
"takes too long" in the product is a step that may happen at any moment in the model.
"""

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

T = TypeVar("T")

STOP = -1
"""The pointer of a stop, beside the messages 0, 1, ..."""
NOBODY, GONE = -1, -2
"""Holders of a pointer: it is visible; it was handed to a process that died."""

Commit = tuple[tuple[int, ...], str, int]
"""Messages in its trailers, outcome (``paused`` for a checkpoint), epoch that made it."""
Branch = tuple[Commit, ...] | None
"""Commits, the newest last; None when there is no such branch."""


class Spec(NamedTuple):
    """A message that somebody may send."""

    thread: int = 0
    sequence: int = 1
    steer: bool = False


class Setup(NamedTuple):
    """What may happen, and how often: the bounds of one search. ``without`` names removed safeguards."""

    messages: tuple[Spec, ...] = (Spec(),)
    stop: int = 0
    """Somebody may stop thread 0 through this sequence; 0: nobody does."""
    rings: bool = False
    """Pointers are modelled. Without them a look may come at any time, which includes all they can do."""
    wakes: bool = False
    """The dispatcher's steps after the record are modelled; else only the sweep wakes a worker."""
    up: bool = True
    """The first worker owns the lease and the remote when the search begins."""
    sweep: bool = True
    idle: bool = False
    nothing: bool = False
    """A turn may end without a change, and then makes no commit."""
    disks: tuple[int, ...] = (0, 0)
    """The disk of the worker in each slot."""
    deaths: int = 0
    losses: int = 0
    duplicates: int = 0
    crashes: int = 0
    takeovers: int = 0
    outages: int = 0
    drains: int = 0
    max_attempts: int = 9
    without: frozenset[str] = frozenset()


class Record(NamedTuple):
    """The turn record of a message without outcome: ``waiting``, ``running`` or ``parked``. ``place``: the
    disk on which its turn last ran."""

    state: str = "waiting"
    lifted: bool = False
    attempts: int = 0
    place: int = -1


class Row(NamedTuple):
    """The worker's row."""

    epoch: int = 0
    owned: bool = False
    up: bool = False


class Pointer(NamedTuple):
    """A delivery. ``judged``: 1: it was there before a look of its holder began; 2: that look is over."""

    message: int
    holder: int = NOBODY
    judged: int = 0


class Turn(NamedTuple):
    """The turn in a worker's hand. ``at``: taken, switched, asked, begun, running, halted, closing, paused,
    judged, committed, pushed. ``was``: its record's state before. ``along``: who shares its outcome."""

    message: int
    at: str = "taken"
    was: str = "waiting"
    stopping: str = ""
    closing: bool = False
    offered: tuple[int, ...] = ()
    taken_in: tuple[int, ...] = ()
    along: tuple[int, ...] = ()
    outcome: str = ""
    commit: Commit | None = None
    how: str = ""

    @property
    def ready(self) -> bool:
        """Whether Claude Code is there to take a text in."""
        return self.at == "running"


class Look(NamedTuple):
    """Records as they were read, not yet taken over."""

    records: tuple[Record | None, ...]
    stop: int
    ended: tuple[int, ...] = ()


class Worker(NamedTuple):
    """A process. ``at``: boot, owner, locked, claimed, fetched, up, cold, leaving. ``stamped``: it has
    claimed the remote. ``in_turn``: the thread whose branch the worktree is for. ``pushing``: pushes
    beside the turns, as (thread, whether one try is enough)."""

    at: str = "boot"
    second: bool = False
    epoch: int = 0
    stamped: bool = False
    rung: bool = False
    look: Look | None = None
    open: tuple[Record | None, ...] = ()
    stop: int = 0
    stack: tuple[int, ...] = ()
    turn: Turn | None = None
    in_turn: int = -1
    pushing: tuple[tuple[int, bool], ...] = ()
    draining: bool = False
    lost: bool = False


class Disk(NamedTuple):
    """A checkout: branches by thread, and the remote's as last fetched."""

    local: tuple[Branch, ...]
    seen: tuple[Branch, ...]


class Budget(NamedTuple):
    """Faults that are left."""

    deaths: int
    losses: int
    duplicates: int
    crashes: int
    takeovers: int
    outages: int
    drains: int


class Told(NamedTuple):
    """An outcome as recorded, and what was said of the work: pushed, unpushed or nothing."""

    outcome: str
    how: str


class State(NamedTuple):
    """Everything. ``asks``: how far each request got in the dispatcher (the stop's is the last).
    ``broken``: a promise that a step broke by itself, in words."""

    asks: tuple[str, ...]
    records: tuple[Record | None, ...]
    outcomes: tuple[Told | None, ...]
    finals: tuple[int, ...]
    read: tuple[int, ...]
    stop: int
    stack: tuple[int, ...]
    row: Row
    queue: tuple[Pointer, ...]
    wish: bool
    workers: tuple[Worker | None, ...]
    disks: tuple[Disk, ...]
    remote: tuple[Branch, ...]
    owner_ref: int
    remote_up: bool
    left: Budget
    broken: str = ""


class Step(NamedTuple):
    """What can happen next. ``kind``: ``fair`` (will happen if it stays possible), ``choice`` (somebody may
    do it) or ``fault`` (bounded by the budget). ``said`` is a sentence with places for ``names``."""

    said: str
    names: tuple[object, ...]
    kind: str
    state: State


Steps = Iterator[Step]


def start(setup: Setup) -> State:
    """Nothing was sent yet."""
    none = (None,) * len(setup.messages)
    branches: tuple[Branch, ...] = (None,) * (1 + max(m.thread for m in setup.messages))
    mine = Worker(at="up", epoch=1, stamped=True, open=none)
    return State(
        asks=("new",) * (len(setup.messages) + 1),
        records=none,
        outcomes=none,
        finals=(0,) * len(setup.messages),
        read=(),
        stop=0,
        stack=(),
        row=Row(epoch=1, owned=True, up=True) if setup.up else Row(),
        queue=(),
        wish=False,
        workers=(mine if setup.up else None, *(None,) * (len(setup.disks) - 1)),
        disks=(Disk(local=branches, seen=branches),) * (1 + max(setup.disks)),
        remote=branches,
        owner_ref=int(setup.up),
        remote_up=True,
        left=Budget(*(getattr(setup, name) for name in Budget._fields)),
    )


def put(items: tuple[T, ...], at: int, item: T) -> tuple[T, ...]:
    """The same with one changed."""
    return (*items[:at], item, *items[at + 1 :])


def spend(state: State, what: str) -> State:
    """The state after one more fault of this kind."""
    return state._replace(left=state.left._replace(**{what: getattr(state.left, what) - 1}))


def with_worker(state: State, slot: int, worker: Worker | None) -> State:
    """The state with this process changed, or gone."""
    return state._replace(workers=put(state.workers, slot, worker))


def broken(state: State, promise: str) -> State:
    """A promise was broken by this step."""
    return state._replace(broken=state.broken or promise)
