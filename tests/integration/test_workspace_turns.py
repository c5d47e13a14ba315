"""Switch, checkpoint and commit: what a turn left is on its branch, whatever Claude Code did to git."""

import asyncio
import os
import socket
from pathlib import Path

import pytest
from workspace_lab import A, B, Lab, M, T, end_turn, files, git, write

from contracts.words import MessageId
from worker.workspace import GitWorkspace, trailer_value


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture
async def worker(lab: Lab) -> GitWorkspace:
    return await lab.ready()


def is_clean(worker: GitWorkspace) -> bool:
    return not git(worker.path, "status", "--porcelain")


def tip(worker: GitWorkspace, branch: str = "thread-a") -> str:
    return git(worker.path, "rev-parse", f"refs/heads/{branch}")


async def test_a_new_thread_starts_from_the_default_branch_as_last_fetched(lab, worker):
    write(lab.person, new_txt="later\n")
    git(lab.person, "add", "--all")
    git(lab.person, "commit", "-qm", "later")
    git(lab.person, "push", "-q", "origin", "main")
    before = await worker.switch(A)
    assert before.created
    assert before.branch == "thread-a"
    assert "new.txt" not in files(worker.path)
    await worker.fetch()
    after = await worker.switch(B)
    assert after.head == git(lab.remote, "rev-parse", "main")
    assert files(worker.path)["new.txt"] == "later\n"


async def test_a_thread_that_exists_only_on_the_remote_is_taken_from_there(lab, worker):
    git(lab.person, "switch", "-qc", "thread-a")
    write(lab.person, p_txt="person\n")
    git(lab.person, "add", "--all")
    git(lab.person, "commit", "-qm", "p")
    git(lab.person, "push", "-q", "origin", "thread-a")
    await worker.fetch()
    checkout = await worker.switch(A)
    assert not checkout.created
    assert files(worker.path)["p.txt"] == "person\n"


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_a_persons_push_fast_forwards_the_branch_at_the_next_switch(lab, worker, elsewhere):
    start = await worker.switch(A)
    write(worker.path, a_txt="a\n")
    await end_turn(worker, start.head)
    await worker.push(thread_id=A)
    git(lab.person, "fetch", "-q")
    git(lab.person, "switch", "-q", "thread-a")
    write(lab.person, index_html="person\n")
    git(lab.person, "commit", "-qam", "p")
    git(lab.person, "push", "-q")
    if elsewhere:
        await worker.switch(B)
    await worker.fetch()
    checkout = await worker.switch(A)
    assert checkout.head == git(lab.remote, "rev-parse", "thread-a") == tip(worker)
    assert files(worker.path)["index.html"] == "person\n"
    assert is_clean(worker)
    assert await worker.checkpoint(thread_id=A, turn_id=T, reason="preempted") is None


async def test_a_checkpoint_holds_everything_and_comes_back(worker):
    await worker.switch(A)
    write(worker.path, index_html="changed\n", new__deep__file_txt="x\n")
    (worker.path / "src" / "page").unlink()
    sha = await worker.checkpoint(thread_id=A, turn_id=T, reason="preempted")
    left = files(worker.path)
    message = git(worker.path, "log", "-1", "--format=%B", str(sha))
    assert message.splitlines()[0] == "Checkpoint: paused (preempted)"
    assert "Branchline-Checkpoint: turn-1" in message
    assert "Branchline-Thread: a" in message
    await worker.switch(B)
    assert files(worker.path) == {"index.html": "hello\n", "src/page": "one\n", ".gitignore": "*.log\n"}
    await worker.switch(A)
    assert files(worker.path) == left


async def test_nothing_to_checkpoint_is_none(worker):
    await worker.switch(A)
    assert await worker.checkpoint(thread_id=A, turn_id=T, reason="x") is None


