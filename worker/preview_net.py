"""The preview's port: is it free, does it answer, who is connected.

Only looks; nothing here starts or ends anything.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from worker import processes

_ESTABLISHED = "01"


def is_taken(*, host: str, port: int) -> bool:
    """Whether something else listens on the port."""
    with socket.socket(_family(host), socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError:
            return True
    return False


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class Probe:
    """Asks the server for its front page. ``recent`` are the last ports it asked from."""

    def __init__(self, *, host: str, port: int) -> None:
        self._host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        self._port = port
        self.recent: deque[int] = deque(maxlen=4)

    async def answers(self, *, within: float) -> bool:
        """Whether any HTTP status came back within so many seconds; an error page is an answer."""
        try:
            async with asyncio.timeout(within):
                return await self._ask()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return False

    async def _ask(self) -> bool:
        reader, writer = await asyncio.open_connection(sock=await self._connect())
        try:
            lines = (
                "GET / HTTP/1.1",
                f"Host: localhost:{self._port}",
                "Accept: text/html",
                "Connection: close",
            )
            writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
            return (await reader.readuntil(b"\n")).startswith(b"HTTP/1.")
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def _connect(self) -> socket.socket:
        own = socket.socket(_family(self._host), socket.SOCK_STREAM)
        try:
            own.setblocking(False)
            # Bound before it connects, so that it is known from the first moment on.
            own.bind(("", 0))
            self.recent.append(own.getsockname()[1])
            await asyncio.get_running_loop().sock_connect(own, (self._host, self._port))
        except BaseException:
            own.close()
            raise
        return own


def clients(*, port: int, server_pids: Iterable[int]) -> list[int]:
    """The clients' ports of the connections to ``port``, without those the server made to itself.

    Empty where the system does not show its connections under ``/proc``.
    """
    rows = [row for name in ("tcp", "tcp6") for row in _rows(Path("/proc/net") / name)]
    inodes = _socket_inodes(server_pids)
    looped = {local for local, _, inode in rows if inode in inodes} - {port}
    return [remote for local, remote, _ in rows if local == port and remote not in looped]


def clients_of(*, port: int, name: str, value: str) -> list[int]:
    """The same for the server whose processes carry ``name=value``."""
    return clients(port=port, server_pids=processes.marked(name=name, value=value))


def _rows(table: Path) -> Iterator[tuple[int, int, str]]:
    """Local port, remote port and inode of each established connection."""
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return
    for fields in map(str.split, lines):
        if fields[3] == _ESTABLISHED:
            yield int(fields[1].rpartition(":")[2], 16), int(fields[2].rpartition(":")[2], 16), fields[9]


def _socket_inodes(pids: Iterable[int]) -> set[str]:
    inodes: set[str] = set()
    for pid in pids:
        with suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    inodes.add(Path(entry.path).readlink().name.removeprefix("socket:[").removesuffix("]"))
    return inodes
