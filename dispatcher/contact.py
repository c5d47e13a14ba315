"""First contact with a worker: its row, its queue and the binding that tells it which queue to poll.

Done once per worker and process; what is there already is left as it is. Sends no message.
"""

import asyncio

from contracts.records import BindingRecord, WorkerRecord
from contracts.words import WorkerId
from dispatcher.queues import Queues
from dispatcher.rings import Rings
from dispatcher.table import Table

BINDING = "main"
"""Name of the binding to the queue that the dispatcher sends to."""


class Contact:
    """Knows the queue of every worker this process has met."""

    def __init__(self, *, table: Table, queues: Queues, rings: Rings | None = None) -> None:
        self._table = table
        self._queues = queues
        self._rings = rings
        self._urls: dict[WorkerId, str] = {}
        self._lock = asyncio.Lock()

    async def meet(self, worker: WorkerId, *, record: WorkerRecord | None) -> str:
        """The URL of the worker's queue. ``record`` is its row as configured, for a worker that is new."""
        if worker not in self._urls:
            async with self._lock:
                if worker not in self._urls:
                    self._urls[worker] = await self._first(worker, record=record)
        return self._urls[worker]

    async def complete(self, record: WorkerRecord) -> WorkerRecord:
        """The row as configured, with the queue to ring for replies if there is a chat frontend."""
        url = await self._rings.url() if self._rings is not None else None
        return record.model_copy(update={"replies_url": url})

    async def renew(self, worker: WorkerId) -> str:
        """Make the queue again, after it turned out to be missing."""
        async with self._lock:
            self._urls[worker] = await self._bind(worker)
        return self._urls[worker]

    async def _first(self, worker: WorkerId, *, record: WorkerRecord | None) -> str:
        if record is not None:
            await self._table.introduce(await self.complete(record))
        bound = await self._table.binding(worker, BINDING)
        return bound.queue_url if bound else await self._bind(worker)

    async def _bind(self, worker: WorkerId) -> str:
        url = await self._queues.make(worker)
        await self._table.bind(worker, BindingRecord(name=BINDING, queue_url=url))
        return url