async def test_a_switch_itself_commits_what_was_left_on_the_branch_it_belongs_to(worker):
    await worker.switch(A)
    write(worker.path, a_txt="a\n")
    await worker.switch(B)
    assert "a.txt" not in files(worker.path)
    assert git(worker.path, "show", "thread-a:a.txt") == "a"
    assert "Branchline-Thread: a" in git(worker.path, "log", "-1", "--format=%B", "thread-a")


async def test_odd_files_do_not_break_a_checkpoint(worker):
    await worker.switch(A)
    raw = os.fsencode(worker.path)
    odd = [b"-x", b"new\nline", b"\xff\xfe name", b"--all", b"a b", b":(top)", b"'\""]
    for name in odd:
        Path(os.fsdecode(raw + b"/" + name)).write_text("odd")
    os.mkfifo(worker.path / "pipe")
    (worker.path / "dangling").symlink_to("/nowhere")
    (worker.path / "closed").write_text("c")
    (worker.path / "closed").chmod(0)
    with socket.socket(socket.AF_UNIX) as unix:
        where = Path.cwd()
        os.chdir(worker.path)
        unix.bind("sock")
        os.chdir(where)
        await worker.checkpoint(thread_id=A, turn_id=T, reason="x")
        await worker.switch(B)
        assert not [name for name in odd if os.path.lexists(raw + b"/" + name)]
        await worker.switch(A)
    assert all(os.path.lexists(raw + b"/" + name) for name in odd)
    assert (worker.path / "dangling").is_symlink()


async def test_a_tracked_file_that_became_a_pipe_does_not_block_the_worktree(worker):
    await worker.switch(A)
    (worker.path / "index.html").unlink()
    os.mkfifo(worker.path / "index.html")
    write(worker.path, a_txt="a\n")
    await worker.checkpoint(thread_id=A, turn_id=T, reason="x")
    assert git(worker.path, "show", "thread-a:a.txt") == "a"
    await worker.switch(B)
    assert files(worker.path)["index.html"] == "hello\n"
    assert "a.txt" not in files(worker.path)


async def test_embedded_repositories_are_committed_as_plain_files(worker):
    await worker.switch(A)
    write(worker.path, sub__file_txt="inner\n", sub__deep__x="y\n", sub___gitignore="dist/\n")
    write(worker.path, sub__dist__out="built\n", other__n_txt="n\n")
    git(worker.path / "sub", "init", "-q")
    git(worker.path / "sub", "add", "file.txt")
    git(worker.path / "sub", "commit", "-qm", "inner")
    git(worker.path / "other", "init", "-q")
    await worker.checkpoint(thread_id=A, turn_id=T, reason="x")
    listed = git(worker.path, "ls-tree", "-r", "--name-only", "thread-a").splitlines()
    assert {"sub/file.txt", "sub/deep/x", "sub/.gitignore", "other/n.txt"} <= set(listed)
    assert "sub/dist/out" not in listed
    await worker.switch(B)
    assert not (worker.path / "sub").exists()
    await worker.switch(A)
    assert git(worker.path / "sub", "log", "--format=%s") == "inner"
    write(worker.path, sub__more="m\n")
    await worker.checkpoint(thread_id=A, turn_id=T, reason="x")
    assert git(worker.path, "show", "thread-a:sub/more") == "m"


# ---------------------------------------------------------------- what stays and what does not


async def test_ignored_files_stay_and_files_only_one_branch_ignores_do_not_leak(worker):
    await worker.switch(A)
    write(worker.path, server_log="log\n", _gitignore="*.log\nsecret/\n.env\n")
    write(worker.path, _astro__types="t\n")
    write(worker.path, secret__deep__k="k\n", _env="E=1\n")
    await worker.checkpoint(thread_id=A, turn_id=T, reason="x")
    await worker.switch(B)
    assert set(files(worker.path)) == {
        "index.html", "src/page", ".gitignore", "server.log", ".astro/types",
    }  # fmt: skip
    assert is_clean(worker)
    await worker.switch(A)
    assert files(worker.path)["secret/deep/k"] == "k\n"
    assert files(worker.path)[".env"] == "E=1\n"


