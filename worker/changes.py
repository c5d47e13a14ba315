"""Keeps the record of what each thread's branch changed in step with the branch, beside the turns.

A version is written file by file, then the head is moved to it, then what was before is removed; all under
the epoch, and only while the thread has its row. A death in between leaves files that no head names: the next
version removes them. A death before the head moved leaves a head that is behind its branch: ``catch_up``,
once at the worker's start, looks at the branches that were committed to last. Computes nothing itself
(``worker.difference``), and nothing here may delay or fail a turn.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol
from uuid import uuid4
from weakref import WeakValueDictionary

from contracts import changes as shapes
from contracts import records
from contracts.changes import ChangesRecord
from contracts.records import Item
from contracts.words import ThreadId, WorkerId
from worker.aws import Aws
from worker.difference import Difference, Span
from worker.errors import LeaseLost
from worker.log import get_logger

log = get_logger()

CATCH_UP = 40
"""How many branches are looked at when a worker starts; a crash leaves no more than a few behind."""
BATCH_PARTS, BATCH_BYTES = 90, 800_000
"""What one transaction takes. DynamoDB allows 100 actions and 4 MB; a body of more than 1 MB would hold up
the event loop while it is sent."""

Part = dict[str, Any]
Write = Callable[[Sequence[Part]], Awaitable[bool]]
"""One transaction under owner and epoch; False when a condition failed. Raises ``LeaseLost``."""


class Source(Protocol):
    """What is asked of git."""

    async def span(self, thread_id: ThreadId) -> Span | None:
        """From where to where the thread's branch goes; None without a branch."""

    async def difference(self, span: Span) -> Difference:
        """What changed in between. Raises ``WorkspaceError``."""

    async def latest(self, *, count: int) -> dict[ThreadId, str]:
        """Threads whose branches were committed to last, and where these stand."""


