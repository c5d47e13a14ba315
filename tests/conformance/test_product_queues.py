"""The product's own code for queues, on every engine: the dispatcher rings, the worker's inbox listens."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from contracts import names
from contracts.messages import Pointer
from contracts.records import BindingRecord
from contracts.words import MessageId, ThreadId, WorkerId
from dispatcher import aws as dispatcher_aws
from dispatcher.errors import QueueMissing
from dispatcher.queues import RECEIVES, Queues
from tests.conformance.conftest import Made
from worker.aws import Aws
from worker.inbox import SqsInbox

SERVICE = "sqs"
A1 = (ThreadId("a"), 1)
POINTER = Pointer(thread_id=ThreadId("a"), sequence=1, message_id=MessageId("m"))


async def until(condition: Callable[[], object], *, seconds: float = 30.0) -> None:
    """Wait until it is true; fail after so many seconds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def passes(seconds: float) -> None:
    """Let the engine's clock run: the one thing here that has no sign to wait for."""
    end = time.monotonic() + seconds
    await until(lambda: time.monotonic() > end, seconds=seconds + 10)


@asynccontextmanager
async def listening(receiver: Aws, *urls: str, visibility: float = 60) -> AsyncIterator[SqsInbox]:
    """An inbox that follows these queues and renews what it holds, and leaves at the end."""
    inbox = SqsInbox(aws=receiver, ring=lambda: None, visibility=visibility)
    inbox.follow([BindingRecord(name=url, queue_url=url) for url in urls])
    keeping = asyncio.create_task(inbox.keep())
    try:
        yield inbox
    finally:
        keeping.cancel()
        await inbox.leave()


@pytest.fixture
async def queues(sender: dispatcher_aws.Clients) -> Queues:
    """The dispatcher's side."""
    return Queues(sender.sqs)


@pytest.fixture
async def url(queues: Queues, worker: WorkerId, made: Made, sqs: Any) -> str:
    """The queue of a worker, made at first contact."""
    found = made.keep(await queues.make(worker))
    made.keep(found.replace(names.queue(worker), names.dead_letters(worker)))
    return found


def shown(sqs: Any, url: str) -> dict[str, str]:
    return dict(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"])


async def test_a_workers_queue_has_its_shape_however_often_it_is_made(
    queues: Queues, url: str, worker: WorkerId, sqs: Any, made: Made
) -> None:
    assert await queues.make(worker) == url
    found = shown(sqs, url)
    policy = json.loads(found["RedrivePolicy"])
    assert (found["VisibilityTimeout"], found["ReceiveMessageWaitTimeSeconds"]) == ("60", "20")
    assert found["MessageRetentionPeriod"] == str(14 * 24 * 3600)
    assert int(policy["maxReceiveCount"]) == RECEIVES
    assert policy["deadLetterTargetArn"] == made.arn(made.urls[-1])
    await queues.check()


async def test_a_queue_that_was_changed_by_hand_is_brought_back_into_shape(
    queues: Queues, url: str, worker: WorkerId, sqs: Any
) -> None:
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "5"})
    assert await queues.make(worker) == url
    assert shown(sqs, url)["VisibilityTimeout"] == "60"


async def test_ringing_a_queue_that_is_not_there_says_so(queues: Queues, url: str) -> None:
    with pytest.raises(QueueMissing):
        await queues.send(url=url + "-gone", pointer=POINTER)


async def test_a_pointer_is_held_until_its_message_has_an_outcome_and_then_deleted(
    queues: Queues, url: str, receiver: Aws, sqs: Any
) -> None:
    async with listening(receiver, url) as inbox:
        await queues.send(url=url, pointer=POINTER)
        await until(lambda: inbox.held == 1)
        inbox.settle(open_keys={A1}, before=time.monotonic())
        assert inbox.held == 1
        inbox.settle(open_keys=set(), before=time.monotonic())
        assert inbox.held == 0
        await until(lambda: not inbox._chores)
    assert await came(receiver, url) == set()


