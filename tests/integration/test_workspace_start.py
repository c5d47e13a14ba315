"""Prepare: a clone where there is none, and order where a process died or somebody left a mess."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from workspace_lab import A, B, Lab, M, T, end_turn, files, git, write

from worker.errors import RemoteUnavailable

pytestmark = pytest.mark.slow


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


async def test_a_clone_has_all_and_local_folders_are_excluded_once(lab):
    git(lab.person, "tag", "v1")
    git(lab.person, "push", "-q", "origin", "v1", "main:other")
    worker = await lab.ready()
    await worker.prepare()
    assert git(worker.path, "tag") == "v1"
    assert git(worker.path, "rev-parse", "origin/other", "origin/main")
    exclude = (worker.path / ".git/info/exclude").read_text()
    assert exclude.count(".astro/") == exclude.count("node_modules/") == 1
    assert git(worker.path, "remote", "get-url", "origin") == str(lab.remote)


async def test_a_half_clone_is_removed_and_an_empty_folder_is_filled(lab):
    worker = lab.worker()
    worker.path.mkdir(parents=True)
    inode = worker.path.stat().st_ino
    half = worker.path.parent / f".{worker.path.name}.clone-1234"
    half.mkdir()
    await worker.prepare()
    assert not half.exists()
    assert worker.path.stat().st_ino == inode
    assert files(worker.path)["index.html"] == "hello\n"


@pytest.mark.parametrize("damage", ["no git folder", "objects", "head", "git is a file"])
async def test_a_broken_repository_is_kept_aside_and_cloned_again(lab, damage):
    first = await lab.ready()
    write(first.path, work_txt="precious\n")
    dot_git = first.path / ".git"
    if damage == "head":
        (dot_git / "HEAD").write_text("")
    elif damage == "objects":
        shutil.rmtree(dot_git / "objects")
    else:
        shutil.rmtree(dot_git)
        if damage == "git is a file":
            dot_git.write_text("gitdir: /nowhere\n")
    await (await lab.ready(epoch=2)).switch(A)
    assert "work.txt" not in files(first.path)
    assert (first.path.with_name("checkout.kept-1") / "work.txt").read_text() == "precious\n"


async def test_a_damaged_index_is_made_again_without_loss(lab):
    first = await lab.ready()
    await first.switch(A)
    write(first.path, work_txt="precious\n")
    (first.path / ".git/index").write_bytes(b"DIRC rubbish")
    again = await lab.ready(epoch=2)
    assert git(again.path, "show", "thread-a:work.txt") == "precious"
    assert not again.path.with_name("checkout.kept-1").exists()


async def test_no_remote_and_no_checkout_is_unavailable_and_a_checkout_alone_is_enough(lab):
    worker = await lab.ready()
    lab.remote.rename(lab.remote.with_name("away"))
    await lab.worker().prepare()
    with pytest.raises(RemoteUnavailable):
        await lab.worker("other").prepare()
    assert files(worker.path)["index.html"] == "hello\n"


async def test_leftovers_belong_to_the_current_thread_even_if_claude_had_switched(lab):
    worker = await lab.ready()
    await worker.switch(A)
    git(worker.path, "switch", "-qc", "elsewhere")
    write(worker.path, a_txt="half\n")
    again = await lab.ready(epoch=2)
    assert git(again.path, "show", "thread-a:a.txt") == "half"
    assert git(again.path, "symbolic-ref", "HEAD") == "refs/heads/thread-a"


async def test_leftovers_that_belong_to_no_thread_are_saved_under_a_ref(lab):
    worker = await lab.ready()
    write(worker.path, index_html="whose?\n", loose_txt="mine?\n")
    again = await lab.ready(epoch=2)
    assert git(again.path, "show", "refs/branchline/saved/1:index.html") == "whose?"
    assert git(again.path, "show", "refs/branchline/saved/1:loose.txt") == "mine?"
    await again.switch(A)
    assert "loose.txt" not in files(again.path)
    assert files(again.path)["index.html"] == "hello\n"


@pytest.mark.parametrize("moment", ["before", "between", "after"])
async def test_a_switch_cut_off_by_a_kill_mixes_no_threads(lab, moment):
    worker = await lab.ready()
    start = await worker.switch(A)
    write(worker.path, a_txt="a\n", index_html="of a\n")
    await end_turn(worker, start.head)
    await worker.switch(B)
    write(worker.path, b_txt="b\n", index_html="of b\n")
    await worker.checkpoint(thread_id=B, turn_id=T, reason="x")
    a_before, b_before = (git(worker.path, "rev-parse", f"thread-{each}") for each in "ab")
    (worker.path.parent / "state" / "moving").write_text("thread-b")  # as if it died within the switch
    if moment == "between":
        write(worker.path, index_html="of a\n", a_txt="a\n")
    elif moment == "after":
        git(worker.path, "switch", "-q", "thread-a")
    if moment != "before":
        noted = worker.path.parent / "state" / "current.json"
        noted.write_text('{"branch": "thread-a", "thread": "a"}')
    again = await lab.ready(epoch=2)
    assert git(again.path, "rev-parse", "thread-a") == a_before
    assert (await again.switch(A)).head == a_before
    assert files(again.path) == {
        "a.txt": "a\n", "index.html": "of a\n", "src/page": "one\n", ".gitignore": "*.log\n",
    }  # fmt: skip
    assert (await again.switch(B)).head == b_before
    assert files(again.path)["index.html"] == "of b\n"


LOOP = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = [{root!r}, {here!r}]
from workspace_lab import A, B, T, Lab, write
from worker.workspace import GitWorkspace
from contracts.words import MessageId, WorkerId

async def main():
    at = Path({base!r})
    worker = GitWorkspace(path=at / "worker/checkout", state_dir=at / "worker/state",
        remote=str(at / "remote.git"), worker_id=WorkerId("w"), token=lambda: None)
    await worker.prepare()
    n = 0
    while True:
        for thread in (A, B):
            n += 1
            start = await worker.switch(thread)
            for name in ("one", "two", "three"):
                text = f"{{thread}} {{n}}\\n"
                write(worker.path, **{{name + "_txt": text, f"{{thread}}__own": text}})
            if n % 3:
                await worker.checkpoint(thread_id=thread, turn_id=T, reason="x")
            else:
                await worker.commit(thread_id=thread, base=start.head, subject="s", body="b",
                    message_ids=(MessageId(str(n)),))
        print("round", flush=True)

asyncio.run(main())
"""


