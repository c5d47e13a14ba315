"""Starts a worker that has something to do, and says so in the thread it is for."""

from datetime import UTC, datetime

import structlog

from contracts.events import WorkerData, WorkerStarting
from contracts.words import ThreadId, WorkerId
from dispatcher.errors import Unavailable
from dispatcher.launcher import Launcher
from dispatcher.record import Recorder
from dispatcher.table import Table

_log = structlog.get_logger(__name__)


class Wake:
    """Idempotent: a worker that runs is left alone."""

    def __init__(self, *, table: Table, launcher: Launcher, recorder: Recorder) -> None:
        self._table = table
        self._launcher = launcher
        self._recorder = recorder

    async def unless_up(self, worker: WorkerId, *, thread_id: ThreadId) -> None:
        """Start the worker unless its row, read after the message was sent, says that it is up.

        Never raises Unavailable: the message is durable, and the sweep looks again.
        """
        try:
            row = await self._table.worker(worker)
            if row is None or row.state != "up":
                await self.start(worker, thread_id=thread_id)
        except Unavailable as error:
            _log.warning("worker not woken", worker_id=worker, problem=str(error))

    async def running(self, worker: WorkerId) -> bool:
        """Whether the worker runs, by the launcher's own word. Raises Unavailable."""
        return await self._launcher.running(worker)

    async def start(self, worker: WorkerId, *, thread_id: ThreadId) -> None:
        """Have the worker started; the thread is told only if that was needed. Raises Unavailable."""
        if not await self._launcher.ensure(worker):
            return
        _log.info("worker started", worker_id=worker, thread_id=thread_id)
        await self._recorder.append(
            worker=worker, thread_id=thread_id, make=lambda number: _starting(worker, thread_id, number)
        )


def _starting(worker: WorkerId, thread_id: ThreadId, number: int) -> WorkerStarting:
    return WorkerStarting(
        id=number, thread_id=thread_id, time=datetime.now(UTC), data=WorkerData(worker_id=worker)
    )
