"""Push, fetch and claim: the epoch fences, people's pushes survive, the token meets its own host only."""

import asyncio
import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from workspace_lab import WORKER, A, B, Lab, M, T, end_turn, files, git, write

from contracts import names
from contracts.words import MessageId
from worker.errors import LeaseLost, RemoteUnavailable, WorkspaceError

EPOCH = names.epoch_ref(WORKER)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


async def work(worker, name: str = "a_txt", text: str = "a\n", *, message: str = M, push: bool = True):
    """One turn on thread a."""
    start = await worker.switch(A)
    write(worker.path, **{name: text})
    done = await end_turn(worker, start.head, message=message)
    return done, (await worker.push(thread_id=A) if push else None)


def person_pushes(lab: Lab, **changes: str) -> str:
    git(lab.person, "fetch", "-q")
    git(lab.person, "switch", "-q", "thread-a")
    git(lab.person, "reset", "-q", "--hard", "origin/thread-a")
    write(lab.person, **changes)
    git(lab.person, "add", "--all")
    git(lab.person, "commit", "-qm", "person")
    git(lab.person, "push", "-q", "origin", "thread-a")
    return git(lab.person, "rev-parse", "HEAD")


# ---------------------------------------------------------------- the epoch


async def test_a_push_takes_branch_and_epoch_ref_together(lab):
    worker = await lab.ready()
    claimed = git(lab.remote, "rev-parse", EPOCH)
    done, push = await work(worker)
    assert (push.branch, push.sha, push.conflict, push.rebased) == ("thread-a", done.sha, False, False)
    assert git(lab.remote, "rev-parse", "thread-a") == done.sha
    assert git(lab.remote, "rev-parse", f"{EPOCH}^") == claimed
    assert git(lab.remote, "log", "-1", "--format=%s", EPOCH).startswith(
        f"epoch 1 of worker {WORKER}, owner "
    )
    assert git(lab.remote, "ls-tree", EPOCH) == ""


async def test_a_predecessor_cannot_push_although_its_successor_has_not_pushed_yet(lab):
    old = await lab.ready("old", epoch=1)
    await work(old)
    await work(old, "late_txt", message="m-2", push=False)
    new = await lab.ready("new", epoch=2)
    before = git(lab.remote, "rev-parse", "thread-a")
    with pytest.raises(LeaseLost):
        await old.push(thread_id=A)
    assert git(lab.remote, "rev-parse", "thread-a") == before
    await new.fetch()
    await work(new, "new_txt", message="m-3")
    with pytest.raises(LeaseLost):
        await old.push(thread_id=A)


async def test_two_claims_at_once_leave_one_owner(lab):
    workers = [lab.worker(f"w{n}") for n in range(3)]
    for worker in workers:
        await worker.prepare()
    await asyncio.gather(*(worker.claim(epoch=n + 1) for n, worker in enumerate(workers)))
    landed = []
    for n, worker in enumerate(workers):
        try:
            await work(worker, f"w{n}_txt")
            landed.append(n)
        except LeaseLost:
            pass
    assert len(landed) == 1


async def test_a_late_predecessor_of_the_same_record_cannot_claim_back(lab):
    late = lab.worker("late", lineage="row-1")
    await late.prepare()
    await lab.ready("new", epoch=2, lineage="row-1")
    with pytest.raises(LeaseLost):
        await late.claim(epoch=1)
    fresh = await lab.ready("fresh", epoch=1, lineage="row-2")
    await work(fresh)


async def test_a_push_without_a_claim_is_refused(lab):
    worker = lab.worker()
    await worker.prepare()
    with pytest.raises(WorkspaceError):
        await work(worker)


async def test_a_push_that_landed_without_an_answer_counts_as_landed(lab, tmp_path, monkeypatch):
    worker = await lab.ready()
    await work(worker, push=False)
    shim = tmp_path / "bin" / "git"
    shim.parent.mkdir()
    real = git(tmp_path, "--exec-path") + "/git"
    shim.write_text(
        f'#!/bin/sh\n{real} "$@"; code=$?\nfor each in "$@"; do [ "$each" = push ] && '
        "{ echo 'fatal: the remote end hung up unexpectedly' >&2; exit 128; }; done\nexit $code\n"
    )
    shim.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
        push = await worker.push(thread_id=A)
    assert git(lab.remote, "rev-parse", "thread-a") == push.sha
    await work(worker, "b_txt", message="m-2")


