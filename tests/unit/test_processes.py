"""The sweep finds what carries the marker, all of it, and nothing else."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from worker import processes

NAME = "BRANCHLINE_TEST_MARKER"


def eventually(condition: Callable[[], object], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.005)


@pytest.fixture
def marker() -> Iterator[str]:
    value = uuid4().hex
    yield value
    processes.sweep(name=NAME, value=value)


def start(marker: str, script: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, NAME: marker}
    return subprocess.Popen(["sh", "-c", script], env=environment, start_new_session=True)


def test_of_many_that_are_left_only_some_are_named() -> None:
    assert processes.Swept(killed=0, left=(7, 8)).named == "Processes 7, 8"
    many = processes.Swept(killed=0, left=tuple(range(1, 501))).named
    assert many == "500 processes (1, 2, 3, 4, 5, …)"


def test_a_marked_process_and_its_children_are_killed(marker: str) -> None:
    first = start(marker, "sleep 1000 & sleep 1000 & wait")
    eventually(lambda: len(processes.marked(name=NAME, value=marker)) == 3)
    assert processes.sweep(name=NAME, value=marker) == processes.Swept(killed=3)
    assert first.wait() == -signal.SIGKILL
    assert processes.sweep(name=NAME, value=marker) == processes.Swept(killed=0)


def test_a_daemon_that_left_its_session_and_ignores_signals_is_killed(marker: str, tmp_path: Path) -> None:
    daemon = f"trap '' TERM HUP INT; touch {tmp_path}/up; while :; do sleep 0.05; done"
    first = start(marker, f'setsid sh -c "{daemon}" & exit 0')
    first.wait()
    eventually((tmp_path / "up").exists)
    assert processes.sweep(name=NAME, value=marker).killed >= 1
    assert processes.marked(name=NAME, value=marker) == []


def test_processes_that_fork_while_being_swept_are_all_killed(marker: str, tmp_path: Path) -> None:
    # Eight chains in which each link starts the next one and leaves at once.
    script = tmp_path / "chain"
    script.write_text(f"echo x >> {tmp_path}/links; setsid sh {script} & exit 0\n")
    for _ in range(8):
        start(marker, f"sh {script}").wait()
    eventually(lambda: (tmp_path / "links").stat().st_size > 40)
    swept = processes.sweep(name=NAME, value=marker, seconds=20)
    assert swept.left == ()
    assert swept.killed >= 1
    size = (tmp_path / "links").stat().st_size
    assert processes.sweep(name=NAME, value=marker) == processes.Swept(killed=0)
    assert (tmp_path / "links").stat().st_size == size


def test_other_markers_and_similar_markers_are_left_alone(marker: str) -> None:
    other = start(f"{marker}-longer", "exec sleep 1000")
    try:
        eventually(lambda: processes.marked(name=NAME, value=f"{marker}-longer"))
        assert processes.sweep(name=NAME, value=marker).killed == 0
        assert processes.sweep(name=NAME[1:], value=f"{marker}-longer").killed == 0
        assert other.poll() is None
    finally:
        assert processes.sweep(name=NAME, value=f"{marker}-longer").killed == 1
        other.wait()


def test_the_caller_and_its_ancestors_are_spared(marker: str) -> None:
    sweeper = (
        "import os, sys; from worker import processes; "
        f"print(processes.sweep(name={NAME!r}, value={marker!r}).killed, flush=True)"
    )
    # The shell is an ancestor and carries the marker; its other child carries it, too, and must go.
    script = f'sleep 1000 & {sys.executable} -c "{sweeper}"; echo the shell lives'
    environment = {**os.environ, NAME: marker}
    done = subprocess.run(
        ["sh", "-c", script],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split("\n") == ["1", "the shell lives", ""]


def test_a_process_that_cannot_be_killed_in_time_is_named(marker: str) -> None:
    first = start(marker, "while :; do sleep 0.001 & done")
    try:
        eventually(lambda: processes.marked(name=NAME, value=marker))
        swept = processes.sweep(name=NAME, value=marker, seconds=-1)
        assert len(swept.left) >= 1
    finally:
        assert processes.sweep(name=NAME, value=marker).left == ()
        first.wait()


def test_the_guard_sweeps_when_its_owner_is_gone(marker: str) -> None:
    owner = (
        "import os, sys; from worker import processes; "
        f"processes.Guard(name={NAME!r}, value={marker!r}).ensure(); "
        "print(flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", owner],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    orphan = start(marker, "sleep 1000")
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        eventually(lambda: processes.marked(name=NAME, value=marker))
        os.killpg(process.pid, signal.SIGKILL)
    assert orphan.wait(timeout=20) == -signal.SIGKILL


def test_a_guard_that_is_closed_sweeps_and_leaves(marker: str) -> None:
    guard = processes.Guard(name=NAME, value=marker)
    guard.ensure()
    guard.ensure()
    left = start(marker, "sleep 1000")
    eventually(lambda: processes.marked(name=NAME, value=marker))
    guard.close()
    assert left.wait(timeout=20) == -signal.SIGKILL
    guard.close()
