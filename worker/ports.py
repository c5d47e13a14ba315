"""The seams of the worker: what the engine asks of git, of Claude Code, of the preview and of the record.

The engine knows these protocols and nothing of what stands behind them, so that the same engine runs
against AWS, against one machine and against in-memory stand-ins in a property test. No I/O in here.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol
from uuid import UUID

from contracts.messages import Message, Upload
from contracts.records import OpenRecord, StopRecord
from contracts.words import MessageId, Outcome, StopReason, ThreadId, TurnId

# ---------------------------------------------------------------- workspace (git)


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """The state after a switch: ``branch`` is checked out clean at commit ``head``."""

    branch: str
    head: str
    created: bool


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One commit of the worker's own. Counts are against the turn's base commit.

    ``body`` is the commit's text between subject and trailers; ``outcome`` and ``message_ids`` are what its
    trailers say of the turn that it ends. ``stands_on``: the remote's branch that holds it, as fetched;
    ``onto``: the branch of people's that does as well. ``note``: what was left out of it, for the people in
    the thread.
    """

    sha: str
    branch: str
    files: int
    insertions: int
    deletions: int
    body: str = ""
    outcome: Outcome = Outcome.COMPLETED
    message_ids: tuple[MessageId, ...] = ()
    stands_on: str | None = None
    onto: str | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Updated:
    """What came of merging the default branch, which stood at ``sha``, into a thread's: ``commit``, the merge
    that ends the turn; or ``conflicts``, the files that keep it from being made, and nothing has changed; or
    neither, when the branch has it already."""

    default: str
    sha: str
    commit: Commit | None = None
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Missed:
    """Why work did not reach ``onto``, the branch of people's that it was meant for.

    ``apart``: both changed the same; ``rewritten``: its people threw away what the work stands on; ``gone``;
    ``refused`` by the remote, which ``said`` so; ``later``: it goes there together with what comes next.
    """

    onto: str
    why: Literal["apart", "rewritten", "gone", "refused", "later"]
    said: str = ""


@dataclass(frozen=True, kw_only=True)
class Push:
    """What reached the remote. ``conflict``: ``branch`` is a conflict branch beside the thread's. ``onto``:
    the branch of people's that holds it as well; ``missed``: why that does not."""

    branch: str
    sha: str
    conflict: bool = False
    rebased: bool = False
    onto: str | None = None
    missed: Missed | None = None


class Workspace(Protocol):
    """One checkout, one thread's branch at a time."""

    @property
    def path(self) -> Path:
        """Folder of the checkout."""

    async def prepare(self) -> None:
        """Clone, or bring an existing checkout into a usable state: remove stale locks, abort half-done
        merges, commit leftovers on the branch they belong to. The caller is the sole owner of the disk."""

    async def claim(self, *, epoch: int) -> None:
        """Move the worker's epoch ref on the remote, so that pushes of every earlier owner are refused."""

    async def fetch(self) -> None:
        """Refresh the remote-tracking refs, claimed first. Raises ``RemoteUnavailable``, ``LeaseLost``."""

    async def tidy(self) -> None:
        """Pack what has piled up on the disk; may run beside a turn and never fails it."""

    async def switch(
        self, thread_id: ThreadId, *, message_id: MessageId | None = None, onto: str | None = None
    ) -> Checkout:
        """Check out the thread's branch, clean, for the work on a message; a new one starts from the default
        branch as last fetched. ``onto``: the branch of people's that its work goes onto, from now on; what
        they have added there comes first. Raises ``RemoteUnavailable`` when nothing is known of it."""

    async def checkpoint(
        self, *, thread_id: ThreadId, turn_id: TurnId, reason: StopReason | str
    ) -> str | None:
        """Commit whatever is in the tree on the thread's branch; the sha, or None when there was nothing."""

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
        """End a turn: one commit with trailers if tree or HEAD differ from ``base``, else None."""

    async def update(
        self, *, thread_id: ThreadId, message_id: MessageId, subject: str, body: Callable[[str], str]
    ) -> Updated:
        """Merge the default branch, as last fetched, into the thread's, which is checked out clean. A merge
        without conflicts is committed as the end of the turn; ``body`` words it, given the branch's name."""

    async def takes_in(self, *, sha: str) -> bool:
        """Whether what is checked out has this commit merged, be it without a commit so far."""

    async def push(self, *, thread_id: ThreadId) -> Push:
        """Push the thread's branch with the epoch ref and, where a turn of it has ended, the branch that it
        goes onto: all of them or none. Raises ``LeaseLost``, ``RemoteUnavailable``."""

    async def remove(self, *, thread_id: ThreadId) -> None:
        """Remove the thread's branch here, and on the remote unless somebody else has worked on it. Can be
        repeated. Raises ``LeaseLost``, ``RemoteUnavailable``."""

    async def remove_others(self, *, but: Collection[ThreadId]) -> Sequence[str]:
        """Remove here, not on the remote, the branches of all threads but these; which they were. Work that
        stands nowhere else is held under a ref of its own. For the time before the first turn."""

    async def push_rest(
        self, *, threads: Collection[ThreadId], open_: frozenset[MessageId] | None = None
    ) -> None:
        """Push the branches of these threads that are only ahead of the remote: work of an earlier process.
        ``open_``: all messages without outcome, if that is known; what is left of others undoes nothing
        newer."""

    async def find(
        self, *, thread_id: ThreadId, message_id: MessageId, onto: str | None = None
    ) -> Commit | None:
        """The commit on the thread's branch (local or fetched) that carries this message's trailer, and
        whether ``onto`` holds it as well."""


