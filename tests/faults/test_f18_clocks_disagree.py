"""F18: the clocks of workers and dispatchers are ten minutes ahead or behind of each other.

Expected: leases, takeovers and fencing go by observed change and the monotonic clock, order goes by the
sequence and event numbers, so nothing is affected; only the times that events show are off.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.faults.lab2 import start
from tests.integration.worker_lab import Lab, worker_lab

pytestmark = pytest.mark.slow

AHEAD, BEHIND = 600, -600

SHIFTED = """
import datetime, runpy, sys, time
shift = int(sys.argv.pop(1))
seconds, nanoseconds, plain = time.time, time.time_ns, datetime.datetime
time.time = lambda: seconds() + shift
time.time_ns = lambda: nanoseconds() + shift * 10**9
class Meta(type(plain)):
    def __instancecheck__(cls, it):
        return isinstance(it, plain)
class Shifted(plain, metaclass=Meta):
    @classmethod
    def now(cls, tz=None):
        return plain.fromtimestamp(time.time(), tz)
    @classmethod
    def utcnow(cls):
        return plain.fromtimestamp(time.time(), datetime.timezone.utc).replace(tzinfo=None)
datetime.datetime = Shifted
runpy.run_module("worker", run_name="__main__")
"""
"""Moves the wall clock of one process, before the worker is loaded in it."""


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[Lab]:
    with worker_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


def shifted(lab: Lab, seconds: int, **more: str) -> "subprocess.Popen[bytes]":
    """A worker whose wall clock is off by so many seconds."""
    return start(lab, [sys.executable, "-c", SHIFTED, str(seconds)], **more)


def off_by(lab: Lab, thread: str, type_: str) -> int:
    """By how much the clock that wrote this event is off, to the next ten minutes."""
    return round((lab.events(thread, type_)[-1].time - datetime.now(UTC)) / timedelta(minutes=10)) * 600


@pytest.mark.parametrize(("owner", "other"), [(AHEAD, BEHIND), (BEHIND, AHEAD)])
def test_a_living_owner_keeps_its_id_whatever_the_clocks_say(
    lab: Lab, tmp_path: Path, owner: int, other: int
) -> None:
    first = shifted(lab, owner, BRANCHLINE_LEASE_SECONDS="3")
    lab.post("a", 1, f"do: write a.txt one\ndo: wait {tmp_path / 'go'}\ndo: write b.txt two")
    lab.wait_for("a", "turn.tool", count=2)
    second = shifted(lab, other, BRANCHLINE_LEASE_SECONDS="3", WORKSPACE_PATH=str(tmp_path / "elsewhere"))
    assert second.wait(timeout=60) == 0
    assert "owned by another worker" in (tmp_path / "worker-1.log").read_text()
    (tmp_path / "go").touch()
    assert lab.outcome("a", 1) == "completed"
    assert first.poll() is None
    assert lab.found.row().epoch == 1
    assert lab.data("a", "turn.interrupted") == []
    assert off_by(lab, "a", "turn.completed") == owner


@pytest.mark.parametrize(("owner", "other"), [(AHEAD, BEHIND), (BEHIND, AHEAD)])
def test_a_silent_owner_is_followed_within_the_lease_and_changes_nothing_when_it_wakes(
    lab: Lab, tmp_path: Path, owner: int, other: int
) -> None:
    frozen = shifted(lab, owner, BRANCHLINE_LEASE_SECONDS="2")
    lab.post("a", 1, f"do: write a.txt one\ndo: wait {tmp_path / 'go'}\ndo: write b.txt two")
    lab.wait_for("a", "turn.tool", count=2)
    frozen.send_signal(signal.SIGSTOP)
    shifted(lab, other, BRANCHLINE_LEASE_SECONDS="2", WORKSPACE_PATH=str(tmp_path / "elsewhere"))
    lab.wait_for("a", "turn.resumed", seconds=30)
    frozen.send_signal(signal.SIGCONT)
    assert frozen.wait(timeout=60) == 0
    (tmp_path / "go").touch()
    assert lab.outcome("a", 1) == "completed"
    events = lab.events("a")
    assert [e.id for e in events] == list(range(1, len(events) + 1))
    assert [e.type for e in events].count("turn.completed") == 1
    assert len([m for m in lab.log("thread-a") if "Branchline-Message: a-1" in m]) == 1
    assert lab.found.row().epoch == 2
    assert (off_by(lab, "a", "turn.started"), off_by(lab, "a", "turn.completed")) == (owner, other)


def test_messages_keep_their_order_whatever_their_dispatchers_clocks_said(lab: Lab) -> None:
    now = datetime.now(UTC)
    for sequence, minutes in ((1, 10), (2, 0), (3, -10)):
        received = now + timedelta(minutes=minutes)
        lab.found.record("a", sequence, text=f"do: write a{sequence}.txt x", received=received)
    for sequence in (3, 2, 1):
        lab.found.send("a", sequence)
    lab.start()
    assert [lab.outcome("a", n) for n in (1, 2, 3)] == ["completed"] * 3
    told = [e.message_id for e in lab.events("a", "turn.completed")]  # type: ignore[union-attr]
    assert told == ["a-1", "a-2", "a-3"]
    commits = [m for m in lab.log("thread-a") if "Branchline-Message:" in m]
    assert [f"Branchline-Message: a-{n}" in m for n, m in zip((3, 2, 1), commits, strict=True)] == [True] * 3
