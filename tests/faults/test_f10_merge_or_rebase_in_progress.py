"""F10: a merge, rebase, cherry-pick or stash is stuck in conflicts when the worker must commit or switch.

Expected: the operation is ended, the files with their conflict marks are kept under a ref, and no commit of
any branch is in a conflict state; solved conflicts become the merge they are.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import workspace_lab
from tests.integration.worker_lab import Lab, git, worker_lab
from tests.integration.workspace_lab import A, B, T, end_turn, files, write
from worker.workspace import GitWorkspace

pytestmark = pytest.mark.slow

DIVERGE = (
    "git switch -qc side && echo theirs > README.md && git commit -qam theirs && "
    "git switch -q thread-a && echo mine > README.md && git commit -qam mine"
)
IN_PROGRESS = {"MERGE_HEAD", "CHERRY_PICK_HEAD", "rebase-merge", "rebase-apply", "sequencer"}


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


def in_conflict(lab: Lab, branch: str) -> list[str]:
    """Commits of the branch on the remote whose files hold conflict marks."""
    commits = git(lab.remote, "rev-list", branch).splitlines()
    return [c for c in commits if "<<<<<<<" in git(lab.remote, "show", f"{c}:README.md")]


@pytest.mark.parametrize("verb", ["merge", "rebase", "cherry-pick"])
def test_a_turn_preempted_in_the_middle_of_conflicts_leaves_both_threads_whole(
    lab: Lab, tmp_path: Path, verb: str
) -> None:
    lab.start()
    go = tmp_path / "go"
    stuck = f"{DIVERGE} && git {verb} side"
    lab.post("a", 1, f"do: bash {stuck}\ndo: write a.txt one\ndo: wait {go}\ndo: write b.txt two")
    lab.wait_for("a", "turn.tool", count=4)
    (checkout,) = lab.workspace.glob("*/*/site")
    assert {path.name for path in (checkout / ".git").iterdir()} & IN_PROGRESS
    lab.post("b", 1, "do: write b.txt bee")
    assert lab.outcome("b", 1) == "completed"
    go.touch()
    assert lab.outcome("a", 1) == "completed"
    assert "<<<<<<<" in git(checkout, "show", "refs/branchline/saved/1:README.md")
    assert not {path.name for path in (checkout / ".git").iterdir()} & IN_PROGRESS
    assert in_conflict(lab, "thread-a") == in_conflict(lab, "thread-b") == []
    tree = lab.tree("thread-a")
    assert (tree["README.md"], tree["a.txt"], tree["b.txt"]) == ("mine", "one", "two")
    assert lab.tree("thread-b") == {"README.md": "# A project", ".gitignore": "ignored/", "b.txt": "bee"}


def tip(worker: GitWorkspace, branch: str = "thread-a") -> str:
    return workspace_lab.git(worker.path, "rev-parse", f"refs/heads/{branch}")


def is_clean(worker: GitWorkspace) -> bool:
    return not workspace_lab.git(worker.path, "status", "--porcelain")


def diverge(worker: GitWorkspace) -> None:
    """Two branches that changed the same line; ``thread-a`` is checked out."""
    write(worker.path, index_html="mine\n")
    workspace_lab.git(worker.path, "commit", "-qam", "mine")
    workspace_lab.git(worker.path, "branch", "-qf", "side", "HEAD~1")
    workspace_lab.git(worker.path, "switch", "-q", "side")
    write(worker.path, index_html="theirs\n")
    workspace_lab.git(worker.path, "commit", "-qam", "theirs")
    workspace_lab.git(worker.path, "switch", "-q", "thread-a")


@pytest.mark.parametrize("verb", ["merge", "rebase", "cherry-pick", "stash"])
async def test_an_operation_left_with_conflicts_is_ended_and_its_files_are_kept(
    worker: GitWorkspace, verb: str
) -> None:
    start = await worker.switch(A)
    diverge(worker)
    mine, run = tip(worker), workspace_lab.git
    if verb == "stash":
        run(worker.path, "switch", "-q", "side")
        write(worker.path, index_html="stashed\n")
        run(worker.path, "stash", "-q")
        run(worker.path, "switch", "-q", "thread-a")
        run(worker.path, "stash", "pop", "-q", ok=(1,))
    else:
        run(worker.path, verb, "side", ok=(1,))
    write(worker.path, untracked_txt="mine too\n")
    done = await end_turn(worker, start.head)
    assert run(worker.path, "merge-base", "--is-ancestor", mine, done.sha) == ""
    assert "<<<<<<<" in run(worker.path, "show", "refs/branchline/saved/1:index.html")
    assert run(worker.path, "show", "thread-a:untracked.txt") == "mine too"
    if verb != "stash":
        assert run(worker.path, "show", "thread-a:index.html") == "mine"
    assert "refs/branchline/saved/1" in done.body + run(worker.path, "log", "-1", "--format=%b", done.sha)
    assert is_clean(worker)
    await worker.switch(B)
    assert "untracked.txt" not in files(worker.path)
    assert not {path.name for path in (worker.path / ".git").iterdir()} & IN_PROGRESS


async def test_a_merge_whose_conflicts_are_solved_becomes_a_merge_commit(worker: GitWorkspace) -> None:
    await worker.switch(A)
    diverge(worker)
    workspace_lab.git(worker.path, "merge", "side", ok=(1,))
    write(worker.path, index_html="both\n")
    workspace_lab.git(worker.path, "add", "index.html")
    sha = await worker.checkpoint(thread_id=A, turn_id=T, reason="x")
    assert workspace_lab.git(worker.path, "rev-parse", f"{sha}^2") == tip(worker, "side")
    assert workspace_lab.git(worker.path, "show", "thread-a:index.html") == "both"
    assert not (worker.path / ".git" / "MERGE_HEAD").exists()


async def test_a_merge_left_by_a_kill_is_ended(place: workspace_lab.Lab, worker: GitWorkspace) -> None:
    await worker.switch(A)
    diverge(worker)
    workspace_lab.git(worker.path, "merge", "side", ok=(1,))
    again = await place.ready(epoch=2)
    assert "<<<<" in workspace_lab.git(again.path, "show", "refs/branchline/saved/1:index.html")
    assert workspace_lab.git(again.path, "show", "thread-a:index.html") == "mine"
    assert is_clean(again)
