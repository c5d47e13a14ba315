"""``python -m dispatcher``: the application under uvicorn, on one machine."""

import ctypes
import errno
import os
import signal
import socket
import sys

import structlog
import uvicorn
from pydantic import ValidationError

from dispatcher import log
from dispatcher.app import create_app
from dispatcher.settings import Settings
from dispatcher.signin_rights import refuse_open

_PR_SET_PDEATHSIG = 1
_STOP_SECONDS = 5


def main() -> int:
    """Serve until SIGTERM or SIGINT. Exit codes: 0 stopped, 2 cannot start as configured."""
    parent = os.getppid()
    log.configure()
    try:
        settings = Settings()
        refuse_open(settings)
        listener = _listen(settings)
    except (OSError, ValueError) as error:
        print(f"dispatcher: {_sentence(error)}", file=sys.stderr)  # noqa: T201 - for the person who started it
        return 2
    if settings.die_with_parent and not _die_with(parent):
        return 0
    # uvicorn raises the signal once more when it has stopped; by then leaving is all there is to do.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    _serve(settings, listener)
    return 0


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say where it listens, once it does answer."""
        await super().startup(sockets=sockets)
        host, port = sockets[0].getsockname()[:2] if sockets else ("", 0)
        shown = f"[{host}]" if ":" in host else host
        structlog.get_logger("dispatcher").info("listening", url=f"http://{shown}:{port}")


def _serve(settings: Settings, listener: socket.socket) -> None:
    server = _Server(
        uvicorn.Config(
            create_app(settings),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="websockets-sansio",
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
    )
    server.run(sockets=[listener])


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; else answers wait 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise OSError(
            f"port {settings.port} is taken: stop what listens there, or set BRANCHLINE_PORT to another."
        ) from None
    return listener


def _die_with(parent: int) -> bool:
    """Be sent SIGTERM when the parent dies (Linux); false when it is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return os.getppid() == parent


def _sentence(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"the setting {'.'.join(str(part) for part in first['loc'])} is not usable: {first['msg']}"
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
