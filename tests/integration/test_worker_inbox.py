"""Deliveries on the real wire: followed queues, held deliveries, leaving."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import pytest

from contracts.words import ThreadId
from tests.fakes.fleet_records import TABLE, Records, connected, fleet_records
from worker.discovery import Discovery
from worker.inbox import SqsInbox

A1 = (ThreadId("a"), 1)


@dataclass
class Lab:
    found: Records
    inbox: SqsInbox
    discovery: Discovery
    rings: list[float] = field(default_factory=list)


async def until(condition: Callable[[], object], *, seconds: float = 15.0) -> None:
    """Wait until it is true; fail after so many seconds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def found(engine_url: str, account: str) -> Iterator[Records]:
    with fleet_records(url=engine_url, account=account) as made:
        yield made


@pytest.fixture
async def lab(found: Records) -> AsyncIterator[Lab]:
    async with connected(found) as clients:
        rings: list[float] = []
        inbox = SqsInbox(aws=clients, ring=lambda: rings.append(time.monotonic()), visibility=2, poll=20)
        discovery = Discovery(
            aws=clients, table=TABLE, worker=found.worker, seconds=0.05, follow=inbox.follow
        )
        loops = [asyncio.create_task(discovery.run()), asyncio.create_task(inbox.keep())]
        yield Lab(found, inbox, discovery, rings)
        await asyncio.wait_for(inbox.leave(), 20)
        for loop in loops:
            loop.cancel()


async def test_a_delivery_rings_and_is_held_until_its_message_has_an_outcome(lab: Lab) -> None:
    lab.found.send("a", 1)
    await until(lambda: lab.inbox.held == 1)
    assert lab.rings
    lab.inbox.settle(open_keys={A1}, before=time.monotonic())
    assert lab.inbox.held == 1
    lab.inbox.settle(open_keys=set(), before=time.monotonic())
    await until(lambda: lab.found.waiting() == (0, 0))


async def test_a_delivery_that_came_after_the_look_is_not_deleted_by_it(lab: Lab) -> None:
    before = time.monotonic()
    lab.found.send("a", 1)
    await until(lambda: lab.inbox.held == 1)
    lab.inbox.settle(open_keys=set(), before=before)
    assert lab.inbox.held == 1


async def test_a_held_delivery_is_renewed_and_comes_once(lab: Lab) -> None:
    lab.found.send("a", 1)
    await until(lambda: lab.inbox.held == 1)
    held_for = time.monotonic() + 4.0  # two visibility timeouts
    await until(lambda: time.monotonic() > held_for)
    assert lab.inbox.held == 1
    assert lab.found.waiting() == (0, 1)


async def test_a_queue_bound_later_is_polled_and_one_unbound_is_emptied_first(lab: Lab) -> None:
    def held() -> set[object]:
        return {d.key for d in lab.inbox._held} - {None}  # without mere rings

    url = lab.found.bind("team")
    lab.found.send("a", 1, queue_url=url)
    await until(lambda: held() == {A1})
    lab.found.unbind("team")
    lab.found.send("a", 2, queue_url=url)
    await until(lambda: held() == {A1, ("a", 2)})
    await until(lambda: url not in lab.inbox._queues, seconds=30)
    lab.found.send("a", 3, queue_url=url)
    lab.found.send("b", 1)
    await until(lambda: held() == {A1, ("a", 2), ("b", 1)})
    assert lab.found.waiting(queue_url=url)[0] >= 1


async def test_leaving_ends_pending_polls_at_once_and_gives_deliveries_back(found: Records) -> None:
    async with connected(found) as clients:
        inbox = SqsInbox(aws=clients, ring=lambda: None, visibility=600, poll=20)
        discovery = Discovery(aws=clients, table=TABLE, worker=found.worker, seconds=60, follow=inbox.follow)
        loop = asyncio.create_task(discovery.run())
        found.send("a", 1)
        await until(lambda: inbox.held == 1)
        await asyncio.wait_for(inbox.leave(), 10)  # well before the poll's 20 seconds
        loop.cancel()
    await until(lambda: found.waiting() == (1, 0))
