"""Live logs: one reader per thread follows the table, and any number of streams follow that reader.

A stream is a position in the log and nothing else. Numbers have no gaps, so what comes next is always
known, and a stream that is slow, late or reconnecting reads from the table what the reader no longer has.
Costs of an open but silent thread: one read of half a unit per look.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import structlog

from contracts.events import Event
from contracts.words import ThreadId, WorkerId
from dispatcher.errors import DispatcherError
from dispatcher.table import Table

_log = structlog.get_logger(__name__)

LIVELY_SECONDS = 0.15
QUIET_SECONDS = 0.5
QUIET_AFTER_SECONDS = 30.0
_KEPT_EVENTS = 200
_KEPT_CHARACTERS = 2_000_000
_SETTLING_TRIES = 5
_SETTLING_SECONDS = 0.05

Line = tuple[int, str]
"""An event's number and its JSON on one line."""


class _Reader:
    """Follows one thread. ``last`` is the number of the newest event it has seen."""

    def __init__(self, table: Table, *, worker: WorkerId, thread_id: ThreadId, last: int) -> None:
        self._table = table
        self._worker = worker
        self._thread_id = thread_id
        self.last = last
        self._kept: deque[Line] = deque()
        self._size = 0
        self._news = asyncio.Condition()
        self.is_over = False
        self._lively_at = monotonic()

    def kept_after(self, after: int) -> list[Line] | None:
        """What is kept beyond ``after``; None when the table has to be asked."""
        if after >= self.last:
            return []
        if not self._kept or self._kept[0][0] > after + 1:
            return None
        return [line for line in self._kept if line[0] > after]

    def nudge(self) -> None:
        """Something is about to happen: look often."""
        self._lively_at = monotonic()

    async def wait(self, *, beyond: int) -> None:
        """Until there is an event beyond a number, or the thread is gone."""
        async with self._news:
            await self._news.wait_for(lambda: self.last > beyond or self.is_over)

    async def run(self) -> None:
        """Look again and again until cancelled or the thread is gone. Storage that does not answer is waited
        for."""
        while not self.is_over:
            await asyncio.sleep(self._pause())
            try:
                await self._look()
            except DispatcherError as error:
                _log.warning("log not read", thread_id=self._thread_id, problem=str(error))
                await asyncio.sleep(1)

    def _pause(self) -> float:
        silent = monotonic() - self._lively_at
        return LIVELY_SECONDS if silent < QUIET_AFTER_SECONDS else QUIET_SECONDS

    async def _look(self) -> None:
        last = await self._table.last_event(self._worker, self._thread_id)
        if last is None:
            await self._end_if_gone()
            return
        if last <= self.last:
            return
        for line in await _page(self._table, worker=self._worker, thread_id=self._thread_id, after=self.last):
            self._keep(line)
        self.nudge()
        async with self._news:
            self._news.notify_all()

    async def _end_if_gone(self) -> None:
        """The cheap read may not see a thread that was just made; a consistent one does."""
        row = await self._table.thread(self._worker, self._thread_id)
        if row is None or row.deleting:
            async with self._news:
                self.is_over = True
                self._news.notify_all()

    def _keep(self, line: Line) -> None:
        self._kept.append(line)
        self._size += len(line[1])
        self.last = line[0]
        while len(self._kept) > _KEPT_EVENTS or (self._size > _KEPT_CHARACTERS and len(self._kept) > 1):
            self._size -= len(self._kept.popleft()[1])


class Streams:
    """Hands out streams of threads' logs."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._readers: dict[tuple[WorkerId, ThreadId], tuple[_Reader, int, asyncio.Task[None]]] = {}

    async def whole(self, *, worker: WorkerId, thread_id: ThreadId, after: int) -> AsyncGenerator[Line, None]:
        """The log beyond ``after`` as it is now, then the end."""
        while lines := await _page(self._table, worker=worker, thread_id=thread_id, after=after):
            for line in lines:
                yield line
            after = lines[-1][0]

    async def follow(
        self, *, worker: WorkerId, thread_id: ThreadId, after: int, last: int
    ) -> AsyncGenerator[Line, None]:
        """The log beyond ``after``, each event once and in order, until the thread is deleted.

        ``last`` is the thread's event counter as read just before.
        """
        async with self._reader(worker=worker, thread_id=thread_id, last=last) as reader:
            while not reader.is_over:
                known = reader.last
                lines = reader.kept_after(after)
                if lines is None:
                    lines = await _page(self._table, worker=worker, thread_id=thread_id, after=after)
                    after = after if lines else known  # everything in between has expired
                for line in lines:
                    yield line
                    after = line[0]
                if not lines:
                    await reader.wait(beyond=after)

    def nudge(self, *, worker: WorkerId, thread_id: ThreadId) -> None:
        """A message was posted: whoever watches this thread looks often again."""
        if (worker, thread_id) in self._readers:
            self._readers[worker, thread_id][0].nudge()

    @asynccontextmanager
    async def _reader(self, *, worker: WorkerId, thread_id: ThreadId, last: int) -> AsyncIterator[_Reader]:
        key = (worker, thread_id)
        if key not in self._readers:
            reader = _Reader(self._table, worker=worker, thread_id=thread_id, last=last)
            self._readers[key] = (reader, 0, asyncio.create_task(reader.run()))
        reader, users, running = self._readers[key]
        self._readers[key] = (reader, users + 1, running)
        try:
            yield reader
        finally:
            self._leave(key)

    def _leave(self, key: tuple[WorkerId, ThreadId]) -> None:
        reader, users, running = self._readers[key]
        if users > 1:
            self._readers[key] = (reader, users - 1, running)
        else:
            running.cancel()
            del self._readers[key]


async def _page(table: Table, *, worker: WorkerId, thread_id: ThreadId, after: int) -> list[Line]:
    """The next events beyond ``after``, read until their numbers have no gap.

    A query is not a snapshot: it can see the second half of a transaction and not yet the first. Only a gap
    that stays is one of events that have expired.
    """
    events: list[Event] = []
    for _ in range(_SETTLING_TRIES):
        events = await table.events(worker=worker, thread_id=thread_id, after=after)
        if not events or events[-1].id == after + len(events):
            break
        await asyncio.sleep(_SETTLING_SECONDS)
    return [(event.id, one_line(event)) for event in events]


def one_line(event: Event) -> str:
    """The event's JSON; characters that some readers take for the end of a line are escaped."""
    plain = event.model_dump_json()
    for character in "\x7f\x85\u2028\u2029":
        plain = plain.replace(character, f"\\u{ord(character):04x}")
    return plain
