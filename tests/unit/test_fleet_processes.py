"""Which processes belong to a home: found by their marks, and only they."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleet import processes
from tests.fakes.engine import wait_until

Run = Callable[..., int]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "a home"


@pytest.fixture
def run(home: Path) -> Iterator[Run]:
    started: list[subprocess.Popen[bytes]] = []

    def run(*, cwd: Path | None = None, **marks: str) -> int:
        env = {"PATH": os.environ["PATH"], "BRANCHLINE_HOME": str(home), **marks}
        process = subprocess.Popen(["sleep", "1000"], env=env, cwd=cwd, start_new_session=True)
        started.append(process)
        # Until it has begun with its own program, its environment cannot be read, or is ours.
        wait_until(lambda: b"sleep" in Path(f"/proc/{process.pid}/cmdline").read_bytes(), seconds=60)
        return process.pid

    yield run
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("mark", processes.OWN_MARKS)
def test_a_process_with_the_home_and_a_mark_is_a_leftover(home: Path, run: Run, mark: str) -> None:
    pid = run(**{mark: "x"})
    assert processes.leftovers(home) == {pid}


def test_a_process_that_only_shares_the_exported_variable_is_spared(home: Path, run: Run) -> None:
    run()
    assert processes.leftovers(home) == set()


def test_a_process_at_work_in_a_checkout_of_the_home_is_a_leftover(home: Path, run: Run) -> None:
    checkout = home / "workspace" / "local"
    checkout.mkdir(parents=True)
    pid = run(cwd=checkout)
    assert processes.leftovers(home) == {pid}


def test_another_home_is_another_fleet(home: Path, run: Run) -> None:
    run(BRANCHLINE_PART="engine")
    assert processes.leftovers(Path(f"{home}2")) == set()
    assert processes.leftovers(home.parent) == set()


def test_ending_kills_what_does_not_listen(home: Path, run: Run) -> None:
    pid = run(BRANCHLINE_PART="worker")
    assert processes.end(lambda: processes.leftovers(home), grace=5) == 1
    assert processes.leftovers(home) == set()
    assert processes.scan(home)[pid].zombie or pid not in processes.scan(home)


def test_a_name_with_brackets_and_spaces_does_not_confuse_the_look(tmp_path: Path, home: Path) -> None:
    odd = tmp_path / "a) S 1 (b"
    odd.symlink_to("/bin/sleep")
    env = {"BRANCHLINE_HOME": str(home), "BRANCHLINE_PART": "x"}
    process = subprocess.Popen([odd, "1000"], env=env)
    try:
        assert processes.scan(home)[process.pid].parent == os.getpid()
    finally:
        process.kill()
        process.wait()
