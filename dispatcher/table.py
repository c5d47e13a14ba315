"""The records in DynamoDB, as the dispatcher reads and writes them: one adapter, no decisions.

Every read is consistent unless it says otherwise. Each method raises ``errors.Unavailable`` when DynamoDB
does not answer and ``errors.Overtaken`` when a condition fails that another writer made untrue.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from contracts import records
from contracts.events import Event
from contracts.names import digest
from contracts.records import (
    BindingRecord,
    Item,
    MessageRecord,
    OpenRecord,
    StopRecord,
    ThreadRecord,
    WorkerRecord,
)
from contracts.words import Frontend, MessageId, ThreadId, WorkerId
from dispatcher.aws import translated
from dispatcher.errors import Overtaken, Unavailable

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb.client import DynamoDBClient

_ABSENT = "attribute_not_exists(pk)"
_NOTE_SECONDS = 30 * 24 * 3600
_CONFIGURED = ("repo", "preview_command", "trusted", "workflows", "replies_url")


class Table:
    """The one table, by name."""

    def __init__(self, client: "DynamoDBClient", *, name: str) -> None:
        self._client = client
        self.name = name

    async def ensure(self) -> None:
        """Make the table, with expiry of old items, when there is none."""
        if await self.exists():
            return
        with translated():
            with suppress(self._client.exceptions.ResourceInUseException):  # another makes it right now
                await self._client.create_table(TableName=self.name, **records.TABLE_SCHEMA)
            await self._client.get_waiter("table_exists").wait(
                TableName=self.name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
            )
            await self._expire()

    async def _expire(self) -> None:
        try:
            await self._client.update_time_to_live(
                TableName=self.name,
                TimeToLiveSpecification={"Enabled": True, "AttributeName": records.TTL_ATTRIBUTE},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationException":  # it is enabled already
                raise

    async def exists(self) -> bool:
        """Whether the table is there."""
        with translated():
            try:
                await self._client.describe_table(TableName=self.name)
            except self._client.exceptions.ResourceNotFoundException:
                return False
        return True

    async def check(self) -> None:
        """One cheap request. Raises Unavailable when the table does not answer within 3 seconds."""
        with translated():
            async with asyncio.timeout(3):
                there = await self.exists()
        if not there:
            raise Unavailable(
                f'The table "{self.name}" does not exist: it is made when the dispatcher starts.'
            )

    # ---------------------------------------------------------------- single items

    async def directory(self, thread_id: ThreadId) -> WorkerId | None:
        """The worker a thread belongs to."""
        item = await self._get(records.directory_key(thread_id))
        return WorkerId(item["worker_id"]["S"]) if item else None

    async def worker(self, worker: WorkerId) -> WorkerRecord | None:
        """The worker's row."""
        item = await self._get(records.worker_key(worker))
        return WorkerRecord.read(item) if item else None

    async def binding(self, worker: WorkerId, name: str) -> BindingRecord | None:
        """One queue of the worker."""
        item = await self._get(records.binding_key(worker, name))
        return BindingRecord.read(item) if item else None

    async def thread(self, worker: WorkerId, thread_id: ThreadId) -> ThreadRecord | None:
        """The thread's row."""
        item = await self._get(records.thread_key(worker, thread_id))
        return ThreadRecord.read(item) if item else None

    async def last_event(self, worker: WorkerId, thread_id: ThreadId) -> int | None:
        """The thread's event counter, possibly some moments old: half the price of a consistent read. None
        for a thread that was deleted, or that this read does not see yet."""
        key = records.thread_key(worker, thread_id)
        with translated():
            got = await self._client.get_item(
                TableName=self.name,
                Key=key,
                ProjectionExpression="last_event, deleting",
                ConsistentRead=False,
            )
        item = got.get("Item")
        return int(item["last_event"]["N"]) if item and "deleting" not in item else None

    async def used(
        self, *, worker: WorkerId, frontend: Frontend, message_id: MessageId
    ) -> dict[str, Any] | None:
        """What a message id was used for: ``thread_id``, ``sequence``, ``text_digest``."""
        item = await self._get(records.id_key(worker, frontend, digest(message_id)))
        return records.decode(item) if item else None

    async def message(self, *, worker: WorkerId, thread_id: ThreadId, sequence: int) -> MessageRecord | None:
        """One message with its outcome, if it has one."""
        item = await self._get(records.message_key(worker, thread_id, sequence))
        return MessageRecord.read(item) if item else None

    async def note(self, worker: WorkerId, name: str) -> dict[str, Any]:
        """A note of the sweep's about a worker; empty when there is none."""
        item = await self._get(_note_key(worker, name))
        return records.decode(item) if item else {}

    async def is_open(self, *, worker: WorkerId, thread_id: ThreadId, sequence: int) -> bool:
        """Whether the message has no outcome yet."""
        return await self._get(records.open_key(worker, thread_id, sequence)) is not None

    async def _get(self, key: Item) -> Item | None:
        with translated():
            got = await self._client.get_item(TableName=self.name, Key=key, ConsistentRead=True)
        return dict(got["Item"]) if got.get("Item") else None

    # ---------------------------------------------------------------- ranges

    async def workers(self) -> list[WorkerId]:
        """Every worker id ever contacted."""
        return [WorkerId(i["sk"]["S"]) async for i in self._range(records.WORKERS, prefix=None)]

    async def threads(self, worker: WorkerId) -> list[ThreadRecord]:
        """All threads of a worker that are there, in no particular order."""
        found = self._range(records.worker_pk(worker), prefix="thread#")
        return [ThreadRecord.read(i) async for i in found if "deleting" not in i]

    async def open(
        self, *, worker: WorkerId, thread_id: ThreadId
    ) -> tuple[list[OpenRecord], list[StopRecord]]:
        """A thread's turn records and its stop."""
        found = self._range(records.worker_pk(worker), prefix=f"open#{thread_id}#")
        return records.read_open([i async for i in found])

    async def first_open(self, worker: WorkerId) -> ThreadId | None:
        """A thread of the worker with something to do; reads one item."""
        with translated():
            got = await self._client.query(
                TableName=self.name,
                Limit=1,
                ConsistentRead=True,
                **_begins(records.worker_pk(worker), prefix="open#"),
            )
        return ThreadId(got["Items"][0]["thread_id"]["S"]) if got["Items"] else None

    async def untouched(self, worker: WorkerId) -> list[Item]:
        """Everything of the worker that has no outcome, as stored: turn records and stops."""
        return [i async for i in self._range(records.worker_pk(worker), prefix="open#")]

    async def messages(self, *, worker: WorkerId, thread_id: ThreadId) -> list[MessageRecord]:
        """A thread's messages in order."""
        found = self._range(records.thread_pk(worker, thread_id), prefix="message#")
        return [MessageRecord.read(i) async for i in found]

    async def events(self, *, worker: WorkerId, thread_id: ThreadId, after: int) -> list[Event]:
        """The thread's next events after a number, at most one page (1 MB), in order."""
        low, high = (records.event_key(worker, thread_id, n)["sk"] for n in (after + 1, 10**12 - 1))
        with translated():
            got = await self._client.query(
                TableName=self.name,
                ConsistentRead=True,
                KeyConditionExpression="pk = :pk AND sk BETWEEN :low AND :high",
                ExpressionAttributeValues={
                    ":pk": {"S": records.thread_pk(worker, thread_id)},
                    ":low": low,
                    ":high": high,
                },
            )
        return [records.read_event(i) for i in got["Items"]]

    async def partition(self, pk: str) -> list[Item]:
        """Everything of a partition, in order."""
        return [item async for item in self._range(pk, prefix=None)]

    async def _range(self, pk: str, *, prefix: str | None) -> AsyncIterator[Item]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self.name, ConsistentRead=True, **_begins(pk, prefix=prefix)
        )
        with translated():
            async for page in pages:
                for item in page["Items"]:
                    yield dict(item)

    # ---------------------------------------------------------------- writes

    async def write(self, parts: Sequence[Any]) -> None:
        """All parts or none. Raises Overtaken when a condition failed or another writer was in the way."""
        with translated():
            await self._client.transact_write_items(TransactItems=parts)

    async def introduce(self, record: WorkerRecord) -> None:
        """Make the worker's row and its entry in the list of workers; one that is there is refreshed."""
        fresh = record.model_copy(update={"lineage": uuid.uuid4().hex})
        await self._put_absent(fresh.write(records.worker_key(record.worker_id)))
        await self._put_absent(records.key(records.WORKERS, record.worker_id))
        await self.refresh(record)

    async def refresh(self, record: WorkerRecord) -> None:
        """Bring what the configuration says into a row that exists; lease and stack are left alone."""
        plain = records.encode({name: getattr(record, name) for name in _CONFIGURED})
        await self._update(
            records.worker_key(record.worker_id),
            expression="SET " + ", ".join(f"#{n} = :{n}" for n in _CONFIGURED),
            condition="attribute_exists(pk)",
            names={f"#{n}": n for n in _CONFIGURED},
            values={f":{n}": v for n, v in plain.items()},
        )

    async def bind(self, worker: WorkerId, binding: BindingRecord) -> None:
        """Say which queue the worker is to poll under this name."""
        item = binding.write(records.binding_key(worker, binding.name))
        with translated():
            await self._client.put_item(TableName=self.name, Item=item)

    async def stop(self, worker: WorkerId, stop: StopRecord) -> None:
        """Ask for a stop; ``through`` only rises."""
        await self._update(
            records.stop_key(worker, stop.thread_id),
            expression="SET v = :v, thread_id = :thread, through = :through",
            condition="attribute_not_exists(pk) OR through < :through",
            names={},
            values={
                ":v": {"N": str(stop.v)},
                ":thread": {"S": stop.thread_id},
                ":through": {"N": str(stop.through)},
            },
        )

    async def rename(self, worker: WorkerId, thread_id: ThreadId, *, title: str) -> bool:
        """Give a thread another title; whether it is there."""
        with translated(), suppress(self._client.exceptions.ConditionalCheckFailedException):
            await self._client.update_item(
                TableName=self.name,
                Key=records.thread_key(worker, thread_id),
                UpdateExpression="SET title = :title",
                ConditionExpression="attribute_exists(pk) AND attribute_not_exists(deleting)",
                ExpressionAttributeValues={":title": {"S": title}},
            )
            return True
        return False

    async def write_note(self, worker: WorkerId, name: str, **plain: Any) -> None:
        """Write a note of the sweep's about a worker; it is kept for as long as a dead letter may be."""
        with translated():
            await self._client.put_item(TableName=self.name, Item=note_item(worker, name, **plain))

    async def _put_absent(self, item: Item) -> None:
        try:
            with translated():
                await self._client.put_item(TableName=self.name, Item=item, ConditionExpression=_ABSENT)
        except Overtaken:
            return

    async def _update(
        self, key: Item, *, expression: str, condition: str, names: Mapping[str, str], values: Item
    ) -> None:
        """An update whose condition may be untrue: then there is nothing to do."""
        optional: dict[str, Any] = {"ExpressionAttributeNames": names} if names else {}
        try:
            with translated():
                await self._client.update_item(
                    TableName=self.name,
                    Key=key,
                    UpdateExpression=expression,
                    ConditionExpression=condition,
                    ExpressionAttributeValues=values,
                    **optional,
                )
        except Overtaken:
            return


def note_item(worker: WorkerId, name: str, **plain: Any) -> Item:
    """A note, as ``write_note`` writes it."""
    expires = {records.TTL_ATTRIBUTE: {"N": str(int(time.time()) + _NOTE_SECONDS)}}
    return {**_note_key(worker, name), **records.encode({"v": 1, **plain}), **expires}


def _note_key(worker: WorkerId, name: str) -> Item:
    return records.key(records.worker_pk(worker), f"note#{name}")


def _begins(pk: str, *, prefix: str | None) -> dict[str, Any]:
    """A query's condition for all of a partition, or for what begins with ``prefix`` in it."""
    values: Item = {":pk": {"S": pk}}
    if prefix is None:
        return {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": values}
    values[":sk"] = {"S": prefix}
    return {
        "KeyConditionExpression": "pk = :pk AND begins_with(sk, :sk)",
        "ExpressionAttributeValues": values,
    }
