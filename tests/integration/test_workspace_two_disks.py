"""Two disks of one worker that each hold work of a thread: one line comes of it, and nothing stands twice."""

from pathlib import Path

import pytest
from workspace_lab import A, B, Lab, T, end_turn, git, write

from contracts.words import MessageId

M0, M1, M2, M3 = (MessageId(f"m-{n}") for n in range(4))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


async def turn(worker, message: MessageId, **changes: str):
    """One turn on thread a, committed and not pushed."""
    start = await worker.switch(A, message_id=message)
    write(worker.path, **changes)
    return await end_turn(worker, start.head, message=message)


async def pause(worker, message: MessageId, **changes: str) -> None:
    """A turn on thread a that is interrupted, not pushed."""
    await worker.switch(A, message_id=message)
    write(worker.path, **changes)
    await worker.checkpoint(thread_id=A, turn_id=T, reason="test")


async def own(worker, epoch: int):
    """The worker takes over: it claims the remote and sees what is there."""
    await worker.claim(epoch=epoch)
    await worker.fetch()
    return worker


async def two_disks(lab: Lab):
    """Two owners of the worker id, each on its disk; both stand on the first message's commit, pushed."""
    first, second = await lab.ready("first"), lab.worker("second")
    await turn(first, M0, last_txt="zero\n")
    await first.push(thread_id=A)
    await second.prepare()
    await second.fetch()
    await second.switch(A)
    return first, second


def ends(lab: Lab, *, branch: str = "thread-a") -> list[str]:
    """Messages whose evidence stands on a branch of the remote, first parents last to first reversed."""
    form = "--format=%(trailers:key=Branchline-Message,valueonly,separator=%x20)"
    return git(lab.remote, "log", "--topo-order", "--reverse", form, f"main..{branch}").split()


def conflicts(lab: Lab) -> str:
    return git(lab.remote, "branch", "--list", "conflict-*")


async def test_finished_work_goes_on_top_of_another_disks_checkpoint_of_the_same_message(lab):
    first, second = await two_disks(lab)
    await pause(first, M1, last_txt="half\n")
    await first.push(thread_id=A)
    await turn(second, M1, last_txt="whole\n", new_txt="new\n")
    await second.claim(epoch=2)
    assert not (await second.push(thread_id=A)).conflict
    assert (ends(lab), conflicts(lab)) == ([M0, M1], "")
    assert lab.on_remote("thread-a", "last.txt") == "whole"
    assert git(lab.remote, "log", "--merges", "thread-a") == ""


async def test_half_done_work_stays_on_the_branch_when_another_disk_went_ahead(lab):
    first, second = await two_disks(lab)
    await pause(second, M1, last_txt="half of two\n", part_txt="part of m-1\n")
    await pause(second, M2, part2_txt="part of m-2\n")
    await turn(first, M1, last_txt="one\n")
    await first.push(thread_id=A)
    await own(second, 2)
    await second.switch(A, message_id=M2)
    assert (second.path / "part2.txt").read_text() == "part of m-2\n"
    assert (second.path / "last.txt").read_text() == "one\n", "what was left of m-1 was done again there"
    assert not (second.path / "part.txt").exists()
    assert not (await second.push(thread_id=A)).conflict
    assert conflicts(lab) == ""


@pytest.mark.parametrize("joins", ["at the switch", "when its owner starts"])
async def test_what_is_left_of_a_message_that_was_given_up_undoes_nothing_newer(lab, joins):
    first, second = await two_disks(lab)
    await pause(second, M1, last_txt="half of one\n", part_txt="part of m-1\n")
    await turn(first, M2, last_txt="two\n")  # m-1 was stopped meanwhile, m-2 came after it
    await first.push(thread_id=A)
    await own(second, 2)
    if joins == "when its owner starts":
        await second.push_rest(threads=[A], open_=frozenset((M3,)))
    await second.switch(A, message_id=M3)
    assert (second.path / "last.txt").read_text() == "two\n"
    assert (second.path / "part.txt").read_text() == "part of m-1\n", "what nobody else changed is kept"
    assert not (await second.push(thread_id=A)).conflict
    assert ends(lab) == [M0, M2]


async def test_what_is_under_way_wins_over_what_came_before_it_when_its_owner_starts(lab):
    first, second = await two_disks(lab)
    await pause(second, M2, last_txt="half of two\n")
    await turn(first, M1, last_txt="one\n")
    await first.push(thread_id=A)
    await own(second, 2)
    await second.push_rest(threads=[A], open_=frozenset((M2,)))
    await second.switch(A, message_id=M2)
    assert (second.path / "last.txt").read_text() == "half of two\n"


async def test_leftovers_that_a_switch_finds_belong_to_the_message_that_was_worked_on(lab):
    first, second = await two_disks(lab)
    await second.switch(A, message_id=M1)
    write(second.path, part_txt="left over by m-1\n")
    await second.switch(B, message_id=M3)
    await turn(first, M1, last_txt="one\n")
    await first.push(thread_id=A)
    await own(second, 2)
    await second.switch(A, message_id=M2)
    assert not (second.path / "part.txt").exists(), "m-1 was done again there"


async def test_work_that_was_never_pushed_joins_later_work_as_the_commit_that_was_told(lab):
    first, second = await two_disks(lab)
    told = await turn(second, M1, last_txt="one\n", one_txt="1\n")
    await turn(first, M2, last_txt="two\n", two_txt="2\n")
    await first.push(thread_id=A)
    await own(second, 2)
    await turn(second, M3, three_txt="3\n")
    assert not (await second.push(thread_id=A)).conflict
    assert (sorted(ends(lab)), conflicts(lab)) == ([M0, M1, M2, M3], "")
    assert git(lab.remote, "merge-base", "--is-ancestor", told.sha, "thread-a") == ""
    assert lab.on_remote("thread-a", "last.txt") == "two", "the later message wins"
    assert {lab.on_remote("thread-a", f"{n}.txt") for n in ("one", "two", "three")} == {"1", "2", "3"}


