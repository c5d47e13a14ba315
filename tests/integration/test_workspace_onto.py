"""Work that goes onto a branch of people's: with the thread's branch or not at all, and never over them."""

import asyncio
from pathlib import Path

import pytest
from workspace_lab import WORKER, A, B, Lab, T, end_turn, git, write

from contracts import names
from contracts.words import MessageId
from worker.errors import LeaseLost, RemoteUnavailable, WorkspaceError
from worker.remote import Onto

EPOCH = names.epoch_ref(WORKER)
M1, M2, M3 = (MessageId(f"m-{n}") for n in (1, 2, 3))
SEVERAL = "one\ntwo\nthree\nfour\nfive\nsix\nseven\n"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """With a branch ``feature`` of people's, one commit ahead of ``main``."""
    made = Lab(tmp_path)
    git(made.person, "switch", "-q", "-c", "feature")
    person_commits(made, feature_txt="f\n", lines_txt=SEVERAL)
    return made


def person_commits(lab: Lab, *, branch: str = "feature", **changes: str) -> str:
    """A person pushes one more commit to a branch."""
    git(lab.person, "fetch", "-q")
    if git(lab.remote, "branch", "--list", branch):
        git(lab.person, "switch", "-q", "-C", branch, f"origin/{branch}")
    write(lab.person, **changes)
    git(lab.person, "add", "--all")
    git(lab.person, "commit", "-qm", f"Person changes {' '.join(changes)}")
    while git(lab.person, "push", "--porcelain", "origin", f"HEAD:{branch}", ok=(0, 1)).count("\n!"):
        git(lab.person, "pull", "-q", "--rebase", "origin", branch)  # somebody was faster
    return git(lab.person, "rev-parse", "HEAD")


async def turn(worker, message: MessageId = M1, *, onto: str | None = "feature", **changes: str):
    """One whole turn on thread a, without its push."""
    start = await worker.switch(A, message_id=message, onto=onto)
    write(worker.path, **changes)
    return await end_turn(worker, start.head, message=message)


async def pause(worker, message: MessageId, **changes: str) -> None:
    """A turn on thread a that is interrupted, without its push."""
    await worker.switch(A, message_id=message, onto="feature")
    write(worker.path, **changes)
    await worker.checkpoint(thread_id=A, turn_id=T, reason="test")


def at(lab: Lab, ref: str) -> str:
    """Where a ref of the remote stands; empty when there is none."""
    return git(lab.remote, "rev-parse", "--verify", "--quiet", ref, ok=(0, 1))


def linear(lab: Lab, branch: str) -> list[str]:
    """Subjects of a branch above main, oldest first; it must hold no merge."""
    assert git(lab.remote, "log", "--merges", "--format=%h", f"main..{branch}") == ""
    return git(lab.remote, "log", "--reverse", "--format=%s", f"main..{branch}").splitlines()


# ---------------------------------------------------------------- together or not at all


async def test_a_new_thread_starts_on_the_branch_of_people_and_lands_there(lab):
    worker = await lab.ready()
    claimed = at(lab, EPOCH)
    done = await turn(worker, a_txt="a\n")
    assert (worker.path / "feature.txt").exists()
    push = await worker.push(thread_id=A)
    assert (push.branch, push.sha, push.onto, push.missed) == ("thread-a", done.sha, "feature", None)
    assert at(lab, "feature") == at(lab, "thread-a") == done.sha
    assert at(lab, f"{EPOCH}^") == claimed, "one push moved all three"
    assert linear(lab, "feature") == ["Person changes feature_txt lines_txt", "Change it"]


async def test_a_branch_that_was_made_since_the_last_fetch_is_fetched_first(lab):
    worker = await lab.ready()
    person_commits(lab, branch="newer", newer_txt="n\n")
    await turn(worker, onto="newer", a_txt="a\n")
    assert (worker.path / "newer.txt").exists()
    assert (await worker.push(thread_id=A)).onto == "newer"


