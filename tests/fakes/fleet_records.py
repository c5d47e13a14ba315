"""Records and queues as a dispatcher would leave them, written with plain boto3, for tests of the worker."""

import json
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

import boto3

from contracts import names, records
from contracts.events import EVENT, Event
from contracts.messages import Author, Pointer, Upload
from contracts.records import BindingRecord, MessageRecord, OpenRecord, StopRecord, ThreadRecord, WorkerRecord
from contracts.words import (
    Action,
    ClientId,
    Frontend,
    MessageId,
    Mode,
    ProjectId,
    ThreadId,
    UserId,
    WorkerId,
)
from tests.fakes.engine import client_options
from worker import aws

TABLE = "branchline-test"


class Records:
    """One worker's records and its queue, in an account of their own."""

    def __init__(self, *, url: str, account: str, repo: str = "unused") -> None:
        self.options = client_options(url=url, account=account)
        self.dynamodb: Any = boto3.client("dynamodb", **self.options)
        self.sqs: Any = boto3.client("sqs", **self.options)
        self.url, self.account = url, account
        self.worker: WorkerId = names.worker_id(
            client=ClientId("local"), project=ProjectId("site"), user=UserId("local")
        )
        self.dynamodb.create_table(TableName=TABLE, **records.TABLE_SCHEMA)
        row = WorkerRecord(worker_id=self.worker, client="local", project="site", user="local", repo=repo)
        self.put(row.write(records.worker_key(self.worker)))
        self.put(records.key(records.WORKERS, self.worker))
        self.queue_url = self.bind("main")

    def close(self) -> None:
        """Let the connections go."""
        self.dynamodb.close()
        self.sqs.close()

    def put(self, item: records.Item) -> None:
        self.dynamodb.put_item(TableName=TABLE, Item=item)

    def get(self, key: records.Item) -> dict[str, Any] | None:
        item = self.dynamodb.get_item(TableName=TABLE, Key=key, ConsistentRead=True).get("Item")
        return records.decode(item) if item else None

    def bind(self, name: str, **attributes: str) -> str:
        """Make a queue and bind it to the worker."""
        queue = f"{names.queue(self.worker)}-{name}"
        url = str(self.sqs.create_queue(QueueName=queue, Attributes=attributes)["QueueUrl"])
        binding = BindingRecord(name=name, queue_url=url)
        self.put(binding.write(records.binding_key(self.worker, name)))
        return url

    def unbind(self, name: str) -> None:
        self.dynamodb.delete_item(TableName=TABLE, Key=records.binding_key(self.worker, name))

    def record(
        self,
        thread: str,
        sequence: int,
        *,
        text: str = "hello",
        mode: Mode = Mode.QUEUE,
        action: Action | None = None,
        uploads: Sequence[Upload] = (),
        **more: Any,
    ) -> OpenRecord:
        """Record a message (without an event) as the dispatcher would."""
        thread_id, now = ThreadId(thread), datetime.now(UTC)
        message_id = MessageId(f"{thread}-{sequence}")
        if sequence == 1:
            row = ThreadRecord(
                thread_id=thread_id,
                worker_id=self.worker,
                project="site",
                title=text[:80],
                frontend=Frontend.API,
                branch=names.branch(thread_id),
                created=now,
                updated=now,
                last_sequence=1,
            )
            self.put(row.write(records.thread_key(self.worker, thread_id)))
        message = MessageRecord(
            id=message_id,
            thread_id=thread_id,
            sequence=sequence,
            text=text,
            mode=mode,
            action=action,
            uploads=tuple(uploads),
            author=Author(id="local", name="You"),
            received=now,
        )
        self.put(message.write(records.message_key(self.worker, thread_id, sequence)))
        open_ = OpenRecord.model_validate(
            {
                "thread_id": thread_id,
                "sequence": sequence,
                "message_id": message_id,
                "mode": mode,
                "received": now,
                **more,
            }
        )
        self.put(open_.write(records.open_key(self.worker, thread_id, sequence)))
        return open_

    def send(self, thread: str, sequence: int, *, queue_url: str | None = None) -> None:
        """Ring: put the message's pointer on the queue."""
        pointer = Pointer(
            thread_id=ThreadId(thread), sequence=sequence, message_id=MessageId(f"{thread}-{sequence}")
        )
        self.sqs.send_message(QueueUrl=queue_url or self.queue_url, MessageBody=pointer.model_dump_json())

    def events(self, thread: str) -> list[Event]:
        """The thread's log."""
        items = self.dynamodb.query(
            TableName=TABLE,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={
                ":pk": {"S": records.thread_pk(self.worker, ThreadId(thread))},
                ":sk": {"S": "event#"},
            },
            ConsistentRead=True,
        )["Items"]
        return [records.read_event(i) for i in items]

    def stop(self, thread: str, *, through: int) -> None:
        """Ask for a stop, and ring."""
        thread_id = ThreadId(thread)
        stop = StopRecord(thread_id=thread_id, through=through)
        self.put(stop.write(records.stop_key(self.worker, thread_id)))
        pointer = Pointer(kind="stop", thread_id=thread_id)
        self.sqs.send_message(QueueUrl=self.queue_url, MessageBody=pointer.model_dump_json())

    def delete(self, thread: str) -> None:
        """Mark a thread as deleted, as the dispatcher does, and ring."""
        thread_id = ThreadId(thread)
        row = ThreadRecord.model_validate(self.get(records.thread_key(self.worker, thread_id)))
        gone = row.model_copy(update={"deleting": True})
        self.put(gone.write(records.thread_key(self.worker, thread_id)))
        record = StopRecord(thread_id=thread_id, through=999, delete=True)
        self.put(record.write(records.delete_key(self.worker, thread_id)))
        self.put(records.directory_key(thread_id) | records.encode({"worker_id": self.worker}))
        self.stop(thread, through=999)

    def left_of(self, thread: str) -> list[str]:
        """Keys of every record that has to do with a thread."""
        found = self.dynamodb.scan(TableName=TABLE, ConsistentRead=True)["Items"]
        named = [f"{i['pk']['S']} {i['sk']['S']}" for i in found]
        ours = [n for n in named if n.endswith(f"#{thread} directory") or f"#{thread}#" in f"{n}#"]
        return ours + [n for n, i in zip(named, found, strict=True) if i.get("thread_id") == {"S": thread}]

    def row(self) -> WorkerRecord:
        """The worker's row."""
        item = self.get(records.worker_key(self.worker))
        return WorkerRecord.model_validate(item)

    def attempts(self, thread: str, sequence: int) -> int | None:
        """Attempts in the turn record; None when there is none any more."""
        item = self.get(records.open_key(self.worker, ThreadId(thread), sequence))
        return item["attempts"] if item else None

    def outcome(self, thread: str, sequence: int) -> str | None:
        item = self.get(records.message_key(self.worker, ThreadId(thread), sequence))
        return item.get("outcome") if item else None

    def waiting(self, *, queue_url: str | None = None) -> tuple[int, int]:
        """Deliveries (visible, in flight) in the queue."""
        wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=queue_url or self.queue_url, AttributeNames=wanted)
        return int(found["Attributes"][wanted[0]]), int(found["Attributes"][wanted[1]])

    def environment(self) -> dict[str, str]:
        """What a worker process needs to reach these records."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.account,
            "AWS_SECRET_ACCESS_KEY": "not-a-real-secret",
            "AWS_REGION": self.options["region_name"],
            "AWS_DEFAULT_REGION": self.options["region_name"],
            "BRANCHLINE_TABLE": TABLE,
            "CONTAINER_ID": self.worker,
        }


@contextmanager
def fleet_records(*, url: str, account: str, repo: str = "unused") -> Iterator[Records]:
    """Records in a fresh account."""
    made = Records(url=url, account=account, repo=repo)
    try:
        yield made
    finally:
        made.close()


@asynccontextmanager
async def connected(found: Records) -> AsyncIterator[aws.Aws]:
    """The worker's own clients, pointed at these records."""
    wanted = {k: v for k, v in found.environment().items() if k.startswith("AWS_")}
    before = {k: os.environ.get(k) for k in wanted}
    os.environ.update(wanted)
    try:
        async with aws.connect() as clients:
            yield clients
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def plain(event: Event) -> dict[str, Any]:
    """The event as a reader sees it."""
    return dict(json.loads(EVENT.dump_json(event)))
