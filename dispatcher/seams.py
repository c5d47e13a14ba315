"""What the chat frontends need of the rest of the dispatcher; Protocols only, so each can be tried alone."""

from typing import Protocol

from contracts.places import LinkKind, LinkRecord
from contracts.records import ThreadRecord
from contracts.words import Frontend, ThreadId, WorkerId
from dispatcher.ingest import Post, Stopping
from dispatcher.record import Recorded


class Intake(Protocol):
    """Takes messages and stops in."""

    async def post(self, post: Post) -> Recorded:
        """Durable when it returns."""

    async def stop(self, thread_id: ThreadId, *, through: int | None) -> Stopping:
        """Ask for the end of everything up to a sequence."""

    async def thread(self, thread_id: ThreadId) -> tuple[WorkerId, ThreadRecord]:
        """Raises NotFound."""


class People(Protocol):
    """Who is who outside."""

    async def user_of(self, kind: LinkKind, name: str) -> str | None:
        """The user behind an outside name."""

    async def project_of(self, kind: LinkKind, name: str) -> str | None:
        """The project behind an outside name."""

    async def link(self, kind: LinkKind, name: str) -> LinkRecord | None:
        """The link of an outside name, which says who made it."""


class Places(Protocol):
    """Which thread stands where."""

    async def thread_at(self, frontend: Frontend, address: str) -> tuple[WorkerId, ThreadId] | None:
        """The worker and thread of a place."""

    async def remember(
        self, frontend: Frontend, address: str, worker: WorkerId, thread_id: ThreadId, *, after: int = 0
    ) -> tuple[WorkerId, ThreadId]:
        """From now on this thread is shown there, unless the place has one: then that one."""
