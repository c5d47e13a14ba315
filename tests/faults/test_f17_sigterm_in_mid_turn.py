"""F17: the worker is asked to leave in the middle of a turn, once or twice.

Expected: the work is a pushed checkpoint, the turn is parked as draining, every delivery is visible again at
once, the id is free, exit status 0, and the next worker goes on. A second SIGTERM leaves at once.
"""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.engine import wait_until
from tests.integration.worker_lab import Lab, worker_lab

pytestmark = pytest.mark.slow

LONG = {"BRANCHLINE_VISIBILITY_SECONDS": "600", "BRANCHLINE_LEASE_SECONDS": "600"}
"""What a worker does not give back by itself nobody gets within this test."""


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[Lab]:
    with worker_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


def test_the_first_sigterm_keeps_the_work_gives_all_back_and_a_successor_on_another_disk_goes_on(
    lab: Lab, tmp_path: Path
) -> None:
    worker = lab.start(**LONG)
    go = tmp_path / "go"
    lab.post(
        "a", 1, f"do: write a.txt one\ndo: bash setsid nice sleep 1000 &\ndo: wait {go}\ndo: write b.txt two"
    )
    lab.wait_for("a", "turn.tool", count=4)
    lab.post("a", 2, "do: write c.txt three")
    wait_until(lambda: lab.found.waiting() == (0, 2))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0
    assert lab.marked() == []
    assert lab.found.waiting() == (2, 0)
    assert (lab.found.row().state, lab.found.row().owner) == ("cold", None)
    (checkpoint,) = lab.log("thread-a")
    assert "Branchline-Checkpoint:" in checkpoint
    assert lab.tree("thread-a")["a.txt"].strip() == "one"
    (interrupted,) = lab.data("a", "turn.interrupted")
    assert interrupted.reason == "draining"
    assert "goes on by itself" in interrupted.text
    assert lab.found.attempts("a", 1) == 0
    assert lab.found.outcome("a", 1) is None
    go.touch()
    lab.start(WORKSPACE_PATH=str(tmp_path / "elsewhere"), **LONG)
    assert [lab.outcome("a", n) for n in (1, 2)] == ["completed", "completed"]
    assert lab.data("a", "turn.resumed")[0].reason == "draining"
    assert lab.tree("thread-a").keys() >= {"a.txt", "b.txt", "c.txt"}
    assert [e.message_id for e in lab.events("a", "turn.completed")] == ["a-1", "a-2"]  # type: ignore[union-attr]
    wait_until(lambda: lab.found.waiting() == (0, 0))


def test_parked_and_running_threads_are_both_given_back(lab: Lab, tmp_path: Path) -> None:
    worker = lab.start(**LONG)
    go = tmp_path / "go"
    lab.post("a", 1, f"do: write a.txt one\ndo: wait {go}")
    lab.wait_for("a", "turn.tool", count=2)
    lab.post("b", 1, f"do: write b.txt two\ndo: wait {go}")
    lab.wait_for("b", "turn.tool", count=2)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0
    assert lab.found.waiting() == (2, 0)
    assert (lab.tree("thread-a").keys() >= {"a.txt"}, lab.tree("thread-b").keys() >= {"b.txt"}) == (
        True,
        True,
    )
    go.touch()
    lab.start(**LONG)
    assert (lab.outcome("a", 1), lab.outcome("b", 1)) == ("completed", "completed")
    assert [len(lab.events(t, "turn.completed")) for t in "ab"] == [1, 1]


def test_a_second_sigterm_leaves_at_once_and_nothing_is_lost(lab: Lab) -> None:
    worker = lab.start()
    once = lab.folder / "second"
    stubborn = f"trap '' TERM INT; while [ ! -e {once} ]; do nice sleep 0.1; done"
    lab.post("a", 1, f"do: write a.txt one\ndo: bash {stubborn}\ndo: write b.txt two")
    lab.wait_for("a", "turn.tool", count=3)
    slow = lab.remote / "hooks" / "pre-receive"  # the drain cannot end before its push does
    slow.write_text(f"#!/bin/sh\nwhile [ ! -e {once} ]; do sleep 0.1; done\n")
    slow.chmod(0o755)
    worker.send_signal(signal.SIGTERM)
    wait_until(lambda: "worker_draining" in lab.logs())
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=10) == 128 + signal.SIGTERM
    wait_until(lambda: not lab.marked())
    once.touch()
    lab.start()
    assert lab.outcome("a", 1) == "completed"
    assert lab.tree("thread-a").keys() >= {"a.txt", "b.txt"}
    assert len([m for m in lab.log("thread-a") if "Branchline-Message: a-1" in m]) == 1
    assert len(lab.events("a", "turn.completed")) == 1
