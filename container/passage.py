"""Single ports of the machine outside, on a container's own loopback; then becomes the worker.

A worker's container on somebody's own machine must not see that machine's loopback, where everything listens
that trusts its own users: the dispatcher, databases, other people's tools. What the worker and Claude Code do
need there (engine, model, repositories) comes in as sockets in a folder, and this program listens for each on
the port that it has outside. It looks into nothing that passes. Standard library, one file, a bare script.

``passage.py PORT=SOCKET ... -- PROGRAM ...``
"""

import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

_PIECE = 1 << 16
_WAITING = 128


async def join(
    near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    """Pass on what either side says until both have ended. Closes both."""
    try:
        await asyncio.gather(_pass(near[0], far[1]), _pass(far[0], near[1]))
    finally:
        for _, writer in (near, far):
            writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
            return
    writer.close()  # the other direction ends, too


async def _serve(listening: Sequence[tuple[socket.socket, str]]) -> None:
    for port, path in listening:

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str = path) -> None:
            try:
                far = await asyncio.open_unix_connection(path)
            except OSError:
                writer.close()
                return
            await join((reader, writer), far)

        await asyncio.start_server(take, sock=port)
    await asyncio.Event().wait()


def main(arguments: Sequence[str]) -> None:
    """Listen, leave the serving to a process of its own, and become the program. Raises OSError."""
    end = arguments.index("--")
    pairs = [pair.partition("=") for pair in arguments[:end]]
    # Before anybody asks: who is early waits in the line until it is served.
    listening = [
        (socket.create_server(("127.0.0.1", int(port)), backlog=_WAITING), path) for port, _, path in pairs
    ]
    if not os.fork():
        # Twice, so that the program is not its parent and never wonders whose end that was.
        if not os.fork():
            os.setsid()
            asyncio.run(_serve(listening))
        os._exit(0)
    os.wait()
    program = list(arguments[end + 1 :])
    os.execvp(program[0], program)  # noqa: S606 - what is asked for; sockets are not inherited


if __name__ == "__main__":
    main(sys.argv[1:])