async def test_without_the_remote_a_branch_that_nobody_knows_is_no_start(lab):
    worker = await lab.ready()
    lab.remote.rename(lab.root / "away.git")
    with pytest.raises(RemoteUnavailable):
        await worker.switch(A, onto="newer")


async def test_all_refs_move_or_none(lab):
    worker = await lab.ready()
    await turn(worker, a_txt="a\n")
    before = (at(lab, EPOCH), at(lab, "feature"))
    hook = lab.remote / "hooks" / "update"
    hook.write_text('#!/bin/sh\n[ "$1" != refs/heads/thread-a ]\n')
    hook.chmod(0o755)
    push = await worker.push(thread_id=A)
    assert push.conflict, "only a branch of another name is taken"
    assert at(lab, "feature") == before[1]
    assert at(lab, "thread-a") == ""
    assert at(lab, EPOCH) != before[0]


async def test_a_later_turn_starts_with_what_people_added(lab):
    worker = await lab.ready()
    await turn(worker, a_txt="a\n")
    await worker.push(thread_id=A)
    theirs = person_commits(lab, person_txt="p\n")
    await worker.fetch()
    start = await worker.switch(A, onto="feature")
    assert start.head == theirs
    assert (worker.path / "person.txt").exists()
    assert (worker.path / "a.txt").exists()


async def test_half_done_work_stays_on_the_threads_own_branch(lab):
    worker = await lab.ready()
    before = at(lab, "feature")
    await pause(worker, M1, half_txt="half\n")
    push = await worker.push(thread_id=A)
    assert (push.onto, push.missed) == (None, None)
    assert at(lab, "feature") == before
    assert at(lab, "thread-a") == push.sha
    done = await turn(worker, half_txt="whole\n")
    assert (await worker.push(thread_id=A)).onto == "feature"
    assert at(lab, "feature") == at(lab, "thread-a") == done.sha


async def test_a_push_of_what_landed_already_says_so(lab):
    worker = await lab.ready()
    await turn(worker, a_txt="a\n")
    first = await worker.push(thread_id=A)
    again = await worker.push(thread_id=A)
    assert (again.sha, again.onto, again.missed) == (first.sha, "feature", None)


async def test_work_that_was_not_pushed_lands_by_a_later_process_too(lab):
    first = await lab.ready()
    done = await turn(first, a_txt="a\n")
    again = await lab.ready(epoch=2)
    await again.fetch()
    await again.push_rest(threads=[A])
    assert at(lab, "feature") == at(lab, "thread-a") == done.sha


# ---------------------------------------------------------------- people push, too


async def test_own_commits_go_on_top_of_what_a_person_pushed_meanwhile(lab):
    worker = await lab.ready()
    await turn(worker, a_txt="a\n")
    theirs = person_commits(lab, person_txt="p\n")
    push = await worker.push(thread_id=A)
    assert (push.branch, push.onto, push.rebased, push.missed) == ("thread-a", "feature", True, None)
    assert at(lab, "feature") == at(lab, "thread-a") == push.sha
    assert at(lab, "feature^") == theirs
    assert (await worker.find(thread_id=A, message_id=M1, onto="feature")).sha == push.sha


async def test_so_do_those_of_a_later_turn_although_a_turn_of_another_thread_runs(lab):
    worker = await lab.ready()
    await turn(worker, a_txt="a\n")
    await worker.push(thread_id=A)
    await turn(worker, M2, b_txt="b\n")
    theirs = person_commits(lab, person_txt="p\n")
    await worker.switch(B)
    write(worker.path, other_txt="half done\n")
    push = await worker.push(thread_id=A)
    assert (push.onto, push.rebased) == ("feature", True)
    assert at(lab, "feature^") == theirs
    assert (worker.path / "other.txt").read_text() == "half done\n"


