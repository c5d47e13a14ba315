"""F11: a killed git left lock files in the checkout.

Expected: at its start the worker, sole owner of the checkout, removes them and loses nothing; while it runs
it removes those that no living git holds, and leaves those of a living one alone.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import workspace_lab
from tests.integration.worker_lab import Lab, git, worker_lab
from tests.integration.workspace_lab import A, B, T, files, write
from worker.errors import WorkspaceError
from worker.workspace import GitWorkspace

pytestmark = pytest.mark.slow

LOCKS = ("index.lock", "HEAD.lock", "refs/heads/thread-a.lock", "objects/maintenance.lock", "config.lock")


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[Lab]:
    with worker_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


@pytest.fixture
def place(tmp_path: Path) -> workspace_lab.Lab:
    return workspace_lab.Lab(tmp_path)


@pytest.fixture
async def worker(place: workspace_lab.Lab) -> GitWorkspace:
    return await place.ready()


def locks(checkout: Path) -> list[Path]:
    return [path for path in (checkout / ".git").rglob("*") if path.suffix == ".lock"]


def test_a_worker_killed_while_git_held_locks_is_followed_by_one_that_goes_on(
    lab: Lab, tmp_path: Path
) -> None:
    killed = lab.start()
    go = tmp_path / "go"
    lab.post("a", 1, f"do: write a.txt one\ndo: bash git add a.txt\ndo: wait {go}\ndo: write b.txt two")
    lab.wait_for("a", "turn.tool", count=4)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    (checkout,) = lab.workspace.glob("*/*/site")
    (relay,) = lab.workspace.glob(".branchline/*/git/relay.git")
    for name in LOCKS:
        (checkout / ".git" / name).touch()
        (relay / name).parent.mkdir(parents=True, exist_ok=True)
        (relay / name).touch()
    go.touch()
    lab.start()
    assert lab.outcome("a", 1) == "completed"
    assert locks(checkout) == []
    assert lab.tree("thread-a").keys() >= {"a.txt", "b.txt"}
    assert len([m for m in lab.log("thread-a") if "Branchline-Message: a-1" in m]) == 1
    assert "Branchline-Checkpoint: recovered" in "".join(lab.log("thread-a"))


def test_locks_left_in_a_turn_hold_up_neither_its_commit_nor_the_next_switch(lab: Lab) -> None:
    lab.start()
    leave = "touch .git/index.lock .git/HEAD.lock .git/refs/heads/thread-a.lock"
    lab.post("a", 1, f"do: write a.txt one\ndo: bash {leave}")
    assert lab.outcome("a", 1) == "completed"
    lab.post("a", 2, "do: bash touch .git/index.lock .git/HEAD.lock")
    assert lab.outcome("a", 2) == "completed"
    lab.post("b", 1, "do: write b.txt bee")
    assert lab.outcome("b", 1) == "completed"
    assert (lab.tree("thread-a")["a.txt"], lab.tree("thread-b")["b.txt"]) == ("one", "bee")
    (checkout,) = lab.workspace.glob("*/*/site")
    assert locks(checkout) == []
    git(checkout, "fsck", "--strict")


async def test_a_relay_that_a_kill_left_beyond_repair_is_made_anew(place: workspace_lab.Lab) -> None:
    worker = await place.ready()
    start = await worker.switch(A)
    write(worker.path, a_txt="one\n")
    await workspace_lab.end_turn(worker, start.head)
    (relay,) = place.root.rglob("relay.git")
    (relay / "config").write_text("[core\n")
    again = place.worker()
    await again.prepare()
    await again.claim(epoch=2)
    assert not (await again.push(thread_id=A)).conflict


async def test_leftovers_of_a_kill_are_committed_on_their_thread_and_locks_are_gone(
    place: workspace_lab.Lab, worker: GitWorkspace
) -> None:
    start = await worker.switch(A)
    write(worker.path, a_txt="half\n")
    workspace_lab.git(worker.path, "add", "a.txt")
    write(worker.path, b_txt="more\n")
    for name in LOCKS:
        (worker.path / ".git" / name).touch()
    (worker.path / ".git/objects/tmp_obj_abc123").touch()
    again = await place.ready(epoch=2)
    assert locks(again.path) == []
    assert not (again.path / ".git/objects/tmp_obj_abc123").exists()
    message = workspace_lab.git(again.path, "log", "-1", "--format=%B", "thread-a")
    assert "Branchline-Checkpoint: recovered" in message
    assert workspace_lab.git(again.path, "rev-parse", "thread-a^") == start.head
    assert (await again.switch(A)).head == workspace_lab.git(again.path, "rev-parse", "HEAD")
    assert {"a.txt", "b.txt"} <= set(files(again.path))


async def test_a_lock_nobody_holds_is_removed_in_use(worker: GitWorkspace) -> None:
    await worker.switch(A)
    write(worker.path, a_txt="a\n")
    for name in ("index.lock", "HEAD.lock", "refs/heads/thread-a.lock"):
        (worker.path / ".git" / name).touch()
    assert await worker.checkpoint(thread_id=A, turn_id=T, reason="x")
    (worker.path / ".git" / "index.lock").touch()
    await worker.switch(B)
    assert not (worker.path / ".git" / "index.lock").exists()


async def test_a_lock_of_a_living_git_is_left_alone_and_said_so(worker: GitWorkspace) -> None:
    await worker.switch(A)
    write(worker.path, a_txt="a\n")
    lock = worker.path / ".git" / "index.lock"
    lock.touch()
    with subprocess.Popen(
        ["git", "hash-object", "--stdin"], cwd=worker.path, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ):
        with pytest.raises(WorkspaceError, match="Another git process is busy"):
            await worker.checkpoint(thread_id=A, turn_id=T, reason="x")
        assert lock.exists()
    assert await worker.checkpoint(thread_id=A, turn_id=T, reason="x")
    assert not lock.exists()
