"""Files that people send, in DynamoDB: an adapter that also knows who may attach one.

The pieces come first and the record last, when a file arrives; when a message takes it, the pieces are kept
for longer first, and the record changes in the transaction that records the message. So a record that can be
read has all its pieces, and what dies in between only expires. Each method raises ``errors.Unavailable`` when
DynamoDB does not answer.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from contracts import records
from contracts import uploads as keys
from contracts.uploads import UploadRecord
from dispatcher.aws import translated
from dispatcher.errors import NotFound, Overtaken

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb.client import DynamoDBClient


class UploadStore:
    """The files. ``now`` is Unix time in seconds."""

    def __init__(self, client: "DynamoDBClient", *, table: str, now: Callable[[], float] = time.time) -> None:
        self._client, self._table, self._now = client, table, now

    async def put(self, record: UploadRecord, content: bytes) -> None:
        """Keep a file."""
        expires = {"N": str(record.expires)}
        for number, piece in enumerate(keys.pieces(content)):
            item = {
                **keys.piece_key(record.upload_id, number),
                "content": {"B": piece},
                records.TTL_ATTRIBUTE: expires,
            }
            await self._put(item)
        await self._put(record.write(keys.upload_key(record.upload_id)))

    async def get(self, upload_id: str) -> UploadRecord | None:
        """The record of a file that has not expired."""
        if not keys.is_upload_id(upload_id):
            return None
        with translated():
            got = await self._client.get_item(
                TableName=self._table, Key=keys.upload_key(upload_id), ConsistentRead=True
            )
        record = UploadRecord.read(got["Item"]) if got.get("Item") else None
        return record if record is not None and record.expires > self._now() else None

    async def content(self, record: UploadRecord) -> bytes | None:
        """The file itself; None when it goes away while it is read."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={
                ":pk": {"S": keys.upload_pk(record.upload_id)},
                ":sk": {"S": "piece#"},
            },
            ConsistentRead=True,
        )
        with translated():
            found = [bytes(item["content"]["B"]) async for page in pages for item in page["Items"]]
        whole = b"".join(found)
        return whole if len(whole) == record.size else None

    async def taken(self, upload_ids: Sequence[str], *, by: str) -> list[UploadRecord]:
        """The records of files that this user may attach, in order, their pieces kept for as long as messages
        are. Raises NotFound for one that is not there, has expired or is somebody else's: one answer."""
        found = []
        for upload_id in upload_ids:
            record = await self.get(upload_id)
            if record is None or record.owner != by:
                raise unknown_upload(upload_id)
            await self._keep(record)
            found.append(record)
        return found

    def attach(self, record: UploadRecord, *, project: str, thread: str) -> dict[str, Any]:
        """The transaction's part that gives a file to a message of this thread (``thread_name``); fails when
        it is not there any more."""
        return {
            "Update": {
                "TableName": self._table,
                "Key": keys.upload_key(record.upload_id),
                "UpdateExpression": "SET expires = :expires ADD projects :projects, threads :threads",
                "ConditionExpression": "attribute_exists(pk)",
                "ExpressionAttributeValues": {
                    ":expires": {"N": str(self._used_until())},
                    ":projects": {"SS": [project]},
                    ":threads": {"SS": [thread]},
                },
            }
        }

    def unused_until(self) -> int:
        """When a file that arrives now expires if no message takes it."""
        return int(self._now()) + keys.UNUSED_SECONDS

    def _used_until(self) -> int:
        return int(self._now()) + keys.USED_SECONDS

    async def _keep(self, record: UploadRecord) -> None:
        until = self._used_until() + keys.UNUSED_SECONDS  # never before the record
        await asyncio.gather(*(self._keep_piece(record, n, until=until) for n in range(record.pieces)))

    async def _keep_piece(self, record: UploadRecord, number: int, *, until: int) -> None:
        try:
            with translated():
                await self._client.update_item(
                    TableName=self._table,
                    Key=keys.piece_key(record.upload_id, number),
                    UpdateExpression="SET expires = :until",
                    ConditionExpression="attribute_exists(pk)",
                    ExpressionAttributeValues={":until": {"N": str(until)}},
                )
        except Overtaken:
            raise unknown_upload(record.upload_id) from None

    async def _put(self, item: records.Item) -> None:
        with translated():
            await self._client.put_item(TableName=self._table, Item=item)


def unknown_upload(upload_id: str) -> NotFound:
    """The one answer for a file that is not there, has expired, or is not for them."""
    return NotFound(
        f"There is no upload {upload_id[:64]!r} of yours (any more): send the file with POST /v1/uploads.",
        code="unknown_upload",
    )
