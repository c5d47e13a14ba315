"""What is done to the fleet: kills, freezes, takeovers, an engine that is gone. Random, from one seed."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.chaos.fleet import Fleet
from tests.chaos.history import History
from tests.chaos.members import Member
from tests.chaos.seats import Seat

WEIGHTS = {
    "kill worker": 66,
    "kill dispatcher": 5,
    "kill engine": 4,
    "drain worker": 5,
    "nap": 4,
    "freeze, same disk": 4,
    "freeze, other disk": 8,
    "freeze engine": 4,
    "hide remote": 4,
}
"""How often each is done. All are kills but ``nap``, ``drain``, the frozen engine and the hidden remote."""
_AT_START = 0.2
"""How often a worker may be hurt that has not taken its id yet."""
_KILLS = ("kill worker", "kill dispatcher", "kill engine", "freeze, same disk", "freeze, other disk")


@dataclass(kw_only=True)
class Villain:
    """Does one thing after the other until it has killed ``kills`` times or is told to stop."""

    fleet: Fleet
    history: History
    dice: random.Random
    kills: int
    every: float = 1.5
    weights: dict[str, int] = field(default_factory=lambda: dict(WEIGHTS))
    done: Counter[str] = field(default_factory=Counter)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    count: Callable[[], int] | None = None
    """What the progress line counts when it is not this villain who does the harm."""

    @property
    def killed(self) -> int:
        """Kills so far, those by failpoints among them."""
        if self.count is not None:
            return self.count()
        return sum(self.done[name] for name in _KILLS) + sum(s.by_fault for s in self.fleet.seats)

    async def run(self) -> None:
        while self.killed < self.kills and not self.over.is_set():
            await asyncio.sleep(min(self.dice.expovariate(1 / self.every), 4 * self.every))
            name = self.dice.choices(list(self.weights), list(self.weights.values()))[0]
            if await self._do(name):
                self.done[name] += 1
        self.over.set()

    async def _do(self, name: str) -> bool:
        match name:
            case "kill dispatcher":
                self.dice.choice(list(self.fleet.dispatchers.values())).kill()
                return True
            case "kill engine":
                return await self._kill_engine()
            case "freeze engine":
                return await self._freeze_engine()
        seat = self._victim(lambda s: len(s.disks) > 1 or name != "freeze, other disk")
        able = seat.able if seat is not None else []  # one that was able a moment ago may have left
        if seat is None or not able:
            return False
        member = self.dice.choice(able)
        match name:
            case "kill worker":
                member.kill()
            case "drain worker":
                member.ask_to_leave()
            case "nap":
                self.fleet.later(self._nap(member))
            case "hide remote":
                self.fleet.later(self._hide_remote(seat))
            case "freeze, same disk" | "freeze, other disk":
                self._freeze(seat, member, other=name == "freeze, other disk")
        return True

    def _victim(self, fits: Callable[[Seat], bool]) -> Seat | None:
        """Mostly one that works: on a busy machine workers would else die before they did anything."""
        seats = [s for s in self.fleet.seats if s.able and fits(s)]
        if self.dice.random() > _AT_START:
            seats = [s for s in seats if all(m.epoch is not None for m in s.able)]
        return self.dice.choice(seats) if seats else None

    async def _nap(self, member: Member) -> None:
        """Shorter or a little longer than the lease, without a successor."""
        member.freeze(whole=self.dice.random() < 0.5)
        await asyncio.sleep(self.fleet.places.pace.lease * self.dice.uniform(0.2, 1.5))
        member.wake()

    async def _hide_remote(self, seat: Seat) -> None:
        """For a moment the worker's remote is not there."""
        remote = self.fleet.places.remote(seat.project)
        if not remote.is_dir():
            return
        self.history.add(seat.worker, "remote hidden")
        away = remote.rename(remote.with_suffix(".away"))
        await asyncio.sleep(self.dice.uniform(0.5, 4.0))
        away.rename(remote)

    def _freeze(self, seat: Seat, member: Member, *, other: bool) -> None:
        """Freeze the owner, start a successor, wake the owner later."""
        member.freeze(whole=self.dice.random() < 0.5)
        disk = next(d for d in seat.disks if d != seat.last_disk) if other else seat.last_disk
        seat.start(disk=disk)
        self.fleet.later(self.fleet.wake_late(seat, member))

    async def _kill_engine(self) -> bool:
        engine = self.fleet.engine
        if engine is None or not engine.alive:
            return False
        self.fleet.engine_held = True
        engine.kill()
        await asyncio.sleep(self.dice.choice((0.0, 0.5, 3.0)))
        self.fleet.engine_held = False
        return True

    async def _freeze_engine(self) -> bool:
        engine = self.fleet.engine
        if engine is None or not engine.alive:
            return False
        engine.freeze()
        await asyncio.sleep(self.dice.uniform(0.5, 4.0))
        engine.wake()
        return True
