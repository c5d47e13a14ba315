"""The worker's records on the real wire: fenced, numbered without gaps, written once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from contracts import records, uploads
from contracts.messages import Upload
from contracts.uploads import UploadRecord
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


def sent(lab: Lab, digit: str, *threads: str) -> Upload:
    """A file of two pieces that messages of these threads carry."""
    upload = Upload(upload_id=digit * 32, name="a.txt", type="text/plain", size=2)
    record = UploadRecord(**upload.model_dump(), digest="", pieces=2, owner="ada", expires=2**40)
    names = [uploads.thread_name(lab.found.worker, ThreadId(thread)) for thread in threads]
    lab.found.put(record.write(uploads.upload_key(upload.upload_id)) | {"threads": {"SS": names}})
    for number in range(2):
        lab.found.put(uploads.piece_key(upload.upload_id, number) | {"content": {"B": b"x"}})
    return upload


def kept(lab: Lab, upload: Upload) -> tuple[list[str], int] | None:
    """Of which threads a file is, and how many pieces there are; None when nothing is left of it."""
    row = lab.found.get(uploads.upload_key(upload.upload_id))
    pieces = sum(lab.found.get(uploads.piece_key(upload.upload_id, n)) is not None for n in range(2))
    if row is None and pieces == 0:
        return None
    assert row is not None, "pieces without a record"
    names = UploadRecord.model_validate(row).threads or frozenset()
    return sorted(name.rpartition("#")[2] for name in names), pieces


async def test_a_deleted_threads_files_go_with_it_unless_another_thread_has_them(lab: Lab) -> None:
    alone, twice, shared, others = (
        sent(lab, "a", "a"),
        sent(lab, "b", "a"),
        sent(lab, "c", "a", "b"),
        sent(lab, "d", "b"),
    )
    lab.found.record("a", 1, uploads=[alone, twice, shared])
    lab.found.record("a", 2, uploads=[twice])
    lab.found.record("b", 1, uploads=[shared, others])
    lab.found.delete("a")
    await lab.ledger.forget(A)
    assert [kept(lab, upload) for upload in (alone, twice)] == [None, None]
    assert [kept(lab, upload) for upload in (shared, others)] == [(["b"], 2), (["b"], 2)]
    lab.found.delete("b")
    await lab.ledger.forget(ThreadId("b"))
    assert [kept(lab, upload) for upload in (shared, others)] == [None, None]


async def test_pieces_of_which_a_dying_worker_took_the_record_go_at_the_next_try(lab: Lab) -> None:
    upload = sent(lab, "a", "a")
    lab.found.record("a", 1, uploads=[upload])
    lab.found.delete("a")
    lab.found.dynamodb.delete_item(TableName=TABLE, Key=uploads.upload_key(upload.upload_id))
    await lab.ledger.forget(A)
    assert kept(lab, upload) is None
    assert lab.found.left_of("a") == []


async def test_files_of_a_thread_that_is_not_to_be_removed_stay(lab: Lab) -> None:
    upload = sent(lab, "a", "a")
    lab.found.record("a", 1, uploads=[upload])
    await lab.ledger.forget(A)
    assert kept(lab, upload) == (["a"], 2)
