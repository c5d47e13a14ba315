"""The files of Claude Code sessions in the table: written under owner and epoch, read as they were.

A write first puts the slices that no head counts yet, then the last of them together with the head, on the
condition that the head is still the one the write began from: so it lands as a whole, once, whoever repeats
it. The layout stands in ``contracts.sessions``. Not redacted: these are Claude's own words to itself, read
back by Claude alone, and a changed one would not be what it has seen. Decides nothing about turns.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from contracts import records
from contracts import sessions as shapes
from contracts.records import Item
from contracts.sessions import SessionFile
from contracts.words import ThreadId, WorkerId
from worker.aws import Aws

AT_ONCE = 2
"""Slices in one transaction. A body of more than 1 MB would hold up the event loop while it is sent."""
DAY = 86400

Part = dict[str, Any]
Write = Callable[[Sequence[Part]], Awaitable[bool]]
"""One transaction under owner and epoch; False when a condition failed. Raises ``LeaseLost``."""
T = TypeVar("T")


class Patiently(Protocol):
    """Tries to read until it works or the lease is over. Raises ``LeaseLost``."""

    async def __call__(self, once: Callable[[], Awaitable[T]]) -> T: ...


class Moved(Exception):
    """The head is not the one that a write began from, or its thread is gone: nothing was written."""


@dataclass(frozen=True, kw_only=True)
class SessionTable:
    """The session files of one worker's threads. ``place`` names this disk; ``days`` is how long a file is
    kept at least after it was written to, twice that at most. ``now`` is Unix time in seconds."""

    aws: Aws
    table: str
    worker: WorkerId
    write: Write
    patiently: Patiently
    place: str
    days: float
    now: Callable[[], float] = time.time

    async def heads(self, thread_id: ThreadId, *, scope: str, session: str) -> dict[str, SessionFile]:
        """What there is of a session, by name; expired files left out. Raises ``LeaseLost``."""
        prefix = shapes.heads_prefix(scope, session)
        found = [SessionFile.read(i) for i in await self._range(thread_id, prefix)]
        return {file.name: file for file in found if file.expires > self.now()}

    async def content(self, thread_id: ThreadId, file: SessionFile) -> bytes:
        """The file. Raises ``ValueError`` when it is not whole any more, ``LeaseLost``."""
        items = await self._range(thread_id, shapes.slices_prefix(file))
        slices = [bytes(i["content"]["B"]) for i in items[: file.slices]]
        if len(slices) != file.slices:
            raise ValueError(f"{file.name} of a session has lost slices")
        return await asyncio.to_thread(shapes.unpack, slices, size=file.size)

    def old(self, file: SessionFile) -> bool:
        """Whether the file has to be written anew, as a whole, so that its first slices do not expire."""
        return file.begun + self.days * DAY < self.now()

    def new(self, *, scope: str, session: str, name: str) -> SessionFile:
        """A file that is not there yet."""
        begun = int(self.now())
        return SessionFile(
            scope=scope, session=session, name=name, begun=begun, expires=begun + int(2 * self.days * DAY)
        )

    async def extend(
        self, thread_id: ThreadId, file: SessionFile, *, after: int, data: bytes, digest: str
    ) -> SessionFile:
        """Put ``data`` behind the first ``after`` bytes of the file, which are all of it or none: then it
        becomes a new generation. ``digest``: of all of it. The head as it is then. Raises ``Moved``,
        ``LeaseLost``."""
        base = file if after or not file.slices else self._next(file)
        slices = await asyncio.to_thread(shapes.pack, data)
        new = base.model_copy(
            update={
                "slices": base.slices + len(slices),
                "size": after + len(data),
                "digest": digest,
                "place": self.place,
                "expires": base.begun + int(2 * self.days * DAY),
            }
        )
        puts = [self._slice(thread_id, new, n, s) for n, s in enumerate(slices, start=base.slices)]
        *before, last = list(_groups(puts, AT_ONCE)) or [[]]
        for group in before:
            await self.write(group)
        if not await self.write([*last, self._row(thread_id), self._head(thread_id, file, new)]):
            await self._must_stand(thread_id, new)
        if base is not file:
            await self._remove(thread_id, file)
        return new

    async def drop(self, thread_id: ThreadId, file: SessionFile) -> None:
        """Remove a file: its head first, so that nobody finds it without its slices. Raises ``LeaseLost``."""
        key = shapes.head_key(self.worker, thread_id, file)
        await self.write([{"Delete": {"TableName": self.table, "Key": key}}])
        await self._remove(thread_id, file)

    def _next(self, file: SessionFile) -> SessionFile:
        begun = int(self.now())
        changes = {"generation": file.generation + 1, "slices": 0, "size": 0, "begun": begun}
        return file.model_copy(update=changes)

    async def _must_stand(self, thread_id: ThreadId, new: SessionFile) -> None:
        """An earlier try may have landed, whose answer got lost."""
        heads = await self.heads(thread_id, scope=new.scope, session=new.session)
        if heads.get(new.name) != new:
            raise Moved(f"{new.name} of a session was changed meanwhile, or its thread is gone")

    async def _remove(self, thread_id: ThreadId, file: SessionFile) -> None:
        pk = records.thread_pk(self.worker, thread_id)
        items = await self._range(thread_id, shapes.slices_prefix(file), only="sk")
        for group in _groups(items, 25):
            keys = [records.key(pk, i["sk"]["S"]) for i in group]
            await self.write([{"Delete": {"TableName": self.table, "Key": key}} for key in keys])

    # ------------------------------------------------------------ parts

    def _slice(self, thread_id: ThreadId, file: SessionFile, number: int, content: bytes) -> Part:
        return shapes.put_slice(
            table=self.table,
            worker=self.worker,
            thread_id=thread_id,
            file=file,
            number=number,
            content=content,
        )

    def _row(self, thread_id: ThreadId) -> Part:
        """The thread must still be there: what is left of a deleted one would stay."""
        key = records.thread_key(self.worker, thread_id)
        condition = {"ConditionExpression": "attribute_exists(pk)"}
        return {"ConditionCheck": {"TableName": self.table, "Key": key, **condition}}

    def _head(self, thread_id: ThreadId, old: SessionFile, new: SessionFile) -> Part:
        """The head, if it is still the one that the write began from; of what is expired none has to be."""
        names = {"#generation": "generation", "#slices": "slices", "#size": "size"}
        same = "#generation = :generation AND #slices = :slices AND #size = :size"
        values = {f":{n}": {"N": str(getattr(old, n))} for n in ("generation", "slices", "size")}
        if not old.size:
            same = f"attribute_not_exists(pk) OR expires < :now OR ({same})"
            values[":now"] = {"N": str(int(self.now()))}
        return {
            "Put": {
                "TableName": self.table,
                "Item": new.write(shapes.head_key(self.worker, thread_id, new)),
                "ConditionExpression": same,
                "ExpressionAttributeNames": names,
                "ExpressionAttributeValues": values,
            }
        }

    async def _range(
        self, thread_id: ThreadId, prefix: str, *, only: str = ""
    ) -> Sequence[Mapping[str, Any]]:
        """All items whose sort keys begin with this, in order."""
        values: Item = {":pk": {"S": records.thread_pk(self.worker, thread_id)}, ":sk": {"S": prefix}}
        asked: dict[str, Any] = {"ProjectionExpression": only} if only else {}

        async def pages() -> AsyncIterator[Any]:
            async for page in self.aws.dynamodb.get_paginator("query").paginate(
                TableName=self.table,
                KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
                ExpressionAttributeValues=values,
                ConsistentRead=True,
                **asked,
            ):
                yield page

        async def once() -> list[Mapping[str, Any]]:
            return [item async for page in pages() for item in page["Items"]]

        return await self.patiently(once)


def _groups(parts: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(parts), size):
        yield list(parts[start : start + size])
