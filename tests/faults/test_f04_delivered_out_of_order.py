"""F4: deliveries come in another order than the messages were sent, doubled, or not at all.

The order inside a thread is that of the records: turns, final events and commits follow the sequence, and a
late delivery of an old message changes nothing.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.wire import Wire, wire_to
from tests.faults.lab import FaultLab, answered_once, fault_lab

pytestmark = pytest.mark.slow

THREADS, SEQUENCES = ("a", "b"), (1, 2, 3)


@pytest.fixture
def wire(engine_url: str) -> Iterator[Wire]:
    with wire_to(engine_url) as made:
        yield made


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path, wire: Wire) -> Iterator[FaultLab]:
    with fault_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


def record_all(lab: FaultLab) -> None:
    for sequence in SEQUENCES:
        for thread in THREADS:
            lab.found.record(
                thread, sequence, text=f"do: write {thread}{sequence}.txt x\ndo: append all {sequence}"
            )


def in_order(lab: FaultLab) -> None:
    """Every message answered once; finals, commits and what the files say stand in the order of sending."""
    for thread in THREADS:
        for sequence in SEQUENCES:
            answered_once(lab, thread, sequence)
        names = [f"{thread}-{n}" for n in SEQUENCES]
        assert [e.message_id for e in lab.events(thread, "turn.completed")] == names  # type: ignore[union-attr]
        commits = [m for m in reversed(lab.log(f"thread-{thread}")) if "Branchline-Message:" in m]
        assert [m.partition("Branchline-Message: ")[2].split()[0] for m in commits] == names
        assert lab.tree(f"thread-{thread}")["all"].split() == [str(n) for n in SEQUENCES]


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_deliveries_gives_the_order_of_sending(lab: FaultLab, wire: Wire, seed: int) -> None:
    wire.shuffle = True
    record_all(lab)
    deliveries = [(t, n) for t in THREADS for n in SEQUENCES] * 2  # doubled as well
    random.Random(seed).shuffle(deliveries)
    for thread, sequence in deliveries[:6]:
        lab.found.send(thread, sequence)
    lab.begin(AWS_ENDPOINT_URL=wire.url)
    for thread, sequence in deliveries[6:]:
        lab.found.send(thread, sequence)
    in_order(lab)


def test_the_last_delivery_alone_brings_those_before_it(lab: FaultLab, wire: Wire) -> None:
    lab.begin(AWS_ENDPOINT_URL=wire.url)
    record_all(lab)
    for thread in THREADS:
        lab.found.send(thread, SEQUENCES[-1])
    in_order(lab)


def test_an_old_delivery_that_comes_late_changes_nothing(lab: FaultLab, wire: Wire) -> None:
    lab.begin(AWS_ENDPOINT_URL=wire.url)
    record_all(lab)
    for thread in THREADS:
        for sequence in SEQUENCES[1:]:
            lab.found.send(thread, sequence)
    in_order(lab)
    told = lab.events("a")
    lab.found.send("a", 1)
    lab.post("b", 4, "do: say Still one answer each.")
    answered_once(lab, "b", 4, commits=0)
    assert lab.events("a") == told
