"""The thread's log: one pydantic model per event type, told apart by ``type``.

Readers must ignore fields they do not know, and may rely on every field that stands here for as long as
``v`` is 1. Shapes only: how events are numbered and stored is not known here.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from contracts.messages import Author, Upload
from contracts.words import Action, Frontend, MessageId, Mode, Outcome, StopReason, ThreadId, TurnId, WorkerId


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


class ReceivedData(_Shape):
    text: str
    author: Author
    frontend: Frontend
    mode: Mode
    sequence: int
    action: Action | None = Field(
        default=None, description="What was asked for by a button; the text says it in words."
    )
    uploads: tuple[Upload, ...] = Field(default=(), description="Files that came with it.")


class QueuedData(_Shape):
    ahead: int = Field(description="How many messages are worked on before this one.")


class StartedData(_Shape):
    branch: str
    base: str = Field(description="Commit the turn started from.")
    session_id: str
    attempt: int
    together_with: MessageId | None = Field(
        default=None, description="For a steering message: the message whose running turn took it in."
    )


class TextData(_Shape):
    text: str = Field(description="A piece of the answer; pieces are joined as they are.")


class ToolData(_Shape):
    tool_use_id: str
    name: str
    state: Literal["started", "succeeded", "failed"]
    input: dict[str, Any] = Field(default_factory=dict)
    output: str = ""


class TaskEntry(_Shape):
    id: str
    subject: str
    status: Literal["pending", "in_progress", "completed"]


class TasksData(_Shape):
    tasks: tuple[TaskEntry, ...]


class InterruptedData(_Shape):
    reason: StopReason
    text: str = Field(description="One sentence for a person.")
    by_thread: ThreadId | None = None
    checkpoint: str | None = Field(default=None, description="Commit of the work in progress, if any.")
    resumes_at: datetime | None = Field(default=None, description="When a usage limit ends.")


class ResumedData(_Shape):
    reason: StopReason | Literal["recovered"]
    text: str
    branch: str
    attempt: int


class CommittedData(_Shape):
    sha: str
    branch: str
    files: int = 0
    insertions: int = 0
    deletions: int = 0
    checkpoint: bool = False


class PushedData(_Shape):
    sha: str
    branch: str
    conflict: bool = Field(default=False, description="True when the work went beside the thread's branch.")
    onto: str | None = Field(default=None, description="The branch of people's that holds the work as well.")
    rebased: bool = False
    checkpoint: bool = False


class OutcomeData(_Shape):
    """How a turn ended: the answer, the evidence, the bill."""

    text: str
    changed: bool = False
    commit: str | None = None
    branch: str | None = None
    onto: str | None = Field(default=None, description="The branch of people's that holds the work as well.")
    files: int = 0
    insertions: int = 0
    deletions: int = 0
    pushed: bool = False
    problem: str | None = Field(default=None, description="What went wrong beside the answer.")
    note: str | None = Field(default=None, description="What is worth saying, e.g. that nothing changed.")
    reason: str | None = None
    duration_ms: int = 0
    cost_usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    interruptions: int = 0
    together_with: MessageId | None = None


class PreviewData(_Shape):
    url: str
    branch: str | None = None


class WorkerData(_Shape):
    worker_id: WorkerId
    epoch: int | None = None
    reason: str | None = None


class _Base(_Shape):
    v: Literal[1] = 1
    id: int = Field(ge=1, description="The thread's event number: 1, 2, 3 ... without gaps.")
    thread_id: ThreadId
    time: datetime


class _OfMessage(_Base):
    message_id: MessageId


class _OfTurn(_OfMessage):
    turn_id: TurnId


class MessageReceived(_OfMessage):
    type: Literal["message.received"] = "message.received"
    data: ReceivedData


class MessageQueued(_OfMessage):
    type: Literal["message.queued"] = "message.queued"
    data: QueuedData


class TurnStarted(_OfTurn):
    type: Literal["turn.started"] = "turn.started"
    data: StartedData


class TurnText(_OfTurn):
    type: Literal["turn.text"] = "turn.text"
    data: TextData


class TurnTool(_OfTurn):
    type: Literal["turn.tool"] = "turn.tool"
    data: ToolData


class TurnTasks(_OfTurn):
    type: Literal["turn.tasks"] = "turn.tasks"
    data: TasksData


class TurnInterrupted(_OfTurn):
    type: Literal["turn.interrupted"] = "turn.interrupted"
    data: InterruptedData


class TurnResumed(_OfTurn):
    type: Literal["turn.resumed"] = "turn.resumed"
    data: ResumedData


class TurnCommitted(_OfTurn):
    type: Literal["turn.committed"] = "turn.committed"
    data: CommittedData


class TurnPushed(_OfTurn):
    type: Literal["turn.pushed"] = "turn.pushed"
    data: PushedData


class TurnCompleted(_OfTurn):
    type: Literal["turn.completed"] = "turn.completed"
    data: OutcomeData


class TurnStopped(_OfTurn):
    type: Literal["turn.stopped"] = "turn.stopped"
    data: OutcomeData


class TurnFailed(_OfTurn):
    type: Literal["turn.failed"] = "turn.failed"
    data: OutcomeData


class TurnRejected(_OfTurn):
    type: Literal["turn.rejected"] = "turn.rejected"
    data: OutcomeData


class PreviewReady(_Base):
    type: Literal["preview.ready"] = "preview.ready"
    data: PreviewData


class WorkerStarting(_Base):
    type: Literal["worker.starting"] = "worker.starting"
    data: WorkerData


class WorkerReady(_Base):
    type: Literal["worker.ready"] = "worker.ready"
    data: WorkerData


class WorkerStopped(_Base):
    type: Literal["worker.stopped"] = "worker.stopped"
    data: WorkerData


Event = Annotated[
    MessageReceived
    | MessageQueued
    | TurnStarted
    | TurnText
    | TurnTool
    | TurnTasks
    | TurnInterrupted
    | TurnResumed
    | TurnCommitted
    | TurnPushed
    | TurnCompleted
    | TurnStopped
    | TurnFailed
    | TurnRejected
    | PreviewReady
    | WorkerStarting
    | WorkerReady
    | WorkerStopped,
    Field(discriminator="type"),
]

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
"""Validates and serialises any event; ``EVENT.dump_json`` gives the one line that readers get."""

FINAL = {
    Outcome.COMPLETED: "turn.completed",
    Outcome.STOPPED: "turn.stopped",
    Outcome.FAILED: "turn.failed",
    Outcome.REJECTED: "turn.rejected",
}
"""The event type that tells an outcome."""
