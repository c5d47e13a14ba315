"""The last resort: ends a message that no worker takes up, so that its thread is told.

Only where no worker lives, by the launcher's word and by the epoch of the worker's row; a message that a
worker takes up in that moment is left to it. Never ends a message twice: every part is a condition.
"""

from datetime import UTC, datetime

import structlog

from contracts import names, records
from contracts.events import OutcomeData, TurnFailed
from contracts.messages import first_line
from contracts.records import OpenRecord, ThreadRecord, WorkerRecord
from contracts.words import Outcome, TurnState, WorkerId
from dispatcher.errors import Overtaken
from dispatcher.parts import end_message, no_owner, update_thread
from dispatcher.table import Table
from dispatcher.wake import Wake

_log = structlog.get_logger(__name__)
_REASON = "undeliverable"
_TEXT = "Given up: {why} Write the message again to have it tried once more."
_BEGUN = "What it had done until then, if anything, is on the branch {branch}."


class Endings:
    """Gives messages up."""

    def __init__(self, *, table: Table, wake: Wake) -> None:
        self._table = table
        self._wake = wake

    async def give_up(self, worker: WorkerId, record: OpenRecord, *, why: str) -> bool:
        """End the message as failed and tell its thread ``why`` (one sentence); whether that was done.

        Not done while a worker runs or when anything changes meanwhile. Raises Unavailable.
        """
        row = await self._table.worker(worker)
        thread = await self._table.thread(worker, record.thread_id)
        if row is None or thread is None or await self._wake.running(worker):
            return False
        turns, _ = await self._table.open(worker=worker, thread_id=record.thread_id)
        others = any(t.sequence != record.sequence for t in turns)
        try:
            await self._table.write(self._parts(row, thread, record, why=why, others=others))
        except Overtaken:
            return False
        _log.warning("message given up", worker_id=worker, message_id=record.message_id, why=why)
        return True

    def _parts(
        self, row: WorkerRecord, thread: ThreadRecord, record: OpenRecord, *, why: str, others: bool
    ) -> list[dict[str, object]]:
        table, worker = self._table.name, row.worker_id
        event = _failed(worker, thread, record, why=why)
        after = thread.model_copy(
            update={
                "last_event": event.id,
                "updated": event.time,
                "last_line": first_line(event.data.text),
                "state": "waiting" if others else "idle",
            }
        )
        ended = end_message(
            table=table,
            worker=worker,
            record=record,
            turn_id=event.turn_id,
            outcome=Outcome.FAILED,
            time=event.time,
        )
        return [
            no_owner(table=table, row=row),
            *ended,
            update_thread(table=table, before=thread, after=after),
            records.put_event(table=table, worker=worker, event=event),
        ]


def _failed(worker: WorkerId, thread: ThreadRecord, record: OpenRecord, *, why: str) -> TurnFailed:
    begun = record.state is not TurnState.WAITING
    data = OutcomeData(
        text=_TEXT.format(why=why),
        reason=_REASON,
        interruptions=record.interruptions,
        branch=thread.branch if begun else None,
        note=_BEGUN.format(branch=thread.branch) if begun else None,
    )
    return TurnFailed(
        id=thread.last_event + 1,
        thread_id=thread.thread_id,
        time=datetime.now(UTC),
        message_id=record.message_id,
        turn_id=names.turn(worker=worker, thread_id=thread.thread_id, sequence=record.sequence),
        data=data,
    )
