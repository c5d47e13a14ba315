"""Two owners of one worker id: the first is frozen past its lease, a successor on another disk takes over,
then the first wakes in the middle of what it was doing. Nothing of that may be seen outside its own disk."""

import asyncio
import random
from dataclasses import dataclass, field

from tests.chaos.bench import Stage
from tests.chaos.fleet import until
from tests.chaos.members import Member
from tests.chaos.seats import Seat

_POINTS = (
    "switched",
    "started",
    "mid_turn",
    "interrupted",
    "checkpointed",
    "committed",
    "pushed",
    "recorded",
)
_PATIENCE = 30.0


@dataclass(kw_only=True)
class SplitBrain:
    """Rounds over all seats at once, until there were ``rounds``."""

    stage: Stage
    rounds: int
    done: int = 0
    at_points: int = 0
    _faults: dict[int, str] = field(default_factory=dict)

    async def run(self) -> None:
        seats = self.stage.fleet.seats
        await asyncio.gather(*(self._take_turns(s, random.Random(self.stage.dice.random())) for s in seats))

    async def _take_turns(self, seat: Seat, dice: random.Random) -> None:
        owner = seat.able[0] if seat.able else seat.start(healthy=True)
        while self.done < self.rounds:
            if not await until(lambda m=owner: m.epoch is not None or not m.alive, seconds=_PATIENCE):  # type: ignore[misc]
                self.stage.history.note(f"{seat.worker} (pid {owner.pid}) never took its id")
            seat.reap()
            if owner.epoch is None or not owner.alive:
                owner = seat.start(fault=self._draw(dice))
                continue
            owner = await self._round(seat, owner, dice)

    def _draw(self, dice: random.Random) -> str | None:
        return f"{dice.choice(_POINTS)}:hang:{dice.choice((1, 1, 2))}" if dice.random() < 0.6 else None

    async def _round(self, seat: Seat, owner: Member, dice: random.Random) -> Member:
        """Freeze, take over, wake; the successor. A process that was given no time to take over has lost to
        its predecessor, which was woken meanwhile: such a round does not count."""
        if await until(lambda: owner.stopped, seconds=dice.uniform(0.2, 4)):
            self.at_points += 1
            owner.frozen = True
        else:
            owner.freeze(whole=dice.random() < 0.7)
        successor = seat.start(disk=_other(seat), fault=self._draw(dice))
        await until(lambda: _decided(successor), seconds=_PATIENCE)
        await asyncio.sleep(dice.uniform(0, 2.5))
        owner.wake()
        await until(lambda: _decided(successor), seconds=_PATIENCE)
        if successor.epoch is None and not successor.alive:
            return owner
        if not await until(lambda: _gone(owner), seconds=_PATIENCE):
            self.stage.history.note(f"{seat.worker} (pid {owner.pid}) lost its id and did not leave")
            owner.kill()
        self.done += 1
        self.stage.history.add("bench", "round", number=self.done, worker=seat.worker)
        return successor


def _decided(successor: Member) -> bool:
    return successor.epoch is not None or not successor.alive


def _gone(owner: Member) -> bool:
    """Whether it has left; one that came to its failpoint only now stands still once more, and is woken."""
    if owner.alive and owner.stopped:
        owner.wake()
    return not owner.alive


def _other(seat: Seat) -> str:
    return next(disk for disk in seat.disks if disk != seat.last_disk)


async def split(stage: Stage) -> dict[str, int | str]:
    """The act of ``--split-brain``."""
    brain = SplitBrain(stage=stage, rounds=stage.plan.kills)
    stage.villain.count = lambda: brain.done
    people = asyncio.create_task(stage.traffic.run())
    for seat in stage.fleet.seats:
        seat.resting = True
    await brain.run()
    stage.traffic.over.set()
    for seat in stage.fleet.seats:
        seat.resting = False
    await stage.fleet.calm()
    await people
    return {"split-brain rounds": brain.done, "  frozen at a failpoint": brain.at_points}
