"""hypercorn, told to serve one bound socket and to remember each request's connection."""

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import polls
import seam
from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config

GRACE_SECONDS = 0.3
KEEP_ALIVE_SECONDS = 75


class Connection(TCPServer):
    """A connection whose requests can ask whether their client is still there."""

    async def run(self) -> None:
        """Serve the connection; tasks started from here inherit the context variable."""
        polls.connection.set(self.writer)
        await super().run()


def _config(sock: socket.socket) -> Config:
    config = Config()
    config.bind = [f"fd://{sock.fileno()}"]
    config.loglevel = "WARNING"
    config.graceful_timeout = GRACE_SECONDS
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    config.include_server_header = False
    return config


async def serve(*, app: Any, sock: socket.socket, until: Callable[[], Awaitable[None]]) -> None:
    """Serve `app` on a listening socket until `until` returns."""
    seam.use_connection(Connection)
    await hypercorn_serve(app, _config(sock), shutdown_trigger=until, mode="asgi")
