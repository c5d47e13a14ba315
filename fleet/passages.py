"""The way from a container to single ports of this machine's loopback: a folder of sockets, one for each.

A container that sees the whole loopback sees everything that trusts whoever is on this machine, first of all
the dispatcher's API. So it has a network without it, and this folder. The other end is
``container/passage.py``.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from container import passage


class Passages:
    """Sockets in ``folder``, made when they are first asked for, served while ``serving`` lasts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ports: set[int] = set()
        self._serving: set[asyncio.Task[None]] | None = None

    def to(self, port: int) -> str:
        """The name of the socket that leads to a port of the loopback. Raises OSError."""
        if port not in self._ports:
            self._ports.add(port)
            if self._serving is not None:
                self._listen(port)
        return str(port)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve those that were asked for and those that will be. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)  # who is in a container is another user
        self._serving = set()
        try:
            for port in self._ports:
                self._listen(port)
            yield
        finally:
            tasks, self._serving = self._serving, None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for port in self._ports:
                (self.folder / str(port)).unlink(missing_ok=True)

    def _listen(self, port: int) -> None:
        listening = socket.socket(socket.AF_UNIX)
        path = self.folder / str(port)
        path.unlink(missing_ok=True)
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:  # a socket's path has at most 107 bytes, a home's may have more
            listening.bind(f"/proc/self/fd/{folder}/{port}")
        finally:
            os.close(folder)
        path.chmod(0o666)
        listening.listen()
        listening.setblocking(False)
        self._keep(self._serve(listening, port=port))

    async def _serve(self, listening: socket.socket, *, port: int) -> None:
        with listening:
            while True:
                line, _ = await asyncio.get_running_loop().sock_accept(listening)
                self._keep(_pass(line, port=port))

    def _keep(self, serving: Coroutine[Any, Any, None]) -> None:
        if self._serving is None:
            serving.close()
            return
        task = asyncio.ensure_future(serving)
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)


async def _pass(line: socket.socket, *, port: int) -> None:
    near = await asyncio.open_unix_connection(sock=line)
    try:
        far = await asyncio.open_connection("127.0.0.1", port)
    except OSError:  # nobody is there now; who asks tries again
        near[1].close()
        return
    with suppress(OSError):
        await passage.join(near, far)
