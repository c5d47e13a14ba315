"""Views of threads, read on from where they were: the log is read once, not at every look."""

import asyncio
from collections import OrderedDict

from contracts.events import Event
from contracts.words import ThreadId, WorkerId
from dispatcher.table import Table
from dispatcher.view import ThreadView

_REMEMBERED = 256
_SETTLING_TRIES = 5
_SETTLING_SECONDS = 0.05


class Views:
    """The threads looked at last."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._views: OrderedDict[tuple[WorkerId, ThreadId], ThreadView] = OrderedDict()

    def forget(self, worker: WorkerId, thread_id: ThreadId) -> None:
        """Nobody looks at this thread, which may be gone, and begin anew under its old name."""
        self._views.pop((worker, thread_id), None)

    async def now(self, worker: WorkerId, thread_id: ThreadId) -> ThreadView:
        """The thread as its log has it now. Raises Unavailable."""
        key = (worker, thread_id)
        view = self._views.get(key) or ThreadView(thread_id=thread_id)
        while events := await self._beyond(worker, thread_id, view.last):
            view = view.add(events)
        self._views[key] = view
        self._views.move_to_end(key)
        if len(self._views) > _REMEMBERED:
            self._views.popitem(last=False)
        return view

    async def _beyond(self, worker: WorkerId, thread_id: ThreadId, after: int) -> list[Event]:
        """The next events, read until their numbers have no gap: a query may see the second half of a
        transaction before the first. Only a gap that stays is one of events that have expired."""
        events: list[Event] = []
        for _ in range(_SETTLING_TRIES):
            events = await self._table.events(worker=worker, thread_id=thread_id, after=after)
            if not events or events[-1].id == after + len(events):
                break
            await asyncio.sleep(_SETTLING_SECONDS)
        return events
