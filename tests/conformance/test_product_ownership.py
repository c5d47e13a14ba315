"""The worker's own code for records, on every engine: lease, ledger, discovery."""

import asyncio

import pytest

from contracts.events import Event
from contracts.records import BindingRecord, StopRecord, WorkerRecord
from contracts.words import (
    Outcome,
    StopReason,
    ThreadId,
    TurnState,
)
from tests.conformance.lab import LARGE, TURN, Lab, alive, dead, final, said
from worker.discovery import Discovery
from worker.errors import LeaseHeld, LeaseLost, WorkerError
from worker.lease import DynamoLease
from worker.ports import Ending

SERVICE = "dynamodb"


async def test_a_stop_only_rises_and_is_forgotten_only_if_no_later_one_came(lab: Lab) -> None:
    await lab.record("m1")
    _, ledger = await lab.owner()
    for through in (1, 3, 2):
        await lab.table.stop(lab.worker, StopRecord(thread_id=lab.thread, through=through))
    turns, stops = await ledger.look()
    assert ([t.sequence for t in turns], [s.through for s in stops]) == ([1], [3])
    await ledger.clear_stop(thread_id=lab.thread, through=2)
    assert [s.through for s in (await ledger.look())[1]] == [3]
    await ledger.clear_stop(thread_id=lab.thread, through=3)
    await ledger.clear_stop(thread_id=lab.thread, through=3)
    assert (await ledger.look())[1] == []


async def test_of_many_workers_that_start_at_once_exactly_one_works(lab: Lab) -> None:
    async def starts(lease: DynamoLease) -> WorkerRecord:
        row = await lease.acquire(evict=dead)
        keeping.append(asyncio.create_task(lease.keep()))  # who comes late watches whether the owner lives
        return row

    keeping: list[asyncio.Task[None]] = []
    leases = [lab.lease(seconds=15, place=str(n)) for n in range(6)]
    results = await asyncio.gather(*map(starts, leases), return_exceptions=True)
    for kept in keeping:
        kept.cancel()
    await asyncio.gather(*keeping, return_exceptions=True)
    assert len([r for r in results if isinstance(r, WorkerRecord)]) == 1
    assert len([r for r in results if isinstance(r, LeaseHeld)]) == 5


async def test_a_lease_is_kept_cooled_warmed_released_and_taken_by_the_next(lab: Lab) -> None:
    first, _ = await lab.owner()
    await first.prove()
    await first.cold()
    row = await lab.table.worker(lab.worker)
    assert row is not None
    assert (row.state, row.beat, row.owner) == ("cold", 2, first.owner)
    await first.warm()
    await first.release()
    row = await lab.table.worker(lab.worker)
    assert row is not None
    assert (row.state, row.owner) == ("cold", None)
    second = lab.lease(seconds=3600)
    taken = await second.acquire(evict=alive)
    assert (taken.epoch, taken.owner, taken.state) == (2, second.owner, "up")
    with pytest.raises(LeaseLost):
        await first.prove()


async def test_a_worker_whose_epoch_is_over_writes_nothing(lab: Lab) -> None:
    await lab.record("m1")
    record = await lab.open_record()
    lease, ledger = await lab.owner()
    await lab.owner()
    ending = Ending(record=record, outcome=Outcome.COMPLETED, turn_id=TURN)
    for attempt in (
        ledger.append(lab.thread, [said(lab.thread, "x")]),
        ledger.lift(record, stack=(lab.thread,)),
        ledger.update(record, [said(lab.thread, "x")]),
        ledger.finish([ending], stack=(), drafts=[final(lab.thread)]),
        ledger.clear_stop(thread_id=lab.thread, through=1),
        lease.cold(),
        lease.release(),
    ):
        with pytest.raises(LeaseLost):
            await attempt
    assert len(await lab.events()) == 1
    assert await lab.open_record() == record


async def test_a_turn_is_lifted_parked_resumed_and_finished_once(lab: Lab) -> None:
    await lab.record("m1")
    record = await lab.open_record()
    _, ledger = await lab.owner()
    await ledger.lift(record, stack=(lab.thread, ThreadId("b")))
    assert await ledger.stack() == (lab.thread, ThreadId("b"))
    parked = record.model_copy(
        update={"lifted": True, "state": TurnState.PARKED, "reason": StopReason.PREEMPTED, "base": "abc"}
    )
    await ledger.update(parked, [said(lab.thread, "x")])
    assert await ledger.look() == ([parked], [])
    ending = Ending(record=parked, outcome=Outcome.COMPLETED, turn_id=TURN)
    await ledger.finish([ending], stack=(), drafts=[final(lab.thread)], cost_usd=0.25)
    [message] = await lab.table.messages(worker=lab.worker, thread_id=lab.thread)
    thread = await lab.table.thread(lab.worker, lab.thread)
    assert thread is not None
    assert (message.outcome, thread.state, thread.cost_usd) == ("completed", "idle", 0.25)
    assert await ledger.look() == ([], [])
    assert await lab.table.first_open(lab.worker) is None
    with pytest.raises(WorkerError, match="contradict"):
        await ledger.finish([ending], stack=(), drafts=[final(lab.thread)])
    assert [e.type for e in await lab.events()] == ["message.received", "turn.text", "turn.completed"]
    assert not (await lab.record("m1")).is_open


async def test_both_sides_write_one_log_without_gaps(lab: Lab) -> None:
    await lab.record("m1")
    lease, ledger = await lab.owner()
    other = lab.ledger(lease)
    await asyncio.gather(
        *(ledger.append(lab.thread, [said(lab.thread, f"a{n}")]) for n in range(4)),
        *(other.append(lab.thread, [said(lab.thread, f"b{n}")]) for n in range(4)),
        *(lab.record(f"m{n}") for n in range(2, 5)),
    )
    assert [e.id for e in await lab.events()] == list(range(1, 13))


@LARGE
async def test_a_long_log_is_written_in_several_transactions_and_read_page_by_page(lab: Lab) -> None:
    await lab.record("m1")
    lease, _ = await lab.owner()
    ledger = lab.ledger(lease, retention_days=30)
    texts = [f"{n} " + "é" * 20_000 for n in range(60)]  # 2.4 MB
    await ledger.append(lab.thread, [said(lab.thread, t) for t in texts])
    found: list[Event] = await lab.events(after=1)
    assert len(found) < 60
    while page := await lab.events(after=found[-1].id):
        found += page
    assert [e.data.text for e in found] == texts  # type: ignore[union-attr]


async def test_bindings_are_discovered_and_forgotten(lab: Lab) -> None:
    discovery = Discovery(
        aws=lab.receiver, table=lab.table.name, worker=lab.worker, seconds=60, follow=lambda found: None
    )
    assert await discovery.look() == []
    bindings = [BindingRecord(name=n, queue_url=f"http://127.0.0.1/{n}") for n in ("main", "team")]
    for binding in bindings:
        await lab.table.bind(lab.worker, binding)
    assert await discovery.look() == bindings
    assert await lab.table.binding(lab.worker, "team") == bindings[1]
