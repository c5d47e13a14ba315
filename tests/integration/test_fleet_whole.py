"""The real fleet on one machine: engine, offline model, dispatcher, worker and Claude Code, no network."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_lab import until

from fleet import processes
from fleet.home import Home
from fleet.ports import any_free

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


class Fleet:
    """One home with a small repository; ``up`` can be started, stopped and killed."""

    def __init__(self, folder: Path) -> None:
        self.home = Home((folder / "a home").resolve())
        self.repo = _repository(folder / "notes")
        self._out = folder / "out"
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "BRANCHLINE_HOME": str(self.home.path),
            "BRANCHLINE_PORT": str(any_free()),
            "BRANCHLINE_PREVIEW_PORT": str(any_free()),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def up(self) -> subprocess.Popen[bytes]:
        """Start the fleet and wait until it says that it runs."""
        with self._out.open("wb") as out:
            arguments = [sys.executable, "-m", "fleet", "up", "--repo", str(self.repo)]
            self.process = process = subprocess.Popen(
                arguments, env=self._env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        until(lambda: "Branchline is running" in self.said() or process.poll() is not None, says=self.said)
        assert process.poll() is None, self.said()
        return process

    def branchline(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command against this fleet."""
        argv = [sys.executable, "-m", "fleet", *arguments]
        return subprocess.run(argv, env=self._env, capture_output=True, text=True, timeout=90)

    def said(self) -> str:
        """What ``up`` has written."""
        return self._out.read_text()

    def left(self) -> set[int]:
        """Living processes of the home."""
        return processes.leftovers(self.home.path)

    def end(self) -> None:
        """Leave nothing behind."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        processes.end(self.left, grace=0)


def _repository(path: Path) -> Path:
    git = ("git", "-C", str(path), "-c", "user.name=a", "-c", "user.email=a@b")
    path.mkdir()
    (path / "README.md").write_text("# Notes\n")
    for arguments in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-q", "-m", "one")):
        subprocess.run([*git, *arguments], check=True)
    return path


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path)
    if not fleet.home.engine_python.exists():
        pytest.fail("the engine's environment is missing; run ./scripts/test, which makes it")
    yield fleet
    fleet.end()


@pytest.mark.timeout(300)
def test_a_message_is_answered_and_nothing_runs_on_after_a_stop(fleet: Fleet) -> None:
    process = fleet.up()
    assert "OFFLINE MODEL" in fleet.said()
    sent = fleet.branchline("send", "What can you do?", "--thread", "first")
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert sent.stdout.splitlines()[-1].startswith("completed")
    process.send_signal(signal.SIGINT)
    assert process.wait(90) == 0
    assert "Branchline has stopped." in fleet.said()
    assert fleet.left() == set()


@pytest.mark.timeout(300)
def test_a_killed_fleet_leaves_no_process_and_goes_on_where_it_was(fleet: Fleet) -> None:
    process = fleet.up()
    posted = fleet.branchline("send", "What can you do?", "--thread", "kept", "--no-wait", "--json")
    message_id = json.loads(posted.stdout)["message_id"]
    process.kill()
    process.wait()
    until(lambda: fleet.left() == set(), says=lambda: f"left: {fleet.left()}")
    fleet.up()
    again = fleet.branchline("send", "What can you do?", "--thread", "kept", "--message-id", message_id)
    assert again.returncode == 0, again.stdout + again.stderr
    events = [json.loads(x) for x in fleet.branchline("tail", "kept", "--json").stdout.splitlines()]
    assert [e["type"] for e in events].count("message.received") == 1
    assert [e["type"] for e in events].count("turn.completed") == 1
