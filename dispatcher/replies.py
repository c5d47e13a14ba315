"""Replies: whoever rings, every place of the thread is made to look like its log.

Level-triggered: a ring says nothing but "look". What is left to do later is remembered here and, so that a
restart forgets nothing, in the table's list of threads with something to show, which the sweep rings for.
How a place is made to look right is in ``stand``; nothing here knows Slack or GitHub.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

import structlog

from contracts.places import PlaceRecord, ReplyPointer
from contracts.words import Frontend, ThreadId, WorkerId
from dispatcher.due import is_finished
from dispatcher.errors import DispatcherError, Unavailable
from dispatcher.places import Places
from dispatcher.posting import Dialect, Poster
from dispatcher.rings import Ring, Rings
from dispatcher.stand import Stand, Standing
from dispatcher.table import Table
from dispatcher.view import ThreadView
from dispatcher.views import Views

_log = structlog.get_logger(__name__)

AT_ONCE = 8
"""Places of one frontend that are posted to at the same time, and threads whose logs are read."""
_EVERY = 10**12
"""Beyond every sequence."""
_HELD = 64
"""Threads in work before no more rings are received."""
_AWAY_SECONDS = 5.0
_LEAVE_SECONDS = 3.0
_UNSHOWABLE = "The reply cannot be rendered: the dispatcher's log says why."


class Broken(Exception):
    """The reply of at least one place cannot be rendered; all others were cared for."""


class Replies:
    """Makes places look right. ``frontends``: of each the dialect and the poster; ``now`` is monotonic."""

    def __init__(
        self,
        *,
        table: Table,
        places: Places,
        frontends: Mapping[Frontend, tuple[Dialect, Poster]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._places = places
        self._views = Views(table)
        self._stands = {
            frontend: Stand(places=places, dialect=dialect, poster=poster, now=now)
            for frontend, (dialect, poster) in frontends.items()
        }
        self._slots = {frontend: asyncio.Semaphore(AT_ONCE) for frontend in frontends}
        self._reading = asyncio.Semaphore(AT_ONCE)

    async def look(self, pointer: ReplyPointer, *, is_last: bool = False) -> float | None:
        """Make every place of a thread look like its log; seconds until there is more to do without a ring,
        None when there is nothing.

        Not for the same thread twice at a time within one process. ``is_last``: nobody looks for this ring
        again, so a place whose reply cannot be rendered is given up. Raises Broken, Unavailable.
        """
        worker, thread_id = pointer.worker_id, pointer.thread_id
        async with self._reading:
            # The places first: a place that was there before a message shows it.
            places = await self._places.places_of(worker, thread_id)
            if not places:
                await self._nowhere(worker, thread_id)
                return None
            view = await self._views.now(worker, thread_id)
        deliverable = [p for p in places if p.undeliverable is None]
        open_ = [p for p in deliverable if p.frontend in self._stands]
        made = await asyncio.gather(*(self._make(p, view) for p in open_), return_exceptions=True)
        faults = [x for x in made if isinstance(x, BaseException)]
        if faults:
            await self._fail(open_, made, is_last=is_last)
        left = [x for x in made if isinstance(x, Standing)]
        # What a frontend that is switched off has missed is shown when it is back.
        off = [p for p in deliverable if p.frontend not in self._stands]
        if all(_is_over(s, view) for s in left) and all(is_finished(p, view=view) for p in off):
            last = max((m.sequence for m in view.messages), default=0)
            await self._places.forget_unshown(worker, thread_id, through=last)
        return min((s.again for s in left if s.again is not None), default=None)

    async def _nowhere(self, worker: WorkerId, thread_id: ThreadId) -> None:
        """Nothing is left to show of a thread that stands nowhere, or that was deleted."""
        row = await self._table.thread(worker, thread_id)
        self._views.forget(worker, thread_id)
        await self._places.forget_unshown(worker, thread_id, through=row.last_sequence if row else _EVERY)

    async def _make(self, place: PlaceRecord, view: ThreadView) -> Standing:
        async with self._slots[place.frontend]:
            return await self._stands[place.frontend].make(place, view)

    async def _fail(
        self, places: list[PlaceRecord], made: list[Standing | BaseException], *, is_last: bool
    ) -> NoReturn:
        """Say what broke: our records being away before everything else, which says nothing about a reply."""
        faults = [(p, x) for p, x in zip(places, made, strict=True) if isinstance(x, BaseException)]
        for _, error in faults:
            if isinstance(error, Unavailable) or not isinstance(error, Exception):
                raise error
        for place, error in faults:
            _log.error("reply broken", frontend=place.frontend, address=place.address, exc_info=error)
            if is_last and (now := await self._places.place(place)) is not None:
                await self._stands[place.frontend].give_up(now, _UNSHOWABLE)
        raise Broken(f"{len(faults)} of {len(places)} places") from faults[0][1]


def _is_over(standing: Standing, view: ThreadView) -> bool:
    if standing.place.undeliverable is not None:
        return True
    return standing.again is None and is_finished(standing.place, view=view)


@dataclass
class _Thread:
    """A thread somebody rang for, until nothing is left to do."""

    pointer: ReplyPointer
    rings: list[Ring] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Listener:
    """Receives rings and looks: one look per thread at a time, many threads at once."""

    def __init__(self, *, rings: Rings, replies: Replies, broken_seconds: float = 30.0) -> None:
        self._rings = rings
        self._replies = replies
        self._broken = broken_seconds
        self._threads: dict[tuple[WorkerId, ThreadId], _Thread] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(_HELD)
        self._leaving = False

    async def run(self) -> None:
        """Until cancelled; then looks that are under way have 3 s to end, so that no intent is left over."""
        try:
            while True:
                await self._receive()
        finally:
            await self._leave()

    async def _receive(self) -> None:
        async with self._slots:  # as many as are in work: what waits for its time takes no slot
            pass
        try:
            for ring in await self._rings.receive():
                await self._take(ring)
        except DispatcherError as error:
            _log.warning("rings not received", problem=str(error))
            await asyncio.sleep(_AWAY_SECONDS)
        except Exception:
            _log.exception("rings not received")
            await asyncio.sleep(_AWAY_SECONDS)

    async def _take(self, ring: Ring) -> None:
        if ring.pointer is None:
            _log.error("ring unreadable", receives=ring.receives)
            await self._rings.hide([ring], seconds=1)  # it walks into the dead letters
            return
        key = (ring.pointer.worker_id, ring.pointer.thread_id)
        thread = self._threads.get(key)
        if thread is None:
            thread = self._threads[key] = _Thread(pointer=ring.pointer)
            task = asyncio.create_task(self._follow(thread))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        thread.rings.append(ring)
        thread.news.set()

    async def _follow(self, thread: _Thread) -> None:
        """Look as long as there is something to look for, and one more time after every ring."""
        wait: float | None = None
        try:
            while not self._leaving and (thread.rings or wait is not None):
                taken, thread.rings = thread.rings, []
                thread.news.clear()
                async with self._slots:
                    wait = await self._look(thread, taken)
                if wait is not None and not thread.rings and not self._leaving:
                    await _either(thread.news, seconds=wait)
        finally:
            del self._threads[thread.pointer.worker_id, thread.pointer.thread_id]

    async def _look(self, thread: _Thread, rings: list[Ring]) -> float | None:
        """Seconds until the next look. After one that went well the rings are deleted, whatever is left."""
        try:
            wait = await self._replies.look(thread.pointer, is_last=any(r.is_last for r in rings))
            await self._rings.done(rings)
            return wait
        except DispatcherError as error:
            _log.warning("replies not looked at", thread_id=thread.pointer.thread_id, problem=str(error))
            return _AWAY_SECONDS
        except Exception as error:
            if not isinstance(error, Broken):
                _log.exception("replies broken", thread_id=thread.pointer.thread_id)
            await self._hide(rings)
            return None

    async def _hide(self, rings: list[Ring]) -> None:
        try:
            await self._rings.hide(rings, seconds=self._broken)
        except DispatcherError as error:
            _log.warning("ring not hidden", problem=str(error))

    async def _leave(self) -> None:
        self._leaving = True
        for thread in self._threads.values():
            thread.news.set()
        tasks = list(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_LEAVE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _either(news: asyncio.Event, *, seconds: float) -> None:
    """Until there is news or the time is over."""
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        return
