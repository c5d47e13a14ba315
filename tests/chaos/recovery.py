"""How long a thread hears nothing when its worker is killed in mid-turn: on the same disk and on another one.

Runs at the product's own lease and visibility, because these are what the times are made of. Every second
kill finds its successor on another disk, as after the loss of a host.
"""

import asyncio
import csv
import json
import random
import statistics
import time
from dataclasses import dataclass, field

import httpx

from contracts.words import Mode
from tests.chaos.bench import Stage
from tests.chaos.fleet import until
from tests.chaos.history import Posted
from tests.chaos.members import Member
from tests.chaos.places import Pace
from tests.chaos.seats import Seat

REAL = Pace(lease=15, visibility=60, look=60)
BEYOND_VISIBILITY = 15.0
"""The promise: the next event comes at most so many seconds after the visibility timeout."""
_PATIENCE = REAL.visibility + 60


@dataclass(kw_only=True)
class Recovery:
    """``took``: disk to the seconds between each kill and the thread's next event."""

    stage: Stage
    rounds: int
    done: int = 0
    took: dict[str, list[float]] = field(default_factory=lambda: {"same disk": [], "other disk": []})

    async def run(self) -> None:
        """All seats at once, each round a new thread."""
        dice = [random.Random(self.stage.dice.random()) for _ in self.stage.fleet.seats]
        async with httpx.AsyncClient(timeout=30) as client:
            await asyncio.gather(
                *(self._take_turns(client, s, d) for s, d in zip(self.stage.fleet.seats, dice, strict=True))
            )

    async def _take_turns(self, client: httpx.AsyncClient, seat: Seat, dice: random.Random) -> None:
        owner, number = seat.able[0], 0
        while self.done < self.rounds:
            number += 1
            self.done += 1
            owner = await self._round(client, seat, owner, thread=f"{seat.project}-{number}", dice=dice)

    async def _round(
        self, client: httpx.AsyncClient, seat: Seat, owner: Member, *, thread: str, dice: random.Random
    ) -> Member:
        await self._post(client, seat, thread)
        await self._event(client, thread, type_="turn.started", after=0)
        await asyncio.sleep(dice.uniform(0.5, 2.5))
        seen = len(await self._log(client, thread))
        if "turn.completed" in await self._log(client, thread):
            return owner  # the machine was so busy that the turn is over: nothing to measure
        owner.kill()
        killed, where = time.monotonic(), dice.choice(list(self.took))
        seat.reap()
        disk = seat.last_disk if where == "same disk" else next(d for d in seat.disks if d != seat.last_disk)
        successor = seat.start(disk=disk, healthy=True)
        seen = max(seen, len(await self._log(client, thread)))  # with what the dead worker had written
        await self._event(client, thread, type_="", after=seen)
        took = time.monotonic() - killed
        self.took[where].append(took)
        self.stage.history.add(seat.worker, "recovered", thread=thread, where=where, seconds=round(took, 2))
        await self._event(client, thread, type_="turn.completed", after=0)
        return successor

    async def _event(self, client: httpx.AsyncClient, thread: str, *, type_: str, after: int) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not any(type_ in e for e in (await self._log(client, thread))[after:]):
            if time.monotonic() > deadline:
                self.stage.history.note(f"{thread}: no {type_ or 'event'} within {_PATIENCE:.0f} s")
                return
            await asyncio.sleep(0.05)

    async def _log(self, client: httpx.AsyncClient, thread: str) -> list[str]:
        """The types of the thread's events, oldest first."""
        url = f"http://127.0.0.1:{self.stage.fleet.dispatcher_ports[0]}/v1/threads/{thread}/events"
        answer = await client.get(url, params={"follow": "false"})
        lines = answer.text.splitlines() if answer.status_code == 200 else []
        return [
            json.loads(line.removeprefix("data: "))["type"] for line in lines if line.startswith("data: ")
        ]

    async def _post(self, client: httpx.AsyncClient, seat: Seat, thread: str) -> None:
        text = f"do: stream 8000 10\ndo: write m/{thread}.txt {thread}\ndo: say did {thread}"
        body = {"text": text, "thread_id": thread, "project": seat.project, "message_id": f"{thread}-m"}
        url = f"http://127.0.0.1:{self.stage.fleet.dispatcher_ports[0]}/v1/threads"
        answer = (await client.post(url, json=body)).raise_for_status().json()
        self.stage.traffic.posted.append(
            Posted(
                message_id=f"{thread}-m", thread_id=thread, worker=seat.worker, mode=Mode.QUEUE,
                sequence=answer["sequence"], files={f"m/{thread}.txt": thread},
            )
        )  # fmt: skip


async def recovery(stage: Stage) -> dict[str, int | str]:
    """The act of ``--recovery``; the single times go to ``recovery.csv``."""
    ready = all([await until(lambda s=s: bool(s.able) and s.able[0].epoch is not None, seconds=60)  # type: ignore[misc]
                 for s in stage.fleet.seats])  # fmt: skip
    assert ready, "the workers never took their ids"
    for seat in stage.fleet.seats:
        seat.resting = True
    measured = Recovery(stage=stage, rounds=stage.plan.kills)
    stage.villain.count = lambda: measured.done
    await measured.run()
    for seat in stage.fleet.seats:
        seat.resting = False
    with (stage.plan.home / "recovery.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["where", "seconds"])
        table.writerows((where, round(s, 3)) for where, all_ in measured.took.items() for s in all_)
    limit = REAL.visibility + BEYOND_VISIBILITY
    for where, seconds in measured.took.items():
        if late := [s for s in seconds if s > limit]:
            stage.history.note(f"{where}: {len(late)} recoveries took longer than {limit:.0f} s: {late}")
    return {
        f"{where}, {len(s)} kills: median / max s": f"{statistics.median(s):.1f} / {max(s):.1f}"
        for where, s in measured.took.items()
        if s
    }