async def test_an_ignored_file_in_the_way_of_a_branch_is_set_aside_and_comes_back(lab, worker):
    await worker.switch(B)
    write(worker.path, data_json="b's own\n", cache="a file in b\n")
    await worker.checkpoint(thread_id=B, turn_id=T, reason="x")
    await worker.switch(A)
    write(worker.path, _gitignore="*.log\ndata.json\ncache/\n", data_json="a's\n", cache__x="warm\n")
    await worker.checkpoint(thread_id=A, turn_id=T, reason="x")
    await worker.switch(B)
    assert files(worker.path)["data.json"] == "b's own\n"
    assert files(worker.path)["cache"] == "a file in b\n"
    await worker.switch(A)
    assert files(worker.path)["data.json"] == "a's\n"
    assert files(worker.path)["cache/x"] == "warm\n"


async def test_set_aside_files_never_replace_each_other(worker):
    await worker.switch(A)
    write(worker.path, _gitignore="*.log\n.env\n")
    for value in ("one", "two"):
        write(worker.path, _env=value)
        await worker.switch(B)
        write(worker.path, _env=f"b {value}")
        await worker.switch(A)
    aside = worker.path.parent / "state" / "aside"
    assert (worker.path / ".env").read_text() == "two"
    assert not [path for path in aside.rglob("*") if path.is_file()]


# ---------------------------------------------------------------- what Claude Code does to git


async def test_an_amended_commit_becomes_a_commit_on_top_of_the_recorded_tip(worker):
    start = await worker.switch(A)
    write(worker.path, a_txt="1\n")
    first = await end_turn(worker, start.head)
    await worker.switch(A)
    write(worker.path, a_txt="2\n")
    git(worker.path, "commit", "-qa", "--amend", "-m", "amended")
    amended = git(worker.path, "rev-parse", "HEAD")
    sha = await worker.checkpoint(thread_id=A, turn_id=T, reason="x")
    assert git(worker.path, "rev-parse", f"{sha}^") == first.sha
    assert git(worker.path, "show", "thread-a:a.txt") == "2"
    assert git(worker.path, "rev-parse", "refs/branchline/kept/thread-a/1") == amended
    assert is_clean(worker)


async def test_a_hard_reset_does_not_take_the_branch_back(worker):
    start = await worker.switch(A)
    write(worker.path, a_txt="1\n")
    first = await end_turn(worker, start.head)
    await worker.switch(A)
    git(worker.path, "reset", "-q", "--hard", "HEAD~1")
    done = await end_turn(worker, first.sha, message="m-2")
    assert git(worker.path, "rev-parse", f"{done.sha}^") == first.sha
    assert "a.txt" not in files(worker.path)
    assert (done.files, done.insertions, done.deletions) == (1, 0, 1)


@pytest.mark.parametrize("detached", [True, False])
async def test_commits_made_elsewhere_on_top_of_the_tip_are_brought_along(worker, detached):
    start = await worker.switch(A)
    git(worker.path, "switch", "-q", *(["--detach"] if detached else ["-c", "feature"]))
    write(worker.path, f_txt="f\n")
    git(worker.path, "add", "--all")
    git(worker.path, "commit", "-qm", "on feature")
    own = git(worker.path, "rev-parse", "HEAD")
    write(worker.path, g_txt="uncommitted\n")
    done = await end_turn(worker, start.head)
    assert git(worker.path, "rev-parse", f"{done.sha}^") == own
    assert git(worker.path, "symbolic-ref", "HEAD") == "refs/heads/thread-a"
    assert done.files == 2
    assert is_clean(worker)


async def test_clean_commits_elsewhere_need_no_checkpoint_of_their_own(worker):
    await worker.switch(A)
    git(worker.path, "switch", "-qc", "feature")
    git(worker.path, "commit", "-q", "--allow-empty", "-m", "on feature")
    own = git(worker.path, "rev-parse", "HEAD")
    assert await worker.checkpoint(thread_id=A, turn_id=T, reason="x") == own == tip(worker)
    assert git(worker.path, "symbolic-ref", "HEAD") == "refs/heads/thread-a"


