"""The worker on a wire that throttles, doubles and reorders, as the real services may."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.wire import Wire, wire_to
from tests.integration.worker_lab import Lab, worker_lab

pytestmark = pytest.mark.slow


@pytest.fixture
def wire(engine_url: str) -> Iterator[Wire]:
    with wire_to(engine_url) as made:
        yield made


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path, wire: Wire) -> Iterator[Lab]:
    with worker_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


def test_f6_throttled_records_are_written_a_little_later_and_nothing_is_lost(lab: Lab, wire: Wire) -> None:
    wire.throttle.update({"TransactWriteItems": 8, "Query": 4, "UpdateItem": 3, "GetItem": 3})
    lab.start(AWS_ENDPOINT_URL=wire.url)
    lab.post("a", 1, "do: write a.txt one\ndo: say Done anyway.")
    assert lab.outcome("a", 1) == "completed"
    assert wire.refused["TransactWriteItems"] == 8
    events = lab.events("a")
    assert [e.id for e in events] == list(range(1, len(events) + 1))
    assert len(lab.events("a", "turn.completed")) == 1
    assert lab.tree("thread-a")["a.txt"].strip() == "one"


def test_f3_f4_doubled_and_reordered_deliveries_change_nothing(lab: Lab, wire: Wire) -> None:
    wire.shuffle = True
    for sequence in (1, 2, 3):
        for thread in ("a", "b"):
            lab.found.record(thread, sequence, text=f"do: write {thread}{sequence}.txt x")
    for sequence in (3, 1, 2, 3, 1, 2):  # doubled, and not in order
        for thread in ("a", "b"):
            lab.found.send(thread, sequence)
    lab.start(AWS_ENDPOINT_URL=wire.url)
    for sequence in (1, 2, 3):
        for thread in ("a", "b"):
            assert lab.outcome(thread, sequence) == "completed"
    for thread in ("a", "b"):
        told = [e.message_id for e in lab.events(thread, "turn.completed")]  # type: ignore[union-attr]
        assert told == [f"{thread}-{n}" for n in (1, 2, 3)]
        commits = [m for m in lab.log(f"thread-{thread}") if "Branchline-Message:" in m]
        assert len(commits) == 3
    lab.found.send("a", 1)  # long after its outcome
    lab.post("a", 4, "do: say Still one answer each.")
    assert lab.outcome("a", 4) == "completed"
    assert len(lab.events("a", "turn.completed")) == 4
