"""A worker id and the processes that compete for it, kept alive the way a launcher would.

A seat may have several disks: a process started on another one shares nothing with its predecessor, as a
container on another host would. Who is hurt and when is decided elsewhere.
"""

import random
import sys
from dataclasses import dataclass, field

from tests.chaos.history import History
from tests.chaos.members import Member
from tests.chaos.places import Places

_BROKEN = 15


@dataclass(kw_only=True)
class Faults:
    """Which failpoints new processes get, and how often (0..1)."""

    points: tuple[str, ...] = ()
    acts: tuple[str, ...] = ("kill", "raise", "hang")
    chance: float = 0.3

    def draw(self, dice: random.Random, *, dispatcher: bool) -> dict[str, str]:
        """The environment of the next process."""
        points = [p for p in self.points if p.startswith("dispatcher_") is dispatcher]
        if not points or dice.random() >= self.chance:
            return {}
        point, act, at = dice.choice(points), dice.choice(self.acts), dice.choice((1, 1, 2, 3))
        return {"BRANCHLINE_FAULT": f"{point}:{act}:{at}"}


REUSED = 0
"""Instead of an epoch: this process id took the worker id more than once."""


@dataclass(kw_only=True)
class Seat:
    """One worker id. ``births``: process to epoch, of all that ever took the id. ``drawn``: process to its
    failpoint. ``resting``: the supervisor leaves it alone."""

    project: str
    places: Places
    history: History
    dice: random.Random
    disks: tuple[str, ...] = ("a",)
    faults: Faults = field(default_factory=Faults)
    members: list[Member] = field(default_factory=list)
    births: dict[int, int] = field(default_factory=dict)
    started: int = 0
    exits: dict[int, int] = field(default_factory=dict)
    by_fault: int = 0
    last_disk: str = "a"
    resting: bool = False
    cleanly: dict[str, bool] = field(default_factory=dict)
    drawn: dict[int, str] = field(default_factory=dict)
    broken: int = 0
    _where: dict[int, str] = field(default_factory=dict)

    @property
    def worker(self) -> str:
        return self.places.worker(self.project)

    @property
    def able(self) -> list[Member]:
        """Processes that live and are not frozen."""
        return [m for m in self.members if m.alive and not m.frozen]

    def start(self, *, disk: str | None = None, healthy: bool = False, fault: str | None = None) -> Member:
        """One process more, on this disk or on the one the last sat on (now and then on another)."""
        if disk is None:
            moves = len(self.disks) > 1 and self.dice.random() < 0.25
            disk = self.dice.choice(self.disks) if moves else self.last_disk
        chosen = {} if healthy else self.faults.draw(self.dice, dispatcher=False)
        if fault is not None:
            chosen = {"BRANCHLINE_FAULT": fault}
        number, self.started, self.last_disk = self.started, self.started + 1, disk
        env = self.places.worker_environment(self.project, disk=disk) | chosen
        member = Member(
            name=self.worker,
            argv=[sys.executable, "-m", "worker"],
            env=env,
            log=self.places.home / "logs" / f"{self.project}-{number:04d}.log",
            history=self.history,
            disk=disk,
            fault=chosen.get("BRANCHLINE_FAULT"),
        )
        self._where[member.pid] = disk
        self.drawn[member.pid] = chosen.get("BRANCHLINE_FAULT", "")
        self.members.append(member)
        return member

    def reap(self) -> list[Member]:
        """Take note of the dead; processes that stopped themselves at a failpoint count as frozen."""
        gone = [m for m in self.members if not m.alive]
        for member in gone:
            self._bury(member)
        hung = [m for m in self.members if m.alive and not m.frozen and m.stopped]
        for member in hung:
            self.history.add(self.worker, "hung at a failpoint", pid=member.pid, fault=self.drawn[member.pid])
            member.frozen = True
            self.by_fault += 1
        return hung

    def _bury(self, member: Member) -> None:
        self.members.remove(member)
        code = member.process.returncode
        self.exits[code] = self.exits.get(code, 0) + 1
        if member.epoch is not None:
            # A long run uses process ids again: one that took the id twice says nothing about when it wrote.
            again = member.pid in self.births
            self.births[member.pid] = REUSED if again else member.epoch
        self.cleanly[self._where[member.pid]] = code == 0 and member.epoch is not None
        self.history.add(self.worker, "ended", pid=member.pid, code=code, epoch=member.epoch)
        self.broken = self.broken + 1 if code == 1 and member.epoch is None else 0
        if self.broken > _BROKEN:
            raise RuntimeError(f"Workers of {self.worker} do not start any more: read {member.log}.")
        self.by_fault += code == -9 and self.drawn[member.pid].endswith(("kill:1", "kill:2", "kill:3"))
