"""F1: the worker's process group is killed in the middle of a turn.

The next worker removes git's locks, commits what was left as ``recovered``, goes on in the same session and
answers once, with one commit; no process is left. On another disk the turn is done again from what was
pushed.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.engine import wait_until
from tests.faults.lab import FaultLab, answered_once, fault_lab, kill_group, locks, until_there
from tests.integration.worker_lab import git

pytestmark = pytest.mark.slow

LOCKS = ("index.lock", "HEAD.lock", "refs/heads/thread-a.lock", "objects/maintenance.lock")
"""Those that kills of the group have really left behind."""


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[FaultLab]:
    with fault_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


def test_on_the_same_disk_the_turn_goes_on_in_its_session_without_waiting_for_the_lease(
    lab: FaultLab, tmp_path: Path
) -> None:
    worker = lab.begin(real=True, BRANCHLINE_LEASE_SECONDS="3600")
    go = tmp_path / "go"
    lab.post("a", 1, f"do: write a.txt one\ndo: wait {go}\ndo: write b.txt two\ndo: say Both are there.")
    lab.wait_for("a", "turn.tool", count=2)
    kill_group(worker)
    wait_until(lambda: not lab.marked())
    for name in LOCKS:
        (lab.checkout() / ".git" / name).touch()
    go.touch()
    lab.begin(real=True, BRANCHLINE_LEASE_SECONDS="3600")
    answered_once(lab, "a", 1)
    assert locks(lab.checkout()) == []
    assert lab.data("a", "turn.resumed")[0].reason == "recovered"
    assert "Both are there." in lab.data("a", "turn.completed")[0].text
    assert lab.tree("thread-a").keys() >= {"a.txt", "b.txt"}
    final, recovered = lab.log("thread-a")
    assert "Branchline-Message: a-1" in final
    assert "Branchline-Checkpoint: recovered" in recovered
    assert len({r.request.session_id for r in lab.model.requests}) == 1


def test_on_another_disk_the_turn_is_done_again_and_counted_once(lab: FaultLab, tmp_path: Path) -> None:
    worker = lab.begin(real=True)
    lab.post("a", 1, f"do: write a.txt one\ndo: wait {tmp_path / 'go'}\ndo: write b.txt two")
    lab.wait_for("a", "turn.tool", count=2)
    kill_group(worker)
    wait_until(lambda: not lab.marked())
    (tmp_path / "go").touch()
    lab.begin(real=True, disk=tmp_path / "elsewhere")
    answered_once(lab, "a", 1)
    assert lab.data("a", "turn.resumed")[0].reason == "recovered"
    assert lab.data("a", "turn.resumed")[0].attempt == 2
    assert lab.tree("thread-a").keys() >= {"a.txt", "b.txt"}
    assert len(lab.log("thread-a")) == 1
    # Back on the first disk, what was begun there neither comes up again nor gets lost.
    for process in lab.processes:
        process.terminate()
        process.wait(timeout=60)
    lab.begin(real=True)
    lab.post("a", 2, "do: write c.txt three")
    answered_once(lab, "a", 2)
    assert len(lab.remote_commits("a-1")) == 1
    kept = git(lab.checkout(), "for-each-ref", "--format=%(refname)", "refs/branchline/kept/thread-a")
    assert kept
    assert git(lab.checkout(), "show", f"{kept.splitlines()[0]}:a.txt") == "one"


@pytest.mark.parametrize("fault", ["received:kill", "switched:kill", "started:kill", "mid_turn:kill:3"])
def test_wherever_the_turn_was(lab: FaultLab, tmp_path: Path, fault: str) -> None:
    once = tmp_path / "once"
    once.mkdir()
    doomed = lab.begin(BRANCHLINE_FAULT=fault, BRANCHLINE_FAULT_ONCE=str(once))
    lab.post("a", 1, "do: write a.txt one\ndo: append a.txt two\ndo: write b.txt three")
    lab.post("b", 1, "do: write c.txt four")
    assert doomed.wait(timeout=60) == -9
    lab.begin(BRANCHLINE_FAULT=fault, BRANCHLINE_FAULT_ONCE=str(once))
    answered_once(lab, "a", 1)
    answered_once(lab, "b", 1)
    assert lab.tree("thread-a").keys() >= {"a.txt", "b.txt"}
    assert "c.txt" not in lab.tree("thread-a")
    assert locks(lab.checkout()) == []


@pytest.mark.parametrize("point", ["interrupted", "checkpointed"])
def test_while_it_made_way_for_another_thread(lab: FaultLab, tmp_path: Path, point: str) -> None:
    doomed = lab.begin(BRANCHLINE_FAULT=f"{point}:kill")
    go = tmp_path / "go"
    lab.post("a", 1, f"do: write a.txt one\n{until_there(go)}\ndo: write b.txt two")
    lab.wait_for("a", "turn.tool", count=3)
    lab.post("b", 1, "do: write c.txt three")
    assert doomed.wait(timeout=60) == -9
    assert lab.events("a", "turn.interrupted") == [], "it died before it had said so"
    go.touch()
    lab.begin()
    answered_once(lab, "b", 1)
    answered_once(lab, "a", 1)
    assert lab.tree("thread-a").keys() >= {"a.txt", "b.txt"}
    assert lab.tree("thread-b").keys() - lab.tree("thread-a").keys() == {"c.txt"}
    assert len(lab.remote_commits("a-1")) == 1
    assert locks(lab.checkout()) == []
