"""The warm pool's records in the table: one adapter, no decisions.

Every change has the record as it was read for its condition, and answers whether it was made. Raises
Unavailable when DynamoDB does not answer.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from contracts import pool
from contracts.pool import Slot
from contracts.records import Item, encode
from contracts.words import WorkerId
from dispatcher.errors import Overtaken
from dispatcher.pool_rules import Launch, SlotRecord
from dispatcher.table import Table, note_item

NOTE = "launch"
"""The note about a worker's last start."""
_ABSENT = "attribute_not_exists(pk)"


class PoolRows:
    """Slots, their letters, and the notes that name them."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def look(self) -> tuple[int, list[SlotRecord]]:
        """The number of the last round that added slots, and all slots."""
        items = await self._table.partition(pool.POOL)
        rounds = [int(i["number"]["N"]) for i in items if i["sk"]["S"] == pool.ROUND]
        return max(rounds, default=0), [SlotRecord.read(i) for i in items if pool.is_slot(i["sk"]["S"])]

    async def last(self, worker: WorkerId) -> Launch:
        """The worker's last start."""
        return Launch.model_validate(await self._table.note(worker, NOTE))

    async def epoch(self, worker: WorkerId) -> int:
        """How often the worker's id has changed its owner."""
        row = await self._table.worker(worker)
        return row.epoch if row else 0

    async def add(self, count: int, *, after: int, now: float) -> list[SlotRecord]:
        """Records of so many new slots; none when another has added some since round ``after``."""
        made = [SlotRecord(slot=Slot(f"slot_{secrets.token_hex(8)}"), since=now) for _ in range(count)]
        condition = "#number = :after" if after else _ABSENT
        number = self._put({**pool.round_key(), **encode({"number": after + 1})}, condition)
        if after:
            number["Put"]["ExpressionAttributeNames"] = {"#number": "number"}
            number["Put"]["ExpressionAttributeValues"] = {":after": {"N": str(after)}}
        return made if await self._write([number, *(self._put(_item(s), _ABSENT) for s in made)]) else []

    async def change(self, before: SlotRecord, **changed: Any) -> SlotRecord | None:
        """The record with other values; None when it is not as it was any more."""
        after = before.model_copy(update=changed)
        return after if await self._write([self._replace(before, after)]) else None

    async def claim(self, before: SlotRecord, *, worker: WorkerId, last: Launch, launch: Launch) -> bool:
        """Give the slot to the worker, and have the worker's note name its task."""
        claimed = {"state": "claimed", "worker": worker, "since": launch.at, "epoch": launch.epoch}
        part = self._replace(before, before.model_copy(update=claimed))
        return await self._write([part, self._note(worker, launch, last=last)])

    async def tell(self, worker: WorkerId, launch: Launch, *, variables: Mapping[str, str]) -> bool:
        """Write the slot its letter, if it is still the worker's. ``variables``: what the worker is told."""
        if launch.slot is None:
            return False
        letter = self._put(
            pool.letter(launch.slot, worker, variables=variables),
            f"{_ABSENT} OR worker_id = :worker",
            {":worker": {"S": worker}},
        )
        told = launch.model_copy(update={"told": True})
        return await self._write([letter, self._note(worker, told, last=launch)])

    async def remove(self, slot: SlotRecord) -> bool:
        """Forget the slot and its letter."""
        condition, names, values = _as_it_was(slot)
        record = {
            "TableName": self._table.name,
            "Key": pool.record_key(slot.slot),
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
        }
        letter = {"TableName": self._table.name, "Key": pool.letter_key(slot.slot)}
        return await self._write([{"Delete": record}, {"Delete": letter}])

    # ------------------------------------------------------------ parts of a transaction

    def _note(self, worker: WorkerId, launch: Launch, *, last: Launch) -> dict[str, Any]:
        item = note_item(worker, NOTE, **launch.model_dump(mode="json", exclude_none=True))
        if last.task is None:
            return self._put(item, _ABSENT)
        return self._put(item, "task = :task", {":task": {"S": last.task}})

    def _replace(self, before: SlotRecord, after: SlotRecord) -> dict[str, Any]:
        condition, names, values = _as_it_was(before)
        part = self._put(_item(after), condition, values)
        part["Put"]["ExpressionAttributeNames"] = names
        return part

    def _put(self, item: Item, condition: str, values: Item | None = None) -> dict[str, Any]:
        put = {"TableName": self._table.name, "Item": item, "ConditionExpression": condition}
        return {"Put": {**put, "ExpressionAttributeValues": values} if values else put}

    async def _write(self, parts: Sequence[dict[str, Any]]) -> bool:
        try:
            await self._table.write(parts)
        except Overtaken:
            return False
        return True


def _item(slot: SlotRecord) -> Item:
    return {**pool.record_key(slot.slot), **slot.attributes()}


def _as_it_was(slot: SlotRecord) -> tuple[str, dict[str, str], Item]:
    """Condition, names and values. ``since`` tells two visits to a state apart."""
    values = {":state": {"S": slot.state}, ":since": {"N": repr(slot.since)}}
    return "#state = :state AND #since = :since", {"#state": "state", "#since": "since"}, values
