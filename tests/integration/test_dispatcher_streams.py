"""Live logs over real HTTP: every event once and in order, whoever writes and however often readers leave."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from httpx_sse import ServerSentEvent, aconnect_sse

from contracts import records
from contracts.events import Event, TextData, TurnText
from contracts.words import MessageId, ThreadId, TurnId
from dispatcher.record import Recorder
from dispatcher.streams import Streams
from dispatcher.table import Table
from tests.fakes.dispatcher import FakeLauncher, running_launcher
from tests.fakes.engine import EngineProcess
from tests.integration.dispatcher_lab import TABLE, WORKER, Lab, lab, table_of

THREAD = ThreadId("a")
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Unused by HTTP; without it each client would read all certificates of the machine."""


@pytest.fixture(scope="module")
def launcher() -> Iterator[FakeLauncher]:
    with running_launcher() as launcher:
        yield launcher


@pytest.fixture
def site(engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path) -> Iterator[Lab]:
    launcher.running.add(WORKER)
    with lab(engine, launcher, tmp_path) as site:
        site.post("hello", thread_id=THREAD)
        yield site


@pytest.fixture
async def table(site: Lab, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Table]:
    async with table_of(site, monkeypatch) as table:
        yield table


def piece(number: int) -> Event:
    return TurnText(
        id=number,
        thread_id=THREAD,
        time=datetime.now(UTC),
        message_id=MessageId("m"),
        turn_id=TurnId("t"),
        data=TextData(text=f"piece {number} \u2028 ü \x85 \n"),
    )


async def write(table: Table, count: int) -> None:
    """Append events one by one, as a worker does."""
    recorder = Recorder(table)
    for _ in range(count):
        await recorder.append(worker=WORKER, thread_id=THREAD, make=piece)


async def listen(
    site: Lab, *, until: int, after: int | None = None, at_most: int = 10**6
) -> list[ServerSentEvent]:
    """Follow the log with ``Last-Event-ID`` until an event number, or until ``at_most`` events came."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    got: list[ServerSentEvent] = []
    async with httpx.AsyncClient(base_url=site.dispatcher.url, timeout=60, verify=PLAIN) as client:
        async with aconnect_sse(client, "GET", f"/v1/threads/{THREAD}/events", headers=headers) as source:
            async for event in source.aiter_sse():
                got.append(event)
                if int(event.id) >= until or len(got) >= at_most:
                    break
    return got


async def listen_restlessly(site: Lab, *, until: int, at_most: int) -> list[ServerSentEvent]:
    """Leave after every few events and come back with the last number."""
    got: list[ServerSentEvent] = []
    while not got or int(got[-1].id) < until:
        after = int(got[-1].id) if got else None
        got += await listen(site, until=until, after=after, at_most=at_most)
    return got


async def test_readers_that_leave_and_come_back_see_every_event_once_while_another_writes(
    site: Lab, table: Table
) -> None:
    last = 121
    _, calm, restless, hasty = await asyncio.gather(
        write(table, last - 1),
        listen(site, until=last),
        listen_restlessly(site, until=last, at_most=7),
        listen_restlessly(site, until=last, at_most=2),
    )
    for got in (calm, restless, hasty):
        assert [int(e.id) for e in got] == list(range(1, last + 1))
        assert [json.loads(e.data)["id"] for e in got] == list(range(1, last + 1))


async def test_a_message_posted_while_one_watches_arrives(site: Lab) -> None:
    watching = asyncio.create_task(listen(site, until=2))
    answer = await asyncio.to_thread(site.post, "and on", thread=THREAD)
    assert answer.status_code == 202
    events = [json.loads(e.data) for e in await watching]
    assert [e["data"]["text"] for e in events] == ["hello", "and on"]
    assert events[1]["message_id"] == answer.json()["message_id"]


async def test_the_whole_log_can_be_read_without_following(site: Lab, table: Table) -> None:
    await write(table, 3)
    answer = site.client.get(f"/v1/threads/{THREAD}/events", params={"follow": "false"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in answer.text.split("\n") if line.startswith("data: ")]
    assert [json.loads(line[6:])["id"] for line in lines] == [1, 2, 3, 4]
    assert answer.text.splitlines() == answer.text.split("\n")[:-1], "no character breaks a line but \\n"
    rest = site.client.get(f"/v1/threads/{THREAD}/events", params={"follow": "false", "after": 3})
    assert rest.text.count("data: ") == 1


async def test_a_log_of_many_pages_is_read_to_its_end(site: Lab, table: Table) -> None:
    big = "x" * 200_000
    for n in range(12):
        assert site.post(big, thread=THREAD, message_id=f"big-{n}").status_code == 202
    answer = site.client.get(f"/v1/threads/{THREAD}/events", params={"follow": "false"})
    assert answer.text.count("data: ") == 13
    assert [int(e.id) for e in await listen(site, until=13)] == list(range(1, 14))


async def test_a_reader_from_an_earlier_log_gets_this_one(site: Lab) -> None:
    (event,) = await listen(site, until=1, after=900)
    assert event.id == "1"


async def test_expired_events_leave_a_gap_that_nobody_waits_for(site: Lab, table: Table) -> None:
    await write(table, 5)
    await table.write(
        [{"Delete": {"TableName": TABLE, "Key": records.event_key(WORKER, THREAD, n)}} for n in (1, 2, 4)]
    )
    assert [int(e.id) for e in await listen(site, until=6)] == [3, 5, 6]


async def test_a_slow_stream_gets_from_the_table_what_the_reader_no_longer_keeps(table: Table) -> None:
    stream = Streams(table).follow(worker=WORKER, thread_id=THREAD, after=0, last=1)
    assert (await anext(stream))[0] == 1
    await write(table, 450)
    got = [(await anext(stream))[0] for _ in range(450)]
    assert got == list(range(2, 452))
    await stream.aclose()


async def test_the_last_stream_takes_the_reader_with_it(table: Table) -> None:
    before = len(asyncio.all_tasks())
    streams = Streams(table)
    both = [streams.follow(worker=WORKER, thread_id=THREAD, after=0, last=1) for _ in range(2)]
    for stream in both:
        assert (await anext(stream))[0] == 1
    assert len(asyncio.all_tasks()) == before + 1, "two streams share one reader"
    for stream in both:
        await stream.aclose()
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "1" * 30])
def test_a_last_event_id_that_is_no_number_is_refused(site: Lab, given: str) -> None:
    answer = site.client.get(f"/v1/threads/{THREAD}/events", headers={"Last-Event-ID": given})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_parameter")


def test_a_log_of_an_unknown_thread_is_a_404(site: Lab) -> None:
    assert site.client.get("/v1/threads/nope/events").status_code == 404