# ---------------------------------------------------------------- a person was faster


@pytest.mark.parametrize("switched_away", [True, False])
async def test_own_commits_are_rebased_when_that_is_clean(lab, switched_away):
    worker = await lab.ready()
    await work(worker)
    theirs = person_pushes(lab, person_txt="p\n")
    await work(worker, "more_txt", "m\n", message="m-2", push=False)
    if switched_away:
        await worker.switch(B)
        write(worker.path, b_txt="half done\n")
    push = await worker.push(thread_id=A)
    assert (push.branch, push.rebased, push.conflict) == ("thread-a", True, False)
    assert git(lab.remote, "rev-parse", "thread-a") == push.sha
    assert git(lab.remote, "rev-parse", "thread-a^") == theirs
    found = await worker.find(thread_id=A, message_id=MessageId("m-2"))
    assert found.sha == push.sha
    if switched_away:
        assert files(worker.path)["b.txt"] == "half done\n"
        assert git(worker.path, "symbolic-ref", "HEAD") == "refs/heads/thread-b"
        assert "person.txt" not in files(worker.path)
    await worker.switch(A)
    assert {"person.txt", "more.txt", "a.txt"} <= set(files(worker.path))
    assert git(worker.path, "status", "--porcelain") == ""
    assert len(git(worker.path, "worktree", "list").splitlines()) == 1


async def test_a_conflict_is_pushed_beside_the_branch_and_the_persons_work_stays(lab):
    worker = await lab.ready()
    await work(worker)
    theirs = person_pushes(lab, a_txt="person\n")
    done, push = await work(worker, "a_txt", "worker\n", message="m-2")
    assert (push.branch, push.sha, push.conflict) == ("conflict-1/thread-a", done.sha, True)
    assert git(lab.remote, "rev-parse", "thread-a") == theirs
    assert lab.on_remote("conflict-1/thread-a", "a.txt") == "worker"
    assert files(worker.path)["a.txt"] == "worker\n"
    later, again = await work(worker, "b_txt", message="m-3")
    assert (again.branch, again.sha) == ("conflict-1/thread-a", later.sha)
    successor = await lab.ready("successor", epoch=2)
    assert (await successor.find(thread_id=A, message_id=MessageId("m-2"))).sha == done.sha


async def test_a_conflict_branch_of_somebody_else_is_left_alone(lab):
    worker = await lab.ready()
    await work(worker)
    person_pushes(lab, a_txt="person\n")
    git(lab.person, "push", "-q", "origin", "main:conflict-1/thread-a", "thread-a:conflict-2/thread-a")
    git(lab.person, "push", "-q", "origin", "thread-a:conflict-1/thread-a")
    _, push = await work(worker, "a_txt", "worker\n", message="m-2")
    assert push.branch == "conflict-3/thread-a"


async def test_a_push_in_the_background_never_moves_the_branch_under_a_running_turn(lab):
    worker = await lab.ready()
    await work(worker)
    person_pushes(lab, person_txt="p\n")
    await worker.switch(A)
    write(worker.path, more_txt="m\n")
    sha = await worker.checkpoint(thread_id=A, turn_id=T, reason="preempted")
    running = await worker.switch(A)
    push = await worker.push(thread_id=A)
    assert (push.conflict, push.sha) == (True, sha)
    assert git(worker.path, "rev-parse", "HEAD") == running.head == sha


async def test_a_merge_of_claude_is_not_taken_apart(lab):
    worker = await lab.ready()
    await work(worker)
    person_pushes(lab, person_txt="p\n")
    start = await worker.switch(A)
    git(worker.path, "switch", "-qc", "side", "origin/main")
    write(worker.path, side_txt="s\n")
    git(worker.path, "add", "--all")
    git(worker.path, "commit", "-qm", "side")
    git(worker.path, "switch", "-q", "thread-a")
    git(worker.path, "merge", "-q", "--no-edit", "side")
    await end_turn(worker, start.head, message="m-2")
    assert (await worker.push(thread_id=A)).conflict


