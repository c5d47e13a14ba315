"""The product's code where AWS is less kind than any local engine: throttled, cut off, overlooked, forgotten.

The embedded engine stands behind a wire that plays AWS's part; see ``tests/fakes/wire.py``.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from contracts.records import BindingRecord, OpenRecord
from contracts.words import MessageId, Outcome, ThreadId, TurnId
from tests.conformance.test_product_queues import until
from tests.fakes.fleet_records import TABLE, Records, connected, fleet_records
from tests.fakes.wire import Wire, wire_to
from worker.aws import Aws
from worker.errors import LeaseLost
from worker.inbox import SqsInbox
from worker.lease import DynamoLease
from worker.ledger import DynamoLedger
from worker.ports import Draft, Ending

A, A1 = ThreadId("a"), (ThreadId("a"), 1)
TURN = TurnId("turn")


@pytest.fixture
def found(engine_url: str, account: str) -> Iterator[Records]:
    """Records behind the wire, so to speak: this side talks to the engine itself."""
    with fleet_records(url=engine_url, account=account) as made:
        yield made


@pytest.fixture
def wire(engine_url: str) -> Iterator[Wire]:
    with wire_to(engine_url) as made:
        yield made


@pytest.fixture
async def clients(found: Records, wire: Wire) -> AsyncIterator[Aws]:
    """The worker's clients, on the wire."""
    engine, found.url = found.url, wire.url
    async with connected(found) as made:
        yield made
    found.url = engine


async def dead() -> bool:
    return True


def lease_of(clients: Aws, found: Records) -> DynamoLease:
    return DynamoLease(aws=clients, table=TABLE, worker=found.worker, seconds=60, place="here")


async def ledger_of(clients: Aws, found: Records) -> DynamoLedger:
    lease = lease_of(clients, found)
    await lease.acquire(evict=dead)
    return DynamoLedger(
        aws=clients,
        table=TABLE,
        worker=found.worker,
        owner=lease.owner,
        epoch=lambda: lease.epoch,
        lapsed=lease.lapsed,
        redact=lambda v: v,
    )


def event(type_: str, text: str) -> Draft:
    return Draft(type=type_, thread_id=A, message_id=MessageId("a-1"), turn_id=TURN, data={"text": text})


def ending(record: OpenRecord) -> Ending:
    return Ending(record=record, outcome=Outcome.COMPLETED, turn_id=TURN)


def inbox_of(clients: Aws, *, visibility: float = 60) -> SqsInbox:
    return SqsInbox(aws=clients, ring=lambda: None, visibility=visibility, poll=20)


def bindings(*urls: str) -> list[BindingRecord]:
    return [BindingRecord(name=url, queue_url=url) for url in urls]


async def test_transactions_that_collide_or_lose_their_answer_are_written_once(
    found: Records, clients: Aws, wire: Wire
) -> None:
    record = found.record("a", 1)
    ledger = await ledger_of(clients, found)
    wire.conflict = 3
    await ledger.append(A, [event("turn.text", "one")])
    wire.lose["TransactWriteItems"] = 3
    await ledger.append(A, [event("turn.text", "two")])
    wire.conflict, wire.lose["TransactWriteItems"] = 2, 2
    await ledger.finish([ending(record)], stack=(), drafts=[event("turn.completed", "Done.")])
    assert (wire.conflict, wire.lose["TransactWriteItems"]) == (0, 0)
    assert [e.id for e in found.events("a")] == [1, 2, 3]
    assert found.outcome("a", 1) == "completed"


async def test_a_lease_whose_answer_was_lost_is_held_all_the_same_and_by_one_epoch(
    found: Records, clients: Aws, wire: Wire
) -> None:
    lease = lease_of(clients, found)
    wire.lose["UpdateItem"] = 1
    await lease.acquire(evict=dead)
    assert (lease.epoch, found.row().epoch, found.row().owner) == (1, 1, lease.owner)
    wire.lose["UpdateItem"] = 1
    await lease.prove()
    wire.lose["UpdateItem"] = 1
    with pytest.raises(LeaseLost):  # the repeat finds no owner any more, which is what was wanted
        await lease.release()
    assert found.row().owner is None


async def test_throttled_queues_cost_time_and_nothing_else(found: Records, clients: Aws, wire: Wire) -> None:
    wire.throttle.update({"ReceiveMessage": 2, "DeleteMessage": 2, "ChangeMessageVisibility": 2})
    found.send("a", 1)
    inbox = inbox_of(clients, visibility=3)
    inbox.follow(bindings(found.queue_url))
    keeping = asyncio.create_task(inbox.keep())
    await until(lambda: inbox.held == 1)
    await until(lambda: wire.refused["ChangeMessageVisibility"] == 2)
    assert inbox.held == 1

    def settled() -> bool:
        inbox.settle(open_keys=set(), before=time.monotonic())  # what came again because this took long, too
        return found.waiting() == (0, 0)

    await until(settled)
    assert wire.refused["DeleteMessage"] == 2
    keeping.cancel()
    await inbox.leave()


async def test_a_delivery_that_the_queue_has_forgotten_is_let_go_and_comes_again(
    found: Records, clients: Aws, wire: Wire
) -> None:
    inbox = inbox_of(clients, visibility=3)
    inbox.follow(bindings(found.queue_url))
    found.send("a", 1)
    await until(lambda: inbox.held == 1)
    [lost] = inbox._held
    wire.forget = 1
    keeping = asyncio.create_task(inbox.keep())
    await until(lambda: lost not in inbox._held)
    await until(lambda: A1 in {d.key for d in inbox._held})
    assert wire.forget == 0
    keeping.cancel()
    await inbox.leave()


async def test_a_delivery_that_came_twice_is_deleted_by_both_its_handles(
    found: Records, clients: Aws
) -> None:
    inbox = inbox_of(clients, visibility=1)
    inbox.follow(bindings(found.queue_url))
    found.send("a", 1)
    await until(lambda: inbox.held == 2)  # not renewed: it came again, and the first handle is outdated
    inbox.settle(open_keys=set(), before=time.monotonic())
    await until(lambda: found.waiting() == (0, 0) or inbox.held)
    inbox.settle(open_keys=set(), before=time.monotonic())
    await until(lambda: found.waiting() == (0, 0))
    await inbox.leave()


async def test_an_unbound_queue_is_emptied_although_a_receive_without_a_wait_overlooks_messages(
    found: Records, clients: Aws, wire: Wire
) -> None:
    team = found.bind("team")
    for sequence in (1, 2):
        found.send("a", sequence, queue_url=team)
    wire.overlook = 5
    inbox = inbox_of(clients)
    inbox.follow(bindings(team))
    inbox.follow(bindings(found.queue_url))  # before the first receive of the other
    await until(lambda: inbox._queues[team].done())
    assert {d.key for d in inbox._held} >= {A1, (A, 2)}
    await inbox.leave()
