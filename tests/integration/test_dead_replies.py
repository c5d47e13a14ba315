"""What people did not get to see: counted by the health check, listed, and tried again by a person's word."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.places import REPLIES_DEAD
from contracts.words import ThreadId
from dispatcher.app import create_app
from dispatcher.errors import Unavailable
from dispatcher.frontends import Chat, Frontdoor, Inside
from dispatcher.health import Health
from dispatcher.posting import Undeliverable
from dispatcher.queues import Queues
from dispatcher.settings import Settings
from tests.fakes.dispatcher import REPO
from tests.fakes.poster import MemoryPoster, PlainDialect
from tests.integration.replies_lab import WORKER, Lab, lab, pointer

P, Q = "T1/C1/1.0", "T1/C2/2.0"
ARCHIVED = "The channel is archived."


@pytest.fixture
async def site(engine_url: str, account: str) -> AsyncIterator[Lab]:
    async with lab(url=engine_url, account=account) as site:
        yield site


@pytest.fixture
def poster() -> MemoryPoster:
    return MemoryPoster()


@asynccontextmanager
async def application(
    *posters: MemoryPoster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    """The dispatcher in this process, before the lab's engine, with the posters as its chats."""
    monkeypatch.chdir(tmp_path)

    def door(poster: MemoryPoster) -> Frontdoor:
        async def build(_: Inside) -> Chat:
            return Chat(dialect=PlainDialect(), poster=poster)

        return Frontdoor(is_on=lambda: True, build=build)

    app = create_app(
        Settings(repo=REPO, project="site", sweep_seconds=0.2), frontdoors=[door(p) for p in posters]
    )
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client