async def test_a_branch_the_remote_refuses_goes_beside_and_a_remote_that_refuses_all_says_why(lab):
    worker = await lab.ready()
    hook = lab.remote / "hooks" / "update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text('#!/bin/sh\ncase $1 in refs/heads/thread-*) echo "no entry" >&2; exit 1;; esac\n')
    hook.chmod(0o755)
    _, push = await work(worker)
    assert push.branch == "conflict-1/thread-a"
    hook.write_text('#!/bin/sh\ncase $1 in refs/heads/*) echo "no entry" >&2; exit 1;; esac\n')
    with pytest.raises(WorkspaceError, match="no entry"):
        await work(worker, "b_txt", message="m-2")


async def test_pushes_of_several_callers_queue_up(lab):
    worker = await lab.ready()
    await work(worker, push=False)
    await worker.switch(B)
    write(worker.path, b_txt="b\n")
    await worker.checkpoint(thread_id=B, turn_id=T, reason="x")
    await asyncio.gather(*(worker.push(thread_id=each) for each in (A, B, A, B)), worker.fetch())
    assert lab.on_remote("thread-b", "b.txt") == "b"


# ---------------------------------------------------------------- remotes of all kinds


async def test_an_empty_remote_gets_its_first_branch_from_a_thread(tmp_path):
    lab = Lab(tmp_path, empty=True)
    worker = await lab.ready()
    await worker.fetch()
    checkout = await worker.switch(A)
    assert checkout.created
    assert files(worker.path) == {}
    write(worker.path, a_txt="a\n")
    await end_turn(worker, checkout.head)
    await worker.push(thread_id=A)
    await worker.switch(B)
    assert files(worker.path) == {}
    assert lab.on_remote("thread-a", "a.txt") == "a"


async def test_a_person_s_repository_that_is_not_bare_will_do(lab):
    worker = await lab.ready(remote=str(lab.person))
    await work(worker)
    assert git(lab.person, "show", "thread-a:a.txt") == "a"
    git(lab.person, "switch", "-q", "thread-a")
    _, push = await work(worker, "b_txt", message="m-2")
    assert push.branch == "conflict-1/thread-a"
    assert "b.txt" not in files(lab.person)


async def test_a_head_that_names_no_branch_falls_back_to_main(lab):
    git(lab.remote, "symbolic-ref", "HEAD", "refs/heads/nothing")
    worker = await lab.ready()
    await worker.fetch()
    assert await worker.default_branch() == "main"
    assert "index.html" in files(worker.path) or (await worker.switch(A)).created
    assert "index.html" in files(worker.path)


async def test_another_default_branch_and_deleted_branches_arrive_with_a_fetch(lab):
    worker = await lab.ready()
    git(lab.person, "push", "-q", "origin", "main:trunk", "main:old")
    await worker.fetch()
    git(lab.remote, "symbolic-ref", "HEAD", "refs/heads/trunk")
    git(lab.remote, "branch", "-D", "old")
    git(lab.person, "push", "-q", "origin", "main:old/deeper")
    await worker.fetch()
    assert await worker.default_branch() == "trunk"
    refs = git(worker.path, "for-each-ref", "--format=%(refname:short)", "refs/remotes").splitlines()
    assert "origin/old/deeper" in refs
    assert "origin/old" not in refs


async def test_a_remote_that_is_gone_is_unavailable_and_local_work_is_safe(lab):
    worker = await lab.ready()
    await work(worker, push=False)
    lab.remote.rename(lab.remote.with_name("away"))
    for attempt in (worker.fetch(), worker.push(thread_id=A), worker.claim(epoch=2)):
        with pytest.raises(RemoteUnavailable):
            await attempt
    lab.remote.with_name("away").rename(lab.remote)
    await worker.push(thread_id=A)
    assert lab.on_remote("thread-a", "a.txt") == "a"


