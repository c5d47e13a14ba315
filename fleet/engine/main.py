"""Start the embedded engine: `python main.py --port N --state DIR [--parent-pid PID]`.

Prints one line of JSON on stdout when it answers requests. Ends with its parent, and with code 0 on SIGTERM
or SIGINT. The port is bound before ministack is imported, because ministack builds queue URLs from it.
"""

import argparse
import asyncio
import ctypes
import json
import os
import signal
import socket
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 0.8
DEFAULT_SERVICES = "sqs,dynamodb,sts"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="SQS and DynamoDB on this machine, durable.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--state", type=Path, required=True, help="directory of the journal")
    parser.add_argument("--parent-pid", type=int, help="end when this parent ends")
    # Every user of a machine may read what stands in an argv, so a real one comes from the environment.
    parser.add_argument(
        "--access-key",
        default=os.environ.get("BRANCHLINE_ENGINE_KEY"),
        help="the only access key id that is let in (BRANCHLINE_ENGINE_KEY)",
    )
    parser.add_argument("--any-account", action="store_true", help="also let 12-digit key ids in (tests)")
    parser.add_argument("--services", default=DEFAULT_SERVICES, help="comma-separated ministack services")
    parser.add_argument("--fsync", action="store_true", help="survive a power failure, not only a kill")
    parser.add_argument(
        "--compact-bytes", type=int, default=16 << 20, help="journal growth before compaction"
    )
    parser.add_argument(
        "--reap-seconds", type=float, default=60.0, help="between two looks for expired items"
    )
    return parser.parse_args()


def _die_with_parent(parent_pid: int | None) -> None:
    if parent_pid is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have ended before the line above.
    if os.getppid() != parent_pid:
        raise SystemExit(f"engine: the parent {parent_pid} is gone")


def _bind(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", port))
    except OSError as error:
        message = (
            f"engine: port {port} is taken ({error.strerror}): stop what uses it, or choose another port"
        )
        raise SystemExit(message) from None
    sock.listen(512)
    return sock


def _prepare_environment(port: int) -> None:
    """ministack reads its settings from the environment, once, at import."""
    for name in list(os.environ):
        if name.startswith(("MINISTACK_", "LOCALSTACK_", "AWS_")) or name in ("AUTH", "USE_SSL", "EDGE_PORT"):
            del os.environ[name]
    os.environ |= {
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1",
        "LOG_LEVEL": "WARNING",
        "PERSIST_STATE": "0",
    }


async def _watch_parent(*, parent_pid: int | None, stop: asyncio.Event) -> None:
    """For systems without PR_SET_PDEATHSIG."""
    while parent_pid is not None and os.getppid() == parent_pid:
        await asyncio.sleep(1)
    if parent_pid is not None:
        stop.set()


def _announce(port: int) -> None:
    print(json.dumps({"event": "ready", "url": f"http://127.0.0.1:{port}"}), flush=True)


class Engine:
    """One run, from the journal to the last answer. Import of ministack happens here, after `_bind`."""

    def __init__(self, *, options: argparse.Namespace, sock: socket.socket) -> None:
        import app
        import seam
        from guard import Guard
        from journal import Journal
        from ledger import Ledger
        from polls import Polls

        seam.check()
        seam.silence_ttl_thread()
        self._options = options
        self._sock = sock
        self._exit_code = 0
        self._ended = asyncio.Event()
        self._polls = Polls()
        self._polls.install()
        journal = Journal(directory=options.state, fsync=options.fsync)
        self._ledger = Ledger(journal=journal, compact_bytes=options.compact_bytes)
        self._ledger.restore()
        self._app = app.App(
            guard=Guard(access_key=options.access_key, any_account=options.any_account),
            ledger=self._ledger,
            services=frozenset(options.services.split(",")),
            on_ready=lambda: _announce(sock.getsockname()[1]),
            on_stop=self._fail,
        )

    def _fail(self, reason: str) -> None:
        print(f"engine: stopped: {reason}", file=sys.stderr, flush=True)
        self._exit_code = 74
        self._ended.set()

    def _hard_exit(self) -> None:
        """The journal is complete at any moment, so leaving connections behind loses nothing."""
        os._exit(self._exit_code)

    async def run(self) -> int:
        """Serve until a signal or the parent's end. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ended.set)
        background = [
            asyncio.ensure_future(self._ledger.reap(every_seconds=self._options.reap_seconds)),
            asyncio.ensure_future(_watch_parent(parent_pid=self._options.parent_pid, stop=self._ended)),
        ]
        await self._serve()
        for task in background:
            task.cancel()
        self._ledger.close()
        return self._exit_code

    async def _serve(self) -> None:
        import server

        await server.serve(app=self._app, sock=self._sock, until=self._until_ended)

    async def _until_ended(self) -> None:
        await self._ended.wait()
        asyncio.get_running_loop().call_later(STOP_SECONDS, self._hard_exit)
        self._polls.stop()


async def _main(*, options: argparse.Namespace, sock: socket.socket) -> int:
    return await Engine(options=options, sock=sock).run()


def main() -> int:
    """Run the engine. Returns the exit code: 0 after a signal, 74 for a full disk, 1 for a bad start."""
    options = _arguments()
    _die_with_parent(options.parent_pid)
    sock = _bind(options.port)
    _prepare_environment(sock.getsockname()[1])
    from journal import JournalError
    from seam import SeamError

    try:
        return asyncio.run(_main(options=options, sock=sock))
    except (JournalError, SeamError) as error:
        print(f"engine: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
