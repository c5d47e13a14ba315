"""Removes the records of a deleted thread, a few in each transaction, under owner and epoch.

The order is what makes it repeatable: files that no other thread's message carries go before the messages
that name them, a message goes together with what its id was used for, the thread's row with the open record
that says there is something to remove. Nothing is removed once that record is gone, so a new thread of the
same name loses nothing. The layout stands in ``docs/decisions/records.md``.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from contracts import names, places, records
from contracts import uploads as keys
from contracts.faults import fault
from contracts.records import Item
from contracts.words import Frontend, ThreadId, WorkerId

AT_ONCE = 10
"""Items in one transaction: those of 350 KB have to fit into its 4 MB."""


class Patiently(Protocol):
    """Tries until it works or the lease is over."""

    def __call__(self, once: Callable[[], Awaitable[Any]]) -> Awaitable[Any]: ...


class Transact(Protocol):
    """Makes a transaction; what ``settled`` says when a condition fails that is not the owner's."""

    def __call__(
        self, parts: Sequence[Any], *, settled: Callable[[], Awaitable[bool]] | None = None
    ) -> Awaitable[bool]: ...


@dataclass(frozen=True, kw_only=True)
class Forgetting:
    """The records of one worker's threads, on their way out. ``owned``: the part with owner and epoch."""

    dynamodb: Any
    table: str
    worker: WorkerId
    owned: Callable[[], dict[str, Any]]
    patiently: Patiently
    transact: Transact

    async def is_due(self, thread_id: ThreadId) -> bool:
        """Whether the thread is to be removed and is not yet."""

        async def once() -> bool:
            key = records.delete_key(self.worker, thread_id)
            got = await self.dynamodb.get_item(TableName=self.table, Key=key, ConsistentRead=True)
            return "Item" in got

        return bool(await self.patiently(once))

    async def forget(self, thread_id: ThreadId) -> None:
        """Remove all of it. Raises LeaseLost."""
        worker = self.worker
        log = records.thread_pk(worker, thread_id)
        async for message in self._range(log, prefix="message#"):
            for upload in message.get("uploads", {}).get("L", []):
                await self._let_go(thread_id, upload["M"]["upload_id"]["S"])
        await self._each(thread_id, pk=log, prefix="message#", also=self._id_of)
        fault("messages_removed")
        await self._each(thread_id, pk=log, prefix="")
        own = records.worker_pk(worker)
        await self._each(thread_id, pk=own, prefix=places.shown_prefix(thread_id), also=self._place_of)
        await self._each(thread_id, pk=own, prefix=f"note#redrives#{thread_id}#")
        await self._remove(thread_id, [places.unshown_key(worker, thread_id)])
        fault("places_removed")
        spared = records.delete_key(worker, thread_id)["sk"]["S"]
        await self._each(thread_id, pk=own, prefix=f"open#{thread_id}#", spared=spared)
        await self._remove(
            thread_id,
            [records.thread_key(worker, thread_id), records.directory_key(thread_id)],
            last=True,
        )

    async def _let_go(self, thread_id: ThreadId, upload_id: str) -> None:
        """Remove a file, unless a message of another thread carries it: then only this thread is taken off.
        The record goes first: whoever finds one finds all pieces."""
        if not keys.is_upload_id(upload_id):
            return
        ours = {":ours": {"S": keys.thread_name(self.worker, thread_id)}}
        record = {"TableName": self.table, "Key": keys.upload_key(upload_id)}
        alone = "attribute_not_exists(threads) OR (contains(threads, :ours) AND size(threads) = :one)"
        one = {"ConditionExpression": alone, "ExpressionAttributeValues": {**ours, ":one": {"N": "1"}}}
        if await self._change(thread_id, [{"Delete": {**record, **one}}]):
            await self._each(thread_id, pk=keys.upload_pk(upload_id), prefix="piece#")
            return
        taken_off = {
            "UpdateExpression": "DELETE threads :ours",
            "ConditionExpression": "attribute_exists(pk)",
            "ExpressionAttributeValues": {":ours": {"SS": [ours[":ours"]["S"]]}},
        }
        await self._change(thread_id, [{"Update": {**record, **taken_off}}])

    def _id_of(self, message: Item) -> list[Item]:
        frontend = Frontend(message["frontend"]["S"])
        return [records.id_key(self.worker, frontend, names.digest(message["id"]["S"]))]

    def _place_of(self, place: Item) -> list[Item]:
        return [places.place_key(Frontend(place["frontend"]["S"]), place["address"]["S"])]

    async def _each(
        self,
        thread_id: ThreadId,
        *,
        pk: str,
        prefix: str,
        also: Callable[[Item], list[Item]] = lambda _: [],
        spared: str = "",
    ) -> None:
        """Remove a range, and with each item what belongs to it."""
        waiting: list[Item] = []
        async for item in self._range(pk, prefix=prefix):
            if item["sk"]["S"] != spared:
                waiting += [records.key(pk, item["sk"]["S"]), *also(item)]
            if len(waiting) >= AT_ONCE - 1:
                await self._remove(thread_id, waiting)
                waiting = []
        if waiting:
            await self._remove(thread_id, waiting)

    async def _range(self, pk: str, *, prefix: str) -> AsyncIterator[Item]:
        values: Item = {":pk": {"S": pk}} | ({":sk": {"S": prefix}} if prefix else {})
        more: dict[str, Any] = {}
        while True:

            async def once(more: dict[str, Any] = more) -> Any:
                return await self.dynamodb.query(
                    TableName=self.table,
                    KeyConditionExpression="pk = :pk" + (" AND begins_with(sk, :sk)" if prefix else ""),
                    ExpressionAttributeValues=values,
                    ProjectionExpression="sk, id, frontend, address, uploads",
                    ConsistentRead=True,
                    **more,
                )

            page = await self.patiently(once)
            for item in page["Items"]:
                yield item
            if "LastEvaluatedKey" not in page:
                return
            more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    async def _remove(self, thread_id: ThreadId, gone: Sequence[Item], *, last: bool = False) -> None:
        """One transaction; nothing when the thread is not to be removed any more."""
        parts = [{"Delete": {"TableName": self.table, "Key": key}} for key in gone]
        await self._change(thread_id, parts, last=last)

    async def _change(self, thread_id: ThreadId, changes: Sequence[Any], *, last: bool = False) -> bool:
        """One transaction, as long as the thread is to be removed; whether all conditions held."""
        due = {"TableName": self.table, "Key": records.delete_key(self.worker, thread_id)}
        due["ConditionExpression"] = "attribute_exists(pk)"

        async def nothing_to_do() -> bool:
            return False

        parts = [self.owned(), {"Delete" if last else "ConditionCheck": due}, *changes]
        return bool(await self.transact(parts, settled=nothing_to_do))
