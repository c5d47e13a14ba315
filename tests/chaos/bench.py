"""One run from the first process to the verdict: traffic and faults, rest, evidence, rules."""

import asyncio
import json
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos import rules
from tests.chaos.around import Around
from tests.chaos.collect import collect
from tests.chaos.fleet import Fleet, until
from tests.chaos.history import Found, History
from tests.chaos.places import Pace
from tests.chaos.seats import Faults
from tests.chaos.traffic import Manners, Traffic
from tests.chaos.villain import WEIGHTS, Villain

PROGRESS_SECONDS = 1.5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run is to be. ``settle``: seconds that may pass until all is answered, once nobody is hurt."""

    seed: int
    home: Path
    kills: int = 50
    minutes: float = 30
    workers: int = 4
    rivals: int = 2
    dispatchers: int = 1
    every: float = 1.5
    settle: float = 240
    real_cli: bool = False
    pace: Pace = field(default_factory=Pace)
    manners: Manners = field(default_factory=Manners)
    faults: Faults = field(default_factory=Faults)
    weights: dict[str, int] = field(default_factory=lambda: dict(WEIGHTS))
    around: Around = field(default_factory=Around)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of it. ``violations``: rule to what broke it."""

    found: Found
    violations: dict[str, list[str]]
    counts: dict[str, int | str]
    seconds: float

    @property
    def good(self) -> bool:
        return not any(self.violations.values())


