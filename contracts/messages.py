"""A message as it is recorded and the pointer that a queue carries. Shapes only: no storage, no I/O."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.words import Action, Frontend, MessageId, Mode, ThreadId

TEXT_LIMIT = 256 * 1024
"""Longest message text in bytes of UTF-8 (a DynamoDB item holds 400 KB; the rest is for the record)."""
LINE_LIMIT = 160
"""Longest line of a thread that lists show, in characters."""


def first_line(text: str, *, limit: int = LINE_LIMIT) -> str:
    """The first line with something in it, cut to ``limit`` characters; empty when there is none."""
    line = next((x for x in text.splitlines() if x.strip()), "").strip()
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


class Author(BaseModel):
    """Who wrote a message: ``id`` as the frontend knows them, ``name`` for people."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(max_length=200)
    name: str = Field(max_length=200)


UPLOADS_LIMIT = 10
"""Most files that one message carries."""


class Upload(BaseModel):
    """A file that came with a message. ``type`` is judged by its content, ``name`` is the person's and for
    people only; ``size`` in bytes."""

    model_config = ConfigDict(frozen=True)

    upload_id: str
    name: str = Field(max_length=200)
    type: str
    size: int = Field(ge=0)


class Message(BaseModel):
    """What one person wrote; ``id`` is the idempotency key, ``sequence`` the thread's order, from 1."""

    model_config = ConfigDict(frozen=True)

    v: Literal[1] = 1
    id: MessageId
    thread_id: ThreadId
    sequence: int = Field(ge=1)
    text: str
    mode: Mode = Mode.QUEUE
    action: Action | None = None
    frontend: Frontend = Frontend.API
    author: Author
    received: datetime
    uploads: tuple[Upload, ...] = ()


class Pointer(BaseModel):
    """What SQS carries: which record to look at. ``kind="wake"`` points at nothing and only rings."""

    model_config = ConfigDict(frozen=True)

    v: Literal[1] = 1
    kind: Literal["message", "stop", "wake"] = "message"
    thread_id: ThreadId | None = None
    sequence: int | None = None
    message_id: MessageId | None = None
