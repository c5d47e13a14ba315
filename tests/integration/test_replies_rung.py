"""Rings on the real queue: heard, coalesced, lost and rung again, broken ones put away; across restarts."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.places import REPLIES_DEAD, REPLIES_QUEUE, ReplyPointer
from contracts.words import Frontend, ThreadId
from dispatcher.app import create_app
from dispatcher.frontends import Chat, Frontdoor, Inside
from dispatcher.posting import Dialect
from dispatcher.replies import Listener, Replies
from dispatcher.rings import RECEIVES, Rings
from dispatcher.settings import Settings
from dispatcher.unshown import Unshown
from tests.fakes.dispatcher import REPO
from tests.fakes.poster import MemoryPoster, PlainDialect
from tests.integration.replies_lab import TABLE, WORKER, Lab, lab

P = "T1/C1/1.0"


@pytest.fixture
async def site(engine_url: str, account: str) -> AsyncIterator[Lab]:
    async with lab(url=engine_url, account=account) as site:
        yield site


async def until(true: Callable[[], Any], *, seconds: float = 30.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Something that runs until it is cancelled."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def listener(site: Lab, *posters: MemoryPoster, dialect: Dialect | None = None) -> Listener:
    frontends: Any = {p.frontend: (dialect or PlainDialect(), p) for p in posters}
    replies = Replies(table=site.table, places=site.places, frontends=frontends)
    return Listener(rings=site.rings, replies=replies, broken_seconds=0)


async def depth(site: Lab, queue: str) -> int:
    """How many messages a queue holds, hidden ones included."""
    url = (await site.clients.sqs.get_queue_url(QueueName=queue))["QueueUrl"]
    names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    got = await site.clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
    return sum(int(got["Attributes"][name]) for name in names)


async def settled(site: Lab, queue: str, *, count: int) -> None:
    """Wait until a queue holds so many messages."""
    async with asyncio.timeout(60):
        while await depth(site, queue) != count:
            await asyncio.sleep(0.02)


async def test_what_is_recorded_is_shown_without_anybody_asking(site: Lab) -> None:
    poster = MemoryPoster()
    await site.show("a", P)
    async with running(listener(site, poster).run()):
        message_id = await site.message("a", 1)
        await until(lambda: poster.keys(P) == ["living:a-1"])
        await site.answer("a", message_id)
        await until(lambda: poster.keys(P) == ["living:a-1", "answer:a-1:1"])
        await until(lambda: poster.body(P, "living:a-1")["stage"] == "completed")
        await settled(site, REPLIES_QUEUE, count=0)


async def test_many_rings_at_once_are_one_look_after_another(site: Lab) -> None:
    poster = MemoryPoster()
    busy = most = 0

    async def enter(call: str, key: str) -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.02)

    async def leave(call: str, key: str) -> None:
        nonlocal busy
        busy -= 1

    poster.before, poster.after = enter, leave
    await site.show("a", P)
    for number in range(1, 6):
        await site.message("a", number)
    for _ in range(10):
        await site.rings.ring(WORKER, ThreadId("a"))
    async with running(listener(site, poster).run()):
        await settled(site, REPLIES_QUEUE, count=0)
    assert poster.keys(P) == [f"living:a-{n}" for n in range(1, 6)]
    assert most == 1


async def test_a_place_that_hangs_keeps_no_other_thread_waiting(site: Lab) -> None:
    poster = MemoryPoster()

    async def hang(call: str, key: str) -> None:
        if key == "living:a-1":
            await asyncio.Event().wait()

    poster.before = hang
    await site.show("a", P)
    await site.show("b", "T1/C2/2.0")
    async with running(listener(site, poster).run()):
        await site.message("a", 1)
        await until(lambda: ("create", P, "living:a-1") in poster.calls)
        await site.message("b", 1)
        await until(lambda: poster.keys("T1/C2/2.0") == ["living:b-1"])
    assert poster.keys(P) == []


async def test_a_lost_ring_is_made_up_for_by_the_sweep_also_after_a_restart(site: Lab) -> None:
    poster = MemoryPoster()
    await site.show("a", P)
    await site.answer("a", await site.message("a", 1))
    url = await site.rings.url()
    await site.clients.sqs.purge_queue(QueueUrl=url)
    async with running(listener(site, poster).run()):
        await Unshown(places=site.places, rings=site.rings).ring_all()
        await until(lambda: poster.keys(P) == ["living:a-1", "answer:a-1:1"])
        await settled(site, REPLIES_QUEUE, count=0)
    assert await site.unshown() == []


async def test_a_reply_that_cannot_be_rendered_ends_in_the_dead_letters_and_stops_nobody(site: Lab) -> None:
    poster = MemoryPoster()
    await site.show("a", P)
    await site.show("b", "T1/C2/2.0")
    async with running(listener(site, poster, dialect=PlainDialect("poison")).run()):
        await site.message("a", 1, text="poison")
        await site.message("b", 1)
        await until(lambda: poster.keys("T1/C2/2.0") == ["living:b-1"])
        await settled(site, REPLIES_DEAD, count=1)
        await settled(site, REPLIES_QUEUE, count=0)
    assert poster.keys(P) == []
    assert [p.address for p in await site.places.undeliverable_of(WORKER)] == [P]
    assert RECEIVES == 20


async def test_what_nobody_can_read_walks_into_the_dead_letters(site: Lab) -> None:
    url = await site.rings.url()
    await site.clients.sqs.send_message(QueueUrl=url, MessageBody="?")
    async with running(listener(site, MemoryPoster()).run()):
        await settled(site, REPLIES_DEAD, count=1)


async def test_a_consumer_that_is_asked_to_leave_ends_what_it_began(site: Lab) -> None:
    poster = MemoryPoster()
    under_way = asyncio.Event()

    async def slow(call: str, key: str) -> None:
        under_way.set()
        await asyncio.sleep(0.2)

    poster.before = slow
    await site.show("a", P)
    await site.message("a", 1)
    async with running(listener(site, poster).run()):
        await asyncio.wait_for(under_way.wait(), 30)
    (place,) = await site.places.places_of(WORKER, ThreadId("a"))
    assert (place.intent, list(place.posts)) == (None, ["living:a-1"])


# -------------------------------------------------------------------- the whole application


def frontdoor(poster: MemoryPoster, *, is_on: bool = True) -> Frontdoor:
    async def build(inside: Inside) -> Chat:
        return Chat(dialect=PlainDialect(), poster=poster)

    return Frontdoor(is_on=lambda: is_on, build=build)


@asynccontextmanager
async def application(*doors: Frontdoor, cwd: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The dispatcher in this process, before the lab's engine."""
    app = create_app(Settings(repo=REPO, project="site", sweep_seconds=0.2), frontdoors=doors)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client


