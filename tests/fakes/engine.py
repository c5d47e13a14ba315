"""The embedded engine as a process of its own, for tests: start, kill, restart, and clients for it."""

import json
import os
import secrets
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[2]
MAIN = ROOT / "fleet" / "engine" / "main.py"
START_SECONDS = 30.0
REGION = "us-east-1"


def engine_python() -> Path:
    """The interpreter that has ministack. Skips the test without it; under CI=true fails instead."""
    default = ROOT / ".branchline" / "engine-venv" / "bin" / "python"
    path = Path(os.environ.get("BRANCHLINE_ENGINE_PYTHON", default))
    if not path.exists():
        reason = f"no engine environment at {path}: install requirements-engine.txt there"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


class EngineProcess:
    """A running engine. `url` is its address; `errors()` is what it said on stderr."""

    def __init__(self, *, state_dir: Path, port: int, options: tuple[str, ...]) -> None:
        self.state_dir = state_dir
        self._options = options
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        try:
            self._start(port)
        except RuntimeError:
            self.close()
            raise

    def _start(self, port: int) -> None:
        arguments = ["--port", str(port), "--state", str(self.state_dir), "--parent-pid", str(os.getpid())]
        self.process = subprocess.Popen(
            [engine_python(), MAIN, *arguments, *self._options], stdout=subprocess.PIPE, stderr=self._stderr
        )
        self.url = str(self._ready_line()["url"])

    def _ready_line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], START_SECONDS)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            self.kill9()
            raise RuntimeError(f"the engine did not start: {self.errors()}")
        event: dict[str, Any] = json.loads(line)
        return event

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rpartition(":")[2])

    def errors(self) -> str:
        """All it wrote to stderr so far."""
        self._stderr.seek(0)
        return self._stderr.read().decode()

    def _reap(self) -> int:
        code = self.process.wait(timeout=START_SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def kill9(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        """End it politely and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def restart(self, *, port: int | None = None) -> None:
        """Start again on the same state (and the same port, unless told). Kills it first if it runs."""
        if self.process.poll() is None:
            self.kill9()
        self._start(self.port if port is None else port)

    def close(self) -> None:
        """Leave nothing behind. Safe in any state."""
        if self.process.poll() is None:
            self.kill9()
        elif self.process.stdout is not None:
            self.process.stdout.close()
        self._stderr.close()


def start_engine(state_dir: Path, port: int = 0, *options: str) -> EngineProcess:
    """Start an engine that lets any 12-digit access key in. The caller closes it."""
    return EngineProcess(state_dir=state_dir, port=port, options=("--any-account", *options))


@contextmanager
def running_engine(state_dir: Path, port: int = 0, *options: str) -> Iterator[EngineProcess]:
    """An engine for the length of a block."""
    engine = start_engine(state_dir, port, *options)
    try:
        yield engine
    finally:
        engine.close()


def fresh_account() -> str:
    """A 12-digit access key id: an account of its own, so tests can share one engine."""
    return str(secrets.randbelow(9 * 10**11) + 10**11)


def client_options(*, url: str, account: str) -> dict[str, Any]:
    """Keyword arguments for a boto3 or aioboto3 client."""
    return {
        "endpoint_url": url,
        "region_name": REGION,
        "aws_access_key_id": account,
        "aws_secret_access_key": "local",
        "config": Config(retries={"total_max_attempts": 1}, read_timeout=40),
    }


@contextmanager
def aws_client(service: str, *, url: str, account: str) -> Iterator[Any]:
    """A blocking client whose connections are closed at the end."""
    client = boto3.client(service, **client_options(url=url, account=account))
    try:
        yield client
    finally:
        client.close()


def wait_until(condition: Any, *, seconds: float = 10.0) -> Any:
    """Poll `condition` until it is true and return its value; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)
