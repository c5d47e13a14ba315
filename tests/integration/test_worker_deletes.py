"""A deleted thread leaves nothing: branch, session, uploads, records; whenever the worker dies on the way."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts import names, places, records
from contracts.places import PlaceRecord, UnshownRecord
from contracts.words import Frontend, ThreadId
from tests.fakes.engine import wait_until
from tests.faults.lab import FaultLab, Process, fault_lab, until_there
from tests.integration.worker_lab import git

pytestmark = pytest.mark.slow
A = ThreadId("a")
POINTS = (
    "deleting",
    "branch_removed",
    "session_removed",
    "messages_removed",
    "places_removed",
    "thread_removed",
)


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[FaultLab]:
    with fault_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


def begin(lab: FaultLab, *, real: bool = False, **more: str) -> Process:
    """A worker whose lease outlives a machine that is busy with other things."""
    return lab.begin(real=real, **{"BRANCHLINE_LEASE_SECONDS": "10", **more})


def own_files(lab: FaultLab) -> Path:
    (found,) = lab.workspace.glob(".branchline/*")
    return found


def sessions(lab: FaultLab, thread: str) -> list[Path]:
    session = names.session(worker=lab.found.worker, thread_id=ThreadId(thread))
    return list((own_files(lab) / "claude").rglob(f"*{session}*"))


def branches(lab: FaultLab) -> list[str]:
    return git(lab.remote, "for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines()


def refs_here(lab: FaultLab, thread: str) -> list[str]:
    listed = git(lab.checkout(), "for-each-ref", "--format=%(refname)").splitlines()
    return [name for name in listed if f"thread-{thread}" in name]


def furnish(lab: FaultLab) -> None:
    """A place, what a message id was used for, an upload, a change: what a real thread has besides."""
    found, address = lab.found, "T/C/1"
    where = {"worker_id": found.worker, "thread_id": A, "frontend": Frontend.SLACK, "address": address}
    place = PlaceRecord.model_validate(where)
    found.put(place.write(places.shown_key(found.worker, A, Frontend.SLACK, address)))
    pointer = records.encode({"worker_id": found.worker, "thread_id": A})
    found.put(places.place_key(Frontend.SLACK, address) | pointer)
    unshown = UnshownRecord(worker_id=found.worker, thread_id=A, sequence=1)
    found.put(unshown.write(places.unshown_key(found.worker, A)))
    used = records.id_key(found.worker, Frontend.API, names.digest("a-1"))
    found.put(used | records.encode({"thread_id": A, "sequence": 1}))
    for number in range(25):
        found.put(records.key(records.thread_pk(found.worker, A), f"change#1#{number}"))
    upload = own_files(lab) / "uploads" / "a" / "u1"
    upload.mkdir(parents=True)
    (upload / "picture.png").write_bytes(b"png")


def nothing_is_left(lab: FaultLab) -> None:
    wait_until(lambda: not lab.found.left_of("a"), seconds=60)
    wait_until(lambda: "thread-a" not in branches(lab), seconds=30)
    assert refs_here(lab, "a") == []
    assert sessions(lab, "a") == []
    assert not (own_files(lab) / "uploads" / "a").exists()


def worked(lab: FaultLab) -> None:
    """Two threads, each with a commit on the remote; the checkout is on the one that will go."""
    for thread in ("b", "a"):
        lab.post(thread, 1, f"do: write {thread}.txt one\ndo: say Done.")
        assert lab.outcome(thread, 1) == "completed"
    furnish(lab)
    assert sessions(lab, "a")
    assert "thread-a" in branches(lab)


def test_nothing_is_left_of_a_deleted_thread_and_everything_of_the_other(lab: FaultLab) -> None:
    begin(lab)
    worked(lab)
    others = lab.found.left_of("b")
    lab.found.delete("a")
    nothing_is_left(lab)
    assert lab.found.left_of("b") == others
    assert branches(lab) == ["main", "thread-b"]
    assert sessions(lab, "b")
    assert not (lab.checkout() / "a.txt").exists()
    lab.post("b", 2, "do: write more.txt two\ndo: say Done.")
    assert lab.outcome("b", 2) == "completed"
    assert lab.tree("thread-b").keys() == {".gitignore", "README.md", "b.txt", "more.txt"}


def test_a_new_thread_may_have_the_name_of_a_deleted_one_and_knows_nothing_of_it(lab: FaultLab) -> None:
    begin(lab)
    worked(lab)
    lab.found.delete("a")
    nothing_is_left(lab)
    lab.post("a", 1, "do: write new.txt two\ndo: say Done.")
    assert lab.outcome("a", 1) == "completed"
    assert lab.tree("thread-a").keys() == {".gitignore", "README.md", "new.txt"}
    assert len(lab.log("thread-a")) == 1


def test_what_runs_and_what_waits_in_a_deleted_thread_ends(lab: FaultLab, tmp_path: Path) -> None:
    begin(lab)
    lab.post("a", 1, f"do: write a.txt one\n{until_there(tmp_path / 'never')}")
    lab.wait_for("a", "turn.tool", count=3)
    lab.post("a", 2, "do: write a2.txt two")
    lab.found.delete("a")
    nothing_is_left(lab)
    wait_until(lambda: not lab.marked())
    assert branches(lab) == ["main"]


def test_what_a_person_pushed_to_the_branch_stays_on_the_remote(lab: FaultLab, tmp_path: Path) -> None:
    begin(lab)
    worked(lab)
    person = tmp_path / "person"
    git(tmp_path, "clone", "-q", "-b", "thread-a", str(lab.remote), str(person))
    (person / "mine.txt").write_text("mine\n")
    git(person, "add", "-A")
    git(person, "commit", "-q", "-m", "Mine")
    git(person, "push", "-q", "origin", "thread-a")
    lab.found.delete("a")
    wait_until(lambda: not lab.found.left_of("a"), seconds=60)
    assert "mine.txt" in lab.tree("thread-a")


def test_a_turn_of_another_thread_goes_on_while_a_thread_is_removed(lab: FaultLab, tmp_path: Path) -> None:
    begin(lab)
    worked(lab)
    go = tmp_path / "go"
    lab.post("b", 2, f"do: write b2.txt two\n{until_there(go)}\ndo: write b3.txt three\ndo: say Done.")
    lab.wait_for("b", "turn.tool", count=5)
    lab.found.delete("a")
    nothing_is_left(lab)
    go.touch()
    assert lab.outcome("b", 2) == "completed"
    assert not lab.events("b", "turn.interrupted")
    assert {"b.txt", "b2.txt", "b3.txt"} <= lab.tree("thread-b").keys()
    assert refs_here(lab, "a") == []
    assert branches(lab) == ["main", "thread-b"]


def leave(worker: Process) -> None:
    worker.terminate()
    assert worker.wait(timeout=60) == 0


@pytest.mark.parametrize("pushed", [True, False], ids=["pushed", "never pushed"])
def test_a_disk_that_slept_while_a_thread_was_deleted_does_not_bring_it_back(
    lab: FaultLab, tmp_path: Path, pushed: bool
) -> None:
    first = begin(lab) if pushed else begin(lab, BRANCHLINE_FAULT="committed:kill")
    lab.post("a", 1, "do: write a.txt one\ndo: say Done.")
    if pushed:
        assert lab.outcome("a", 1) == "completed"
        leave(first)
    else:
        assert first.wait(timeout=60) == -signal.SIGKILL
    furnish(lab)
    assert sessions(lab, "a")
    second = begin(lab, disk=tmp_path / "other")
    assert lab.outcome("a", 1) == "completed"
    lab.found.delete("a")
    wait_until(lambda: not lab.found.left_of("a"), seconds=60)
    assert branches(lab) == ["main"]
    leave(second)
    begin(lab)
    lab.post("b", 1, "do: write b.txt two\ndo: say Done.")
    assert lab.outcome("b", 1) == "completed"
    assert branches(lab) == ["main", "thread-b"]
    assert lab.tree("thread-b").keys() == {".gitignore", "README.md", "b.txt"}
    assert sessions(lab, "a") == []
    assert sessions(lab, "b")
    assert not (own_files(lab) / "uploads" / "a").exists()
    assert refs_here(lab, "a") == ([] if pushed else ["refs/branchline/removed/thread-a/1"])
    if not pushed:
        assert git(lab.checkout(), "show", "refs/branchline/removed/thread-a/1:a.txt") == "one"


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_that_is_killed_on_the_way_leaves_the_rest_to_the_next(lab: FaultLab, point: str) -> None:
    worker = begin(lab, BRANCHLINE_FAULT=f"{point}:kill")
    worked(lab)
    lab.found.delete("a")
    assert worker.wait(timeout=60) == -signal.SIGKILL
    begin(lab)
    nothing_is_left(lab)
    assert branches(lab) == ["main", "thread-b"]
    lab.post("b", 2, "do: write more.txt two\ndo: say Done.")
    assert lab.outcome("b", 2) == "completed"
    assert "a.txt" not in lab.tree("thread-b")
