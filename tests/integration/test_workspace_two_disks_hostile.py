"""Two disks of one worker, and a checkout that does its worst: what was done is still on the branch."""

import os
import shutil
from pathlib import Path

import pytest
from test_workspace_two_disks import M0, M1, M2, M3, conflicts, ends, own, pause, turn, two_disks
from workspace_lab import A, B, Lab, end_turn, git, write


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def main_gets(lab: Lab, **names: str) -> None:
    """A person commits files to main and pushes."""
    write(lab.person, **names)
    git(lab.person, "add", "--all")
    git(lab.person, "commit", "--quiet", "-m", "by hand")
    git(lab.person, "push", "--quiet", "origin", "HEAD:main")


async def parted(lab: Lab):
    """The second disk holds m-1 that was never pushed, the remote m-2; the second owns now."""
    first, second = await two_disks(lab)
    await turn(second, M1, last_txt="one\n", one_txt="1\n")
    await turn(first, M2, two_txt="2\n")
    await first.push(thread_id=A)
    return await own(second, 2)


@pytest.mark.parametrize("ending", ["join", "carry"])
async def test_files_that_git_would_write_differently_do_not_cost_a_line(lab, ending):
    first, second = await two_disks(lab)
    theirs = turn if ending == "join" else pause
    await turn(second, M1, one_md="1\n", **{f"crlf{n}_txt": "new\n" for n in range(40)})
    await first.switch(A)
    for number in range(40):
        written = first.path / f"crlf{number}.txt"
        written.write_text("old\r\n")
        os.utime(written, (1_000_000_000, 1_000_000_000))  # else git looks at it again, and writes it anew
    await theirs(first, M2, more_md="more\n")
    await theirs(first, M3, _gitattributes="*.txt text\n", two_md="2\n")
    await first.push(thread_id=A)
    assert git(lab.remote, "show", "thread-a:crlf7.txt") == "old\r"
    await own(second, 2)
    await second.push_rest(threads=[A])
    assert conflicts(lab) == ""
    assert sorted(ends(lab)) == ([M0, M1, M2, M3] if ending == "join" else [M0, M1])
    assert (lab.on_remote("thread-a", "one.md"), lab.on_remote("thread-a", "two.md")) == ("1", "2")
    told = {lab.on_remote("thread-a", f"crlf{n}.txt") for n in range(40)}
    assert told == ({"old\r"} if ending == "join" else {"new"})


async def test_a_file_in_the_place_of_gits_worktrees_does_not_stop_a_join(lab):
    second = await parted(lab)
    (second.path / ".git" / "worktrees").write_text("in the way\n")
    await second.switch(A, message_id=M3)
    assert (second.path / "two.txt").read_text() == "2\n"


async def test_a_merge_driver_that_a_turn_configures_does_not_run_in_a_push_beside_it(lab):
    main_gets(lab, _gitattributes="*.txt merge=mine\n")
    first, second = await two_disks(lab)
    await turn(second, M1, last_txt="one\n")
    await turn(first, M2, last_txt="two\n")
    await first.push(thread_id=A)
    await second.claim(epoch=2)
    await second.switch(B, message_id=M3)
    git(second.path, "config", "merge.mine.driver", f"touch {lab.root}/ran; false")
    assert not (await second.push(thread_id=A)).conflict
    assert not (lab.root / "ran").exists()
    assert lab.on_remote("thread-a", "last.txt") == "two"


async def test_a_commit_of_claudes_with_a_broken_date_stops_no_turn(lab):
    first, second = await two_disks(lab)
    start = await second.switch(A, message_id=M1)
    raw = git(second.path, "cat-file", "commit", "HEAD").split("\n\n")[0].splitlines()
    raw = [f"parent {start.head}" if line.startswith("parent") else line for line in raw]
    raw = ["committer Claude <claude@localhost> soon" if x.startswith("committer") else x for x in raw]
    made = git(
        second.path, "hash-object", "-t", "commit", "-w", "--literally", "--stdin",
        stdin="\n".join(raw) + "\n\nodd\n",
    )  # fmt: skip
    git(second.path, "update-ref", "HEAD", made)
    write(second.path, one_txt="1\n")
    await end_turn(second, start.head, message=M1)
    await turn(first, M2, two_txt="2\n")
    await first.push(thread_id=A)
    await own(second, 2)
    await second.switch(A, message_id=M3)
    assert (second.path / "two.txt").exists()


async def test_lines_of_an_empty_remote_without_a_common_start_are_joined(tmp_path):
    lab = Lab(tmp_path, empty=True)
    first, second = await lab.ready("first"), lab.worker("second", committer_name="Other")
    await second.prepare()
    await turn(second, M1, one_txt="1\n", last_txt="one\n")
    await turn(first, M2, two_txt="2\n", last_txt="two\n")
    await first.push(thread_id=A)
    await own(second, 2)
    await second.push(thread_id=A)
    assert conflicts(lab) == ""
    assert lab.on_remote("thread-a", "last.txt") == "two"
    assert (lab.on_remote("thread-a", "one.txt"), lab.on_remote("thread-a", "two.txt")) == ("1", "2")


@pytest.mark.parametrize("ending", ["join", "carry"])
async def test_a_file_against_a_folder_of_its_name_keeps_both(lab, ending):
    first, second = await two_disks(lab)
    await turn(second, M1, thing="file\n")
    await (turn if ending == "join" else pause)(first, M2, thing__part="folder\n")
    await first.push(thread_id=A)
    await own(second, 2)
    push = await second.push(thread_id=A)
    assert push.conflict
    listed = git(lab.remote, "ls-tree", "-r", "--name-only", "thread-a").splitlines()
    assert not [name for name in listed if "~" in name]