async def test_kills_of_the_process_group_lose_nothing_and_mix_nothing(lab, tmp_path):
    root = Path(__file__).parents[2]
    script = tmp_path / "loop.py"
    script.write_text(LOOP.format(root=str(root), here=str(Path(__file__).parent), base=str(tmp_path)))
    tips: dict[str, str] = {}
    for kill in range(8):
        process = subprocess.Popen(
            [sys.executable, str(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        for _ in range(1 + kill % 2):
            line = await asyncio.to_thread(process.stdout.readline)
            assert line, process.stderr.read().decode()
        await asyncio.sleep(kill * 0.007)  # no wait: another point of the round each time
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        for each in "ab":
            now = git(tmp_path / "worker/checkout", "rev-parse", f"thread-{each}")
            if each in tips:
                git(tmp_path / "worker/checkout", "merge-base", "--is-ancestor", tips[each], now)
            tips[each] = now
    again = await lab.ready(epoch=2)
    for each, other in ("ab", "ba"):
        for commit in git(again.path, "rev-list", f"origin/main..thread-{each}").splitlines():
            for name in git(again.path, "ls-tree", "-r", "--name-only", commit).splitlines():
                text = git(again.path, "show", f"{commit}:{name}")
                assert not text.startswith(f"{other} "), f"{name} of {other} in {each}"
    assert await again.find(thread_id=A, message_id=M) is None


async def test_a_stale_state_folder_of_another_checkout_is_forgotten(lab):
    worker = await lab.ready()
    await worker.switch(A)
    shutil.rmtree(worker.path)
    again = await lab.ready(epoch=2)
    assert (await again.switch(B)).created
    assert files(again.path)["index.html"] == "hello\n"
