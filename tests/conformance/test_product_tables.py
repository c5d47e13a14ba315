"""The dispatcher's own code for records, on every engine: table and recorder."""

import asyncio

import pytest

from contracts.events import Event, PreviewReady
from contracts.messages import TEXT_LIMIT
from contracts.records import TTL_ATTRIBUTE
from contracts.words import (
    ThreadId,
)
from dispatcher import parts
from dispatcher.errors import Conflict, Overtaken, Unavailable
from dispatcher.record import Recorder
from dispatcher.table import Table
from tests.conformance.lab import LARGE, Lab

SERVICE = "dynamodb"


async def test_a_table_is_made_once_and_says_when_it_is_missing(lab: Lab) -> None:
    await lab.table.ensure()
    await lab.table.check()
    await lab.table._expire()
    with pytest.raises(Unavailable, match="does not exist"):
        await Table(lab.table._client, name=lab.table.name + "-gone").check()


async def test_a_worker_is_introduced_once_and_refreshed_without_touching_its_lease(lab: Lab) -> None:
    lease, _ = await lab.owner()
    before = await lab.table.worker(lab.worker)
    assert before is not None
    await lab.table.introduce(before.model_copy(update={"repo": "other", "epoch": 0, "owner": None}))
    after = await lab.table.worker(lab.worker)
    assert after == before.model_copy(update={"repo": "other"})
    assert (after.epoch, after.owner) == (lease.epoch, lease.owner)
    assert lab.worker in await lab.table.workers()


async def test_messages_recorded_at_once_get_sequences_and_events_without_gaps(lab: Lab) -> None:
    recorders = [Recorder(lab.table) for _ in range(3)]  # no lock between them, as in several processes
    labs = [
        Lab(table=lab.table, recorder=r, receiver=lab.receiver, worker=lab.worker, thread=lab.thread)
        for r in recorders
    ]
    found = await asyncio.gather(*(labs[n % 3].record(f"m{n}") for n in range(6)))
    assert sorted(f.sequence for f in found) == list(range(1, 7))
    assert [e.id for e in await lab.events()] == list(range(1, 7))
    messages = await lab.table.messages(worker=lab.worker, thread_id=lab.thread)
    assert [m.sequence for m in messages] == list(range(1, 7))
    turns, stops = await lab.table.open(worker=lab.worker, thread_id=lab.thread)
    assert ([t.sequence for t in turns], stops) == (list(range(1, 7)), [])
    assert await lab.table.first_open(lab.worker) == lab.thread
    assert await lab.table.last_event(lab.worker, lab.thread) in range(7)  # may be some moments old
    assert [t.last_sequence for t in await lab.table.threads(lab.worker)] == [6]
    assert await lab.table.directory(lab.thread) == lab.worker


async def test_a_repeated_message_is_the_same_and_another_text_is_refused(lab: Lab) -> None:
    first = await lab.record("m1")
    assert await lab.record("m1") == first
    assert first.is_open
    with pytest.raises(Conflict):
        await lab.record("m1", text="another")
    assert len(await lab.events()) == 1


@LARGE
async def test_the_longest_text_is_recorded_as_it_was_sent(lab: Lab) -> None:
    text = '\u0001"é\U0001f44b' * (TEXT_LIMIT // 8)
    assert len(text.encode()) == TEXT_LIMIT
    await lab.record("m1", text=text)
    [message] = await lab.table.messages(worker=lab.worker, thread_id=lab.thread)
    assert message.text == text
    _, ledger = await lab.owner()
    assert (await ledger.message(thread_id=lab.thread, sequence=1)).text == text


async def test_a_write_that_lost_is_told_from_one_that_cannot_work(lab: Lab) -> None:
    await lab.record("m1")
    row = await lab.table.thread(lab.worker, lab.thread)
    assert row is not None
    stale = row.model_copy(update={"last_event": 0})
    with pytest.raises(Overtaken):
        await lab.table.write([parts.update_thread(table=lab.table.name, before=stale, after=row)])


async def test_the_dispatchers_own_events_take_their_place_in_the_log(lab: Lab) -> None:
    await lab.record("m1")
    made = await lab.recorder.append(
        worker=lab.worker, thread_id=lab.thread, make=lambda number: ready(lab.thread, number)
    )
    assert made is not None
    assert (made.id, await lab.events(after=1)) == (2, [made])
    gone = ThreadId("never-made")
    assert await lab.recorder.append(worker=lab.worker, thread_id=gone, make=lambda n: ready(gone, n)) is None


def ready(thread: ThreadId, number: int) -> Event:
    return PreviewReady.model_validate(
        {
            "id": number,
            "thread_id": thread,
            "type": "preview.ready",
            "time": "2026-01-01T00:00:00Z",
            "data": {"url": "http://127.0.0.1:4321/"},
        }
    )


async def test_the_sweep_finds_its_notes_and_what_has_no_outcome(lab: Lab) -> None:
    assert await lab.table.note(lab.worker, "rescue") == {}
    await lab.table.write_note(lab.worker, "rescue", seen=3)
    note = await lab.table.note(lab.worker, "rescue")
    assert (note["seen"], TTL_ATTRIBUTE in note) == (3, True)
    await lab.record("m1")
    message = await lab.table.message(worker=lab.worker, thread_id=lab.thread, sequence=1)
    assert message is not None
    assert (message.text, message.outcome) == ("hello", None)
    assert len(await lab.table.untouched(lab.worker)) == 1
