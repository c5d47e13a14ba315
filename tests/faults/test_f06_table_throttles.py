"""F6: DynamoDB throttles, for some requests or for a long time.

Requests are repeated. While the lease can be renewed the turn goes on and its events are written afterwards,
all of them and in order. When even the lease cannot be renewed the worker leaves, to be started again, and
nothing is lost.
"""

from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from tests.fakes.engine import wait_until
from tests.faults.lab import FaultLab, StrictWire, answered_once, fault_lab, strict_wire, until_there
from tests.integration.worker_lab import git

pytestmark = pytest.mark.slow

ALL_BUT_RENEWALS = {"TransactWriteItems", "GetItem", "PutItem", "Query"}


@pytest.fixture
def wire(engine_url: str) -> Iterator[StrictWire]:
    with strict_wire(engine_url) as made:
        yield made


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path, wire: StrictWire) -> Iterator[FaultLab]:
    with fault_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


def test_some_throttled_requests_are_repeated_and_nothing_is_lost(lab: FaultLab, wire: StrictWire) -> None:
    wire.throttle.update({"TransactWriteItems": 8, "Query": 4, "UpdateItem": 3, "GetItem": 3})
    lab.begin(real=True, BRANCHLINE_LEASE_SECONDS="6", AWS_ENDPOINT_URL=wire.url)
    lab.post("a", 1, "do: write a.txt one\ndo: say Done anyway.")
    answered_once(lab, "a", 1)
    assert wire.refused["TransactWriteItems"] == 8
    assert lab.tree("thread-a")["a.txt"].strip() == "one"


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(0, id="longer than a lease"),
        pytest.param(35, id="35 seconds", marks=[pytest.mark.chaos, pytest.mark.timeout(240)]),
    ],
)
def test_a_turn_goes_on_while_its_lease_holds_and_its_events_come_afterwards(
    lab: FaultLab, wire: StrictWire, tmp_path: Path, seconds: float
) -> None:
    worker = lab.begin(AWS_ENDPOINT_URL=wire.url)
    go = tmp_path / "go"
    lab.post(
        "a",
        1,
        f"do: write a.txt one\n{until_there(go)}\ndo: stream 4000 1\ndo: write b.txt two\ndo: say End.",
    )
    lab.wait_for("a", "turn.tool", count=2)
    throttled, renewed = monotonic(), wire.passed["UpdateItem"]
    wire.shut |= ALL_BUT_RENEWALS
    go.touch()
    # The turn has done all its work, and the lease would have run out twice without its renewals.
    wait_until(lambda: "a-1" in git(lab.remote, "log", "--branches", "--format=%B"), seconds=60)
    wait_until(lambda: wire.passed["UpdateItem"] >= renewed + 6, seconds=60)
    wait_until(lambda: monotonic() >= throttled + seconds, seconds=seconds + 10)
    assert lab.events("a", "turn.completed") == []
    assert wire.refused["TransactWriteItems"] > 1
    wire.shut.clear()
    answered_once(lab, "a", 1)
    assert worker.poll() is None
    assert lab.events("a", "turn.interrupted") == lab.events("a", "turn.resumed") == []
    text = "".join(d.text for d in lab.data("a", "turn.text"))
    assert text.count("abcdefg ") == 500
    written = [d.input["file_path"] for d in lab.data("a", "turn.tool") if d.name == "Write" and d.input]
    assert list(dict.fromkeys(written)) == ["a.txt", "b.txt"]


def test_a_lease_that_cannot_be_renewed_ends_the_worker_and_the_next_one_goes_on(
    lab: FaultLab, wire: StrictWire, tmp_path: Path
) -> None:
    worker = lab.begin(AWS_ENDPOINT_URL=wire.url)
    go = tmp_path / "go"
    lab.post("a", 1, f"do: write a.txt one\n{until_there(go)}\ndo: write b.txt two")
    lab.wait_for("a", "turn.tool", count=2)
    wire.shut |= ALL_BUT_RENEWALS | {"UpdateItem"}
    assert worker.wait(timeout=60) == 1
    wait_until(lambda: not lab.marked())
    go.touch()
    wire.shut.clear()
    lab.begin(AWS_ENDPOINT_URL=wire.url)
    answered_once(lab, "a", 1)
    assert lab.data("a", "turn.resumed")[0].reason == "recovered"
    assert lab.tree("thread-a").keys() >= {"a.txt", "b.txt"}
