"""The net under everything: at start and every minute, whoever has work and no living worker gets one.

Goes by the launcher's own word, not by clocks and not by the row alone: a worker that was killed leaves a
row that says "up". The worker itself looks at its records every minute, so nothing is sent again from here.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from contracts.words import WorkerId
from dispatcher import route
from dispatcher.contact import Contact
from dispatcher.errors import DispatcherError
from dispatcher.settings import Settings
from dispatcher.table import Table
from dispatcher.wake import Wake

_log = structlog.get_logger(__name__)


class Sweep:
    """Looks at every worker ever contacted."""

    def __init__(self, *, table: Table, wake: Wake, contact: Contact, settings: Settings) -> None:
        self._table = table
        self._wake = wake
        self._contact = contact
        self._user = settings.user
        self._projects = settings.projects
        self._seconds = settings.sweep_seconds
        self._prepared = False

    async def run(self) -> None:
        """Look again and again until cancelled, now first; a fault is logged and the next look comes."""
        while True:
            if await self.prepare():
                await self._guarded(self._look_at_all)
            await asyncio.sleep(self._seconds if self._prepared else min(self._seconds, 2.0))

    async def prepare(self) -> bool:
        """Make the table if there is none and bring the workers' rows up to date, once. Raises nothing."""
        if not self._prepared:
            await self._guarded(self._prepare)
        return self._prepared

    async def _guarded(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except DispatcherError as error:
            _log.warning("sweep not finished", problem=str(error), cause=repr(error.__cause__))
        except Exception:
            _log.exception("sweep failed")

    async def _prepare(self) -> None:
        await self._table.ensure()
        for worker in await self._table.workers():
            row = await self._table.worker(worker)
            wanted = route.configured(row, self._projects) if row else None
            if wanted is not None:
                await self._table.refresh(wanted)
        for name, project in self._projects.items():
            # The worker of the person at this machine can then be started before the first message.
            row = route.worker_of(name=name, project=project, user=self._user)
            await self._contact.meet(row.worker_id, record=row)
        self._prepared = True

    async def _look_at_all(self) -> None:
        for worker in await self._table.workers():
            await self._look(worker)

    async def _look(self, worker: WorkerId) -> None:
        thread_id = await self._table.first_open(worker)
        if thread_id is None:
            return
        try:
            await self._wake.unless_running(worker, thread_id=thread_id)
        except DispatcherError as error:
            _log.warning("worker not woken", worker_id=worker, problem=str(error))