@pytest.fixture
async def client(
    site: Lab, poster: MemoryPoster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    async with application(poster, tmp_path=tmp_path, monkeypatch=monkeypatch) as client:
        yield client


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await is_so():
            await asyncio.sleep(0.02)


async def owed(client: httpx.AsyncClient) -> tuple[int, int]:
    """What the health check says, which stays "ok" whatever it is."""
    answer = await client.get("/healthz")
    plain = answer.json()
    assert (answer.status_code, plain["status"]) == (200, "ok")
    return plain["undeliverable"], plain["dead_replies"]


async def listed(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    return list((await client.get("/v1/dead-replies")).json()["dead_replies"])


async def settle(client: httpx.AsyncClient, what: str, wanted: str | None = None) -> dict[str, list[Any]]:
    """Ids by what was done."""
    given = {"json": {"id": wanted}} if wanted else {}
    answer = await client.post(f"/v1/dead-replies/{what}", **given)
    assert answer.status_code == 200, answer.text
    plain = answer.json()
    assert plain.pop("more") is False
    return {name: sorted(x["id"] for x in found) for name, found in plain.items() if found}


async def bury(site: Lab, *bodies: str) -> None:
    """Put rings where the dead ones are."""
    await site.rings.url()
    url = (await site.clients.sqs.get_queue_url(QueueName=REPLIES_DEAD))["QueueUrl"]
    for body in bodies:
        await site.clients.sqs.send_message(QueueUrl=url, MessageBody=body)


async def refuse(site: Lab, poster: MemoryPoster, *, thread: str, address: str) -> None:
    """A thread with an answer, in a place that takes no posts any more."""
    poster.refusals[address].append(Undeliverable(ARCHIVED))
    await site.show(thread, address)
    await site.answer(thread, await site.message(thread, 1))

    async def is_refused() -> bool:
        return address in [p.address for p in await site.places.undeliverable_of(WORKER)]

    await until(is_refused)


async def test_a_place_that_takes_no_posts_is_counted_listed_and_tried_again_by_hand(
    site: Lab, poster: MemoryPoster, client: httpx.AsyncClient
) -> None:
    await refuse(site, poster, thread="a", address=P)

    async def is_counted(wanted: tuple[int, int]) -> bool:
        return await owed(client) == wanted

    await until(lambda: is_counted((1, 0)))
    (found,) = await listed(client)
    assert found["id"] == f"slack:{P}"
    assert (found["kind"], found["thread_id"], found["problem"]) == ("place", "a", ARCHIVED)
    assert poster.keys(P) == []
    assert await settle(client, "redrive") == {"redriven": [f"slack:{P}"]}

    async def is_answered() -> bool:
        return poster.keys(P) == ["living:a-1", "answer:a-1:1"]

    await until(is_answered)
    await until(lambda: is_counted((0, 0)))
    assert await listed(client) == []
    assert await settle(client, "redrive") == {}


async def test_one_thread_is_tried_again_by_its_id_and_the_other_stays(
    site: Lab, poster: MemoryPoster, client: httpx.AsyncClient
) -> None:
    await refuse(site, poster, thread="a", address=P)
    await refuse(site, poster, thread="b", address=Q)
    assert await settle(client, "redrive", "nobody") == {}
    assert await settle(client, "redrive", "b") == {"redriven": [f"slack:{Q}"]}

    async def is_answered() -> bool:
        return "answer:b-1:1" in poster.keys(Q)

    await until(is_answered)
    assert [x["id"] for x in await listed(client)] == [f"slack:{P}"]
    assert poster.keys(P) == []


async def test_a_dead_ring_is_rung_again_with_its_places_and_deleted(
    site: Lab, poster: MemoryPoster, client: httpx.AsyncClient
) -> None:
    await refuse(site, poster, thread="a", address=P)
    await bury(site, pointer("a").model_dump_json())
    ring, place = await listed(client)
    assert (ring["kind"], ring["worker_id"], ring["thread_id"], ring["body"]) == ("ring", WORKER, "a", None)
    assert await settle(client, "redrive", ring["id"]) == {"redriven": [ring["id"]]}

    async def is_answered() -> bool:
        return "answer:a-1:1" in poster.keys(P)

    await until(is_answered)
    assert place["kind"] == "place"
    assert await listed(client) == []


async def test_what_nobody_can_read_is_kept_until_it_is_dropped(site: Lab, client: httpx.AsyncClient) -> None:
    await bury(site, '{"password": "hunter2hunter2"}', pointer("gone").model_dump_json())
    found = {x["kind"]: x for x in await listed(client)}
    assert "hunter2" not in str(found["unreadable"]["body"])
    ids = {kind: x["id"] for kind, x in found.items()}
    assert await settle(client, "drop", ids["ring"]) == {"kept": [ids["ring"]]}
    assert await settle(client, "redrive") == {"redriven": [ids["ring"]], "kept": [ids["unreadable"]]}
    assert [x["id"] for x in await listed(client)] == [ids["unreadable"]]
    assert await settle(client, "drop") == {"deleted": [ids["unreadable"]]}
    assert await listed(client) == []


async def test_a_place_that_was_revived_by_somebody_who_died_is_shown_by_the_sweep(
    site: Lab, poster: MemoryPoster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with application(poster, tmp_path=tmp_path, monkeypatch=monkeypatch):
        await refuse(site, poster, thread="a", address=P)

        async def is_off_the_list() -> bool:
            return await site.unshown() == []

        await until(is_off_the_list)
    (place,) = await site.places.places_of(WORKER, ThreadId("a"))
    await site.places.revive(place)
    async with application(poster, tmp_path=tmp_path, monkeypatch=monkeypatch):

        async def is_answered() -> bool:
            return "answer:a-1:1" in poster.keys(P)

        await until(is_answered)


async def test_without_a_chat_nothing_is_owed_and_nothing_is_asked(
    site: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with application(tmp_path=tmp_path, monkeypatch=monkeypatch) as client:
        assert "undeliverable" not in (await client.get("/healthz")).json()
        assert await listed(client) == []
        assert await settle(client, "redrive") == {}
        assert await settle(client, "drop") == {}


class Uncountable:
    """Replies whose count fails."""

    def __init__(self) -> None:
        self.asked = 0

    async def counts(self) -> tuple[int, int]:
        self.asked += 1
        if self.asked == 2:
            raise Unavailable("Storage did not answer.")
        return self.asked, 0


async def test_the_count_is_made_once_in_a_while_and_its_failure_is_not_the_dispatchers(site: Lab) -> None:
    seconds = [0.0]
    dead: Any = Uncountable()
    health = Health(
        settings=Settings(repo=REPO, sweep_seconds=60),
        table=site.table,
        queues=Queues(site.clients.sqs),
        dead=dead,
        now=lambda: seconds[0],
    )

    async def said(at: float) -> Any:
        seconds[0] = at
        answer = await health.health()
        assert answer.status_code == 200
        return httpx.Response(200, content=bytes(answer.body)).json()["undeliverable"]

    assert [await said(at) for at in (0, 59, 60, 119, 120)] == [1, 1, 1, 1, 3]
    assert dead.asked == 3
