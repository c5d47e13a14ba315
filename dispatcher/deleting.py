"""Deleting a thread, the dispatcher's half: from one transaction on it is gone for every reader and writer.

What is left of it (branch, session, records) is removed by its worker, which finds the open record; nothing
of that is done or waited for here. See ``docs/decisions/page.md``.
"""

from typing import Any

from contracts import places as keys
from contracts import records
from contracts.places import PlaceRecord
from contracts.records import StopRecord, ThreadRecord
from contracts.words import ThreadId, WorkerId
from dispatcher.ingest import Ingest
from dispatcher.places import Places
from dispatcher.record import until_won
from dispatcher.streams import Streams
from dispatcher.table import Table

_MOST_PLACES = 40
"""Places that are taken away in the same transaction, of at most 100 parts; the worker finds any others."""


class Deleting:
    """Marks threads as deleted."""

    def __init__(self, *, table: Table, places: Places, ingest: Ingest, streams: Streams) -> None:
        self._table = table
        self._places = places
        self._ingest = ingest
        self._streams = streams

    async def delete(self, worker: WorkerId, thread_id: ThreadId) -> None:
        """The thread is gone for all when this returns, and its worker knows. Can be repeated.

        Raises Unavailable.
        """
        row = await until_won(lambda: self._mark(worker, thread_id))
        self._streams.nudge(worker=worker, thread_id=thread_id)
        if row is not None:
            await self._ingest.ring_stop(worker, thread_id, through=row.last_sequence)

    async def _mark(self, worker: WorkerId, thread_id: ThreadId) -> ThreadRecord | None:
        """The thread as it was marked, now or before; None when there is nothing left of it."""
        row = await self._table.thread(worker, thread_id)
        if row is None or row.deleting:
            return row
        shown = await self._places.places_of(worker, thread_id)
        await self._table.write(_parts(table=self._table.name, row=row, places=shown[:_MOST_PLACES]))
        return row


def _parts(*, table: str, row: ThreadRecord, places: list[PlaceRecord]) -> list[dict[str, Any]]:
    worker, thread_id = row.worker_id, row.thread_id
    stop = StopRecord(thread_id=thread_id, through=row.last_sequence)
    goes = stop.model_copy(update={"delete": True})
    mark = {
        "TableName": table,
        "Key": records.thread_key(worker, thread_id),
        "UpdateExpression": "SET deleting = :true",
        "ConditionExpression": "last_sequence = :read AND attribute_not_exists(deleting)",
        "ExpressionAttributeValues": {":true": {"BOOL": True}, ":read": {"N": str(row.last_sequence)}},
    }
    puts = [
        stop.write(records.stop_key(worker, thread_id)),
        goes.write(records.delete_key(worker, thread_id)),
    ]
    gone = [key for place in places for key in _keys(place)]
    return [
        {"Update": mark},
        *({"Put": {"TableName": table, "Item": item}} for item in puts),
        *({"Delete": {"TableName": table, "Key": key}} for key in gone),
    ]


def _keys(place: PlaceRecord) -> list[records.Item]:
    return [
        keys.place_key(place.frontend, place.address),
        keys.shown_key(place.worker_id, place.thread_id, place.frontend, place.address),
    ]
