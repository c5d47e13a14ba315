"""Rings as a Lambda gets them, on the real queue: looked at together, named when they have to come again, and
rung for once when there is more to do later."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from contracts.places import REPLIES_QUEUE, ReplyPointer
from contracts.words import ThreadId
from dispatcher.lambda_events import Rung
from dispatcher.lambda_rounds import Rounds
from dispatcher.posting import Dialect, Later
from dispatcher.rings import Ring
from tests.fakes.poster import MemoryPoster, PlainDialect
from tests.integration.replies_lab import WORKER, Clock, Lab, lab

P, Q = "T1/C1/1.0", "T1/C2/2.0"


@pytest.fixture
async def site(engine_url: str, account: str) -> AsyncIterator[Lab]:
    async with lab(url=engine_url, account=account) as site:
        yield site


def rung(site: Lab, *threads: str | None) -> list[Rung]:
    """One ring for each, None for one that nobody can read; its id is its place in the list."""
    made = []
    for number, thread in enumerate(threads):
        pointer = ReplyPointer(worker_id=WORKER, thread_id=ThreadId(thread)) if thread else None
        made.append(Rung(message_id=str(number), ring=Ring(receipt=str(number), pointer=pointer, receives=1)))
    return made


def rounds(site: Lab, poster: MemoryPoster, clock: Clock, *, dialect: Dialect | None = None) -> Rounds:
    replies = site.replies(poster, clock=clock, dialect=dialect)
    unused: Any = None
    return Rounds(sweep=unused, replies=replies, rings=site.rings, now=clock)


async def waiting(site: Lab) -> dict[str, int]:
    """How many rings are in the queue: now, and later."""
    url = (await site.clients.sqs.get_queue_url(QueueName=REPLIES_QUEUE))["QueueUrl"]
    names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"]
    got = await site.clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
    now, later = (int(got["Attributes"][name]) for name in names)
    return {"now": now, "later": later}


async def emptied(site: Lab) -> None:
    await site.clients.sqs.purge_queue(QueueUrl=await site.rings.url())


async def test_all_rings_of_a_batch_are_answered_with_one_look_for_each_thread(site: Lab) -> None:
    poster, clock = MemoryPoster(), Clock()
    await site.show("a", P)
    await site.show("b", Q)
    await site.message("a", 1)
    await site.message("b", 1)
    assert await rounds(site, poster, clock).look(rung(site, "a", "b", "a"), seconds=30) == []
    assert [c for c in poster.calls if c[0] == "create"].count(("create", P, "living:a-1")) == 1
    assert poster.keys(Q) == ["living:b-1"]


async def test_what_has_to_be_done_later_is_rung_for_once(site: Lab) -> None:
    poster, clock = MemoryPoster(), Clock()
    await site.show("a", P)
    await site.message("a", 1)
    await emptied(site)
    poster.refusals[P].extend([Later("slow down", seconds=200)] * 3)
    looking = rounds(site, poster, clock)
    for _ in range(3):
        assert await looking.look(rung(site, "a"), seconds=30) == []
    assert await waiting(site) == {"now": 0, "later": 1}
    clock.tick(201)
    poster.refusals[P].clear()
    poster.refusals[P].append(Later("slow down", seconds=300))
    await looking.look(rung(site, "a"), seconds=30)
    assert await waiting(site) == {"now": 0, "later": 2}, "the first one's time has come"


async def test_a_ring_that_nobody_can_read_comes_again_and_keeps_no_other(site: Lab) -> None:
    poster, clock = MemoryPoster(), Clock()
    await site.show("a", P)
    await site.message("a", 1)
    again = await rounds(site, poster, clock).look(rung(site, None, "a"), seconds=30)
    assert again == ["0"]
    assert poster.keys(P) == ["living:a-1"]


async def test_a_reply_that_cannot_be_rendered_comes_again(site: Lab) -> None:
    poster, clock = MemoryPoster(), Clock()
    await site.show("a", P)
    await site.show("b", Q)
    await site.message("a", 1, text="bad")
    await site.message("b", 1)
    looking = rounds(site, poster, clock, dialect=PlainDialect("bad"))
    assert await looking.look(rung(site, "a", "b"), seconds=30) == ["0"]
    assert poster.keys(Q) == ["living:b-1"]


async def test_a_look_that_takes_too_long_is_let_go_and_comes_again(site: Lab) -> None:
    poster, clock = MemoryPoster(), Clock()

    async def hang(call: str, key: str) -> None:
        if key == "living:a-1":
            await asyncio.Event().wait()

    poster.before = hang
    await site.show("a", P)
    await site.show("b", Q)
    await site.message("a", 1)
    await site.message("b", 1)
    assert await rounds(site, poster, clock).look(rung(site, "a", "b"), seconds=2) == ["0"]
    assert poster.keys(Q) == ["living:b-1"]


async def test_without_a_chat_rings_are_settled(site: Lab) -> None:
    unused: Any = None
    nobody = Rounds(sweep=unused, replies=None, rings=None)
    assert await nobody.look(rung(site, "a"), seconds=5) == []
