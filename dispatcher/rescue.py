"""Workers with work that do not run: started, and when nothing comes of it started ever more seldom.

That a worker does not run is the launcher's word. That nothing came of a start is seen in the records: what
is open has not changed at all. The count stands in the table, so that no restart forgets it. Looks that come
soon after one another count once, because the end of each worker is a reason to look at all of them.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.events import WorkerData, WorkerStopped
from contracts.records import Item, OpenRecord
from contracts.words import ThreadId, WorkerId
from dispatcher.endings import Endings
from dispatcher.errors import Unavailable
from dispatcher.record import Recorder
from dispatcher.table import Table
from dispatcher.verdicts import LOOKS, REFUSALS, WAKES_AT_ONCE, counts, next_looks, wakes
from dispatcher.wake import Wake

_log = structlog.get_logger(__name__)
_NOTE = "untouched"
_TOLD = (
    f"it was started {WAKES_AT_ONCE} times and did not take up its work;"
    " it is tried again, but ever more seldom: its log says why"
)
_REFUSED = (
    "it cannot be started at the moment; nothing is lost, and that is tried again every minute:"
    " the dispatcher's log says why"
)
_WHY = "its worker was started again and again and never took it up."


class Untouched(BaseModel):
    """What is noted of a worker that does not run. ``digest``: of its open records; ``looks``: how many in a
    row found them like that; ``told``: its threads know; ``at``: when it was last counted (Unix time);
    ``refused``: how often in a row it could not be started; ``refusal_told``: threads that know of that."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    digest: str = ""
    looks: int = 0
    told: bool = False
    at: float = 0.0
    refused: int = 0
    refusal_told: tuple[ThreadId, ...] = ()


class Rescue:
    """Cares for workers that do not run although they have work. ``pace``: seconds between two looks that
    count; ``now``: Unix time. ``oldest``: when the message was received that has waited longest, of all
    workers that were looked at since ``begin``."""

    def __init__(
        self,
        *,
        table: Table,
        wake: Wake,
        recorder: Recorder,
        endings: Endings,
        pace: float = 60.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._wake = wake
        self._recorder = recorder
        self._endings = endings
        self._pace, self._now = pace, now
        self.oldest: datetime | None = None

    def begin(self) -> None:
        """A new round: nothing has been looked at."""
        self.oldest = None

    async def care(self, worker: WorkerId) -> None:
        """Start the worker if it has work and does not run. Raises Unavailable when that cannot be told.

        A worker without work costs one read of one item, one that runs a question to the launcher besides.
        """
        items = await self._table.untouched(worker)
        self._see(items)
        if not items or await self._wake.running(worker):
            return
        digest = hashlib.sha256(json.dumps(items, sort_keys=True).encode()).hexdigest()
        before = Untouched.model_validate(await self._table.note(worker, _NOTE))
        is_same, at = before.digest == digest, self._now()
        is_next = counts(untouched=is_same, seconds=at - before.at, pace=self._pace)
        if not is_next and not before.refused:  # what could not be started is tried at every look
            return
        after = before.model_copy(
            update={
                "digest": digest,
                "at": at if is_next else before.at,
                "looks": next_looks(before=before.looks, untouched=is_same),
                "told": is_same and before.told,
            }
        )
        after = await self._act(worker, items, after, refusals=before.refused + is_next)
        # Counted last: a look that could not do its part is done again.
        await self._table.write_note(worker, _NOTE, **after.model_dump())

    async def _act(
        self, worker: WorkerId, items: Sequence[Item], note: Untouched, *, refusals: int
    ) -> Untouched:
        """What this look asks for; what is to be noted about it. ``refusals``: their count with this look."""
        if note.looks > WAKES_AT_ONCE and not note.told:
            _log.error("worker leaves its work untouched", worker_id=worker, starts=WAKES_AT_ONCE)
            await self._tell(worker, _threads(items), reason=_TOLD)
            note = note.model_copy(update={"told": True})
        if note.looks >= LOOKS:
            await self._give_up(worker, items)
        elif wakes(note.looks):
            try:
                await self._wake.start(worker, thread_id=_threads(items)[0])
            except Unavailable:
                return await self._refused(worker, items, note, refused=refusals)
            return note.model_copy(update={"refused": 0, "refusal_told": ()})
        return note

    async def _refused(
        self, worker: WorkerId, items: Sequence[Item], note: Untouched, *, refused: int
    ) -> Untouched:
        """It was not started, so nothing can be said about what comes of a start: the look does not count
        towards giving up, and the next one tries again. Threads are told once it has lasted."""
        told = note.refusal_told
        if refused >= REFUSALS:
            _log.error("worker cannot be started", worker_id=worker, refusals=refused)
            threads = _threads(items)
            await self._tell(worker, [t for t in threads if t not in told], reason=_REFUSED)
            told = tuple(threads)
        return note.model_copy(update={"looks": note.looks - 1, "refused": refused, "refusal_told": told})

    def _see(self, items: Sequence[Item]) -> None:
        """Note since when somebody has waited for a worker to begin."""
        for item in items:
            if "received" in item and item.get("state", {}).get("S", "waiting") == "waiting":
                received = datetime.fromisoformat(item["received"]["S"])
                self.oldest = min(self.oldest or received, received)

    async def start(self, worker: WorkerId) -> None:
        """Start the worker, which somebody has just written to, if it has work and does not run. Raises
        Unavailable."""
        thread_id = await self._table.first_open(worker)
        if thread_id is not None:
            await self._wake.start(worker, thread_id=thread_id)

    async def _tell(self, worker: WorkerId, threads: Sequence[ThreadId], *, reason: str) -> None:
        """Tell each thread, at least once."""
        for thread_id in threads:
            make = partial(_stopped, worker, thread_id, reason)
            await self._recorder.append(worker=worker, thread_id=thread_id, make=make)

    async def _give_up(self, worker: WorkerId, items: Sequence[Item]) -> None:
        """Nobody has come for so long: end what can be ended. What cannot even be read is for a person."""
        for item in items:
            if not item["sk"]["S"].endswith(("#stop", "#delete")):
                try:
                    await self._endings.give_up(worker, OpenRecord.read(item), why=_WHY)
                except ValidationError:
                    _log.exception("record unreadable", worker_id=worker, key=item["sk"]["S"])


def _threads(items: Sequence[Item]) -> list[ThreadId]:
    """Whose records these are, each once."""
    return list(dict.fromkeys(ThreadId(i["thread_id"]["S"]) for i in items))


def _stopped(worker: WorkerId, thread_id: ThreadId, reason: str, number: int) -> WorkerStopped:
    data = WorkerData(worker_id=worker, reason=reason)
    return WorkerStopped(id=number, thread_id=thread_id, time=datetime.now(UTC), data=data)
