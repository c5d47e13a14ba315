"""F12: the disk that holds the checkout is full.

Expected: the turn fails with a clear reply, there is no half commit, the worker stays healthy, and once there
is room again the next message is done, with the edits that could not be committed.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.faults.lab2 import WORKER, start
from tests.integration.agent_lab import write_executable
from tests.integration.worker_lab import Lab, git, worker_lab

pytestmark = pytest.mark.slow

ROOT = os.geteuid() == 0
PRIVATE_MOUNTS = ["unshare", "--mount", *([] if ROOT else ["--user", "--map-root-user"])]
SIZE = "64m"


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[Lab]:
    with worker_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


def mounting(folder: Path, *argv: str) -> list[str]:
    """A command line that runs ``argv`` with a small disk of its own on ``folder``, gone with the process."""
    mount = f'mount -t tmpfs -o size={SIZE} branchline "$0" && exec "$@"'
    return [*PRIVATE_MOUNTS, "sh", "-c", mount, str(folder), *argv]


def fill(path: Path) -> None:
    """Write until there is no room for one more byte."""
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        write_for_ever(file)


def write_for_ever(file: BinaryIO) -> None:
    while True:
        file.write(b"x" * 4096)  # a page at a time: there is no room for less


def among_mounts_of(worker: "subprocess.Popen[bytes]") -> list[str]:
    """What to put in front of a command line so that it sees the worker's disk."""
    user = [] if ROOT else ["--user", "--preserve-credentials"]
    return ["nsenter", f"--target={worker.pid}", "--mount", *user]


def asked(checkout: Path, *argv: str, within: Sequence[str] = ()) -> str:
    """What git says in the worker's checkout."""
    call = [*within, "git", "-C", str(checkout), *argv]
    return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()


def assert_failed_clearly(lab: Lab, *, within: Sequence[str] = ()) -> None:
    """One reply that names the reason, and a branch and a repository as they were before."""
    (final,) = lab.data("a", "turn.failed")
    assert "There is no room left where the checkout lives: free some space" in final.text
    assert not final.changed
    checkout = lab.workspace / "local" / "local" / "site"
    assert asked(checkout, "rev-parse", "thread-a", within=within) == git(lab.remote, "rev-parse", "main")
    assert "thread-a" not in git(lab.remote, "branch", "--list")
    asked(checkout, "fsck", "--strict", within=within)
    assert lab.marked() == []


def assert_done_afterwards(lab: Lab) -> None:
    """The next message is done and holds what the failed turn had edited."""
    lab.post("a", 2, "do: write b.txt two")
    assert lab.outcome("a", 2) == "completed"
    tree = lab.tree("thread-a")
    assert (tree["a.txt"], tree["b.txt"]) == ("one", "two")
    assert len(lab.events("a", "turn.failed")) == len(lab.events("a", "turn.completed")) == 1
    git(lab.remote, "fsck", "--strict")


def test_a_disk_that_is_really_full_fails_the_turn_and_not_the_worker(lab: Lab, tmp_path: Path) -> None:
    lab.workspace.mkdir()
    if subprocess.run(mounting(lab.workspace, "true"), capture_output=True).returncode:
        missing = "this machine lets nobody mount a small disk"
        assert os.environ.get("CI") != "true", missing
        pytest.skip(missing)
    worker = start(lab, mounting(lab.workspace, *WORKER))
    go = tmp_path / "go"
    lab.post("a", 1, f"do: write a.txt one\ndo: wait {go}\ndo: say Done.")
    lab.wait_for("a", "turn.tool", count=2)
    disk = Path(f"/proc/{worker.pid}/root{lab.workspace}")  # its mounts are not ours
    fill(disk / "filler")
    go.touch()
    assert lab.outcome("a", 1) == "failed"
    (disk / "filler").unlink()
    assert_failed_clearly(lab, within=among_mounts_of(worker))
    assert worker.poll() is None
    assert_done_afterwards(lab)


@pytest.mark.parametrize("verb", ["write-tree", "commit-tree"])
def test_a_git_that_finds_no_room_fails_the_turn_and_not_the_worker(lab: Lab, verb: str) -> None:
    full = lab.folder / "full"
    says = "echo 'fatal: unable to write: No space left on device' >&2; exit 128"
    write_executable(
        lab.folder / "git",
        f'#!/bin/sh\nfor each in "$@"; do [ "$each" = {verb} ] && [ -e "{full}" ] && {{ {says}; }}; done\n'
        f'exec "{shutil.which("git")}" "$@"\n',
    )
    worker = lab.start(PATH=f"{lab.folder}:{os.environ['PATH']}")
    go = lab.folder / "go"
    lab.post("a", 1, f"do: write a.txt one\ndo: wait {go}\ndo: say Done.")
    lab.wait_for("a", "turn.tool", count=2)
    full.touch()
    go.touch()
    assert lab.outcome("a", 1) == "failed"
    full.unlink()
    assert_failed_clearly(lab)
    assert worker.poll() is None
    assert_done_afterwards(lab)
