"""Everything a preview is made from, on a free port, with the fake toolchain."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.fakes.astro import Toolchain, toolchain
from worker.ports import PreviewState
from worker.preview import DevServer
from worker.preview_plan import Pace
from worker.redact import Redactor

SECRET = "correct-horse-battery"
QUICK = Pace(
    probe_every=0.05, starting_every=0.02, probe_within=0.3, max_misses=2, port_every=0.05, backoff_first=0.02
)


class Stage:
    """A checkout, its tools, a free port, and everything a preview is made from."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tools: Toolchain = toolchain(root / "tools")
        self.path = root / "checkout"
        self.path.mkdir()
        self.marker = f"test-{uuid4()}"
        self.port = free_port()
        self.announced: list[PreviewState] = []

    def server(self, **changed: Any) -> DevServer:
        options: dict[str, Any] = {
            "path": self.path,
            "port": self.port,
            "marker": self.marker,
            "redact": Redactor(secrets=[SECRET]),
            "log_dir": self.root / "state",
            "on_ready": self._announce,
            "node": self.tools.node,
            "pace": QUICK,
        }
        return DevServer(**(options | changed))

    @asynccontextmanager
    async def running(self, **changed: Any) -> AsyncIterator[DevServer]:
        server = self.server(**changed)
        running = asyncio.create_task(server.run())
        try:
            yield server
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    async def get(self, path: str = "/") -> str:
        """The whole answer, status line first; "" when there is none."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return ""
        try:
            writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            return (await reader.read()).decode()
        except OSError:
            return ""
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    @property
    def starts(self) -> list[dict[str, Any]]:
        return self.tools.journal("start")

    async def _announce(self, state: PreviewState) -> None:
        self.announced.append(state)


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


async def until(condition: Callable[[], bool | Awaitable[bool]], *, within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while True:
        holds = condition()
        if holds is True or (not isinstance(holds, bool) and await holds):
            return
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.01)
