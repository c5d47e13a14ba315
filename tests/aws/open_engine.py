"""ministack as it comes: CDK's command uploads to S3 by PUT, which the product's engine refuses."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet.ports import any_free
from tests.fakes.engine import engine_python, wait_until


@contextmanager
def open_engine(state: Path) -> Iterator[str]:
    """The address of all its services."""
    port = any_free()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MINISTACK_", "LOCALSTACK_"))}
    told = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1"}
    told |= {"LOG_LEVEL": "WARNING", "PERSIST_STATE": "0", "STATE_DIR": str(state)}
    with (state / "log").open("wb") as log:
        argv = [engine_python(), "-m", "ministack"]
        process = subprocess.Popen(
            argv, env={**kept, **told}, cwd=state, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: process.poll() is not None or _listens(port), seconds=60)
        assert process.poll() is None, (state / "log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(timeout=30)


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