async def test_a_fetch_disturbs_no_turn(lab):
    worker = await lab.ready()
    await worker.switch(A)
    write(worker.path, a_txt="half\n")
    git(worker.path, "add", "a.txt")
    before = git(worker.path, "status", "--porcelain", "--branch")
    await asyncio.gather(worker.fetch(), worker.fetch())
    assert git(worker.path, "status", "--porcelain", "--branch") == before


# ---------------------------------------------------------------- the token


class Forge(BaseHTTPRequestHandler):
    """git over HTTP with Basic authentication, as a forge does it."""

    protocol_version = "HTTP/1.1"
    root: str
    seen: list[str]

    def do_GET(self) -> None:
        """Answer with git's own CGI program."""
        given = self.headers.get("Authorization", "")
        self.seen.append(given)
        if given != "Basic " + base64.b64encode(b"x-access-token:tok-123").decode():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="forge"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        env = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": self.root, "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "REMOTE_USER": "x",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }  # fmt: skip
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        out = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True).stdout
        head, _, rest = out.partition(b"\r\n\r\n")
        self.send_response(200)
        for line in head.decode().splitlines():
            name, _, value = line.partition(": ")
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def forge(lab: Lab) -> Iterator[tuple[str, list[str]]]:
    git(lab.remote, "config", "http.receivepack", "true")
    seen: list[str] = []
    kind = type("Here", (Forge,), {"root": str(lab.root), "seen": seen})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/remote.git", seen
    server.shutdown()
    thread.join()
    server.server_close()


async def test_the_token_reaches_the_remote_and_stands_nowhere_else(lab, forge, tmp_path, monkeypatch):
    url, _ = forge
    log = tmp_path / "argv.log"
    shim = tmp_path / "bin" / "git"
    shim.parent.mkdir()
    real = git(tmp_path, "--exec-path") + "/git"
    shim.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$BRANCHLINE_GIT_TOKEN <- $(echo "$*" | tr "\\n" " ")" >> {log}\n'
        f'exec {real} "$@"\n'
    )
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    worker = lab.worker(remote=url)
    worker._remote.token = lambda: "tok-123"
    await worker.prepare()
    await worker.claim(epoch=1)
    await worker.fetch()
    await work(worker)
    assert lab.on_remote("thread-a", "a.txt") == "a"
    for line in log.read_text().splitlines():
        token, _, argv = line.partition(" <- ")
        assert "tok-123" not in argv
        verbs = {"clone", "fetch", "push", "ls-remote"} & set(argv.split())
        assert bool(token) == bool(verbs), line
    for path in (tmp_path / "worker").rglob("*"):
        if path.is_file():
            assert b"tok-123" not in path.read_bytes()


async def test_a_wrong_token_is_a_remote_that_cannot_be_reached(lab, forge):
    url, _ = forge
    worker = lab.worker(remote=url)
    worker._remote.token = lambda: "wrong"
    with pytest.raises(RemoteUnavailable):
        await worker.prepare()
    assert not worker.path.exists()


async def test_the_token_is_not_given_to_a_host_the_checkout_names(lab, forge):
    url, seen = forge
    worker = await lab.ready()
    worker._remote.token = lambda: "tok-123"
    git(worker.path, "config", f"url.{url}.insteadOf", str(lab.remote))
    git(worker.path, "config", "http.proxy", url)
    await work(worker)
    await worker.fetch()
    assert seen == []


async def test_a_lock_that_a_killed_push_left_in_a_local_remote_is_no_conflict(lab):
    worker = await lab.ready()
    start = await worker.switch(A)
    write(worker.path, a_txt="a\n")
    await end_turn(worker, start.head, message=M)
    for ref in ("refs/heads/thread-a", "refs/branchline/epoch/client-project-user"):
        lock = lab.remote / f"{ref}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    pushed = await worker.push(thread_id=A)
    assert (pushed.branch, pushed.conflict) == ("thread-a", False)
    assert not list(lab.remote.rglob("*.lock"))