@pytest.mark.parametrize("meets", [True, False])
async def test_a_persons_line_that_claude_merged_in_is_not_overruled(lab, meets):
    first, second = await two_disks(lab)
    main_gets(lab, src__page="by hand\n")
    await second.fetch()
    start = await second.switch(A, message_id=M1)
    git(second.path, "merge", "--quiet", "--no-edit", "origin/main")
    write(second.path, one_txt="1\n")
    await end_turn(second, start.head, message=M1)
    await turn(first, M2, **{"src__page" if meets else "two_txt": "two\n"})
    await first.push(thread_id=A)
    await own(second, 2)
    push = await second.push(thread_id=A)
    assert push.conflict == meets
    assert lab.on_remote("thread-a", "src/page") == ("two" if meets else "by hand")


async def test_what_is_made_again_is_as_old_as_it_was(lab):
    first, second = await two_disks(lab)
    start = await second.switch(A, message_id=M1)
    write(second.path, one_txt="1\n")
    git(second.path, "add", "--all")
    raw = git(second.path, "commit-tree", git(second.path, "write-tree"), "-p", "HEAD", stdin="old\n")
    old = git(second.path, "cat-file", "commit", raw)
    lines = [
        "committer Claude <claude@localhost> 1000000000 +0000" if x.startswith("committer") else x
        for x in old.splitlines()
    ]
    sha = git(second.path, "hash-object", "-t", "commit", "-w", "--stdin", stdin="\n".join(lines) + "\n")
    git(second.path, "reset", "--quiet", "--soft", sha)
    write(second.path, more_txt="more\n")
    await end_turn(second, start.head, message=M1)
    await pause(first, M1, part_txt="part\n")
    await first.push(thread_id=A)
    await own(second, 2)
    await second.push(thread_id=A)
    assert "1000000000" in git(lab.remote, "log", "--format=%ct", "main..thread-a").split()


async def test_branches_that_people_changed_cost_an_owner_no_round_trip_at_its_start(lab):
    _, second = await two_disks(lab)
    await turn(second, M1, last_txt="one\n")
    git(lab.person, "fetch", "-q")
    git(lab.person, "switch", "-q", "thread-a")
    write(lab.person, last_txt="by hand\n")
    git(lab.person, "commit", "-qam", "person")
    git(lab.person, "push", "-q", "origin", "thread-a")
    await own(second, 2)
    shutil.move(lab.remote, lab.root / "away")
    await second.push_rest(threads=[A])


async def test_grafts_hide_no_work(lab):
    second = await parted(lab)
    ours = git(second.path, "rev-parse", "refs/heads/thread-a")
    theirs = git(second.path, "rev-parse", "refs/remotes/origin/thread-a")
    (second.path / ".git" / "info" / "grafts").write_text(f"{theirs} {ours}\n")
    await second.push(thread_id=A)
    (second.path / ".git" / "info" / "grafts").unlink(missing_ok=True)
    assert (sorted(ends(lab)), conflicts(lab)) == ([M0, M1, M2], "")


async def test_work_done_again_there_stands_once_although_a_person_came_after_it(lab):
    first, second = await two_disks(lab)
    await turn(second, M1, one_txt="1\n")
    await turn(second, M2, two_txt="2\n")
    await turn(first, M1, one_txt="1\n")
    await first.push(thread_id=A)
    git(lab.person, "fetch", "-q")
    git(lab.person, "switch", "-q", "thread-a")
    write(lab.person, person_txt="by hand\n")
    git(lab.person, "add", "--all")
    git(lab.person, "commit", "-qm", "person")
    git(lab.person, "push", "-q", "origin", "thread-a")
    await own(second, 2)
    assert not (await second.push(thread_id=A)).conflict
    assert (ends(lab), conflicts(lab)) == ([M0, M1, M2], "")


async def test_a_join_that_cannot_be_made_stops_no_turn(lab):
    second = await parted(lab)
    (lab.root / "second" / "state" / "relay.git" / "worktrees").write_text("in the way\n")
    start = await second.switch(A, message_id=M3)
    assert (second.path / "one.txt").read_text() == "1\n"
    write(second.path, three_txt="3\n")
    assert await end_turn(second, start.head, message=M3) is not None


async def test_a_kill_in_the_middle_of_a_join_leaves_nothing_behind(lab):
    second = await parted(lab)
    state = lab.root / "second" / "state"
    relay = state / "relay.git"
    theirs = git(second.path, "rev-parse", "refs/remotes/origin/thread-a")
    git(relay, "worktree", "add", "--quiet", "--detach", str(state / "rebase-dead"), theirs)
    (relay / "worktrees" / "rebase-dead" / "index.lock").touch()
    (relay / "worktrees" / "rebase-dead" / "locked").write_text("initializing\n")
    again = lab.worker("second")
    await again.prepare()
    assert not list(state.glob("rebase-*"))
    assert not (relay / "worktrees").exists()
    await own(again, 3)
    await again.push_rest(threads=[A])
    assert (sorted(ends(lab)), conflicts(lab)) == ([M0, M1, M2], "")
    assert not list(state.glob("rebase-*"))
    assert not (relay / "worktrees").exists()


async def test_a_branch_that_somebody_removed_stays_away_until_there_is_more_of_it(lab):
    worker = await lab.ready()
    await turn(worker, M1, one_txt="1\n")
    await worker.push(thread_id=A)
    git(lab.person, "push", "--quiet", "origin", "--delete", "thread-a")
    await own(worker, 2)
    await worker.push_rest(threads=[A])
    assert git(lab.remote, "branch", "--list", "thread-a") == ""
    await turn(worker, M2, two_txt="2\n")
    await worker.push_rest(threads=[A])
    assert ends(lab) == [M1, M2]
