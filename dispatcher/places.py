"""The records of places in DynamoDB: which thread a place shows, and what of ours stands there.

An adapter: no decision about posts. Every read is consistent; each method raises ``errors.Unavailable`` when
DynamoDB does not answer, and those that say so ``errors.Overtaken``.
"""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from contracts import places as keys
from contracts import records
from contracts.places import PlaceRecord, UnshownRecord
from contracts.records import Item, MessageRecord
from contracts.words import Frontend, ThreadId, WorkerId
from dispatcher.aws import translated
from dispatcher.errors import Overtaken

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb.client import DynamoDBClient

_ABSENT = "attribute_not_exists(pk)"


class Places:
    """Places, by address and by thread."""

    def __init__(self, client: "DynamoDBClient", *, table: str) -> None:
        self._client = client
        self._table = table

    async def thread_at(self, frontend: Frontend, address: str) -> tuple[WorkerId, ThreadId] | None:
        """The worker and thread that this place shows, if it is known."""
        item = await self._get(keys.place_key(frontend, address))
        if item is None:
            return None
        return WorkerId(item["worker_id"]["S"]), ThreadId(item["thread_id"]["S"])

    async def remember(
        self, frontend: Frontend, address: str, worker: WorkerId, thread_id: ThreadId, *, after: int = 0
    ) -> tuple[WorkerId, ThreadId]:
        """Show this thread in this place, and every message with a sequence beyond ``after``.

        Answers the thread that the place shows: another one, if it has been given one before, because a place
        belongs to one thread for ever. To be called with every message that is written in the place: it also
        forgets that nothing could be delivered there. Can be repeated.
        """
        known = await self.thread_at(frontend, address)
        if known is None:
            fresh = PlaceRecord(
                worker_id=worker, thread_id=thread_id, frontend=frontend, address=address, through=after
            )
            with suppress(Overtaken):
                await self._introduce(fresh)
                return worker, thread_id
            known = await self.thread_at(frontend, address)
        if known is None:
            raise AssertionError("a place that cannot be made is there")
        await self._revive(frontend, address, *known)
        return known

    async def places_of(self, worker: WorkerId, thread_id: ThreadId) -> list[PlaceRecord]:
        """Every place of a thread, as they are now."""
        return [p async for p in self._places(worker, keys.shown_prefix(thread_id))]

    async def undeliverable_of(self, worker: WorkerId) -> list[PlaceRecord]:
        """The places of a worker's threads in which nothing can be posted any more."""
        return [p async for p in self._places(worker, keys.ALL_PLACES) if p.undeliverable is not None]

    async def revive(self, place: PlaceRecord) -> None:
        """Forget that nothing could be delivered there; the sweep rings for its thread from now on.

        First the thread is listed, so that a death in between leaves no place that nobody looks at.
        """
        listed = UnshownRecord(worker_id=place.worker_id, thread_id=place.thread_id, sequence=0)
        with translated(), suppress(self._client.exceptions.ConditionalCheckFailedException):
            await self._client.put_item(
                TableName=self._table,
                Item=listed.write(keys.unshown_key(place.worker_id, place.thread_id)),
                ConditionExpression=_ABSENT,
            )
        await self._revive(place.frontend, place.address, place.worker_id, place.thread_id)

    async def place(self, which: PlaceRecord) -> PlaceRecord | None:
        """One place as it is now; None when its thread has been deleted."""
        item = await self._get(_key(which))
        return PlaceRecord.read(item) if item else None

    async def save(self, before: PlaceRecord, after: PlaceRecord) -> PlaceRecord:
        """Write ``after`` as the next version of ``before``; the record as it is written.

        Raises Overtaken when the place is not as ``before`` any more.
        """
        written = after.model_copy(update={"version": before.version + 1})
        with translated():
            await self._client.put_item(
                TableName=self._table,
                Item=written.write(_key(written)),
                ConditionExpression="version = :version",
                ExpressionAttributeValues={":version": {"N": str(before.version)}},
            )
        return written

    # ---------------------------------------------------------------- threads with something to show

    async def unshown(self) -> list[UnshownRecord]:
        """Every thread with a message that may not yet be answered in all of its places."""
        return [UnshownRecord.read(i) async for i in self._range(keys.UNSHOWN, prefix=None)]

    async def forget_unshown(self, worker: WorkerId, thread_id: ThreadId, *, through: int) -> None:
        """Everything up to this sequence is shown; a message that came since keeps the thread listed."""
        with translated(), suppress(self._client.exceptions.ConditionalCheckFailedException):
            await self._client.delete_item(
                TableName=self._table,
                Key=keys.unshown_key(worker, thread_id),
                ConditionExpression=f"{_ABSENT} OR #sequence <= :through",
                ExpressionAttributeNames={"#sequence": "sequence"},
                ExpressionAttributeValues={":through": {"N": str(through)}},
            )

    # ---------------------------------------------------------------- requests

    async def _introduce(self, place: PlaceRecord) -> None:
        plain = {"v": 1, "worker_id": place.worker_id, "thread_id": place.thread_id}
        pointer = {**keys.place_key(place.frontend, place.address), **records.encode(plain)}
        parts: list[Any] = [
            {"Put": {"TableName": self._table, "Item": item, "ConditionExpression": _ABSENT}}
            for item in (pointer, place.write(_key(place)))
        ]
        with translated():
            await self._client.transact_write_items(TransactItems=parts)

    async def _revive(self, frontend: Frontend, address: str, worker: WorkerId, thread_id: ThreadId) -> None:
        item = await self._get(keys.shown_key(worker, thread_id, frontend, address))
        place = PlaceRecord.read(item) if item else None
        if place is not None and place.undeliverable is not None:
            with suppress(Overtaken):  # by somebody who is posting there
                await self.save(place, place.model_copy(update={"undeliverable": None}))

    async def _places(self, worker: WorkerId, prefix: str) -> AsyncIterator[PlaceRecord]:
        async for item in self._range(records.worker_pk(worker), prefix=prefix):
            yield PlaceRecord.read(item)

    async def _get(self, key: Item) -> Item | None:
        with translated():
            got = await self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        return dict(got["Item"]) if got.get("Item") else None

    async def _range(self, pk: str, *, prefix: str | None) -> AsyncIterator[Item]:
        values: Item = {":pk": {"S": pk}} | ({":sk": {"S": prefix}} if prefix else {})
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            ConsistentRead=True,
            KeyConditionExpression="pk = :pk" + (" AND begins_with(sk, :sk)" if prefix else ""),
            ExpressionAttributeValues=values,
        )
        with translated():
            async for page in pages:
                for item in page["Items"]:
                    yield dict(item)


def unshown_part(*, table: str, worker: WorkerId, message: MessageRecord) -> dict[str, Any]:
    """The transaction's part that lists a message's thread as one with something to show."""
    record = UnshownRecord(worker_id=worker, thread_id=message.thread_id, sequence=message.sequence)
    item = record.write(keys.unshown_key(worker, message.thread_id))
    return {"Put": {"TableName": table, "Item": item}}


def _key(place: PlaceRecord) -> Item:
    return keys.shown_key(place.worker_id, place.thread_id, place.frontend, place.address)