async def test_an_owner_on_another_disk_goes_on_from_what_was_pushed_and_nothing_is_done_twice(lab):
    first, second = await lab.ready(), lab.worker("elsewhere")
    start = await first.switch(A)
    write(first.path, a_txt="first\n")
    await end_turn(first, start.head, message=M)  # killed before the push
    await second.prepare()
    await second.claim(epoch=2)
    start = await second.switch(A)
    write(second.path, a_txt="second\n")
    await end_turn(second, start.head, message=M)
    assert not (await second.push(thread_id=A)).conflict
    await first.claim(epoch=3)
    await first.fetch()
    await first.push_rest(threads=[A])
    start = await first.switch(A)
    assert (first.path / "a.txt").read_text() == "second\n"
    assert start.head == git(lab.remote, "rev-parse", "thread-a")
    assert git(lab.remote, "branch", "--list", "conflict-*") == ""


async def test_what_is_left_of_threads_that_are_not_named_is_not_pushed(lab):
    worker = await lab.ready()
    start = await worker.switch(A)
    write(worker.path, a_txt="a\n")
    await end_turn(worker, start.head, message=M)
    await worker.push_rest(threads=[B])
    assert git(lab.remote, "branch", "--list", "thread-*") == ""


async def test_work_that_was_never_pushed_is_pushed_at_the_next_start(lab):
    worker = await lab.ready()
    start = await worker.switch(A)
    write(worker.path, a_txt="a\n")
    made = await end_turn(worker, start.head, message=M)
    again = lab.worker()
    await again.prepare()
    await again.claim(epoch=2)
    await again.fetch()
    await again.push_rest(threads=[A])
    assert git(lab.remote, "rev-parse", "thread-a") == made.sha


async def test_a_remote_that_was_away_at_the_start_is_claimed_by_the_first_push(lab):
    worker = await lab.ready()
    hidden = lab.remote.rename(lab.root / "away.git")
    later = lab.worker()
    await later.prepare()
    with pytest.raises(RemoteUnavailable):
        await later.claim(epoch=2)
    start = await later.switch(A)
    write(later.path, a_txt="a\n")
    await end_turn(later, start.head, message=M)
    hidden.rename(lab.remote)
    assert (await later.push(thread_id=A)).branch == "thread-a"
    with pytest.raises(LeaseLost):
        await worker.push(thread_id=A)


async def test_a_remote_that_was_away_at_the_start_is_claimed_before_it_is_looked_at(lab):
    earlier, later = await lab.ready(), lab.worker("elsewhere")
    start = await earlier.switch(A)
    write(earlier.path, a_txt="a\n")
    await end_turn(earlier, start.head)
    await later.prepare()
    hidden = lab.remote.rename(lab.root / "away.git")
    with pytest.raises(RemoteUnavailable):
        await later.claim(epoch=2)
    hidden.rename(lab.remote)
    await later.fetch()
    assert await later.find(thread_id=A, message_id=M) is None
    with pytest.raises(LeaseLost):
        await earlier.push(thread_id=A)  # else it would appear behind the look that decides


async def test_evidence_says_which_branch_of_the_remote_holds_it(lab):
    worker, elsewhere = await lab.ready(), lab.worker("elsewhere")
    start = await worker.switch(A)
    write(worker.path, a_txt="a\n")
    made = await end_turn(worker, start.head)
    assert (await worker.find(thread_id=A, message_id=M)).stands_on is None
    await worker.push(thread_id=A)
    await elsewhere.prepare()
    await elsewhere.fetch()
    found = await elsewhere.find(thread_id=A, message_id=M)
    assert (found.sha, found.stands_on) == (made.sha, "thread-a")


async def test_a_turn_that_began_from_a_commit_of_another_disk_ends_with_one_commit(lab):
    worker = await lab.ready()
    await worker.switch(A)
    write(worker.path, a_txt="a\n")
    made = await end_turn(worker, "1" * 40)
    assert (made.files, made.insertions) == (1, 1)
    assert git(worker.path, "log", "--format=%s", "origin/main..thread-a") == "Change it"
