"""The worker's bell on the real queue: at once for states, once a second for text, never in the way."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from contracts.places import ReplyPointer
from contracts.words import MessageId, ThreadId, TurnId
from tests.fakes.fleet_records import TABLE, Records, connected, fleet_records
from worker.aws import Aws
from worker.bell import Bell
from worker.lease import DynamoLease
from worker.ledger import DynamoLedger
from worker.ports import Draft

A, B = ThreadId("a"), ThreadId("b")


@dataclass
class Lab:
    found: Records
    clients: Aws
    url: str

    def bell(self, *, url: str | None = None, every: float = 1.0) -> Bell:
        return Bell(aws=self.clients, url=url or self.url, worker=self.found.worker, every=every)

    def rings(self) -> list[ReplyPointer]:
        """Take all rings there are."""
        got = self.found.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        taken = got.get("Messages", [])
        for message in taken:
            self.found.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return [ReplyPointer.model_validate_json(m["Body"]) for m in taken]

    async def rung(self, count: int) -> list[ThreadId]:
        """Wait for so many rings; their threads."""
        seen: list[ThreadId] = []
        async with asyncio.timeout(30):
            while len(seen) < count:
                seen += [ring.thread_id for ring in self.rings()]
                await asyncio.sleep(0.01)
        return seen


@pytest.fixture
def found(engine_url: str, account: str) -> Iterator[Records]:
    with fleet_records(url=engine_url, account=account) as made:
        yield made


@pytest.fixture
async def lab(found: Records) -> AsyncIterator[Lab]:
    url = str(found.sqs.create_queue(QueueName="branchline-replies")["QueueUrl"])
    async with connected(found) as clients:
        yield Lab(found, clients, url)


async def test_a_change_of_state_rings_at_once_and_text_waits_its_turn(lab: Lab) -> None:
    bell = lab.bell(every=3600)
    async with bell.ringing():
        bell.told(A, ["turn.text"])
        assert await lab.rung(1) == [A]
        bell.told(A, ["turn.text", "turn.tool"])
        bell.told(A, ["turn.tasks"])
        bell.told(B, ["turn.text"])
        assert await lab.rung(1) == [B]
        bell.told(A, ["turn.text", "turn.completed"])
        assert await lab.rung(1) == [A]
    assert lab.rings() == []


async def test_text_that_waited_is_rung_for_in_the_end(lab: Lab) -> None:
    bell = lab.bell(every=0.2)
    async with bell.ringing():
        bell.told(A, ["turn.text"])
        assert await lab.rung(1) == [A]
        for _ in range(50):
            bell.told(A, ["turn.text"])
        assert await lab.rung(1) == [A]
    assert lab.rings() == []


async def test_what_is_left_is_rung_for_when_the_worker_leaves(lab: Lab) -> None:
    bell = lab.bell(every=3600)
    async with bell.ringing():
        bell.told(A, ["turn.started"])
        await lab.rung(1)
        bell.told(A, ["turn.text"])
    assert [ring.thread_id for ring in lab.rings()] == [A]


async def test_a_queue_that_is_away_is_forgotten_about_and_keeps_nobody(lab: Lab) -> None:
    bell = lab.bell(url="http://127.0.0.1:9/none")
    async with bell.ringing():
        for n in range(3000):
            bell.told(ThreadId(f"t{n}"), ["turn.completed"])
        assert len(bell._due) <= 1000
    again = lab.bell()
    async with again.ringing():
        again.told(A, ["turn.completed"])
        assert await lab.rung(1) == [A]


async def test_without_a_chat_frontend_nothing_is_rung(lab: Lab) -> None:
    bell = Bell(aws=lab.clients, url=None, worker=lab.found.worker)
    async with bell.ringing():
        bell.told(A, ["turn.completed"])
    assert lab.rings() == []


async def test_the_ledger_tells_the_bell_after_the_events_stand(lab: Lab) -> None:
    lease = DynamoLease(aws=lab.clients, table=TABLE, worker=lab.found.worker, seconds=30, place="here")

    async def alive() -> bool:
        return False

    await lease.acquire(evict=alive)
    told: list[tuple[ThreadId, list[str], int]] = []
    ledger = DynamoLedger(
        aws=lab.clients,
        table=TABLE,
        worker=lab.found.worker,
        owner=lease.owner,
        epoch=lambda: lease.epoch,
        lapsed=lease.lapsed,
        redact=lambda v: v,
        told=lambda thread_id, types: told.append((thread_id, list(types), len(lab.found.events("a")))),
    )
    lab.found.record("a", 1)
    more = {"thread_id": A, "message_id": MessageId("a-1"), "turn_id": TurnId("t")}
    text = Draft(type="turn.text", data={"text": "x"}, **more)  # type: ignore[arg-type]
    done = Draft(type="turn.completed", data={"text": "Done."}, **more)  # type: ignore[arg-type]
    await ledger.append(A, [text, done])
    assert told == [(A, ["turn.text", "turn.completed"], 2)]
