"""The life of a fleet on one machine, led by stand-ins: start, death, stop, and nothing left behind."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fleet_lab import Lab, until

pytestmark = pytest.mark.slow

Start = Callable[..., Lab]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    labs: list[Lab] = []

    def start(*options: str) -> Lab:
        lab = Lab(tmp_path / "home of the lab", *options)
        labs.append(lab)
        lab.until_started()
        return lab

    yield start
    for lab in labs:
        lab.end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_workers_then_dispatcher_then_engine(start: Start, number: signal.Signals) -> None:
    lab = start()
    lab.process.send_signal(number)
    assert lab.process.wait(30) == 0
    stops = [line.split()[1] for line in lab.lines() if line.startswith("stop")]
    assert stops == ["worker", "dispatcher", "engine", "model"]
    assert lab.left() == set()


def test_a_second_ctrl_c_ends_a_worker_that_does_not_leave(start: Start) -> None:
    lab = start("stubborn")
    lab.process.send_signal(signal.SIGINT)
    lab.until(lambda: any(line.startswith("stop worker") for line in lab.lines()))
    lab.process.send_signal(signal.SIGINT)
    assert lab.process.wait(30) == 0
    assert lab.left() == set()


def test_a_closing_terminal_hangs_up_twice_and_still_lets_workers_leave(start: Start) -> None:
    lab = start()
    lab.process.send_signal(signal.SIGHUP)
    lab.process.send_signal(signal.SIGHUP)
    assert lab.process.wait(30) == 0
    assert any(line.startswith("stop worker") for line in lab.lines())


def test_a_killed_supervisor_takes_every_part_along(start: Start) -> None:
    lab = start()
    lab.process.kill()
    lab.process.wait()
    lab.until(lambda: lab.left() == set())


@pytest.mark.parametrize("name", ["engine", "dispatcher", "worker", "model"])
def test_a_part_that_dies_is_started_again(start: Start, name: str) -> None:
    lab = start()
    first = lab.pid(name)
    os.kill(first, signal.SIGKILL)
    lab.until(lambda: lab.pid(name) != first)
    assert f"The {name}" in lab.output()
    assert "SIGKILL" in lab.output()


def test_a_worker_that_leaves_by_itself_stays_away(start: Start) -> None:
    lab = start()
    worker, engine = lab.pid("worker"), lab.pid("engine")
    os.kill(worker, signal.SIGTERM)
    until(lambda: not Path(f"/proc/{worker}").exists())
    os.kill(engine, signal.SIGKILL)
    lab.until(lambda: lab.pid("engine") != engine)
    assert lab.pid("worker") == worker


def test_even_a_process_without_environment_is_not_left_behind(start: Start) -> None:
    lab = start("grandchild")
    lost = int((lab.home.path / "grandchild").read_text())
    assert Path(f"/proc/{lost}").exists()
    lab.process.send_signal(signal.SIGTERM)
    assert lab.process.wait(30) == 0
    until(lambda: not Path(f"/proc/{lost}").exists())


def test_an_orphan_that_ends_while_the_fleet_runs_does_not_stay_as_a_zombie(start: Start) -> None:
    lab = start("grandchild")
    lost = int((lab.home.path / "grandchild").read_text())
    os.kill(lab.pid("worker"), signal.SIGKILL)
    os.kill(lost, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{lost}").exists())
