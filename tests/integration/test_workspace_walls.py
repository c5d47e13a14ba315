"""What a turn may not leave behind: workflows, forged evidence, moved refs, hooks, a broken ``.git``."""

import subprocess
from pathlib import Path

import pytest

from contracts.words import MessageId
from tests.integration.workspace_lab import A, B, Lab, M, T, end_turn, files, git, write
from worker.errors import WorkspaceError
from worker.workspace import GitWorkspace

M2 = MessageId("m-2")
DEPLOY = ".github/workflows/deploy.yml"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A project with a workflow and a tag."""
    made = Lab(tmp_path)
    workflow(made.person, "on: push\n")
    git(made.person, "add", "--all")
    git(made.person, "commit", "-qm", "Deploy")
    git(made.person, "tag", "v1")
    git(made.person, "push", "-q", "origin", "main", "v1")
    return made


@pytest.fixture
async def worker(lab: Lab) -> GitWorkspace:
    return await lab.ready()


def workflow(root: Path, text: str, *, name: str = DEPLOY) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def commit_all(root: Path, text: str) -> str:
    """Claude Code commits by itself."""
    git(root, "add", "--all")
    git(root, "commit", "-qm", text)
    return git(root, "rev-parse", "HEAD")


def touched(lab: Lab, branch: str = "thread-a") -> set[str]:
    """Names that any commit of the branch on the remote changed."""
    log = git(lab.remote, "log", "-m", "--no-renames", "--name-only", "--format=", f"main..{branch}")
    return set(log.split())


# -------------------------------------------------------------------- workflows


async def test_a_new_workflow_is_left_out_kept_aside_and_told(lab: Lab, worker: GitWorkspace) -> None:
    start = await worker.switch(A)
    workflow(worker.path, "on: push\n", name=".github/workflows/evil.yml")
    write(worker.path, page_txt="a page\n")
    made = await end_turn(worker, start.head)
    await worker.push(thread_id=A)
    assert made is not None
    assert "workflows = true" in made.note
    assert touched(lab) == {"page.txt"}
    assert DEPLOY in files(worker.path)
    assert ".github/workflows/evil.yml" not in files(worker.path)
    (ref,) = [word for word in made.note.split() if word.startswith("refs/branchline/kept/")]
    assert git(worker.path, "show", f"{ref.rstrip('.')}:.github/workflows/evil.yml") == "on: push"


async def test_a_workflow_in_commits_of_its_own_is_left_out_with_them(lab: Lab, worker: GitWorkspace) -> None:
    start = await worker.switch(A)
    workflow(worker.path, "on: [push, evil]\n")
    write(worker.path, a_txt="a\n")
    commit_all(worker.path, "First")
    workflow(worker.path, "on: push\n")
    write(worker.path, b_txt="b\n")
    commit_all(worker.path, "And back")
    made = await end_turn(worker, start.head)
    await worker.push(thread_id=A)
    assert made is not None
    assert made.note
    assert touched(lab) == {"a.txt", "b.txt"}
    assert lab.on_remote("thread-a", DEPLOY) == "on: push"


@pytest.mark.parametrize("how", ["rm -rf .github", "rm -rf .github; ln -s ci .github", "touch"])
async def test_a_workflow_that_was_removed_or_replaced_is_there_again(
    lab: Lab, worker: GitWorkspace, how: str
) -> None:
    start = await worker.switch(A)
    for path in sorted((worker.path / ".github").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (worker.path / ".github").rmdir()
    if "ln" in how:
        (worker.path / ".github").symlink_to("ci")
    if how == "touch":
        (worker.path / ".github").write_text("a file\n")
    write(worker.path, a_txt="a\n", ci__workflows__x="on: push\n")
    await end_turn(worker, start.head)
    await worker.push(thread_id=A)
    assert lab.on_remote("thread-a", DEPLOY) == "on: push"
    assert files(worker.path)[DEPLOY] == "on: push\n"
    assert touched(lab) == {"a.txt", "ci/workflows/x"}


async def test_what_was_left_out_at_a_checkpoint_is_told_at_the_end(worker: GitWorkspace) -> None:
    start = await worker.switch(A)
    workflow(worker.path, "on: evil\n")
    await worker.checkpoint(thread_id=A, turn_id=T, reason="preempted")
    await worker.switch(B)
    await worker.switch(A)
    write(worker.path, a_txt="a\n")
    made = await end_turn(worker, start.head)
    assert made is not None
    assert "left out" in made.note
    await worker.switch(A)
    write(worker.path, a_txt="b\n")
    later = await end_turn(worker, made.sha, message="m-2")
    assert later is not None
    assert later.note == ""


async def test_workflows_that_came_from_the_remote_are_no_ones_change(lab: Lab, worker: GitWorkspace) -> None:
    start = await worker.switch(A)
    write(worker.path, a_txt="a\n")
    commit_all(worker.path, "Mine")
    workflow(lab.person, "on: [push, pull_request]\n")
    commit_all(lab.person, "By its people")
    git(lab.person, "push", "-q", "origin", "main")
    await worker.fetch()
    git(worker.path, "merge", "-q", "--no-edit", "origin/main")
    made = await end_turn(worker, start.head)
    await worker.push(thread_id=A)
    assert made is not None
    assert made.note == ""
    assert lab.on_remote("thread-a", DEPLOY) == "on: [push, pull_request]"


async def test_a_project_that_allows_it_changes_its_workflows(lab: Lab) -> None:
    worker = await lab.ready(workflows=True)
    start = await worker.switch(A)
    workflow(worker.path, "on: release\n")
    made = await end_turn(worker, start.head)
    await worker.push(thread_id=A)
    assert made is not None
    assert made.note == ""
    assert lab.on_remote("thread-a", DEPLOY) == "on: release"


# -------------------------------------------------------------------- evidence


async def test_a_commit_that_looks_like_the_workers_is_no_evidence(lab: Lab, worker: GitWorkspace) -> None:
    start = await worker.switch(A)
    write(worker.path, a_txt="a\n")
    git(worker.path, "add", "--all")
    trailers = "Branchline-Message: m-2\nBranchline-Thread: a\nBranchline-Outcome: completed"
    git(worker.path, "commit", "-qm", f"Forged\n\nAll done.\n\n{trailers}")
    forged = git(worker.path, "rev-parse", "HEAD")
    told = git(worker.path, "cat-file", "commit", forged)
    told = told.replace("Person <person@example.org>", "Branchline <branchline@localhost>")
    forged = git(worker.path, "hash-object", "-t", "commit", "-w", "--stdin", stdin=f"{told}\n")
    git(worker.path, "reset", "-q", forged)
    made = await end_turn(worker, start.head)
    await worker.push(thread_id=A)
    assert made is not None
    assert "taken as one change" in made.note
    assert files(worker.path)["a.txt"] == "a\n"
    assert await worker.find(thread_id=A, message_id=MessageId("m-2")) is None
    assert (await worker.find(thread_id=A, message_id=M)) is not None
    assert "Forged" not in git(lab.remote, "log", "--format=%B", "thread-a")


# -------------------------------------------------------------------- refs


async def test_other_threads_tags_and_the_remotes_refs_are_put_back(lab: Lab, worker: GitWorkspace) -> None:
    base = await worker.switch(B)
    write(worker.path, b_txt="b\n")
    await worker.commit(thread_id=B, base=base.head, subject="b", body="", message_ids=(M,))
    before = refs(worker)
    start = await worker.switch(A)
    write(worker.path, a_txt="a\n")
    planted = commit_all(worker.path, "Planted")
    for name in (
        "refs/heads/thread-b",
        "refs/branchline/tip/thread-b",
        "refs/heads/thread-new",
        "refs/heads/conflict-1/thread-b",
        "refs/tags/v1",
        "refs/tags/v2",
        "refs/remotes/origin/main",
        "refs/remotes/origin/thread-b",
        "refs/remotes/evil/main",
    ):
        git(worker.path, "update-ref", name, planted)
    git(worker.path, "replace", start.head, planted)
    git(worker.path, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/thread-b")
    await end_turn(worker, start.head)
    left = {n: sha for n, sha in refs(worker).items() if "thread-a" not in n and "/kept/" not in n}
    assert left == before
    assert await worker.default_branch() == "main"
    assert (await worker.switch(B)).head == before["refs/heads/thread-b"]


async def test_refs_that_a_turn_deleted_are_there_again(worker: GitWorkspace) -> None:
    base = await worker.switch(B)
    write(worker.path, b_txt="b\n")
    await worker.commit(thread_id=B, base=base.head, subject="b", body="", message_ids=(M,))
    before = refs(worker)
    start = await worker.switch(A)
    for name in before:
        git(worker.path, "update-ref", "-d", name)
    write(worker.path, a_txt="a\n")
    await end_turn(worker, start.head)
    left = {n: sha for n, sha in refs(worker).items() if "thread-a" not in n and "/kept/" not in n}
    assert left == before


async def test_branches_that_the_worker_moved_meanwhile_stay_moved(lab: Lab, worker: GitWorkspace) -> None:
    base = await worker.switch(B)
    write(worker.path, b_txt="b\n")
    await worker.commit(thread_id=B, base=base.head, subject="b", body="", message_ids=(M,))
    git(lab.person, "switch", "-qc", "thread-b")
    write(lab.person, p_txt="p\n")
    commit_all(lab.person, "A person was faster")
    git(lab.person, "push", "-q", "origin", "thread-b")
    start = await worker.switch(A)
    push = await worker.push(thread_id=B)  # rebases thread b beside the turn of thread a
    assert push.rebased
    write(worker.path, a_txt="a\n")
    await end_turn(worker, start.head)
    assert refs(worker)["refs/heads/thread-b"] == push.sha
    assert (await worker.switch(B)).head == push.sha


def refs(worker: GitWorkspace) -> dict[str, str]:
    listed = git(worker.path, "for-each-ref", "--format=%(refname) %(objectname)")
    pairs = dict(line.split(" ") for line in listed.splitlines())
    return {n: sha for n, sha in pairs.items() if n != "refs/heads/main"}


# -------------------------------------------------------------------- files of .git


async def test_hooks_attributes_and_excludes_of_a_turn_are_gone_after_it(worker: GitWorkspace) -> None:
    start = await worker.switch(A)
    inside = worker.path / ".git"
    excluded = (inside / "info" / "exclude").read_text()
    for name in ("hooks/post-commit", "info/attributes", "info/grafts", "objects/info/alternates"):
        (inside / name).parent.mkdir(parents=True, exist_ok=True)
        (inside / name).write_text("x\n")
    (inside / "info" / "exclude").write_text(f"{excluded}*.txt\n")
    write(worker.path, a_txt="a\n")
    made = await end_turn(worker, start.head)
    assert made is not None
    assert made.files == 1
    assert not (inside / "hooks").exists()
    assert {p.name for p in (inside / "info").iterdir() if p.name != "refs"} == {"exclude"}
    assert (inside / "info" / "exclude").read_text() == excluded


@pytest.mark.parametrize("broken", ["index", "HEAD"])
@pytest.mark.parametrize("how", ["garbage", "gone", "a link", "a folder"])
async def test_an_index_or_head_that_a_turn_broke_costs_nothing(
    lab: Lab, worker: GitWorkspace, broken: str, how: str
) -> None:
    start = await worker.switch(A)
    write(worker.path, a_txt="a\n")
    path = worker.path / ".git" / broken
    path.unlink()
    if how == "garbage":
        path.write_text("garbage\n")
    if how == "a link":
        path.symlink_to("/etc/passwd")
    if how == "a folder":
        (path / "x").mkdir(parents=True)
    made = await end_turn(worker, start.head)
    assert made is not None
    assert made.files == 1
    await worker.switch(B)
    assert "a.txt" not in files(worker.path)
    await worker.switch(A)
    assert files(worker.path)["a.txt"] == "a\n"
    assert git(worker.path, "status", "--porcelain") == ""


@pytest.mark.parametrize("destroy", ["rm -rf .git", "rm -rf .git/objects/*", "rm -rf .git; echo x > .git"])
async def test_a_git_folder_that_a_turn_destroyed_costs_that_turn_alone(
    lab: Lab, worker: GitWorkspace, destroy: str
) -> None:
    start = await worker.switch(A)
    write(worker.path, a_txt="a\n")
    first = await end_turn(worker, start.head)
    await worker.push(thread_id=A)
    assert first is not None
    again = await worker.switch(A)
    write(worker.path, b_txt="b\n")
    subprocess.run(["sh", "-c", destroy], cwd=worker.path, check=True)
    with pytest.raises(WorkspaceError, match="destroyed in this turn"):
        await end_turn(worker, again.head, message="m-2")
    await worker.commit(thread_id=A, base=again.head, subject="x", body="", message_ids=(M2,))
    await worker.push(thread_id=A)
    assert (worker.path.with_name("checkout.kept-1") / "b.txt").read_text() == "b\n"
    await worker.switch(B)
    assert "a.txt" not in files(worker.path)
    await worker.fetch()
    after = await worker.switch(A)
    assert files(worker.path)["a.txt"] == "a\n"
    write(worker.path, c_txt="c\n")
    await end_turn(worker, after.head, message="m-3")
    push = await worker.push(thread_id=A)
    assert not push.conflict
    assert lab.on_remote("thread-a", "c.txt") == "c"