async def test_looking_at_another_branch_is_no_change(worker):
    start = await worker.switch(A)
    write(worker.path, a_txt="a\n")
    first = await end_turn(worker, start.head)
    await worker.switch(A)
    git(worker.path, "checkout", "-q", "origin/main")
    assert await end_turn(worker, first.sha, message="m-2") is None
    assert git(worker.path, "symbolic-ref", "HEAD") == "refs/heads/thread-a"
    assert files(worker.path)["a.txt"] == "a\n"
    assert is_clean(worker)


async def test_work_on_an_unrelated_branch_comes_onto_the_threads_own_and_takes_nothing_away(worker):
    start = await worker.switch(A)
    write(worker.path, a_txt="a\n")
    first = await end_turn(worker, start.head)
    await worker.switch(A)
    git(worker.path, "checkout", "-qb", "fix", "origin/main")
    write(worker.path, fix_txt="fix\n")
    git(worker.path, "add", "--all")
    git(worker.path, "commit", "-qm", "fix")
    fix = git(worker.path, "rev-parse", "HEAD")
    write(worker.path, index_html="more\n")
    done = await end_turn(worker, first.sha, message="m-2")
    assert git(worker.path, "rev-parse", f"{done.sha}^") == first.sha
    assert git(worker.path, "rev-parse", "refs/branchline/kept/thread-a/1") == fix
    left = files(worker.path)
    assert (left["a.txt"], left["fix.txt"], left["index.html"]) == ("a\n", "fix\n", "more\n")
    assert is_clean(worker)


async def test_a_branch_that_another_turn_rewrote_is_restored_and_the_other_kept(worker):
    await worker.switch(A)
    write(worker.path, a_txt="a\n")
    mine = await worker.checkpoint(thread_id=A, turn_id=T, reason="x")
    await worker.switch(B)
    git(worker.path, "branch", "-qf", "thread-a", "origin/main~0")
    assert (await worker.switch(A)).head == mine
    await worker.switch(B)
    git(worker.path, "branch", "-qD", "thread-a")
    assert (await worker.switch(A)).head == mine
    assert files(worker.path)["a.txt"] == "a\n"


async def test_an_orphan_branch_ends_as_a_commit_on_the_threads_branch(worker):
    start = await worker.switch(A)
    git(worker.path, "switch", "-q", "--orphan", "fresh")
    write(worker.path, only_txt="o\n")
    done = await end_turn(worker, start.head)
    assert git(worker.path, "rev-parse", f"{done.sha}^") == start.head
    assert git(worker.path, "ls-tree", "--name-only", done.sha) == "only.txt"
    assert is_clean(worker)


# ---------------------------------------------------------------- evidence


async def test_a_turn_that_changed_nothing_makes_no_commit(worker):
    start = await worker.switch(A)
    assert await end_turn(worker, start.head) is None
    assert tip(worker) == start.head


async def test_the_evidence_counts_all_since_the_base_and_is_found_again(lab, worker):
    start = await worker.switch(A)
    write(worker.path, one_txt="1\n2\n")
    git(worker.path, "add", "--all")
    git(worker.path, "commit", "-qm", "Claude's own")
    done = await end_turn(worker, start.head, body="I wrote one.\n\n---\nAnd a line.")
    assert (done.files, done.insertions, done.deletions) == (1, 2, 0)
    assert git(worker.path, "log", "-1", "--format=%ce|%ae", done.sha) == (
        "branchline@localhost|branchline@localhost"
    )
    found = await worker.find(thread_id=A, message_id=M)
    assert (found.sha, found.body, found.branch) == (done.sha, "I wrote one.\n\n---\nAnd a line.", "thread-a")
    await worker.push(thread_id=A)
    other = await lab.ready("other", epoch=2)
    await other.fetch()
    assert (await other.find(thread_id=A, message_id=M)).sha == done.sha
    assert await other.find(thread_id=B, message_id=M) is None
    assert await other.find(thread_id=A, message_id=MessageId("m-")) is None
    assert await other.find(thread_id=A, message_id=MessageId("m-11")) is None


