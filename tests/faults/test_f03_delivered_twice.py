"""F3: the queue delivers a message twice, at once or long after its outcome.

The second delivery is answered from the record: no second turn, no event, no commit; it is only deleted.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.engine import wait_until
from tests.faults.lab import FaultLab, answered_once, fault_lab, until_there

pytestmark = pytest.mark.slow


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[FaultLab]:
    with fault_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


def test_while_the_turn_waits_and_while_it_runs(lab: FaultLab, tmp_path: Path) -> None:
    lab.post("a", 1, f"do: write a.txt one\n{until_there(tmp_path / 'go')}")
    lab.found.send("a", 1)
    lab.begin()
    lab.wait_for("a", "turn.tool", count=2)
    lab.found.send("a", 1)
    lab.found.send("a", 1)
    wait_until(lambda: lab.found.waiting() == (0, 4))
    (tmp_path / "go").touch()
    answered_once(lab, "a", 1)
    assert len(lab.events("a", "turn.started")) == 1
    assert lab.events("a", "turn.interrupted") == []


@pytest.mark.parametrize("started_again", [False, True])
def test_long_after_the_outcome(lab: FaultLab, started_again: bool) -> None:
    worker = lab.begin(real=True)
    lab.post("a", 1, "do: write a.txt one\ndo: say Only once.")
    answered_once(lab, "a", 1)
    before, asked, told = lab.log("thread-a"), len(lab.model.requests), lab.events("a")
    if started_again:
        worker.terminate()
        assert worker.wait(timeout=60) == 0
        lab.begin(real=True)
    for _ in range(3):
        lab.found.send("a", 1)
    lab.post("b", 1, "do: say Everything before this was looked at.")
    answered_once(lab, "b", 1, commits=0)
    assert lab.events("a") == told
    assert lab.log("thread-a") == before
    assert not [r for r in lab.model.requests[asked:] if "Only once" in r.text]
