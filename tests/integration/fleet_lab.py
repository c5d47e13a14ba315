"""A fleet of small stand-ins: the real supervisor, around programs that only write down what happens to them.

``python fleet_lab.py up HOME [OPTION...]`` runs a supervisor, ``python fleet_lab.py part NAME JOURNAL
[OPTION...]`` is one part. Options: ``stubborn`` (the worker ignores SIGTERM), ``grandchild`` (the worker
starts a process without environment in a session of its own).
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from contracts.words import WorkerId
from fleet import processes
from fleet.child import Part, ready_line
from fleet.home import Home
from fleet.kept import BackOff
from fleet.ports import any_free
from fleet.screen import Screen
from fleet.supervisor import Parts, Stop, Supervisor

WORKER = WorkerId("local-site-local")
PATIENCE = 30.0


class Lab:
    """One home, its journal, and the supervisor's process."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.home = Home(folder)
        self.journal = folder / "journal"
        self.home.create()
        self.journal.touch()
        with (folder / "out").open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, __file__, "up", str(folder), *options],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
                start_new_session=True,
            )

    def lines(self) -> list[str]:
        """What the parts have written down."""
        return self.journal.read_text().splitlines()

    def output(self) -> str:
        """What the supervisor has said."""
        return (self.home.path / "out").read_text()

    def pid(self, name: str) -> int:
        """Process id of the part's latest start."""
        starts = [line.split() for line in self.lines() if line.startswith(f"start {name} ")]
        return int(starts[-1][2])

    def left(self) -> set[int]:
        """Living processes of the home."""
        return processes.leftovers(self.home.path)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition; fails after a while with what the supervisor said."""
        until(condition, says=self.output)

    def until_started(self) -> None:
        """Wait until everything runs."""
        self.until(lambda: "started" in self.output() and any("start worker" in x for x in self.lines()))

    def end(self) -> None:
        """Leave nothing behind, whatever the test did."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        processes.end(self.left, grace=0)


def until(condition: Callable[[], bool], *, says: Callable[[], str] = str) -> None:
    """Wait for a condition, at most ``PATIENCE`` seconds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, says()
        time.sleep(0.02)


def part(name: str, folder: Path, *options: str) -> Part:
    """A stand-in for a part."""
    return Part(
        name=name,
        argv=(sys.executable, __file__, "part", name, str(folder / "journal"), *options),
        env={"PATH": os.environ["PATH"]},
        cwd=folder,
        ready=None if name.startswith("worker") else ready_line,
        grace=PATIENCE,
    )


def _parts(folder: Path, options: list[str]) -> Parts:
    return Parts(
        engine=part("engine", folder),
        model=part("model", folder),
        dispatcher=lambda engine, launcher, token: part("dispatcher", folder),
        worker=lambda worker_id, port, engine, model, token: part("worker", folder, *options),
    )


async def _up(folder: Path, options: list[str]) -> None:
    stop = Stop()
    stop.listen()
    screen = Screen()
    supervisor = Supervisor(
        home=Home(folder),
        parts=_parts(folder, options),
        screen=screen,
        stop=stop,
        preview_port=any_free(),
        back_off=BackOff(first=0.05, most=0.1),
    )
    await supervisor.run(WORKER, started=lambda: screen.say("started"))


def _part(name: str, journal: Path, options: list[str]) -> None:
    def write(word: str) -> None:
        with journal.open("a") as file:
            file.write(f"{word} {name} {os.getpid()}\n")

    def leave(number: int, frame: object) -> None:
        write("stop")
        if "stubborn" not in options:
            sys.exit(0)

    signal.signal(signal.SIGTERM, leave)
    if "grandchild" in options:
        lost = subprocess.Popen(["sleep", "1000"], env={}, start_new_session=True)
        journal.with_name("grandchild").write_text(str(lost.pid))
    write("start")
    print(json.dumps({"event": "ready", "url": f"http://127.0.0.1/{name}"}), flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    role, *rest = sys.argv[1:]
    if role == "up":
        asyncio.run(_up(Path(rest[0]), rest[1:]))
    else:
        _part(rest[0], Path(rest[1]), rest[2:])
