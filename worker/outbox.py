"""Events on their way to the ledger: small batches, text joined, in order, bounded.

Text is written at most every 200 ms and everything else with the next batch, so that a chat shows progress
without a write per word. What cannot be written waits here, up to a bound, and then slows its turn down.
No knowledge of turns or of DynamoDB.
"""

import asyncio
from dataclasses import replace

from contracts.words import ThreadId
from worker.errors import LeaseLost
from worker.log import get_logger
from worker.ports import Draft, Ledger

log = get_logger()

BATCH_SECONDS = 0.2
BACKLOG_LIMIT = 1 << 20
"""Characters of unwritten events before ``add`` waits."""
TEXT_LIMIT = 64 * 1024
"""Longest text of one event, in characters; more goes into the next one."""


class Outbox:
    """One worker's events. ``flush`` before a transaction of the same thread keeps the order."""

    def __init__(self, *, ledger: Ledger, batch_seconds: float = BATCH_SECONDS) -> None:
        self._ledger, self._batch = ledger, batch_seconds
        self._waiting: dict[ThreadId, list[Draft]] = {}
        self._size = 0
        self._room = asyncio.Event()
        self._room.set()
        self._due = asyncio.Event()
        self._writing = asyncio.Lock()

    async def add(self, draft: Draft) -> None:
        """Queue one event; waits when too much is unwritten."""
        await self._room.wait()
        drafts = self._waiting.setdefault(draft.thread_id, [])
        if drafts and _joins(drafts[-1], draft):
            self._size -= _size(drafts[-1])
            draft = _joined(drafts.pop(), draft)
        drafts.append(draft)
        self._size += _size(draft)
        if self._size > BACKLOG_LIMIT:
            self._room.clear()
        self._due.set()

    async def run(self) -> None:
        """Write what waits, every batch, until cancelled. Raises LeaseLost."""
        while True:
            await self._due.wait()
            self._due.clear()
            await asyncio.sleep(self._batch)
            await self.flush()

    async def flush(self) -> None:
        """Return when everything added so far is written. Raises LeaseLost."""
        async with self._writing:
            while self._waiting:
                thread_id = next(iter(self._waiting))
                drafts = self._waiting.pop(thread_id)
                try:
                    await self._ledger.append(thread_id, drafts)
                except LeaseLost:
                    self._waiting.clear()
                    self._size = 0
                    self._room.set()
                    raise
                except Exception:
                    log.exception("events_dropped", thread=thread_id, count=len(drafts))
                self._size = max(self._size - sum(_size(d) for d in drafts), 0)
                if self._size <= BACKLOG_LIMIT:
                    self._room.set()


def _size(draft: Draft) -> int:
    return 200 + len(str(draft.data.get("text", ""))) + len(str(draft.data.get("output", "")))


def _joins(old: Draft, new: Draft) -> bool:
    same = old.type == new.type == "turn.text" and old.turn_id == new.turn_id
    return same and len(old.data["text"]) + len(new.data["text"]) <= TEXT_LIMIT


def _joined(old: Draft, new: Draft) -> Draft:
    return replace(old, data={"text": old.data["text"] + new.data["text"]})
