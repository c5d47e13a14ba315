"""A scripted model for tests: the real Claude Code is steered by the ``do:`` lines of the text it is sent.

The notation is in ``model_steps``. In a test: ``async with scripted_model() as model`` and set
``ANTHROPIC_BASE_URL`` to ``model.url``. As a process: ``python -m tests.fakes.model --port N --log FILE``.
It must not decide anything by itself: what a test did not ask for does not happen.
"""

import argparse
import asyncio
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.model.conversation import ModelRequest
from fleet.model.plan import next_parts
from fleet.model.process import serve
from fleet.model.protocol import Answer, Part, Refusal, Reply, Text, ToolUse, Usage
from fleet.model.server import LoopbackServer, Script, bind, create_app, url_of
from tests.fakes.model_steps import plan_of

_LOOK_EVERY = 0.005


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request. ``at`` is ``time.monotonic()`` of its arrival, one clock for all processes."""

    request: ModelRequest
    at: float

    @property
    def text(self) -> str:
        """The person's text that is being worked on."""
        return self.request.last_text

    def as_line(self) -> dict[str, Any]:
        """What the log file says of it."""
        request = self.request
        return {
            "at": self.at,
            "session_id": request.session_id,
            "model": request.model,
            "cwd": request.cwd,
            "text": request.last_text,
            "user_texts": request.user_texts,
            "heard": request.heard,
            "resumed": request.resumed,
            "tool_results": request.tool_results,
            "tools": request.tools,
            "headers": dict(request.headers),
        }


class ScriptedModel:
    """The script and its record. ``url`` is empty until it is served."""

    def __init__(self, *, log: Path | None = None, usage: Usage | None = None) -> None:
        self.url = ""
        self.requests: list[Received] = []
        self._log = log
        self._usage = usage or Usage(input_tokens=100, output_tokens=20)
        self._asked: Counter[str] = Counter()

    def reply(self, request: ModelRequest) -> Answer:
        """Record the request, then do the next step of its script."""
        self._record(Received(request=request, at=time.monotonic()))
        parts = next_parts(plan_of(request, count=self._count), calls=request.calls)
        return (
            parts if isinstance(parts, Refusal) else Reply(parts=tuple(_in_lines(parts)), usage=self._usage)
        )

    async def wait_for_request(
        self, predicate: Callable[[Received], bool] = lambda _: True, *, after: int = 0, timeout: float = 30
    ) -> Received:
        """The first request from index ``after`` on that fits; ``TimeoutError`` after ``timeout`` seconds."""
        async with asyncio.timeout(timeout):
            while True:
                for received in self.requests[after:]:
                    if predicate(received):
                        return received
                await asyncio.sleep(_LOOK_EVERY)

    def _record(self, received: Received) -> None:
        self.requests.append(received)
        if self._log:
            with self._log.open("a") as log:
                log.write(json.dumps(received.as_line()) + "\n")

    def _count(self, key: str) -> int:
        self._asked[key] += 1
        return self._asked[key] - 1


@asynccontextmanager
async def scripted_model(
    *, log: Path | None = None, usage: Usage | None = None
) -> AsyncIterator[ScriptedModel]:
    """A scripted model, listening on a free port of 127.0.0.1 in a thread of its own."""
    with serving_model(log=log, usage=usage) as model:
        yield model


@contextmanager
def serving_model(*, log: Path | None = None, usage: Usage | None = None) -> Iterator[ScriptedModel]:
    """As ``scripted_model``, for tests that are not coroutines."""
    model = ScriptedModel(log=log, usage=usage)
    with serving(model) as url:
        model.url = url
        yield model


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """Serve any script on a free port of 127.0.0.1 in a thread of its own; gives the address."""
    server, listener = LoopbackServer(create_app(script)), bind(0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="model")
    thread.start()
    try:
        yield url_of(listener)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _in_lines(parts: tuple[Part, ...]) -> Iterator[Part]:
    """Steps that speak stand on lines of their own."""
    for number, part in enumerate(parts):
        if number and not isinstance(part, ToolUse):
            yield Text(text="\n")
        yield part


def main() -> int:
    """Serve as a process until told to stop; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.model")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, help="append each request to this file, one JSON object per line")
    given = parser.parse_args()
    return serve(ScriptedModel(log=given.log), port=given.port)


if __name__ == "__main__":
    sys.exit(main())
