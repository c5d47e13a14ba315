"""The worker's records on the real wire: fenced, numbered without gaps, written once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from contracts import records
from contracts.words import MessageId, Outcome, StopReason, ThreadId, TurnId, TurnState
from tests.fakes.fleet_records import TABLE, Records, connected, fleet_records
from worker.aws import Aws
from worker.errors import LeaseLost
from worker.lease import DynamoLease
from worker.ledger import DynamoLedger
from worker.ports import Draft, Ending

A = ThreadId("a")


@dataclass
class Lab:
    found: Records
    clients: Aws
    lease: DynamoLease
    ledger: DynamoLedger


def ledger_of(*, clients: Aws, found: Records, lease: DynamoLease) -> DynamoLedger:
    return DynamoLedger(
        aws=clients,
        table=TABLE,
        worker=found.worker,
        owner=lease.owner,
        epoch=lambda: lease.epoch,
        lapsed=lease.lapsed,
        redact=lambda v: v,
    )


def lease_of(*, clients: Aws, found: Records, place: str = "here", seconds: float = 30) -> DynamoLease:
    return DynamoLease(aws=clients, table=TABLE, worker=found.worker, seconds=seconds, place=place)


async def dead() -> bool:
    return True


async def alive() -> bool:
    return False


@pytest.fixture
def found(engine_url: str, account: str) -> Iterator[Records]:
    with fleet_records(url=engine_url, account=account) as made:
        yield made


@pytest.fixture
async def lab(found: Records) -> AsyncIterator[Lab]:
    async with connected(found) as clients:
        lease = lease_of(clients=clients, found=found)
        await lease.acquire(evict=alive)
        yield Lab(found, clients, lease, ledger_of(clients=clients, found=found, lease=lease))


def text(n: int) -> Draft:
    return Draft(
        type="turn.text", thread_id=A, message_id=MessageId("a-1"), turn_id=TurnId("t"), data={"text": f"{n}"}
    )


def ending(lab: Lab, record: records.OpenRecord) -> Ending:
    return Ending(record=record, outcome=Outcome.COMPLETED, turn_id=TurnId("t"))


def final() -> Draft:
    return Draft(
        type="turn.completed",
        thread_id=A,
        message_id=MessageId("a-1"),
        turn_id=TurnId("t"),
        data={"text": "Done."},
    )


async def test_events_are_numbered_without_gaps_while_others_write_too(lab: Lab) -> None:
    lab.found.record("a", 1)
    other = ledger_of(clients=lab.clients, found=lab.found, lease=lab.lease)
    await asyncio.gather(
        *(lab.ledger.append(A, [text(n)]) for n in range(20)),
        *(other.append(A, [text(n)]) for n in range(20)),
    )
    events = lab.found.events("a")
    assert [e.id for e in events] == list(range(1, 41))


async def test_a_long_list_of_events_is_written_in_several_transactions(lab: Lab) -> None:
    lab.found.record("a", 1)
    await lab.ledger.append(A, [text(n) for n in range(250)])
    assert [e.data.text for e in lab.found.events("a")] == [str(n) for n in range(250)]  # type: ignore[union-attr]


async def test_a_worker_whose_epoch_is_over_writes_nothing(lab: Lab) -> None:
    record = lab.found.record("a", 1)
    successor = lease_of(clients=lab.clients, found=lab.found)
    await successor.acquire(evict=dead)
    assert successor.epoch == lab.lease.epoch + 1
    for attempt in (
        lab.ledger.append(A, [text(1)]),
        lab.ledger.lift(record, stack=(A,)),
        lab.ledger.update(record, [text(1)]),
        lab.ledger.finish([ending(lab, record)], stack=(), drafts=[final()]),
        lab.ledger.clear_stop(thread_id=A, through=1),
        lab.lease.cold(),
        lab.lease.release(),
    ):
        with pytest.raises(LeaseLost):
            await attempt
    assert lab.found.events("a") == []
    assert lab.found.outcome("a", 1) is None


async def test_an_outcome_is_recorded_once_with_its_final_event(lab: Lab) -> None:
    record = lab.found.record("a", 1)
    await lab.ledger.finish([ending(lab, record)], stack=(), drafts=[final()], cost_usd=0.25)
    assert lab.found.outcome("a", 1) == "completed"
    assert await lab.ledger.look() == ([], [])
    thread = lab.found.get(records.thread_key(lab.found.worker, A))
    assert thread is not None
    assert (thread["state"], thread["cost_usd"]) == ("idle", 0.25)
    with pytest.raises(Exception, match=r"contradict|Conditional"):
        await lab.ledger.finish([ending(lab, record)], stack=(), drafts=[final()])
    assert [e.type for e in lab.found.events("a")] == ["turn.completed"]


async def test_a_parked_turn_and_its_stack_are_found_again(lab: Lab) -> None:
    record = lab.found.record("a", 1)
    await lab.ledger.lift(record, stack=(A, ThreadId("b")))
    parked = record.model_copy(
        update={"lifted": True, "state": TurnState.PARKED, "reason": StopReason.PREEMPTED, "base": "abc"}
    )
    await lab.ledger.update(parked, [text(1)])
    assert await lab.ledger.look() == ([parked], [])
    assert await lab.ledger.stack() == (A, ThreadId("b"))


async def test_a_record_that_has_its_outcome_is_not_brought_back(lab: Lab) -> None:
    record = lab.found.record("a", 1)
    await lab.ledger.finish([ending(lab, record)], stack=(), drafts=[final()])
    with pytest.raises(Exception, match=r"contradict|Conditional"):
        await lab.ledger.update(record, [text(1)])
    assert await lab.ledger.look() == ([], [])


async def test_the_message_is_read_as_it_was_written(lab: Lab) -> None:
    lab.found.record("a", 1, text="Grüße \U0001f44b \u0001")
    message = await lab.ledger.message(thread_id=A, sequence=1)
    assert message.text == "Grüße \U0001f44b \u0001"
    assert message.author.name == "You"


async def test_an_answer_is_the_threads_last_line_and_leaves_a_new_title_alone(
    lab: Lab, found: Records
) -> None:
    record = found.record("a", 1, lifted=True)
    row = records.ThreadRecord.model_validate(found.get(records.thread_key(found.worker, A)))
    renamed = row.model_copy(update={"title": "The sky"})
    found.put(renamed.write(records.thread_key(found.worker, A)))
    ledger = DynamoLedger(
        aws=lab.clients,
        table=TABLE,
        worker=found.worker,
        owner=lab.lease.owner,
        epoch=lambda: lab.lease.epoch,
        lapsed=lab.lease.lapsed,
        redact=lambda v: v.replace("hunter2", "***") if isinstance(v, str) else v,
    )
    said = Draft(**{**vars(final()), "data": {"text": "\nIt is hunter2 now.\nReally."}})
    ended = [Ending(record=record, outcome=Outcome.COMPLETED, turn_id=TurnId("t"))]
    await ledger.finish(ended, stack=(), drafts=[said])
    after = found.get(records.thread_key(found.worker, A))
    assert after is not None
    assert (after["title"], after["last_line"]) == ("The sky", "It is *** now.")
