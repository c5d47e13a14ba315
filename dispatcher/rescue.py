"""Workers with work that do not run: started, and when nothing comes of it started ever more seldom.

That a worker does not run is the launcher's word. That nothing came of a start is seen in the records: what
is open has not changed at all. The count stands in the table, so that no restart forgets it.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

import structlog
from pydantic import ValidationError

from contracts.events import WorkerData, WorkerStopped
from contracts.records import Item, OpenRecord
from contracts.words import ThreadId, WorkerId
from dispatcher.endings import Endings
from dispatcher.record import Recorder
from dispatcher.table import Table
from dispatcher.verdicts import LOOKS, WAKES_AT_ONCE, next_looks, wakes
from dispatcher.wake import Wake

_log = structlog.get_logger(__name__)
_NOTE = "untouched"
_TOLD = (
    f"it was started {WAKES_AT_ONCE} times and did not take up its work;"
    " it is tried again, but ever more seldom: its log says why"
)
_WHY = "its worker was started again and again and never took it up."


class Rescue:
    """Cares for workers that do not run although they have work."""

    def __init__(self, *, table: Table, wake: Wake, recorder: Recorder, endings: Endings) -> None:
        self._table = table
        self._wake = wake
        self._recorder = recorder
        self._endings = endings

    async def care(self, worker: WorkerId) -> None:
        """Start the worker if it has work and does not run. Raises Unavailable.

        A worker without work costs one read of one item, one that runs a question to the launcher besides.
        """
        thread_id = await self._table.first_open(worker)
        if thread_id is None or await self._wake.running(worker):
            return
        items = await self._table.untouched(worker)
        digest = hashlib.sha256(json.dumps(items, sort_keys=True).encode()).hexdigest()
        before = await self._table.note(worker, _NOTE)
        untouched = before.get("digest") == digest
        looks = next_looks(before=before.get("looks", 0), untouched=untouched)
        told = untouched and bool(before.get("told"))
        if looks > WAKES_AT_ONCE and not told:
            told = await self._tell(worker, items)
        if looks >= LOOKS:
            await self._give_up(worker, items)
        elif wakes(looks):
            await self._wake.start(worker, thread_id=thread_id)
        # Counted last: a look that could not do its part is done again.
        await self._table.write_note(worker, _NOTE, looks=looks, digest=digest, told=told)

    async def start(self, worker: WorkerId) -> None:
        """Start the worker, which somebody has just written to, if it has work and does not run. Raises
        Unavailable."""
        thread_id = await self._table.first_open(worker)
        if thread_id is not None:
            await self._wake.start(worker, thread_id=thread_id)

    async def _tell(self, worker: WorkerId, items: Sequence[Item]) -> bool:
        """Tell each thread, at least once."""
        _log.error("worker leaves its work untouched", worker_id=worker, starts=WAKES_AT_ONCE)
        for thread_id in dict.fromkeys(ThreadId(i["thread_id"]["S"]) for i in items):
            make = partial(_stopped, worker, thread_id)
            await self._recorder.append(worker=worker, thread_id=thread_id, make=make)
        return True

    async def _give_up(self, worker: WorkerId, items: Sequence[Item]) -> None:
        """Nobody has come for so long: end what can be ended. What cannot even be read is for a person."""
        for item in items:
            if not item["sk"]["S"].endswith(("#stop", "#delete")):
                try:
                    await self._endings.give_up(worker, OpenRecord.read(item), why=_WHY)
                except ValidationError:
                    _log.exception("record unreadable", worker_id=worker, key=item["sk"]["S"])


def _stopped(worker: WorkerId, thread_id: ThreadId, number: int) -> WorkerStopped:
    data = WorkerData(worker_id=worker, reason=_TOLD)
    return WorkerStopped(id=number, thread_id=thread_id, time=datetime.now(UTC), data=data)
