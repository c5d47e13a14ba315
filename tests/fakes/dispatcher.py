"""The dispatcher as a process of its own, and a launcher that only counts, for tests."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0
REGION = "us-east-1"
REPO = "example.invalid/site.git"


def environment(*, engine_url: str, account: str, **more: str) -> dict[str, str]:
    """What a dispatcher needs in its environment; nothing of this process's own AWS or product settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "BRANCHLINE_"))}
    return {
        **kept,
        "AWS_ENDPOINT_URL": engine_url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": account,
        "AWS_SECRET_ACCESS_KEY": "local",
        "BRANCHLINE_PORT": "0",
        "BRANCHLINE_REPO": REPO,
        "BRANCHLINE_PROJECT": "site",
        "PYTHONPATH": str(ROOT),
        **more,
    }


class DispatcherProcess:
    """A running dispatcher. ``url`` is its address; ``logs()`` is what it said on stdout and stderr."""

    def __init__(self, *, env: Mapping[str, str], cwd: Path) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dispatcher"],
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
        )
        try:
            self.url = self._listening()
        except RuntimeError:
            self.close()
            raise

    def _listening(self) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            for line in self.logs().splitlines():
                if line.startswith("{") and line.endswith("}") and "listening" in line:
                    return str(json.loads(line)["url"])
            time.sleep(0.01)
        raise RuntimeError(f"the dispatcher did not start: {self.logs()}")

    def logs(self) -> str:
        """All it wrote so far."""
        return os.pread(self._output.fileno(), 10_000_000, 0).decode(errors="replace")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=START_SECONDS)

    def close(self) -> None:
        """Leave nothing behind. Safe in any state."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=START_SECONDS)
        self._output.close()


def start_dispatcher(engine_url: str, *, account: str, cwd: Path, **more: str) -> DispatcherProcess:
    """Start a dispatcher on a free port; ``more`` is added to its environment. The caller closes it.

    It answers requests when this returns (connections wait until it has started).
    """
    return DispatcherProcess(env=environment(engine_url=engine_url, account=account, **more), cwd=cwd)


@contextmanager
def running_dispatcher(
    engine_url: str, *, account: str, cwd: Path, **more: str
) -> Iterator[DispatcherProcess]:
    """A dispatcher for the length of a block."""
    dispatcher = start_dispatcher(engine_url, account=account, cwd=cwd, **more)
    try:
        yield dispatcher
    finally:
        dispatcher.close()


class FakeLauncher:
    """A launcher over HTTP that starts nothing: it remembers who was to be started and who runs.

    ``failing`` makes every answer a 500; ``asked`` lists the worker ids of all POSTs, in order, and
    ``looks`` counts the GETs.
    """

    def __init__(self, *, token: str = "secret") -> None:
        self.token = token
        self.running: set[str] = set()
        self.asked: list[str] = []
        self.looks = 0
        self.failing = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._endpoint())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, *, method: str, path: str, authorization: str | None) -> tuple[int, dict[str, Any]]:
        """Status and body for a request."""
        worker = path.removeprefix("/workers/")
        if self.failing or authorization != f"Bearer {self.token}":
            return 500 if self.failing else 401, {}
        started = method == "POST" and worker not in self.running
        self.looks += method == "GET"
        if method == "POST":
            self.asked.append(worker)
            self.running.add(worker)
        return 200, {"running": worker in self.running, "started": started}

    def _endpoint(self) -> type[BaseHTTPRequestHandler]:
        launcher = self

        class Endpoint(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply("GET")

            def do_POST(self) -> None:
                self._reply("POST")

            def _reply(self, method: str) -> None:
                status, plain = launcher.answer(
                    method=method, path=self.path, authorization=self.headers["Authorization"]
                )
                body = json.dumps(plain).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        return Endpoint

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def running_launcher() -> Iterator[FakeLauncher]:
    """A launcher for the length of a block."""
    launcher = FakeLauncher()
    try:
        yield launcher
    finally:
        launcher.close()