async def test_where_half_done_work_is_public_what_a_person_pushed_is_merged(lab):
    worker = await lab.ready()
    await pause(worker, M1, half_txt="half\n")
    await worker.push(thread_id=A)
    half = at(lab, "thread-a")
    theirs = person_commits(lab, person_txt="p\n")
    await turn(worker, half_txt="whole\n")
    push = await worker.push(thread_id=A)
    assert (push.branch, push.onto, push.missed) == ("thread-a", "feature", None)
    assert at(lab, "feature") == at(lab, "thread-a") == push.sha
    for kept in (half, theirs):
        assert git(lab.remote, "merge-base", "--is-ancestor", kept, "feature") == ""
    await turn(worker, M2, more_txt="m\n")
    assert (await worker.push(thread_id=A)).onto == "feature"


async def test_what_does_not_go_together_goes_beside_and_people_find_their_branch_as_it_was(lab):
    worker = await lab.ready()
    done = await turn(worker, lines_txt=SEVERAL.replace("two", "zwei"))
    theirs = person_commits(lab, lines_txt=SEVERAL.replace("two", "deux"))
    push = await worker.push(thread_id=A)
    assert (push.branch, push.conflict, push.onto) == ("conflict-1/thread-a", True, None)
    assert (push.missed.onto, push.missed.why) == ("feature", "apart")
    assert at(lab, "feature") == theirs
    assert at(lab, "conflict-1/thread-a") == done.sha
    assert (await worker.find(thread_id=A, message_id=M1, onto="feature")).onto is None


async def test_a_conflict_branch_that_a_person_merged_brings_the_thread_back(lab):
    worker = await lab.ready()
    await turn(worker, lines_txt=SEVERAL.replace("two", "zwei"))
    person_commits(lab, lines_txt=SEVERAL.replace("two", "deux"))
    await worker.push(thread_id=A)
    git(lab.person, "fetch", "-q")
    git(lab.person, "merge", "-q", "-s", "ours", "origin/conflict-1/thread-a", "-m", "Merge")
    git(lab.person, "push", "-q", "origin", "feature")
    await worker.fetch()
    done = await turn(worker, M2, a_txt="a\n")
    push = await worker.push(thread_id=A)
    assert (push.branch, push.onto) == ("thread-a", "feature")
    assert at(lab, "feature") == at(lab, "thread-a") == done.sha


async def test_a_branch_that_its_people_rewrote_gets_nothing_back_that_they_threw_away(lab):
    worker = await lab.ready()
    await turn(worker, a_txt="a\n")
    git(lab.person, "reset", "-q", "--hard", "origin/main")
    write(lab.person, again_txt="again\n")
    git(lab.person, "add", "--all")
    git(lab.person, "commit", "-qm", "rewritten")
    git(lab.person, "push", "-q", "--force", "origin", "feature")
    theirs = at(lab, "feature")
    push = await worker.push(thread_id=A)
    assert (push.conflict, push.missed.why) == (True, "rewritten")
    assert at(lab, "feature") == theirs


async def test_a_person_who_takes_a_commit_of_ours_back_keeps_it_back(lab):
    worker = await lab.ready()
    await turn(worker, a_txt="a\n")
    await worker.push(thread_id=A)
    git(lab.person, "fetch", "-q")
    git(lab.person, "push", "-q", "--force", "origin", "origin/feature~1:feature")
    theirs = at(lab, "feature")
    await worker.fetch()
    await turn(worker, M2, b_txt="b\n")
    push = await worker.push(thread_id=A)
    assert push.missed.why == "rewritten"
    assert at(lab, "feature") == theirs


async def test_a_branch_that_is_deleted_meanwhile_is_not_made_again(lab):
    worker = await lab.ready()
    done = await turn(worker, a_txt="a\n")
    git(lab.remote, "update-ref", "-d", "refs/heads/feature")
    push = await worker.push(thread_id=A)
    assert (push.branch, push.sha, push.conflict, push.onto) == ("thread-a", done.sha, False, None)
    assert push.missed.why == "gone"
    assert at(lab, "feature") == ""
    await turn(worker, M2, b_txt="b\n")
    assert (await worker.push(thread_id=A)).missed.why == "gone"


