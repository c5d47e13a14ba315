"""The shapes of what ``/v1`` answers, where no other module has them: for its description, and for readers.

Only shapes. What is listed from records follows the records' own fields.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from contracts.places import LinkRecord
from contracts.records import MessageRecord, ThreadRecord
from contracts.words import Frontend, MessageId, ThreadId, WorkerId
from dispatcher.dead_replies import DeadReply
from dispatcher.letters import DeadLetter


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


def _of(record: type[BaseModel], name: str, *, without: tuple[str, ...], **more: Any) -> type[BaseModel]:
    """The record's fields as they are shown."""
    kept: dict[str, Any] = {
        field: (info.annotation, info) for field, info in record.model_fields.items() if field not in without
    }
    doc = (record.__doc__ or "").strip().partition("\n")[0]
    return create_model(name, __base__=_Shape, __doc__=doc, **kept, **more)


class Accepted(_Shape):
    """A message was taken: it is recorded, and will be answered in its thread's log."""

    thread_id: ThreadId
    message_id: MessageId
    sequence: int


ThreadShown = _of(ThreadRecord, "Thread", without=("v",))
MessageShown = _of(
    MessageRecord,
    "ThreadMessage",
    without=("v", "id", "thread_id"),
    message_id=(MessageId, ...),
    state=(str, Field(description="The outcome, else waiting, running or parked.")),
)
LinkShown = _of(LinkRecord, "Link", without=("v",))


class PlaceShown(_Shape):
    """A place in a chat in which a thread is shown."""

    frontend: Frontend
    address: str
    shown: int = Field(description="The last event that was rendered there.")
    undeliverable: str | None = Field(description="Why nothing can be posted there any more.")


class ThreadList(_Shape):
    """Threads, the one with the latest news first."""

    threads: list[ThreadShown]  # type: ignore[valid-type]  # made above


ThreadWhole = _of(
    ThreadRecord,
    "ThreadWhole",
    without=("v",),
    messages=(list[MessageShown], ...),  # type: ignore[valid-type]
    places=(list[PlaceShown], ...),
)


class LinkList(_Shape):
    """Who is who outside."""

    links: list[LinkShown]  # type: ignore[valid-type]


class Undeliverable(_Shape):
    """A place in which nothing can be posted any more."""

    worker_id: WorkerId
    thread_id: ThreadId
    frontend: Frontend
    address: str
    problem: str | None


class UndeliverableList(_Shape):
    """All such places."""

    undeliverable: list[Undeliverable]


class DeadLetterList(_Shape):
    """Dead letters; ``more``: a worker has more than are listed."""

    dead_letters: list[DeadLetter]
    more: bool


class Redriven(_Shape):
    """What became of dead letters."""

    redriven: list[DeadLetter]
    deleted: list[DeadLetter]
    kept: list[DeadLetter]
    more: bool


class DeadReplyList(_Shape):
    """Dead replies; ``more``: there are more than are listed."""

    dead_replies: list[DeadReply]
    more: bool


class _Problem(_Shape):
    code: str = Field(description="A word to branch on.")
    message: str = Field(description="One sentence for a person, with what to do.")


class ErrorAnswer(_Shape):
    """Every error has this shape."""

    error: _Problem
