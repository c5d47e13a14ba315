"""Removes what is left of a deleted thread: branch, session, uploads, and last its records.

Every step can be done again: the open record goes with the last one, so whoever finds it begins at the front.
Whether and when it is done is decided in ``worker.decide``; nothing of the thread runs here any more.
"""

from dataclasses import dataclass

from contracts.faults import fault
from contracts.words import ThreadId
from worker.log import get_logger
from worker.parts import Parts

log = get_logger()


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """The removal of one thread."""

    thread_id: ThreadId
    parts: Parts

    async def perform(self) -> None:
        """Remove all of it. Raises LeaseLost, WorkerError, OSError: then it has to be done again."""
        parts, thread_id = self.parts, self.thread_id
        await parts.outbox.flush()
        if not await parts.ledger.is_deleted(thread_id):  # a look was late: somebody has done it
            return
        fault("deleting")
        await parts.workspace.remove(thread_id=thread_id)
        parts.preview.switched()
        fault("branch_removed")
        await parts.agent.forget(session_id=parts.session(thread_id))
        if parts.uploads is not None:
            await parts.uploads.forget(thread_id)
        fault("session_removed")
        await parts.ledger.forget(thread_id)
        fault("thread_removed")
        log.info("thread_removed", thread=thread_id)