async def test_a_branch_that_takes_no_pushes_leaves_the_work_on_the_threads_own(lab):
    worker = await lab.ready()
    done = await turn(worker, a_txt="a\n")
    hook = lab.remote / "hooks" / "update"
    hook.write_text('#!/bin/sh\n[ "$1" != refs/heads/feature ] || { echo "feature is protected"; exit 1; }\n')
    hook.chmod(0o755)
    before = at(lab, "feature")
    push = await worker.push(thread_id=A)
    assert (push.branch, push.conflict, push.onto) == ("thread-a", False, None)
    assert (push.missed.why, push.missed.said) == ("refused", "feature is protected")
    assert (at(lab, "thread-a"), at(lab, "feature")) == (done.sha, before)


async def test_while_the_next_turn_runs_late_work_lands_only_on_the_threads_own_branch(lab):
    worker = await lab.ready()
    done = await turn(worker, a_txt="a\n")
    theirs = person_commits(lab, person_txt="p\n")
    start = await worker.switch(A, onto="feature")
    push = await worker.push(thread_id=A)
    assert (push.branch, push.onto, push.missed.why) == ("thread-a", None, "later")
    assert (at(lab, "thread-a"), at(lab, "feature")) == (done.sha, theirs)
    write(worker.path, b_txt="b\n")
    await end_turn(worker, start.head, message=M2)
    assert (await worker.push(thread_id=A)).onto == "feature"
    assert {"a.txt", "b.txt", "person.txt"} <= set(
        git(lab.remote, "ls-tree", "--name-only", "feature").split()
    )


async def test_a_person_on_the_threads_own_branch_is_heard_on_both(lab):
    worker = await lab.ready()
    await turn(worker, a_txt="a\n")
    await worker.push(thread_id=A)
    person_commits(lab, branch="thread-a", side_txt="s\n")
    await turn(worker, M2, b_txt="b\n")
    push = await worker.push(thread_id=A)
    assert (push.branch, push.onto, push.rebased) == ("thread-a", "feature", True)
    assert lab.on_remote("feature", "side.txt") == "s"


# ---------------------------------------------------------------- never


@pytest.mark.parametrize("onto", ["main", "conflict-1/thread-b", "thread-b", "HEAD", "--force", "a:main"])
async def test_the_default_branch_and_branches_of_ours_are_never_written_to(lab, onto):
    worker = await lab.ready()
    before = {ref: at(lab, ref) for ref in ("main", "feature")}
    await turn(worker, onto=onto, a_txt="a\n")
    push = await worker.push(thread_id=A)
    assert (push.branch, push.onto, push.missed) == ("thread-a", None, None)
    assert {ref: at(lab, ref) for ref in before} == before
    assert git(lab.remote, "for-each-ref", "--format=%(refname:short)", "refs/heads").split() == [
        "feature",
        "main",
        "thread-a",
    ]


async def test_a_branch_that_became_the_default_one_is_left_alone(lab):
    worker = await lab.ready()
    await turn(worker, a_txt="a\n")
    git(lab.remote, "symbolic-ref", "HEAD", "refs/heads/feature")
    before = at(lab, "feature")
    await worker.fetch()
    assert (await worker.push(thread_id=A)).onto is None
    assert at(lab, "feature") == before


async def test_once_a_message_says_no_more_nothing_lands_there(lab):
    worker = await lab.ready()
    await turn(worker, a_txt="a\n")
    await worker.push(thread_id=A)
    before = at(lab, "feature")
    await turn(worker, M2, onto=None, b_txt="b\n")
    assert (await worker.push(thread_id=A)).onto is None
    assert at(lab, "feature") == before


async def test_the_far_side_never_moves_a_branch_of_people_backwards(lab):
    worker = await lab.ready()
    done = await turn(worker, a_txt="a\n")
    theirs = person_commits(lab, person_txt="p\n")
    await worker.fetch()
    with pytest.raises(WorkspaceError, match="lose commits"):
        await worker._remote.push(sha=done.sha, branch="thread-a", onto=Onto(name="feature", old=theirs))
    assert at(lab, "feature") == theirs
    assert at(lab, "thread-a") == ""


