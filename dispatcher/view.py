"""What a person should see of a thread: its log folded into one state a message. Pure, and no dialect.

Every frontend that posts renders from here, so that Slack and GitHub say the same. A view only grows: events
are added in order, and an event that was added already changes nothing.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from contracts.events import (
    Event,
    MessageQueued,
    MessageReceived,
    OutcomeData,
    PreviewReady,
    TaskEntry,
    ToolData,
    TurnCompleted,
    TurnFailed,
    TurnInterrupted,
    TurnRejected,
    TurnResumed,
    TurnStarted,
    TurnStopped,
    TurnTasks,
    TurnText,
    TurnTool,
    WorkerReady,
    WorkerStarting,
    WorkerStopped,
)
from contracts.messages import Author
from contracts.words import Frontend, MessageId, Outcome, ThreadId


class Stage(StrEnum):
    """Where a message stands, as a person sees it. The last four are final."""

    RECEIVED = "received"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"
    REJECTED = "rejected"


class MessageView(BaseModel):
    """One message. ``ahead``: how many are worked on before it. ``note``: the last sentence about a pause or
    about going on. ``step``: the tool under way. ``said``: the answer as far as it is written. ``final``:
    outcome, answer and evidence. ``together_with``: the message whose turn answers this one, too."""

    model_config = ConfigDict(frozen=True)

    message_id: MessageId
    sequence: int
    author: Author
    frontend: Frontend
    text: str
    stage: Stage = Stage.RECEIVED
    ahead: int = 0
    note: str = ""
    tasks: tuple[TaskEntry, ...] = ()
    step: ToolData | None = None
    said: str = ""
    received: datetime
    started: datetime | None = None
    ended: datetime | None = None
    final: OutcomeData | None = None
    together_with: MessageId | None = None

    @property
    def is_over(self) -> bool:
        """Whether there is an outcome."""
        return self.final is not None


class ThreadView(BaseModel):
    """A thread. ``last``: the newest event that is in here. ``worker``: the last sentence about the worker
    (being started, gone), empty while it is there."""

    model_config = ConfigDict(frozen=True)

    thread_id: ThreadId
    last: int = 0
    messages: tuple[MessageView, ...] = ()
    branch: str | None = None
    preview_url: str | None = None
    worker: str = ""

    def add(self, events: Iterable[Event]) -> "ThreadView":
        """The view with these events; those it has already are passed over."""
        view = self
        for event in events:
            if event.id > view.last:
                view = _added(view, event).model_copy(update={"last": event.id})
        return view

    def message(self, message_id: MessageId) -> MessageView | None:
        """One message."""
        return next((m for m in self.messages if m.message_id == message_id), None)


_STAGES = {
    TurnCompleted: (Stage.COMPLETED, Outcome.COMPLETED),
    TurnStopped: (Stage.STOPPED, Outcome.STOPPED),
    TurnFailed: (Stage.FAILED, Outcome.FAILED),
    TurnRejected: (Stage.REJECTED, Outcome.REJECTED),
}
_AT_WORK = (TurnStarted, TurnResumed, TurnText, TurnTool, TurnTasks)
WAKING = "The worker is being started."
GONE = "The worker has stopped; it is started again when there is work."


def _added(view: ThreadView, event: Event) -> ThreadView:
    match event:
        case MessageReceived():
            fresh = MessageView(
                message_id=event.message_id,
                received=event.time,
                **event.data.model_dump(include={"sequence", "author", "frontend", "text"}),
            )
            return view.model_copy(update={"messages": (*view.messages, fresh)})
        case PreviewReady():
            return view.model_copy(update={"preview_url": event.data.url})
        case WorkerStarting():
            return view.model_copy(update={"worker": WAKING})
        case WorkerReady():
            return view.model_copy(update={"worker": ""})
        case WorkerStopped():
            return view.model_copy(update={"worker": _gone(event.data.reason)})
        case _:
            return _of_message(view, event)


def _gone(reason: str | None) -> str:
    """A reason of one word (``drained``) is for logs."""
    return reason if reason and " " in reason else GONE


def _of_message(view: ThreadView, event: Event) -> ThreadView:
    old = view.message(event.message_id) if hasattr(event, "message_id") else None
    if old is None or old.is_over:
        return view
    new = old.model_copy(update=_change(old, event))
    branch = getattr(event.data, "branch", None) or view.branch
    messages = tuple(new if m is old else m for m in view.messages)
    # Whoever works is there: that it is ready may not have reached this thread.
    worker = "" if isinstance(event, _AT_WORK) else view.worker
    return view.model_copy(update={"messages": messages, "branch": branch, "worker": worker})


def _change(old: MessageView, event: Event) -> dict[str, object]:
    match event:
        case MessageQueued():
            return {"stage": Stage.QUEUED, "ahead": event.data.ahead}
        case TurnStarted():
            together = event.data.together_with
            running = {"stage": Stage.RUNNING, "started": event.time, "ahead": 0, "together_with": together}
            return running | ({} if together else {"note": ""})
        case TurnText():
            return {"said": old.said + event.data.text, "step": None}
        case TurnTool():
            return {"step": event.data if event.data.state == "started" else None}
        case TurnTasks():
            return {"tasks": event.data.tasks}
        case TurnInterrupted():
            return {"stage": Stage.PAUSED, "note": event.data.text, "step": None}
        case TurnResumed():
            return {"stage": Stage.RUNNING, "note": event.data.text}
        case TurnCompleted() | TurnStopped() | TurnFailed() | TurnRejected():
            stage, _ = _STAGES[type(event)]
            return {
                "stage": stage,
                "final": event.data,
                "ended": event.time,
                "step": None,
                "together_with": event.data.together_with or old.together_with,
            }
        case _:
            return {}