class Changes:
    """The change records of one worker's threads."""

    def __init__(self, *, aws: Aws, table: str, worker: WorkerId, write: Write, source: Source) -> None:
        self._dynamodb, self._table, self._worker = aws.dynamodb, table, worker
        self._write, self._source = write, source
        self._known: dict[ThreadId, Span] = {}
        self._locks: WeakValueDictionary[ThreadId, asyncio.Lock] = WeakValueDictionary()

    async def refresh(self, thread_id: ThreadId) -> None:
        """Write what the branch changed, unless the record says so already. Never raises: what fails is
        made good by the next commit, or by the next start."""
        async with self._locks.setdefault(thread_id, asyncio.Lock()):
            try:
                await self._refresh(thread_id)
            except LeaseLost:
                log.info("changes_left", thread=thread_id)  # the next owner catches up
            except Exception as error:
                log.warning("changes_not_written", thread=thread_id, error=str(error))

    async def catch_up(self) -> None:
        """Bring the threads in step that an earlier process may have left behind. Never raises."""
        try:
            tips = await self._source.latest(count=CATCH_UP)
            found = await self._heads(list(tips))
        except Exception as error:
            log.warning("changes_not_looked_at", error=str(error))
            return
        for thread_id, head in found.items():
            if head is None or head.head != tips[thread_id]:
                await self.refresh(thread_id)

    async def _refresh(self, thread_id: ThreadId) -> None:
        span = await self._source.span(thread_id)
        if span is None or span == await self._recorded(thread_id):
            return
        made = await self._source.difference(span)
        version = uuid4().hex[:16]
        for parts in _batches(list(self._files(thread_id, made, version=version))):
            if not await self._write([*parts, self._thread_is_there(thread_id)]):
                return  # the thread was deleted meanwhile
        head = self._head(thread_id, made, version=version)
        if await self._write([self._put(head), self._thread_is_there(thread_id)]):
            self._known[thread_id] = span
            await self._remove_others(thread_id, version=version)

    async def _recorded(self, thread_id: ThreadId) -> Span | None:
        """What the record is about, read once in a process: nobody else writes it."""
        if thread_id not in self._known:
            key = shapes.head_key(self._worker, thread_id)
            found = await self._get({thread_id: key})
            if thread_id not in found:
                return None
            self._known[thread_id] = _span_of(ChangesRecord.read(found[thread_id]))
        return self._known[thread_id]

    def _files(self, thread_id: ThreadId, made: Difference, *, version: str) -> Iterator[Part]:
        for number, file in enumerate(made.files):
            where = shapes.change_key(self._worker, thread_id, version=version, number=number)
            yield self._put(file.write(where))

    def _head(self, thread_id: ThreadId, made: Difference, *, version: str) -> Item:
        span = made.span
        record = ChangesRecord(
            version=version, base_branch=span.base_branch, base=span.base, branch=span.branch, head=span.head,
            files=made.total, shown=len(made.files), insertions=made.insertions, deletions=made.deletions,
            cut=made.cut,
        )  # fmt: skip
        return record.write(shapes.head_key(self._worker, thread_id))

    def _put(self, item: Item) -> Part:
        return {"Put": {"TableName": self._table, "Item": item}}

    def _thread_is_there(self, thread_id: ThreadId) -> Part:
        return {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": records.thread_key(self._worker, thread_id),
                "ConditionExpression": "attribute_exists(pk)",
            }
        }

    async def _remove_others(self, thread_id: ThreadId, *, version: str) -> None:
        """Whatever is of another version: the one before, and what a death left behind."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={
                ":pk": {"S": records.thread_pk(self._worker, thread_id)},
                ":sk": {"S": shapes.ALL_CHANGES},
            },
            ProjectionExpression="pk, sk",
            ConsistentRead=True,
        )
        keys: list[Item] = [dict(item) async for page in pages for item in page["Items"]]
        head = shapes.head_key(self._worker, thread_id)["sk"]
        old = [k for k in keys if k["sk"] != head and not _is_of(k, version)]
        deletes = [{"Delete": {"TableName": self._table, "Key": k}} for k in old]
        for start in range(0, len(deletes), BATCH_PARTS):
            await self._write(deletes[start : start + BATCH_PARTS])

    async def _heads(self, threads: Sequence[ThreadId]) -> dict[ThreadId, ChangesRecord | None]:
        """The heads of those of these threads that are this worker's, in two reads for all of them."""
        rows = await self._get({t: records.thread_key(self._worker, t) for t in threads})
        heads = await self._get({t: shapes.head_key(self._worker, t) for t in rows})
        return {t: ChangesRecord.read(heads[t]) if t in heads else None for t in rows}

    async def _get(self, keys: Mapping[ThreadId, Item]) -> dict[ThreadId, Item]:
        if not keys:
            return {}
        asked: Any = {self._table: {"Keys": list(keys.values()), "ConsistentRead": True}}
        items: list[Item] = []
        while asked:
            answer = await self._dynamodb.batch_get_item(RequestItems=asked)
            items += [dict(item) for item in answer.get("Responses", {}).get(self._table, [])]
            asked = answer.get("UnprocessedKeys")
        by_key = {(i["pk"]["S"], i["sk"]["S"]): i for i in items}
        pairs = ((t, by_key.get((k["pk"]["S"], k["sk"]["S"]))) for t, k in keys.items())
        return {t: item for t, item in pairs if item is not None}


def _span_of(head: ChangesRecord) -> Span:
    return Span(base_branch=head.base_branch, base=head.base, branch=head.branch, head=head.head)


def _is_of(key: Item, version: str) -> bool:
    return bool(key["sk"]["S"].startswith(shapes.version_prefix(version)))


def _batches(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """The parts in order, in lists that one transaction takes."""
    batch: list[Part] = []
    size = 0
    for part in parts:
        weight = 1_000 + sum(len(json.dumps(v)) for v in part["Put"]["Item"].values())
        if batch and (len(batch) >= BATCH_PARTS or size + weight > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(part)
        size += weight
    if batch:
        yield batch
