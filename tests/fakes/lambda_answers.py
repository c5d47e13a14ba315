"""What comes back from a function that is driven through the Runtime API: pieces, results, errors."""

import json
import queue
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

ENDED = b""


class FunctionError(AssertionError):
    """The event was not answered. ``kind`` is what Lambda calls it, ``told`` what the function said."""

    def __init__(self, kind: str, told: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{kind}: {json.dumps(told or {})[:2000]}")
        self.kind, self.told = kind, dict(told or {})


@dataclass
class Answer:
    """What came for an event. ``pieces`` fills up while it comes and ends with an empty one."""

    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    pieces: "queue.Queue[bytes]" = field(default_factory=queue.Queue)
    begun: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    error: FunctionError | None = None
    event: bytes = b""
    handed_over: float | None = None
    deadline: float = 0.0

    @property
    def streamed(self) -> bool:
        return self.headers.get("lambda-runtime-function-response-mode") == "streaming"

    def finish(self, error: FunctionError | None = None) -> None:
        if not self.over.is_set():
            self.error = error
            self.begun.set()
            self.pieces.put(ENDED)
            self.over.set()

    def read(self, *, seconds: float = 30.0) -> Iterator[bytes]:
        """The pieces as they come. Raises FunctionError."""
        while piece := self.pieces.get(timeout=seconds):
            yield piece
        if self.error is not None:
            raise self.error

    def body(self, *, seconds: float = 30.0) -> bytes:
        return b"".join(self.read(seconds=seconds))


@dataclass
class Response:
    """An HTTP answer in pieces: what its prelude says, and the body as it comes."""

    answer: Answer
    head: dict[str, Any]
    rest: Iterator[bytes]
    body: bytes = b""

    @property
    def status(self) -> int:
        return int(self.head["statusCode"])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def before(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest
