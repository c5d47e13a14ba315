"""Clears this disk of threads that are no more, and of files that nobody has asked for in a long time.

A deleted thread is removed by the owner that finds it, on that owner's disk. Another disk of the same worker
learns of it here: by the thread's row that is not there any more. Records that cannot be read say nothing, so
nothing is removed then. To be used before the engine runs: no turn begins meanwhile.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from contracts import names
from contracts.words import ThreadId, WorkerId
from worker.errors import WorkerError
from worker.log import get_logger
from worker.ports import Agent, Ledger, Preview, Uploads, Workspace

log = get_logger()

DAY = 86400.0


@dataclass(frozen=True, kw_only=True)
class Bygone:
    """What one worker's disk holds and its records do not. ``upload_days``: how long files stay in a thread
    that nobody touches. ``now`` is Unix time in seconds."""

    worker: WorkerId
    ledger: Ledger
    workspace: Workspace
    agent: Agent
    preview: Preview
    uploads: Uploads
    upload_days: float
    now: Callable[[], float] = time.time

    async def clear(self, *, busy: Collection[ThreadId] | None) -> frozenset[ThreadId] | None:
        """Remove what is left here of threads that are gone; the threads that are there. None when that could
        not be read: then everything stays. ``busy``: threads with an open message, None when not known."""
        try:
            threads = await self.ledger.threads()
        except Exception as error:
            log.warning("threads_not_read", error=str(error))
            return None
        try:
            if gone := await self.workspace.remove_others(but=threads):
                log.info("deleted_threads_removed", branches=gone)
                self.preview.switched()
            sessions = {names.session(worker=self.worker, thread_id=t) for t in threads}
            await self.agent.forget_others(but=sessions)
            await self.uploads.forget_others(but=self._with_files(threads, busy=busy))
        except (WorkerError, OSError) as error:
            log.warning("not_cleared", error=str(error))  # the next start tries again
        return frozenset(threads)

    def _with_files(
        self, threads: Mapping[ThreadId, datetime], *, busy: Collection[ThreadId] | None
    ) -> Collection[ThreadId]:
        """Threads whose files stay."""
        if busy is None:
            return threads
        since = self.now() - self.upload_days * DAY
        return {t for t, touched in threads.items() if touched.timestamp() > since} | set(busy)
