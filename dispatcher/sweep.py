"""The net under everything: at start and every minute, whoever has work and no living worker gets one, and
dead letters are rung again; and whoever has a reply that may not be shown is rung for. Last, the warm pool is
looked after, if there is one.

Goes by the launcher's own word, not by clocks and not by the row alone: a worker that was killed leaves a
row that says "up". A worker that lives looks at its records every minute by itself, so what was recorded but
never sent needs nothing from here. What is told to threads about it is in ``Rescue``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime

import structlog

from contracts import names
from contracts.words import WorkerId
from dispatcher import route
from dispatcher.contact import Contact
from dispatcher.errors import DispatcherError
from dispatcher.letters import Letters
from dispatcher.people import People
from dispatcher.pool import Pool
from dispatcher.rescue import Rescue
from dispatcher.settings import Settings
from dispatcher.table import Table
from dispatcher.unshown import Unshown

_log = structlog.get_logger(__name__)
_AT_ONCE = 8
"""Workers that are looked at at the same time."""
_POOL_SECONDS = 30.0


class Sweep:
    """Looks at every worker ever contacted. ``tidy``: removes what is left of those that are not used."""

    def __init__(
        self,
        *,
        table: Table,
        rescue: Rescue,
        letters: Letters,
        contact: Contact,
        people: People,
        unshown: Unshown | None = None,
        pool: Pool | None = None,
        tidy: Callable[[Sequence[WorkerId]], Awaitable[None]] | None = None,
        settings: Settings,
    ) -> None:
        self._table = table
        self._rescue = rescue
        self._letters = letters
        self._contact = contact
        self._people = people
        self._unshown = unshown
        self._pool = pool
        self._tidy = tidy
        self._fleet = settings.fleet
        self._user = settings.user
        self._projects = settings.projects
        self._seconds = settings.sweep_seconds
        self._prepared = False

    async def run(self) -> None:
        """Look again and again until cancelled, now first; a fault is logged and the next look comes."""
        while True:
            await self.once()
            await asyncio.sleep(self._seconds if self._prepared else min(self._seconds, 2.0))

    async def once(self) -> bool:
        """One look at everything; whether it came to its end. Raises nothing: a fault is logged, and the next
        look comes."""
        self._rescue.begin()
        if not await self.prepare():
            return False
        done = await self._guarded(self._look_at_all)
        if self._unshown is not None:
            done = await self._guarded(self._unshown.ring_all) and done
        if self._pool is not None:
            await self._guarded(self._care_for_pool)
        return done

    async def one(self, short: str) -> None:
        """Look at the worker of this short name alone (``names.short``). Raises nothing."""

        async def look() -> None:
            for worker in await self._table.workers():
                if names.short(worker) == short:
                    await self._look(worker)

        if await self.prepare():
            await self._guarded(look)

    @property
    def oldest(self) -> datetime | None:
        """When the message was received that had waited longest at the last look."""
        return self._rescue.oldest

    async def start(self, worker: WorkerId) -> None:
        """Start one worker if it has work; it counts as no look. Raises nothing: the next look comes."""
        await self._guarded(lambda: self._rescue.start(worker))

    async def prepare(self) -> bool:
        """Make the table if there is none and bring the workers' rows up to date, once. Raises nothing."""
        if not self._prepared:
            await self._guarded(self._prepare)
        return self._prepared

    async def _care_for_pool(self) -> None:
        assert self._pool is not None  # noqa: S101 - asked before
        async with asyncio.timeout(_POOL_SECONDS):
            await self._pool.care()

    async def _guarded(self, step: Callable[[], Awaitable[None]]) -> bool:
        try:
            await step()
            return True
        except DispatcherError as error:
            _log.warning("sweep not finished", problem=str(error), cause=repr(error.__cause__))
        except Exception:
            _log.exception("sweep failed")
        return False

    async def _prepare(self) -> None:
        await self._table.ensure()
        await self._people.seed(self._fleet)
        for worker in await self._table.workers():
            row = await self._table.worker(worker)
            wanted = route.configured(row, self._projects) if row else None
            if wanted is not None:
                await self._table.refresh(await self._contact.complete(wanted))
        for name, project in self._projects.items():
            # The worker of the person at this machine can then be started before the first message.
            row = route.worker_of(name=name, project=project, user=self._user)
            await self._contact.meet(row.worker_id, record=row)
        self._prepared = True

    async def _look_at_all(self) -> None:
        turn = asyncio.Semaphore(_AT_ONCE)

        async def look(worker: WorkerId) -> None:
            async with turn:
                await self._look(worker)

        workers = await self._table.workers()
        await asyncio.gather(*(look(worker) for worker in workers))
        if self._tidy is not None:
            with suppress(DispatcherError):  # it is logged, and nobody waits for it
                await self._tidy(workers)

    async def _look(self, worker: WorkerId) -> None:
        """One worker's fault keeps no other from being looked at, nor its letters from its records."""
        for care in (self._letters.care, self._rescue.care):
            try:
                await care(worker)
            except DispatcherError as error:
                _log.warning("worker not cared for", worker_id=worker, problem=str(error))
            except Exception:
                _log.exception("sweep failed", worker_id=worker)
