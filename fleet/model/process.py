"""Runs a scripted model as a process of its own: says where it listens, leaves when told or orphaned.

Shared by the offline model and the scripted model of the tests; it must not know which one it runs.
"""

import asyncio
import ctypes
import json
import os
import signal
import socket
import sys

from fleet.model.server import LoopbackServer, Script, bind, create_app, url_of

_PR_SET_PDEATHSIG = 1


def serve(script: Script, *, port: int) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. Prints one JSON line with the address when ready."""
    die_with_parent()
    try:
        listener = bind(port)
    except OSError as error:
        print(
            f"The model cannot listen on port {port}: {error.strerror}. Choose another port.", file=sys.stderr
        )
        return 1
    asyncio.run(_serve(LoopbackServer(create_app(script)), listener))
    return 0


def die_with_parent() -> None:
    """Ask Linux for a SIGTERM when the parent goes; elsewhere this does nothing."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it went between the two calls, and no signal will come
        sys.exit(0)


async def _serve(server: LoopbackServer, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, setattr, server, "should_exit", True)
    print(json.dumps({"event": "ready", "url": url_of(listener)}), flush=True)
    await server.serve(sockets=[listener])
