"""What every turn of a worker works with, in one place. Holds; decides nothing."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from contracts import names
from contracts.words import ThreadId, WorkerId
from worker.board import Board
from worker.errors import RemoteUnavailable
from worker.outbox import Outbox
from worker.ports import Agent, Changes, Ledger, Preview, Sessions, Uploads, Workspace
from worker.redact import Redactor


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a turn works with. ``later`` runs something in the background; the engine waits for it before
    it leaves. ``now`` is Unix time in seconds. ``owner`` names this process among all that ever owned the
    worker id: marks of its turns must not be those of its predecessor's. ``place`` names its disk."""

    worker: WorkerId
    owner: str
    place: str
    project: str
    offline: bool
    board: Board
    ledger: Ledger
    outbox: Outbox
    workspace: Workspace
    agent: Agent
    preview: Preview
    redactor: Redactor
    later: Callable[[Coroutine[Any, Any, None]], None]
    now: Callable[[], float]
    changes: Changes | None = None
    """Without one nobody is shown what branches changed."""
    uploads: Uploads | None = None
    """Without it messages carry no files."""
    sessions: Sessions | None = None
    """Without it Claude Code remembers what this disk does."""
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when this worker has to leave: nothing may take long any more."""
    stacking: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the stack is computed and recorded."""

    async def fetch(self, *, seconds: float) -> None:
        """Fetch, but not for long, and not while this worker has to leave.

        Raises ``WorkspaceError``, ``LeaseLost``.
        """
        fetch = asyncio.create_task(self.workspace.fetch())
        leaving = asyncio.create_task(self.leaving.wait())
        try:
            await asyncio.wait([fetch, leaving], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not fetch.done():
                raise RemoteUnavailable("The remote did not answer in time.")
            fetch.result()
        finally:
            for task in (fetch, leaving):
                task.cancel()
            await asyncio.gather(fetch, leaving, return_exceptions=True)

    def show_changes(self, thread_id: ThreadId) -> None:
        """Bring the record of what the branch changed in step with it, in the background."""
        if self.changes is not None:
            self.later(self.changes.refresh(thread_id))

    def session(self, thread_id: ThreadId) -> UUID:
        """Claude Code's session of the thread."""
        return names.session(worker=self.worker, thread_id=thread_id)