@asynccontextmanager
async def running_fleet(plan: Plan, *, history: History, dice: random.Random) -> AsyncIterator[Fleet]:
    """A fleet that is up and kept up; nothing of it is alive afterwards."""
    from tests.fakes.model import serving_model

    with serving_model() as model:
        places = plan.around.places(
            home=plan.home, workers=plan.workers, pace=plan.pace, model_url=model.url,
            cli=None if plan.real_cli else plan.home / "claude",
        )  # fmt: skip
        places.prepare()
        fleet = Fleet(
            places=places, history=history, dice=random.Random(dice.random()), faults=plan.faults,
            rivals=plan.rivals, dispatchers=plan.dispatchers,
        )  # fmt: skip
        try:
            await fleet.start()
            fleet.keeper = asyncio.create_task(fleet.supervise())
            yield fleet
        finally:
            if fleet.keeper is not None:
                fleet.keeper.cancel()
                await asyncio.gather(fleet.keeper, return_exceptions=True)
            await fleet.stop()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What an act works with."""

    plan: Plan
    fleet: Fleet
    history: History
    traffic: Traffic
    villain: Villain
    dice: random.Random


Act = Callable[[Stage], Awaitable[dict[str, int | str]]]
"""What happens between the start and the rest; the counts for the table."""


async def hurt(stage: Stage) -> dict[str, int | str]:
    """The plain act: traffic and faults, until there were enough kills or the time is over."""
    traffic, villain = stage.traffic, stage.villain
    people = asyncio.create_task(traffic.run())
    hurting = asyncio.create_task(villain.run())
    limit = stage.plan.minutes * 60
    await asyncio.wait([hurting, people], timeout=limit, return_when=asyncio.FIRST_COMPLETED)
    villain.over.set()
    traffic.over.set()
    await stage.fleet.calm()
    await asyncio.gather(people, hurting)
    await stage.fleet.calm()
    return {"kills": villain.killed, **{f"  {name}": n for name, n in sorted(villain.done.items())}}


async def run(plan: Plan, *, act: Act = hurt) -> Verdict:
    """The whole run."""
    began = time.monotonic()
    shutil.rmtree(plan.home, ignore_errors=True)
    plan.home.mkdir(parents=True)
    history, dice = History(plan.home / "history.jsonl"), random.Random(plan.seed)
    history.add("bench", "plan", seed=plan.seed, plan=str(plan))
    async with plan.around.standing(history), running_fleet(plan, history=history, dice=dice) as fleet:
        traffic = plan.around.traffic(
            fleet=fleet, history=history, manners=plan.manners, dice=random.Random(dice.random())
        )
        villain = plan.around.villain(
            fleet=fleet, history=history, dice=random.Random(dice.random()), kills=plan.kills,
            every=plan.every, weights=plan.weights,
        )  # fmt: skip
        teller = asyncio.create_task(_tell(fleet, traffic, villain))
        try:
            stage = Stage(
                plan=plan, fleet=fleet, history=history, traffic=traffic, villain=villain, dice=dice
            )
            told = await _unless_broken(act(stage), fleet)
            await _rest(plan, fleet, history)
        finally:
            teller.cancel()
        found = await collect(fleet, posted=traffic.posted, stops=traffic.stops, notes=history.notes)
        counts = told | _counts(fleet, found) | plan.around.counts()
    history.add("bench", "found", found=json.loads(found.model_dump_json()))
    violations = rules.judge(found) | plan.around.judge(found, history=history)
    history.close()
    return Verdict(found=found, violations=violations, counts=counts, seconds=time.monotonic() - began)


async def _unless_broken(act: Awaitable[dict[str, int | str]], fleet: Fleet) -> dict[str, int | str]:
    """The act's counts; the supervisor's error as soon as there is one."""
    acting = asyncio.ensure_future(act)
    watched = [acting, *([fleet.keeper] if fleet.keeper else [])]
    await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
    if not acting.done():
        acting.cancel()
        assert fleet.keeper is not None
        fleet.keeper.result()
    return acting.result()


async def _rest(plan: Plan, fleet: Fleet, history: History) -> None:
    """Wait until everything is answered and the queues are empty, then let the workers leave."""
    deadline = time.monotonic() + plan.settle
    while any(n != 0 for n in (await fleet.open_messages()).values()):
        if time.monotonic() > deadline:
            history.note(f"not everything was answered within {plan.settle:.0f} s")
            break
        await asyncio.sleep(0.5)
    await plan.around.rest(fleet, seconds=plan.settle)
    patience = fleet.places.pace.visibility + 15
    await until(lambda: not any(sum(fleet.deliveries(s)) for s in fleet.seats), seconds=patience)
    await until(lambda: not any(map(fleet.dead_letters, fleet.seats)), seconds=patience)
    fleet.history.add("bench", "rest")
    await fleet.come_back()


async def _tell(fleet: Fleet, traffic: Traffic, villain: Villain) -> None:
    """A line at least every two seconds."""
    while True:
        open_ = sum(traffic.open.values())
        able = sum(bool(seat.able) for seat in fleet.seats)
        sys.stdout.write(
            f"{fleet.history.now:6.0f} s  kills {villain.killed}/{villain.kills}  "
            f"accepted {len(traffic.posted)}  open {open_}  workers up {able}/{len(fleet.seats)}  "
            f"restarts {fleet.restarts}\n"
        )
        sys.stdout.flush()
        if villain.over.is_set() or villain.count is not None:
            traffic.open |= {w: n for w, n in (await fleet.open_messages()).items() if n is not None}
        await asyncio.sleep(PROGRESS_SECONDS)


def _counts(fleet: Fleet, found: Found) -> dict[str, int | str]:
    exits: Counter[int] = sum((Counter(seat.exits) for seat in fleet.seats), Counter())
    outcomes = Counter(str(found.outcomes.get(m.message_id)) for m in found.posted)
    return {
        "  at failpoints": sum(seat.by_fault for seat in fleet.seats),
        "worker starts": sum(seat.started for seat in fleet.seats),
        **{f"  ended with {code}": n for code, n in sorted(exits.items())},
        "epochs taken": sum(len(seat.births) for seat in fleet.seats),
        "messages accepted": len(found.posted),
        **{f"  {name}": n for name, n in sorted(outcomes.items())},
        "interruptions": sum(e["type"] == "turn.interrupted" for log in found.events.values() for e in log),
        "events": sum(map(len, found.events.values())),
        "commits with a trailer": sum(bool(c.messages) for cs in found.commits.values() for c in cs),
        "checkpoints": sum(c.checkpoint for cs in found.commits.values() for c in cs),
    }