async def test_a_held_pointer_is_renewed_and_does_not_come_a_second_time(
    queues: Queues, url: str, receiver: Aws
) -> None:
    await queues.send(url=url, pointer=POINTER)
    async with listening(receiver, url, visibility=6) as inbox:
        await until(lambda: inbox.held == 1)
        await passes(13)  # two visibility timeouts
        assert inbox.held == 1


async def test_leaving_ends_a_pending_poll_and_gives_back_what_was_held(
    queues: Queues, url: str, receiver: Aws
) -> None:
    await queues.send(url=url, pointer=POINTER)
    async with listening(receiver, url, visibility=600) as inbox:
        await until(lambda: inbox.held == 1)
    assert await came(receiver, url) == {A1}


async def test_a_queue_that_is_unbound_is_emptied_first(
    url: str, made: Made, receiver: Aws, sqs: Any
) -> None:
    team = made.queue()
    async with listening(receiver, url, team) as inbox:
        await passes(0.5)  # both polls are on their way
        inbox.follow([BindingRecord(name="main", queue_url=url)])
        sqs.send_message(QueueUrl=team, MessageBody=POINTER.model_dump_json())
        await until(lambda: A1 in {d.key for d in inbox._held})
        await until(lambda: inbox._queues[team].done())


async def test_what_cannot_be_read_walks_to_the_dead_letters_and_the_rest_goes_on(
    made: Made, receiver: Aws, sqs: Any
) -> None:
    dead = made.queue()
    policy = json.dumps({"deadLetterTargetArn": made.arn(dead), "maxReceiveCount": "2"})
    poisoned = made.queue(RedrivePolicy=policy)
    sqs.send_message(QueueUrl=poisoned, MessageBody="{not json")
    async with listening(receiver, poisoned) as inbox:
        found = await receiver.sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=20)
        assert [m.get("Body") for m in found.get("Messages", [])] == ["{not json"]
        sqs.send_message(QueueUrl=poisoned, MessageBody=POINTER.model_dump_json())
        await until(lambda: A1 in {d.key for d in inbox._held})


async def test_dead_letters_are_counted_looked_at_given_back_and_forgotten(
    queues: Queues, url: str, worker: WorkerId, made: Made, sqs: Any
) -> None:
    assert await queues.dead(worker).count() == 0
    for body in ("one", "two"):
        sqs.send_message(QueueUrl=made.urls[-1], MessageBody=body)
    await until_counted(queues, worker, 2)
    letters = await queues.dead(worker).letters(most=10)
    assert sorted(x.body for x in letters) == ["one", "two"]
    assert [x.receives for x in letters] == [1, 1]
    await queues.dead(worker).give_back(letters)
    again = {x.letter_id: x for x in await queues.dead(worker).letters(most=10)}
    assert set(again) == {x.letter_id for x in letters}
    for letter in again.values():
        await queues.dead(worker).forget(letter)
        await queues.dead(worker).forget(letter)
    await until_counted(queues, worker, 0)
    assert await queues.dead(worker).letters(most=10) == []


async def until_counted(queues: Queues, worker: WorkerId, wanted: int) -> None:
    """AWS counts approximately: wait until it has noticed."""
    async with asyncio.timeout(60):
        while await queues.dead(worker).count() != wanted:
            await asyncio.sleep(0.2)


async def came(receiver: Aws, url: str) -> set[tuple[ThreadId | None, int | None]]:
    """What the pointers of two receives name, the inbox's own rings aside."""
    found: set[tuple[ThreadId | None, int | None]] = set()
    for _ in range(2):
        answer = await receiver.sqs.receive_message(
            QueueUrl=url, WaitTimeSeconds=4, MaxNumberOfMessages=10, VisibilityTimeout=30
        )
        pointers = [Pointer.model_validate_json(m["Body"]) for m in answer.get("Messages", [])]
        found |= {(p.thread_id, p.sequence) for p in pointers if p.kind == "message"}
    return found
