"""Files that came with messages: from the records onto this disk, before Claude Code is started.

A file that is there already is not read again; one that has expired, or cannot be laid, is missed and named,
and fails nothing. Decides nothing about turns, and writes no record.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from contracts import uploads as keys
from contracts.messages import Upload
from contracts.uploads import UploadRecord
from contracts.words import ThreadId
from worker.aws import Aws
from worker.log import get_logger
from worker.ports import Laid
from worker.shelf import Shelf

log = get_logger()

T = TypeVar("T")


class Patiently(Protocol):
    """Tries to read until it works or the lease is over. Raises ``LeaseLost``."""

    async def __call__(self, once: Callable[[], Awaitable[T]]) -> T: ...


class Uploads:
    """The files of one worker's messages (``worker.ports.Uploads``). ``now`` is Unix time in seconds."""

    def __init__(
        self,
        *,
        aws: Aws,
        table: str,
        shelf: Shelf,
        patiently: Patiently,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._dynamodb, self._table, self._shelf = aws.dynamodb, table, shelf
        self._patiently, self._now = patiently, now

    def folder(self, thread_id: ThreadId) -> Path:
        """Where the files of a thread are, or will be."""
        return self._shelf.folder(thread_id)

    async def lay(self, thread_id: ThreadId, uploads: Sequence[Upload]) -> Laid:
        """Put the files of a message where Claude Code may read them. Raises ``LeaseLost``."""
        there, missed = [], []
        for upload in uploads:
            if await self._laid(thread_id, upload):
                there.append((upload, self._shelf.place(thread_id, upload.upload_id, upload.name)))
            else:
                missed.append(upload)
        return Laid(folder=self.folder(thread_id), files=tuple(there), missed=tuple(missed))

    async def forget(self, thread_id: ThreadId) -> None:
        """Remove the files of a thread from this disk; not their records."""
        await asyncio.to_thread(self._shelf.forget, thread_id)

    async def forget_others(self, *, but: Collection[ThreadId]) -> None:
        """The same for all threads but these. Raises ``OSError``."""
        await asyncio.to_thread(self._shelf.forget_others, but=but)

    async def _laid(self, thread_id: ThreadId, upload: Upload) -> bool:
        if not keys.is_upload_id(upload.upload_id):
            return False
        record = await self._patiently(lambda: self._record(upload.upload_id))
        if record is None:
            return False
        where = (thread_id, upload.upload_id, upload.name)
        try:
            if await asyncio.to_thread(self._shelf.holds, *where, digest=record.digest):
                return True
            content = await self._patiently(lambda: self._content(upload.upload_id))
            if hashlib.sha256(content).hexdigest() != record.digest:
                return False
            await asyncio.to_thread(self._shelf.lay, *where, content=content)
        except OSError as error:
            log.warning("upload_not_laid", upload=upload.upload_id, error=str(error))
            return False
        return True

    async def _record(self, upload_id: str) -> UploadRecord | None:
        answer = await self._dynamodb.get_item(
            TableName=self._table, Key=keys.upload_key(upload_id), ConsistentRead=True
        )
        record = UploadRecord.read(answer["Item"]) if answer.get("Item") else None
        return record if record is not None and record.expires > self._now() else None

    async def _content(self, upload_id: str) -> bytes:
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={":pk": {"S": keys.upload_pk(upload_id)}, ":sk": {"S": "piece#"}},
            ConsistentRead=True,
        )
        return b"".join([bytes(i["content"]["B"]) async for page in pages for i in page["Items"]])
