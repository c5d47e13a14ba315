"""Tells whoever shows threads in chats that there is something new: rings the replies queue.

A convenience and never a duty: what is lost here is rung for by the dispatcher's sweep. So nothing in here
waits, fails a turn or tries twice. Knows nothing of what an event means beyond how urgent its type is.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from contracts.places import ReplyPointer
from contracts.words import ThreadId, WorkerId
from worker.aws import Aws
from worker.log import get_logger

log = get_logger()

GRADUAL = frozenset({"turn.text", "turn.tool", "turn.tasks"})
"""Types of events that come in streams; everything else is a change of state and rings at once."""
EVERY_SECONDS = 1.0
_SEND_SECONDS = 3.0
_LEAVE_SECONDS = 2.0
_MOST_THREADS = 1000


class Bell:
    """One worker's. Without ``url`` there is nobody to tell, and nothing happens."""

    def __init__(self, *, aws: Aws, url: str | None, worker: WorkerId, every: float = EVERY_SECONDS) -> None:
        self._sqs, self._url, self._worker, self._every = aws.sqs, url, worker, every
        self._due: dict[ThreadId, float] = {}
        self._rung: dict[ThreadId, float] = {}
        self._news = asyncio.Event()
        self._away = False

    def told(self, thread_id: ThreadId, types: Iterable[str]) -> None:
        """Events of these types stand in the thread's log now. Returns at once and never raises."""
        if self._url is None or (thread_id not in self._due and len(self._due) >= _MOST_THREADS):
            return
        now = time.monotonic()
        due = now if not GRADUAL.issuperset(types) else self._rung.get(thread_id, -self._every) + self._every
        self._due[thread_id] = min(due, self._due.get(thread_id, due))
        self._news.set()

    @asynccontextmanager
    async def ringing(self) -> AsyncIterator[None]:
        """Ring for as long as the context lasts; at its end for all that is left, for 2 s at most."""
        loop = asyncio.create_task(self._run(), name="bell")
        try:
            yield
        finally:
            loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await loop
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await self._ring(list(self._due))

    async def _run(self) -> None:
        while True:
            self._news.clear()
            now = time.monotonic()
            await self._ring([thread_id for thread_id, due in self._due.items() if due <= now])
            self._rung = {t: rung for t, rung in self._rung.items() if rung > now - self._every}
            next_due = min(self._due.values(), default=None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if next_due is None else max(next_due - time.monotonic(), 0)):
                    await self._news.wait()

    async def _ring(self, threads: list[ThreadId]) -> None:
        for thread_id in threads:
            # Before the send: what is written meanwhile asks for another ring.
            self._due.pop(thread_id, None)
            self._rung[thread_id] = time.monotonic()
        if threads:
            await asyncio.gather(*(self._send(thread_id) for thread_id in threads))

    async def _send(self, thread_id: ThreadId) -> None:
        assert self._url is not None  # noqa: S101 - nothing is due without it
        body = ReplyPointer(worker_id=self._worker, thread_id=thread_id).model_dump_json()
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await self._sqs.send_message(QueueUrl=self._url, MessageBody=body)
            self._away = False
        except Exception as error:
            if not self._away:  # once per outage
                log.warning("replies_not_rung", thread=thread_id, error=str(error))
            self._away = True