async def test_a_thread_of_the_api_is_shown_in_its_places_and_its_places_with_the_thread(
    site: Lab, tmp_path: Path
) -> None:
    poster = MemoryPoster()
    await site.show("a", P)
    async with application(frontdoor(poster), cwd=tmp_path) as client:
        posted = await client.post("/v1/threads", json={"text": "hello", "thread_id": "a", "message_id": "m"})
        assert posted.status_code == 202
        await until(lambda: poster.keys(P) == ["living:m"])
        shown = (await client.get("/v1/threads/a")).json()["places"]
        assert [(p["frontend"], p["address"], p["undeliverable"]) for p in shown] == [("slack", P, None)]
        row = await site.table.worker(WORKER)
        assert row is not None
        assert row.replies_url == await site.rings.url()
        (place,) = await site.places.places_of(WORKER, ThreadId("a"))
        await site.places.save(place, place.model_copy(update={"undeliverable": "The channel is gone."}))
        (gone,) = (await client.get("/v1/undeliverable")).json()["undeliverable"]
        assert (gone["address"], gone["problem"]) == (P, "The channel is gone.")


async def test_without_a_chat_frontend_there_is_no_queue_and_no_worker_is_told_of_one(
    site: Lab, tmp_path: Path
) -> None:
    async with application(frontdoor(MemoryPoster(), is_on=False), cwd=tmp_path) as client:
        assert (await client.post("/v1/threads", json={"text": "hello"})).status_code == 202
        row = await site.table.worker(WORKER)
        assert row is not None
        assert row.replies_url is None
    assert "QueueUrls" in (listed := await site.clients.sqs.list_queues())
    assert not [url for url in listed["QueueUrls"] if REPLIES_QUEUE in url]
    assert await site.unshown() == []


async def test_an_application_that_starts_again_shows_what_was_left(site: Lab, tmp_path: Path) -> None:
    poster = MemoryPoster()
    await site.show("a", P)
    await site.answer("a", await site.message("a", 1))
    await site.clients.sqs.purge_queue(QueueUrl=await site.rings.url())
    async with application(frontdoor(poster), cwd=tmp_path):
        await until(lambda: poster.keys(P) == ["living:a-1", "answer:a-1:1"])


def test_a_pointer_is_read_and_written_without_change() -> None:
    before = ReplyPointer(worker_id=WORKER, thread_id=ThreadId("a"))
    assert ReplyPointer.model_validate_json(before.model_dump_json()) == before
    assert (Frontend.SLACK, TABLE) == ("slack", "branchline")


@pytest.mark.slow
async def test_a_wait_for_rings_in_which_nobody_rings_ends_in_peace(site: Lab) -> None:
    rings = Rings(site.clients.sqs, polls=site.clients.polls)
    assert await rings.receive() == []
    await site.rings.ring(WORKER, ThreadId("a"))
    assert [ring.receives for ring in await rings.receive()] == [1]
