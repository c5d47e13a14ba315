"""F2: the worker dies, breaks or freezes between the commit and the delete of the delivery.

The commit's trailer says that the work was done and the record whether it was told, so nothing is done or
told twice: one commit on the branch, one final event, and the delivery is gone.
"""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.engine import wait_until
from tests.faults.lab import FaultLab, Process, answered_once, fault_lab, is_frozen, wake

pytestmark = pytest.mark.slow

POINTS = ("committed", "pushed", "recorded", "before_delete")


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[FaultLab]:
    with fault_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


def meets(lab: FaultLab, fault: str) -> Process:
    """A worker that is about to meet a fault while it answers."""
    worker = lab.begin(BRANCHLINE_FAULT=fault)
    lab.post("a", 1, "do: write a.txt one\ndo: say It was {pid}.")
    return worker


def done_once(lab: FaultLab, *, outcome: str = "completed") -> None:
    answered_once(lab, "a", 1, outcome=outcome)
    assert lab.tree("thread-a")["a.txt"] == "one"
    assert len(lab.log("thread-a")) == 1
    assert len(lab.events("a", "turn.started")) == 1


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_that_is_killed(lab: FaultLab, point: str) -> None:
    killed = meets(lab, f"{point}:kill")
    assert killed.wait(timeout=60) == -signal.SIGKILL
    successor = lab.begin()
    done_once(lab)
    # The successor told what the first had done: it did not start Claude Code.
    assert f"It was {killed.pid}." in lab.data("a", "turn.completed")[0].text
    assert str(successor.pid) not in lab.story("a")


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_in_which_something_breaks(lab: FaultLab, point: str) -> None:
    worker = meets(lab, f"{point}:raise")
    assert lab.outcome("a", 1) == "completed", "what broke came after the commit that says so"
    lab.post("b", 1, "do: write b.txt two")
    wait_until(lambda: lab.found.outcome("b", 1) or worker.poll() is not None, seconds=60)
    if worker.poll() is not None:  # it did not bear it, and is started again
        worker = lab.begin()
    answered_once(lab, "b", 1)
    worker.terminate()
    assert (
        worker.wait(timeout=60) == 0
    )  # what broke before its push was told, and is pushed now at the latest
    done_once(lab)


def test_a_successor_in_which_something_breaks_while_it_tells_what_was_done(lab: FaultLab) -> None:
    killed = meets(lab, "pushed:kill")
    assert killed.wait(timeout=60) == -signal.SIGKILL
    successor = lab.begin(BRANCHLINE_FAULT="committed:raise")
    assert lab.outcome("a", 1) == "completed"
    successor.terminate()
    assert successor.wait(timeout=60) == 0
    assert len(lab.remote_commits("a-1")) == 1, "whatever it committed is pushed now"
    lab.begin()  # the delivery of the first comes back after its visibility; somebody has to take it
    done_once(lab)


@pytest.mark.parametrize("disk", ["same", "other"])
@pytest.mark.parametrize("point", POINTS)
def test_a_worker_that_freezes(lab: FaultLab, tmp_path: Path, point: str, disk: str) -> None:
    frozen = meets(lab, f"{point}:hang")
    wait_until(lambda: is_frozen(frozen), seconds=60)
    lab.begin(disk=tmp_path / "elsewhere" if disk == "other" else None)
    if disk == "same":
        assert frozen.wait(timeout=60) == -signal.SIGKILL
    else:
        wait_until(lambda: "worker_ready" in (tmp_path / "worker-1.log").read_text(), seconds=60)
        assert lab.outcome("a", 1) == "completed"
        wake(frozen)
        assert frozen.wait(timeout=60) == 0
    done_once(lab)