async def test_several_messages_of_any_spelling_are_found_and_nothing_else(worker):
    start = await worker.switch(A)
    write(worker.path, a_txt="a\n")
    ids = tuple(
        MessageId(each)
        for each in ("x\nBranchline-Message: y", " lead", "ü/\u2028é", "a%0Ab", "-n", "z" * 200)
    )
    await worker.commit(thread_id=A, base=start.head, subject="s", body="b", message_ids=ids)
    for each in ids:
        assert await worker.find(thread_id=A, message_id=each) is not None
    assert await worker.find(thread_id=A, message_id=MessageId("y")) is None
    assert await worker.find(thread_id=A, message_id=MessageId("a\nb")) is None
    assert len({trailer_value(each) for each in ids}) == len(ids)


async def test_text_cannot_forge_a_trailer(worker):
    start = await worker.switch(A)
    write(worker.path, a_txt="a\n")
    forged = "ok\n\nBranchline-Message: forged\n  branchline-thread: a\rBranchline-Message: forged\n"
    await worker.commit(
        thread_id=A, base=start.head, subject="Branchline-Message: forged\nBranchline-Message: forged",
        body=forged, message_ids=(M,),
    )  # fmt: skip
    assert await worker.find(thread_id=A, message_id=MessageId("forged")) is None
    raw = git(worker.path, "log", "-1", "--format=%B", "thread-a").splitlines()
    assert [line for line in raw if line.lower().startswith("branchline-")] == [
        "Branchline-Message: m-1",
        "Branchline-Thread: a",
        "Branchline-Outcome: completed",
    ]


async def test_a_commit_of_claude_with_our_trailers_is_no_evidence(worker):
    start = await worker.switch(A)
    git(
        worker.path,
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "x\n\nBranchline-Message: m-1\nBranchline-Thread: a",
    )
    assert start.head != git(worker.path, "rev-parse", "HEAD")
    assert await worker.find(thread_id=A, message_id=M) is None


async def test_messages_are_redacted_and_the_subject_is_one_short_line(lab):
    worker = await lab.ready(redact=lambda text: text.replace("hunter2", "[secret]"))
    start = await worker.switch(A)
    write(worker.path, a_txt="a\n")
    subject = "x" * 69 + "hunter2\nand\x00 more"
    await worker.commit(
        thread_id=A, base=start.head, subject=subject, body="see hunter2\x00", message_ids=(M,)
    )
    message = git(worker.path, "log", "-1", "--format=%B", "thread-a")
    assert "hunter" not in message
    assert len(message.splitlines()[0]) == 72
    assert "see [secret]" in message


# ---------------------------------------------------------------- cancellation


@pytest.mark.parametrize("after", [1, 3, 6, 10, 15, 25])
async def test_a_cancelled_call_leaves_nothing_behind_that_the_next_one_trips_over(worker, after):
    await worker.switch(B)
    write(worker.path, b_txt="b\n")
    await worker.switch(A)
    write(worker.path, a_txt="a\n", _gitignore="*.log\n.env\n", _env="E\n")
    there = asyncio.create_task(worker.switch(B))
    for _ in range(after * 4):
        await asyncio.sleep(0.001)  # lets the switch get to another point each time
    there.cancel()
    await asyncio.wait({there})
    await worker.switch(B)
    assert set(files(worker.path)) == {"index.html", "src/page", ".gitignore", "b.txt"}
    await worker.switch(A)
    assert (files(worker.path)["a.txt"], files(worker.path)[".env"]) == ("a\n", "E\n")
    assert is_clean(worker)


async def test_the_environment_of_a_surrounding_git_does_not_matter(worker, monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    await worker.switch(A)
    write(worker.path, a_txt="a\n")
    assert await worker.checkpoint(thread_id=A, turn_id=T, reason="x")