async def test_a_predecessor_cannot_write_to_it(lab):
    old = await lab.ready("old")
    await turn(old, a_txt="a\n")
    before = at(lab, "feature")
    new = await lab.ready("new", epoch=2)
    with pytest.raises(LeaseLost):
        await old.push(thread_id=A)
    assert (at(lab, "feature"), at(lab, "thread-a")) == (before, "")
    await new.fetch()
    await turn(new, M2, b_txt="b\n")
    assert (await new.push(thread_id=A)).onto == "feature"
    with pytest.raises(LeaseLost):
        await old.push(thread_id=A)


# ---------------------------------------------------------------- another disk


async def test_another_disk_goes_on_and_finds_what_stands_there(lab):
    first = await lab.ready("first")
    done = await turn(first, a_txt="a\n")
    await first.push(thread_id=A)
    second = await lab.ready("second", epoch=2)
    await second.fetch()
    found = await second.find(thread_id=A, message_id=M1, onto="feature")
    assert (found.sha, found.stands_on, found.onto) == (done.sha, "thread-a", "feature")
    assert (await second.find(thread_id=A, message_id=M1)).onto is None
    theirs = person_commits(lab, person_txt="p\n")
    await second.fetch()
    await turn(second, M2, b_txt="b\n")
    assert (await second.push(thread_id=A)).onto == "feature"
    assert at(lab, "feature^") == theirs


async def test_a_paused_turn_goes_on_elsewhere_with_what_a_person_pushed(lab):
    first = await lab.ready("first")
    await pause(first, M1, half_txt="half\n")
    await first.push(thread_id=A)
    person_commits(lab, person_txt="p\n")
    second = await lab.ready("second", epoch=2)
    await second.fetch()
    await turn(second, half_txt="whole\n")
    push = await second.push(thread_id=A)
    assert (push.branch, push.onto, push.missed) == ("thread-a", "feature", None)
    assert lab.on_remote("feature", "person.txt") == "p"
    assert lab.on_remote("feature", "half.txt") == "whole"


async def test_on_another_disk_too_nothing_comes_back_that_people_threw_away(lab):
    first = await lab.ready("first")
    await turn(first, a_txt="a\n")
    await first.push(thread_id=A)
    git(lab.person, "fetch", "-q")
    git(lab.person, "push", "-q", "--force", "origin", "origin/feature~1:feature")
    theirs = person_commits(lab, person_txt="p\n")
    second = await lab.ready("second", epoch=2)
    await second.fetch()
    await turn(second, M2, b_txt="b\n")
    assert (await second.push(thread_id=A)).missed.why == "rewritten"
    assert at(lab, "feature") == theirs


async def test_a_person_who_pushes_at_the_same_time_loses_nothing(lab):
    worker = await lab.ready()
    for round_ in range(3):
        await turn(worker, MessageId(f"m-{round_}"), **{f"a{round_}_txt": "a\n"})
        late = asyncio.to_thread(person_commits, lab, **{f"p{round_}_txt": "p\n"})
        push, _ = await asyncio.gather(worker.push(thread_id=A), late)
        assert not push.conflict
    await worker.fetch()
    await turn(worker, MessageId("m-last"), last_txt="l\n")
    await worker.push(thread_id=A)
    there = set(git(lab.remote, "ls-tree", "--name-only", "feature").split())
    assert {"a0.txt", "a1.txt", "a2.txt", "p0.txt", "p1.txt", "p2.txt", "last.txt"} <= there


async def test_a_branch_below_the_name_of_a_deleted_one_is_not_taken_for_it(lab):
    worker = await lab.ready()
    await turn(worker, a_txt="a\n")
    await worker.push(thread_id=A)
    sha = at(lab, "feature")
    for branch in ("feature", "thread-a"):
        git(lab.remote, "update-ref", "-d", f"refs/heads/{branch}")
    git(lab.remote, "update-ref", "refs/heads/feature/more", sha)
    await worker.fetch()
    found = await worker.find(thread_id=A, message_id=M1, onto="feature")
    assert (found.sha, found.stands_on, found.onto) == (sha, None, None)