# ---------------------------------------------------------------- agent (Claude Code)


@dataclass(frozen=True, kw_only=True)
class AgentTurn:
    """What Claude Code is started with. ``marker`` stands in the environment of every process of the turn,
    ``prompt_id`` in the session's transcript beside the prompt (None: any will do). ``readable``: a folder
    beside the checkout that may be read and not be changed. ``grown`` is called when the transcript has
    grown, in mid-turn; it must not wait or raise."""

    thread_id: ThreadId
    turn_id: TurnId
    session_id: UUID
    prompt: str
    prompt_id: UUID | None = None
    context: str
    cwd: Path
    marker: str
    readable: Path | None = None
    grown: Callable[[], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Text:
    """A piece of the answer as it is written (a delta, not the whole)."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool use: once when it starts (``state="started"``) and once when it ended."""

    tool_use_id: str
    name: str
    state: Literal["started", "succeeded", "failed"]
    input: dict[str, Any]
    output: str = ""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One entry of Claude's own task list."""

    id: str
    subject: str
    status: Literal["pending", "in_progress", "completed"]


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """The whole task list after a change."""

    tasks: tuple[Task, ...]


@dataclass(frozen=True, kw_only=True)
class Requested:
    """The first request to the model has an answer under way; ``model`` names it."""

    model: str


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Claude Code waits before it asks the model again. ``delay`` in seconds."""

    attempt: int
    delay: float
    status: int | None


@dataclass(frozen=True, kw_only=True)
class Steered:
    """The text of this message was handed to the running turn and reached the model's context."""

    message_id: MessageId


AgentEvent = Text | Tool | Tasks | Requested | Retry | Steered


@dataclass(frozen=True, kw_only=True)
class AgentResult:
    """How Claude Code ended. ``text`` is the final answer or the error in one sentence.

    ``ended``: ``completed``; ``stopped`` (by ``AgentRun.stop``); ``failed`` (model error, crash);
    ``limited`` (a usage limit, ``resets_at`` is the Unix time at which it ends, when known).
    Cost in USD, times in milliseconds.
    """

    ended: Literal["completed", "stopped", "failed", "limited"]
    text: str
    cost_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    duration_ms: int = 0
    resets_at: float | None = None
    crashed: bool = False


class AgentRun(Protocol):
    """One CLI process for one turn, already started."""

    def events(self) -> AsyncIterator[AgentEvent]:
        """Events in order until Claude Code is done or stopped. Never raises for a failed turn."""

    def steer(self, *, message_id: MessageId, text: str) -> None:
        """Hand a text to the running turn at its next step; ``Steered`` tells when it got there."""

    async def stop(self) -> None:
        """Interrupt, bounded, then kill. When it returns no process of the turn is alive."""

    async def close(self) -> AgentResult:
        """After the events ended: every process of the turn is dead; the result. Safe to call twice."""


class Agent(Protocol):
    """Starts Claude Code."""

    async def start(self, turn: AgentTurn) -> AgentRun:
        """Start the CLI (resuming the session when it exists). Raises ``AgentError``."""

    async def remembers(self, *, session_id: UUID, prompt_id: UUID) -> bool:
        """Whether the session's transcript holds the prompt that was sent under this id."""

    async def forget(self, *, session_id: UUID) -> None:
        """Remove what is kept of a session that does not run."""

    async def forget_others(self, *, but: Collection[UUID]) -> None:
        """The same for all sessions but these. Raises ``AgentError``."""

    async def sweep(self) -> int:
        """Kill every process left over by turns of this worker id, whoever started it; how many."""


# ---------------------------------------------------------------- preview


@dataclass(frozen=True, kw_only=True)
class PreviewState:
    """``url`` is where the preview listens; ``problem`` is one sentence when it does not."""

    ready: bool
    url: str | None
    problem: str | None = None


class Preview(Protocol):
    """The dev server beside the turns. Nothing here may delay a turn."""

    async def run(self) -> None:
        """Start and watch the server until cancelled; on cancel every process of it is dead."""

    def switched(self) -> None:
        """The checkout changed branch: dependencies are looked at in the background."""

    async def connections(self) -> int:
        """Open client connections to the preview port; counts as activity."""


# ---------------------------------------------------------------- ledger (records and events)


@dataclass(frozen=True, kw_only=True)
class Draft:
    """An event before it has its number and time. ``data`` is the plain form of the event's data model."""

    type: str
    thread_id: ThreadId
    data: Mapping[str, Any]
    message_id: MessageId | None = None
    turn_id: TurnId | None = None


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The outcome of one message."""

    record: OpenRecord
    outcome: Outcome
    turn_id: TurnId


class Ledger(Protocol):
    """The records. Every write carries owner and epoch; each raises ``LeaseLost`` when they do not hold.

    A method that returns has written durably. Between tries it waits; it gives up only with the lease.
    """

    async def look(self) -> tuple[list[OpenRecord], list[StopRecord]]:
        """All turn records without outcome and all stops, read consistently."""

    async def stack(self) -> tuple[ThreadId, ...]:
        """The stack of threads as last recorded, top first."""

    async def threads(self) -> Mapping[ThreadId, datetime]:
        """All threads whose records are not removed, and when each was touched last; read consistently, all
        of them or an error."""

    async def message(self, *, thread_id: ThreadId, sequence: int) -> Message:
        """The message itself."""

    async def lift(self, record: OpenRecord, *, stack: tuple[ThreadId, ...]) -> None:
        """Record that this message has lifted its thread, and the stack that came of it."""

    async def append(self, thread_id: ThreadId, drafts: Sequence[Draft]) -> None:
        """Write events of one thread, in order, with the thread's next numbers."""

    async def update(self, record: OpenRecord, drafts: Sequence[Draft]) -> None:
        """Write the turn record as given (start, park) together with events of its thread."""

    async def finish(
        self,
        endings: Sequence[Ending],
        *,
        stack: tuple[ThreadId, ...],
        drafts: Sequence[Draft],
        cost_usd: float = 0.0,
    ) -> None:
        """Record the outcomes of messages of one thread, once, with their final events and the stack."""

    async def clear_stop(self, *, thread_id: ThreadId, through: int) -> None:
        """Forget a stop that was carried out, unless a later one has taken its place."""

    async def is_deleted(self, thread_id: ThreadId) -> bool:
        """Whether the thread is to be removed and is not yet."""

    async def forget(self, thread_id: ThreadId) -> None:
        """Remove every record of a thread that is to be removed, the one that says so last. Can be
        repeated."""


class Changes(Protocol):
    """The record of what threads' branches changed. Nothing here may delay or fail a turn."""

    async def refresh(self, thread_id: ThreadId) -> None:
        """Write what the thread's branch changed, if it moved; for the time beside a turn. Never raises."""

    async def catch_up(self) -> None:
        """The same for the threads that an earlier process may have left behind. Never raises."""


@dataclass(frozen=True, kw_only=True)
class Laid:
    """The files of a message on this disk, below ``folder``, and those that are not there any more."""

    folder: Path
    files: tuple[tuple[Upload, Path], ...]
    missed: tuple[Upload, ...]


class Uploads(Protocol):
    """Files that people sent with their messages."""

    def folder(self, thread_id: ThreadId) -> Path:
        """Where the files of a thread are, or will be."""

    async def lay(self, thread_id: ThreadId, uploads: Sequence[Upload]) -> Laid:
        """Put the files of a message where Claude Code may read them, outside of the checkout. What cannot
        be put there is missed. Raises ``LeaseLost``."""

    async def forget(self, thread_id: ThreadId) -> None:
        """Remove the files of a thread from this disk."""

    async def forget_others(self, *, but: Collection[ThreadId]) -> None:
        """The same for all threads but these. Raises ``OSError``."""


class Sessions(Protocol):
    """Claude Code's sessions, kept beside the disk. Nothing here may fail a turn."""

    async def lay(self, thread_id: ThreadId) -> None:
        """Put the thread's session on this disk, unless it is here or there is none. Never raises."""

    def ring(self, thread_id: ThreadId) -> None:
        """The transcript of a turn that runs has grown. Does not wait, never raises."""

    async def keep(self, thread_id: ThreadId) -> None:
        """Write what is new in the thread's session. Bounded; never raises."""


class Inbox(Protocol):
    """The deliveries the worker holds."""

    def settle(self, *, open_keys: Collection[tuple[ThreadId, int]], before: float) -> None:
        """Delete what was received before ``before`` (monotonic, seconds) and points at nothing open."""


class Lease(Protocol):
    """The worker id's owner."""

    async def cold(self) -> None:
        """Say in the row that this worker is about to leave (so that senders wake another)."""

    async def warm(self) -> None:
        """Take that back."""
