"""Both sides of one worker's records on some engine: the product's own code, put together for a test."""

from dataclasses import dataclass

import pytest

from contracts.events import Event
from contracts.messages import Author
from contracts.records import OpenRecord
from contracts.words import (
    Frontend,
    MessageId,
    Mode,
    ThreadId,
    TurnId,
    WorkerId,
)
from dispatcher import parts
from dispatcher.record import Recorded, Recorder
from dispatcher.table import Table
from worker.aws import Aws
from worker.lease import DynamoLease
from worker.ledger import DynamoLedger
from worker.ports import Draft

TURN = TurnId("turn")
LARGE = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
"""aiohttp warns of bodies over 1 MiB; escaped as JSON, the longest text is one."""


@dataclass(frozen=True, kw_only=True)
class Lab:
    """Both sides of one worker's records."""

    table: Table
    recorder: Recorder
    receiver: Aws
    worker: WorkerId
    thread: ThreadId

    async def record(
        self, message_id: str, *, text: str = "hello", thread: ThreadId | None = None
    ) -> Recorded:
        """A message for the thread."""
        return await self.recorder.record(
            parts.Draft(
                worker_id=self.worker,
                project="site",
                asked_project=None,
                thread_id=thread or self.thread,
                thread_is_given=True,
                message_id=MessageId(message_id),
                text=text,
                mode=Mode.QUEUE,
                frontend=Frontend.API,
                author=Author(id="local", name="You"),
            )
        )

    async def open_record(self) -> OpenRecord:
        """The thread's only turn record."""
        [record], _ = await self.table.open(worker=self.worker, thread_id=self.thread)
        return record

    async def events(self, *, after: int = 0) -> list[Event]:
        """One page of the thread's log."""
        return await self.table.events(worker=self.worker, thread_id=self.thread, after=after)

    def lease(self, *, seconds: float = 60, place: str = "here") -> DynamoLease:
        """A worker's lease, not yet acquired."""
        return DynamoLease(
            aws=self.receiver, table=self.table.name, worker=self.worker, seconds=seconds, place=place
        )

    def ledger(self, lease: DynamoLease, *, retention_days: int = 0) -> DynamoLedger:
        """That worker's records."""
        return DynamoLedger(
            aws=self.receiver,
            table=self.table.name,
            worker=self.worker,
            owner=lease.owner,
            epoch=lambda: lease.epoch,
            lapsed=lease.lapsed,
            redact=lambda v: v,
            retention_days=retention_days,
        )

    async def owner(self) -> tuple[DynamoLease, DynamoLedger]:
        """A worker that has the lease."""
        lease = self.lease()
        await lease.acquire(evict=dead)
        return lease, self.ledger(lease)


async def dead() -> bool:
    return True


async def alive() -> bool:
    return False


def said(thread: ThreadId, text: str) -> Draft:
    return Draft(
        type="turn.text", thread_id=thread, message_id=MessageId("m1"), turn_id=TURN, data={"text": text}
    )


def final(thread: ThreadId) -> Draft:
    return Draft(
        type="turn.completed",
        thread_id=thread,
        message_id=MessageId("m1"),
        turn_id=TURN,
        data={"text": "Done."},
    )
