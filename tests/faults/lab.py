"""What the first nine faults share: groups of processes to hurt, a wire that refuses, and the whole promise.

The promise (``answered_once``) is stated here once; which fault stands before it is each test's own business.
"""

import json
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contracts.events import FINAL
from contracts.words import Outcome
from tests.chaos.places import write_wrapper
from tests.fakes.engine import wait_until
from tests.fakes.wire import THROTTLED, Wire
from tests.integration.worker_lab import Lab, git, worker_lab

Process = subprocess.Popen[bytes]
OWNER = "another owner"
_STATE = re.compile(r"^\d+ \(.*\) (\S)", re.DOTALL)


class FaultLab(Lab):
    """A lab whose workers run the fake Claude Code, unless ``real=True``."""

    def begin(self, *, real: bool = False, disk: Path | None = None, **more: str) -> Process:
        """Start a worker with a lease of 2 s whose deliveries come back 3 s after it died. ``disk``: not the
        lab's own."""
        cli = {} if real else {"BRANCHLINE_CLI_PATH": str(write_wrapper(self.folder / "claude"))}
        pace = {"BRANCHLINE_LEASE_SECONDS": "2", "BRANCHLINE_VISIBILITY_SECONDS": "3"}
        if disk is not None:
            pace["WORKSPACE_PATH"] = str(disk)
        return self.start(**{**pace, **cli, **more})

    def checkout(self, workspace: Path | None = None) -> Path:
        """The checkout on the lab's disk, or on another one."""
        return (workspace or self.workspace) / "local" / "local" / "site"

    def remote_commits(self, message: str) -> list[str]:
        """Commits with this message's trailer, on any branch of the remote."""
        form = "--format=%H %(trailers:key=Branchline-Message,valueonly,separator=%x20)"
        lines = git(self.remote, "log", "--branches", form).splitlines()
        return [line.split()[0] for line in lines if message in line.split()[1:]]


@contextmanager
def fault_lab(*, engine_url: str, account: str, folder: Path) -> Iterator[FaultLab]:
    """As ``worker_lab``."""
    with worker_lab(engine_url=engine_url, account=account, folder=folder) as lab:
        made = FaultLab(found=lab.found, remote=lab.remote, model=lab.model, folder=lab.folder)
        try:
            yield made
        finally:
            made.close()


# -------------------------------------------------------------------- steps of a fake turn


def until_there(path: Path) -> str:
    """A step that ends when the file is there."""
    return f"do: bash while [ ! -e {path} ]; do sleep 0.05; done"


# -------------------------------------------------------------------- processes


def kill_group(process: Process) -> None:
    """End a worker as the end of its container does."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def freeze(process: Process) -> None:
    """Stop a worker with all of its group."""
    os.killpg(process.pid, signal.SIGSTOP)


def wake(process: Process) -> None:
    """Let a stopped worker go on."""
    os.killpg(process.pid, signal.SIGCONT)


def is_frozen(process: Process) -> bool:
    """Whether the kernel holds it."""
    found = _STATE.match(Path(f"/proc/{process.pid}/stat").read_text(errors="replace"))
    return found is not None and found[1] == "T"


def locks(checkout: Path) -> list[Path]:
    """Lock files of git."""
    return sorted((checkout / ".git").rglob("*.lock"))


# -------------------------------------------------------------------- the promise


def answered_once(
    lab: FaultLab, thread: str, sequence: int, *, outcome: str = "completed", commits: int = 1
) -> None:
    """One outcome, one final event that says the same, so many commits, a log without gaps; the delivery is
    gone and no process of a turn is left."""
    message = f"{thread}-{sequence}"
    assert lab.outcome(thread, sequence) == outcome, lab.story(thread)
    log = lab.events(thread)
    finals = [e.type for e in log if e.type in FINAL.values() and getattr(e, "message_id", "") == message]
    assert finals == [FINAL[Outcome(outcome)]], lab.story(thread)
    assert [e.id for e in log] == list(range(1, len(log) + 1))
    assert len(lab.remote_commits(message)) == commits
    wait_until(lambda: lab.found.waiting() == (0, 0), seconds=30)
    wait_until(lambda: not lab.marked())


# -------------------------------------------------------------------- a wire that refuses


class StrictWire(Wire):
    """``shut``: actions that are throttled as long as they stand there. ``passed``: what was answered, by
    action. ``declined``: what the engine itself refused, by action and error; ``OWNER`` for transactions
    whose first part, the one that carries owner and epoch, was not met."""

    def __init__(self, engine_url: str) -> None:
        self.shut: set[str] = set()
        self.passed: Counter[str] = Counter()
        self.declined: Counter[tuple[str, str]] = Counter()
        super().__init__(engine_url)

    def answer(self, *, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        action = headers.get("X-Amz-Target", "").rpartition(".")[2]
        if action in self.shut:
            self.refused[action] += 1
            return 400, "application/x-amz-json-1.0", THROTTLED
        status, kind, content = super().answer(path=path, headers=headers, body=body)
        if status == 200:
            self.passed[action] += 1
        elif content != THROTTLED:
            self.declined[action, _error(content)] += 1
        return status, kind, content


def _error(content: bytes) -> str:
    told: Any = json.loads(content)
    reasons = [reason.get("Code") for reason in told.get("CancellationReasons", [])]
    if reasons[:1] == ["ConditionalCheckFailed"]:
        return OWNER
    return str(told.get("__type", "")).rpartition("#")[2]


@contextmanager
def strict_wire(engine_url: str) -> Iterator[StrictWire]:
    """A wire for the length of a block."""
    wire = StrictWire(engine_url)
    try:
        yield wire
    finally:
        wire.close()