async def test_work_that_was_never_pushed_is_joined_by_an_owner_that_has_nothing_to_do(lab):
    first, second = await two_disks(lab)
    await turn(second, M1, one_txt="1\n")
    await turn(first, M2, two_txt="2\n")
    await first.push(thread_id=A)
    await own(second, 2)
    await second.push_rest(threads=[A])
    assert (sorted(ends(lab)), conflicts(lab)) == ([M0, M1, M2], "")


async def test_what_stood_on_work_that_was_done_again_stands_on_that_and_no_order_breaks(lab):
    first, second = await two_disks(lab)
    await turn(second, M1, last_txt="one of two\n")
    await turn(second, M2, two_txt="2\n")
    await turn(first, M1, last_txt="one\n")
    await turn(first, M3, three_txt="3\n")
    await first.push(thread_id=A)
    await own(second, 2)
    await second.push_rest(threads=[A])
    assert (sorted(ends(lab)), conflicts(lab)) == ([M0, M1, M2, M3], "")
    under = f"--grep=Branchline-Message: {M1}"
    above = git(lab.remote, "log", "--format=%H", f"--grep=Branchline-Message: {M2}", "thread-a")
    assert git(lab.remote, "log", "--format=%s", under, above) == "Change it"
    assert lab.on_remote("thread-a", "last.txt") == "one"
    assert lab.on_remote("thread-a", "two.txt") == "2"


async def test_lines_that_were_joined_can_part_and_join_again(lab):
    first, second = await two_disks(lab)
    await turn(second, M1, last_txt="one\n", one_txt="1\n")
    await turn(first, M2, last_txt="two\n")
    await first.push(thread_id=A)
    await second.fetch()
    await second.switch(A)  # joined here, and not pushed
    await turn(first, M3, last_txt="three\n")
    await first.push(thread_id=A)
    await own(second, 2)
    await second.push_rest(threads=[A])
    assert (sorted(ends(lab)), conflicts(lab)) == ([M0, M1, M2, M3], "")
    assert lab.on_remote("thread-a", "last.txt") == "three"
    assert lab.on_remote("thread-a", "one.txt") == "1"


async def test_a_file_that_one_line_deleted_and_the_other_changed_is_kept(lab):
    first, second = await two_disks(lab)
    start = await second.switch(A, message_id=M1)
    (second.path / "last.txt").unlink()
    write(second.path, one_txt="1\n")
    await end_turn(second, start.head, message=M1)
    await turn(first, M2, last_txt="two\n")
    await first.push(thread_id=A)
    await own(second, 2)
    await second.push_rest(threads=[A])
    assert (sorted(ends(lab)), conflicts(lab)) == ([M0, M1, M2], "")
    assert lab.on_remote("thread-a", "last.txt") == "two"


async def test_a_push_beside_a_running_turn_joins_on_the_remote_and_the_turn_goes_on(lab):
    first, second = await two_disks(lab)
    await turn(second, M1, one_txt="1\n")
    await turn(first, M2, two_txt="2\n")
    await first.push(thread_id=A)
    await second.claim(epoch=2)
    start = await second.switch(A, message_id=M3)  # it has not fetched: the two lines are still apart
    write(second.path, three_txt="half\n")
    push = await second.push(thread_id=A)
    assert (push.branch, push.conflict, conflicts(lab)) == ("thread-a", False, "")
    assert git(second.path, "rev-parse", "HEAD") == start.head
    write(second.path, three_txt="3\n")
    await end_turn(second, start.head, message=M3)
    assert not (await second.push(thread_id=A)).conflict
    assert (sorted(ends(lab)), conflicts(lab)) == ([M0, M1, M2, M3], "")


async def test_two_lines_are_not_joined_when_a_person_has_a_part_in_one(lab):
    _, second = await two_disks(lab)
    git(lab.person, "fetch", "-q")
    git(lab.person, "switch", "-q", "thread-a")
    write(lab.person, last_txt="by hand\n")
    git(lab.person, "commit", "-qam", "person")
    git(lab.person, "push", "-q", "origin", "thread-a")
    await turn(second, M1, last_txt="mine\n")
    await second.claim(epoch=2)
    assert (await second.push(thread_id=A)).conflict
    assert lab.on_remote("thread-a", "last.txt") == "by hand"


async def test_a_forged_trailer_of_claudes_does_not_become_evidence_by_being_made_again(lab):
    worker = await lab.ready()
    await turn(worker, M0, last_txt="zero\n")
    await worker.push(thread_id=A)
    git(lab.person, "fetch", "-q")
    git(lab.person, "switch", "-q", "thread-a")
    write(lab.person, person_txt="p\n")
    git(lab.person, "add", "--all")
    git(lab.person, "commit", "-qm", "person")
    git(lab.person, "push", "-q", "origin", "thread-a")
    start = await worker.switch(A, message_id=M1)
    write(worker.path, one_txt="1\n")
    git(worker.path, "add", "--all")
    forged = f"Look\n\nBranchline-Message: {M3}\nBranchline-Thread: a\nBranchline-Outcome: completed"
    git(worker.path, "commit", "-qm", forged, env={"GIT_COMMITTER_EMAIL": "claude@localhost"})
    write(worker.path, more_txt="more\n")
    await end_turn(worker, start.head, message=M1)
    assert (await worker.push(thread_id=A)).rebased
    assert await worker.find(thread_id=A, message_id=M3) is None
    assert (await worker.find(thread_id=A, message_id=M1)) is not None
