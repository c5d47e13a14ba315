"""Failpoints act where and when they are told to, and nowhere else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.faults import POINTS, _parse, fault

PROGRAM = (
    "from contracts.faults import fault\nfor n in range(3):\n    fault('committed'); print(n, flush=True)"
)


def run(plan: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """A process that passes ``committed`` three times."""
    environment = {"PATH": os.environ["PATH"], "BRANCHLINE_FAULT": plan, **more}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        start_new_session=True,
    )


def test_without_a_plan_every_point_is_passed() -> None:
    for point in POINTS:
        fault(point)


def test_a_fault_kills_at_the_pass_it_names() -> None:
    done = run("committed:kill:3")
    assert (done.returncode, done.stdout.split()) == (-9, ["0", "1"])


def test_a_fault_raises() -> None:
    assert "FaultRaised: committed" in run("committed:raise").stderr


def test_a_fault_that_acted_is_not_met_again_after_a_restart(tmp_path: Path) -> None:
    once = {"BRANCHLINE_FAULT_ONCE": str(tmp_path)}
    assert run("committed:kill", **once).returncode == -9
    assert run("committed:kill", **once).returncode == 0


@pytest.mark.parametrize("bad", ["nowhere:kill", "committed:explode", "committed"])
def test_a_wrong_plan_is_refused(bad: str) -> None:
    with pytest.raises(ValueError):
        _parse(bad)
