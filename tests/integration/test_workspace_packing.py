"""Loose objects are packed once there are many, beside a turn, and nothing is lost by it."""

import asyncio
import os
import time
from pathlib import Path

from tests.integration.workspace_lab import A, Lab, M, T, git, write
from worker.packing import MANY, WRITTEN_BY


def loose(checkout: Path) -> int:
    counts = dict(line.split(": ") for line in git(checkout, "count-objects", "-v").splitlines())
    return int(counts["count"])


def pile_up(checkout: Path, *, count: int) -> None:
    """Write ``count`` blobs that nothing refers to, as scratch trees leave them."""
    folder = checkout.parent / "blobs"
    folder.mkdir(exist_ok=True)
    for number in range(count):
        (folder / str(number)).write_text(f"blob {number}\n")
    names = "".join(f"{folder}/{number}\n" for number in range(count))
    git(checkout, "hash-object", "-w", "--stdin-paths", stdin=names)


async def test_few_loose_objects_are_left_alone(tmp_path: Path) -> None:
    worker = await Lab(tmp_path).ready()
    await worker.switch(A)
    write(worker.path, one="1\n")
    await worker.checkpoint(thread_id=A, turn_id=T, reason="test")
    before = loose(worker.path)
    await worker.tidy()
    assert before > 0
    assert loose(worker.path) == before


async def test_many_loose_objects_become_a_pack_while_a_turn_commits(tmp_path: Path) -> None:
    worker = await Lab(tmp_path).ready()
    checkout = await worker.switch(A)
    pile_up(worker.path, count=2 * MANY)
    write(worker.path, one="1\n")
    _, commit = await asyncio.gather(
        worker.tidy(),
        worker.commit(thread_id=A, base=checkout.head, subject="s", body="", message_ids=(M,)),
    )
    assert commit is not None
    assert (await worker.find(thread_id=A, message_id=M)) is not None
    assert loose(worker.path) < MANY
    # What no ref names is kept, too: it may be the beginning of somebody's commit.
    blob = git(worker.path, "hash-object", "--stdin-paths", stdin=str(tmp_path / "worker" / "blobs" / "7"))
    assert git(worker.path, "cat-file", "-p", blob) == "blob 7"
    git(worker.path, "fsck", "--full", "--strict")


async def test_the_epoch_commits_of_many_pushes_become_a_pack_too(tmp_path: Path) -> None:
    worker = await Lab(tmp_path).ready()
    relay = tmp_path / "worker" / "state" / "relay.git"
    pile_up(relay, count=2 * MANY)
    await worker.tidy()
    assert loose(relay) < MANY
    checkout = await worker.switch(A)
    write(worker.path, one="1\n")
    await worker.commit(thread_id=A, base=checkout.head, subject="s", body="", message_ids=(M,))
    assert (await worker.push(thread_id=A)).branch == "thread-a"


async def test_turns_leave_no_reflogs_behind(tmp_path: Path) -> None:
    worker = await Lab(tmp_path).ready()
    checkout = await worker.switch(A)
    write(worker.path, one="1\n")
    await worker.commit(thread_id=A, base=checkout.head, subject="s", body="", message_ids=(M,))
    await worker.push(thread_id=A)
    assert not list((worker.path / ".git").glob("logs/**/*"))


def half_packed(objects: Path) -> list[Path]:
    """What a ``git repack`` that is killed before its last step leaves: its ``git pack-objects`` is done."""
    repository = objects.parent
    git(
        repository,
        "--git-dir=.",
        "pack-objects",
        "--all",
        "--quiet",
        str(objects / "pack" / ".tmp-4711-pack"),
    )
    (objects / "pack" / "tmp_pack_AbC123").touch()
    left = [path for path in (objects / "pack").iterdir() if "tmp" in path.name]
    assert {path.suffix for path in left} >= {".pack", ".idx"}
    return left


async def test_what_a_killed_packing_left_is_gone_after_the_next_start(tmp_path: Path) -> None:
    worker = await Lab(tmp_path).ready()
    relay = tmp_path / "worker" / "state" / "relay.git"
    left = half_packed(worker.path / ".git" / "objects") + half_packed(relay / "objects")
    kept = git(worker.path, "rev-parse", "HEAD")
    git(worker.path, "branch", "tmp_obj_1")
    await worker.prepare()
    assert not [path for path in left if path.exists()]
    assert git(worker.path, "rev-parse", "tmp_obj_1") == kept
    git(worker.path, "fsck", "--full", "--strict")


async def test_what_a_killed_packing_left_is_removed_in_use_only_when_nobody_can_be_writing_it(
    tmp_path: Path,
) -> None:
    worker = await Lab(tmp_path).ready()
    left = half_packed(worker.path / ".git" / "objects")
    for path in left[1:]:
        os.utime(path, (time.time() - 2 * WRITTEN_BY,) * 2)
    await worker.tidy()
    assert [path for path in left if path.exists()] == left[:1]
