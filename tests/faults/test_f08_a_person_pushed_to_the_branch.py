"""F8: while a turn runs, a person pushes to the thread's branch.

The turn's own commits go on top when that is clean; else they are pushed beside it as
``conflict-N/thread-ID``, and the answer says so. Nothing is forced: what the person pushed stays.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.lab import FaultLab, answered_once, fault_lab, until_there
from tests.integration.worker_lab import git

pytestmark = pytest.mark.slow


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[FaultLab]:
    with fault_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


def person_pushes(lab: FaultLab, **files: str) -> str:
    """Commit these files on the thread's branch, from a clone; the commit."""
    person = lab.folder / "person"
    if not person.exists():
        git(lab.folder, "clone", "-q", str(lab.remote), str(person))
    git(person, "switch", "-q", "thread-a")
    git(person, "pull", "-q", "--ff-only")
    for name, content in files.items():
        (person / name).write_text(content)
    git(person, "add", "-A")
    git(person, "commit", "-q", "-m", "By a person")
    git(person, "push", "-q", "origin", "thread-a")
    return git(person, "rev-parse", "HEAD")


def overtaken(lab: FaultLab, text: str, **files: str) -> str:
    """The thread's second message, during which a person pushes these files; the person's commit."""
    lab.begin()
    lab.post("a", 1, "do: write a.txt one")
    answered_once(lab, "a", 1)
    lab.post("a", 2, f"{text}\n{until_there(lab.folder / 'go')}\ndo: say Changed.")
    lab.wait_for("a", "turn.tool", count=5)
    theirs = person_pushes(lab, **files)
    (lab.folder / "go").touch()
    answered_once(lab, "a", 2)
    return theirs


def test_clean_work_goes_on_top_of_the_persons(lab: FaultLab) -> None:
    theirs = overtaken(lab, "do: write b.txt two", person="theirs\n")
    assert git(lab.remote, "rev-parse", "thread-a^") == theirs
    assert lab.tree("thread-a") == {**lab.tree("main"), "a.txt": "one", "b.txt": "two", "person": "theirs"}
    pushed, final = lab.data("a", "turn.pushed")[-1], lab.data("a", "turn.completed")[-1]
    assert (pushed.rebased, pushed.conflict, pushed.branch) == (True, False, "thread-a")
    assert (final.pushed, final.problem, final.branch) == (True, None, "thread-a")
    assert final.commit == git(lab.remote, "rev-parse", "thread-a")
    assert "conflict-" not in git(lab.remote, "branch", "--list")


def test_work_that_conflicts_goes_beside_it_and_the_answer_says_so(lab: FaultLab) -> None:
    theirs = overtaken(lab, "do: write a.txt ours", **{"a.txt": "theirs\n"})
    assert git(lab.remote, "rev-parse", "thread-a") == theirs
    assert lab.tree("thread-a")["a.txt"] == "theirs"
    assert lab.tree("conflict-1/thread-a")["a.txt"] == "ours"
    pushed, final = lab.data("a", "turn.pushed")[-1], lab.data("a", "turn.completed")[-1]
    assert (pushed.conflict, pushed.branch) == (True, "conflict-1/thread-a")
    assert (final.pushed, final.branch) == (True, "conflict-1/thread-a")
    assert "conflict-1/thread-a" in final.problem
    # The thread goes on with its own work, and the person's branch is still left alone.
    lab.post("a", 3, "do: write c.txt three")
    answered_once(lab, "a", 3)
    assert git(lab.remote, "rev-parse", "thread-a") == theirs
    assert lab.tree("conflict-1/thread-a").keys() >= {"a.txt", "c.txt"}


def test_a_persons_commit_between_two_messages_is_built_on(lab: FaultLab) -> None:
    lab.begin()
    lab.post("a", 1, "do: write a.txt one")
    answered_once(lab, "a", 1)
    theirs = person_pushes(lab, **{"a.txt": "theirs\n"})
    # The fetch runs beside the turns: a message of another thread brings it, too.
    lab.post("b", 1, "do: say Fetched beside.")
    answered_once(lab, "b", 1, commits=0)
    lab.post("a", 2, "do: write b.txt two")
    answered_once(lab, "a", 2)
    assert git(lab.remote, "rev-parse", "thread-a^") == theirs
    assert lab.tree("thread-a")["a.txt"] == "theirs"
