"""Two consumers that die at any step, at any time, in any order: nothing is posted twice, all stands."""

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.places import PlaceRecord
from contracts.words import MessageId, ThreadId
from dispatcher.places import Places
from dispatcher.replies import Replies
from dispatcher.stand import CALL_SECONDS
from tests.fakes.engine import fresh_account
from tests.fakes.poster import MemoryPoster
from tests.integration.replies_lab import TABLE, WORKER, Clock, Lab, lab, look_until_done, pointer

WHO = st.sampled_from((0, 1))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("step"), WHO, st.integers(1, 12)),
        st.tuples(st.just("step"), WHO, st.integers(1, 12)),
        st.tuples(st.just("crash"), WHO, st.just(1)),
        st.tuples(st.just("tick"), st.sampled_from((1, 6, 31)), st.just(1)),
        st.tuples(st.just("tell"), WHO, st.just(1)),
    ),
    min_size=3,
    max_size=9,
)
"""What happens, to whom (or how many seconds pass), and how often. ``tell``: the second turn goes on."""
_threads = itertools.count()


class Gate:
    """Holds its consumer at every step until the schedule lets it go on."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self._open = asyncio.Event()

    async def pass_(self) -> None:
        self.arrived.set()
        await self._open.wait()
        self._open.clear()

    def let_go(self) -> None:
        self.arrived.clear()
        self._open.set()


class GatedPlaces(Places):
    """The records on the real wire, with a step before and after every write."""

    def __init__(self, site: Lab, gate: Gate) -> None:
        super().__init__(site.clients.dynamodb, table=TABLE)
        self._gate = gate

    async def save(self, before: PlaceRecord, after: PlaceRecord) -> PlaceRecord:
        await self._gate.pass_()
        written = await super().save(before, after)
        await self._gate.pass_()
        return written


class Consumer:
    """One process: it forgets everything when it crashes; what it has asked of the frontend stays."""

    def __init__(self, site: Lab, *, clock: Clock, shared: MemoryPoster) -> None:
        self._site, self._clock, self._shared = site, clock, shared
        self._look: asyncio.Task[float | None] | None = None
        self._start()

    def _start(self) -> None:
        self._gate = Gate()
        poster = MemoryPoster(posts=self._shared.posts)
        began = 0.0

        async def before(call: str, key: str) -> None:
            nonlocal began
            began = self._clock()
            await self._gate.pass_()
            self._bounded(began)

        async def after(call: str, key: str) -> None:
            await self._gate.pass_()
            self._bounded(began)

        poster.before, poster.after = before, after
        places = GatedPlaces(self._site, self._gate)
        self._replies: Replies = self._site.replies(poster, clock=self._clock, places=places)

    def _bounded(self, began: float) -> None:
        """A request is given up when it takes too long; what it did by then is done."""
        if self._clock() - began > CALL_SECONDS:
            raise TimeoutError

    async def step(self, thread: str) -> None:
        """Run to the next step."""
        if self._look is None:
            self._look = asyncio.create_task(self._replies.look(pointer(thread)))
        else:
            self._gate.let_go()
        arrived = asyncio.create_task(self._gate.arrived.wait())
        await asyncio.wait([self._look, arrived], return_when=asyncio.FIRST_COMPLETED)
        arrived.cancel()
        if self._look.done():
            self._look.result()
            self._look = None

    async def crash(self) -> None:
        """Die where it stands, and start anew."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.wait([self._look])
            self._look = None
        self._start()


class Second:
    """The turn of the second message; ``stage`` is how far it is."""

    def __init__(self, site: Lab, *, thread: str, message_id: MessageId) -> None:
        self._site, self._thread, self._message_id = site, thread, message_id
        self.stage = "received"

    async def get_on(self) -> None:
        if self.stage == "received":
            await self._site.start(self._thread, self._message_id)
            self.stage = "running"
        elif self.stage == "running":
            await self._site.answer(self._thread, self._message_id, "two")
            self.stage = "completed"


@dataclass(frozen=True)
class World:
    """A loop and an account that live as long as this file's tests."""

    runner: asyncio.Runner
    site: Lab


@pytest.fixture(scope="module")
def world(engine_url: str) -> Iterator[World]:
    with asyncio.Runner() as runner:
        context = lab(url=engine_url, account=fresh_account())
        site = runner.run(context.__aenter__())
        yield World(runner, site)
        runner.run(context.__aexit__(None, None, None))


async def play(site: Lab, schedule: list[tuple[str, int, int]]) -> None:
    thread = f"t{next(_threads)}"
    address = f"T/C/{thread}"
    await site.show(thread, address)
    first = await site.message(thread, 1)
    await site.answer(thread, first, "one")
    second = Second(site, thread=thread, message_id=await site.message(thread, 2))
    clock, shared = Clock(), MemoryPoster()
    consumers = [Consumer(site, clock=clock, shared=shared) for _ in range(2)]
    for what, which, times in schedule:
        if what == "tick":
            clock.tick(which)
        elif what == "tell":
            await second.get_on()
        elif what == "crash":
            await consumers[which].crash()
        else:
            for _ in range(times):
                await consumers[which].step(thread)
    for consumer in consumers:
        await consumer.crash()
    last = MemoryPoster(posts=shared.posts)
    await look_until_done(site.replies(last, clock=clock), thread, clock=clock)
    made = shared.keys(address)
    ended = second.stage == "completed"
    answer = [f"answer:{thread}-2:1"] if ended else []
    assert made == [f"living:{thread}-1", f"answer:{thread}-1:1", f"living:{thread}-2", *answer]
    assert shared.body(address, made[0])["stage"] == "completed"
    assert shared.body(address, made[2])["stage"] == second.stage
    (place,) = await site.places.places_of(WORKER, ThreadId(thread))
    assert (place.intent, place.through) == (None, 2 if ended else 1)


@given(schedule=STEPS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_no_schedule_of_crashes_makes_a_second_post(
    world: World, schedule: list[tuple[str, int, int]]
) -> None:
    world.runner.run(play(world.site, schedule))


@pytest.mark.parametrize("steps", range(18))
def test_a_consumer_that_freezes_after_any_number_of_steps_is_followed_by_another(
    world: World, steps: int
) -> None:
    """It wakes up again when the other has taken over, and when it has finished."""
    other = [("tick", 31, 1), ("step", 1, 1), ("tick", 31, 1), ("step", 1, 9)]
    world.runner.run(play(world.site, [("step", 0, steps), *other, ("step", 0, 4), ("step", 1, 1)]))


@pytest.mark.parametrize("steps", range(1, 7))
def test_an_edit_of_a_consumer_that_dies_or_lives_undoes_no_later_one(world: World, steps: int) -> None:
    """The first is in the middle of its edit when the turn ends and the other shows that; then it goes on."""
    made = [("step", 0, 26), ("tell", 0, 1), ("tick", 2, 1)]
    world.runner.run(
        play(world.site, [*made, ("step", 0, steps), ("tell", 0, 1), ("step", 1, 14), ("step", 0, 6)])
    )


@pytest.mark.parametrize("steps", range(1, 13))
def test_a_consumer_that_is_at_work_is_not_overtaken(world: World, steps: int) -> None:
    """The other comes at any step of the first, and is quick."""
    world.runner.run(play(world.site, [("step", 0, steps), ("step", 1, 14), ("step", 0, 9)]))
