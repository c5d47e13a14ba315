"""Replies that somebody is still owed: rings whose looks broke too often, and places that take no posts.

Listed, and tried again by a person's word. A ring only says "look at this thread", so everything here may be
done twice: what stands in a place already is not posted again. Posts nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from enum import StrEnum

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.places import PlaceRecord, ReplyPointer
from contracts.words import Frontend, ThreadId, WorkerId
from dispatcher.places import Places
from dispatcher.rings import Rings
from dispatcher.table import Table
from dispatcher.verdicts import Letter, excerpt

_log = structlog.get_logger(__name__)
MOST = 500
"""Dead rings that are looked at together."""
_BROKEN = "The reply could not be rendered or written, again and again: the dispatcher's log says why."
_UNREADABLE = "Nobody can read what it says."


class Kind(StrEnum):
    """What is dead."""

    RING = "ring"
    PLACE = "place"
    UNREADABLE = "unreadable"


class DeadReply(BaseModel):
    """A dead reply as an operator sees it. ``id`` is that of the letter, or ``FRONTEND:ADDRESS`` of a place;
    ``body`` is shown only of what nobody can read."""

    model_config = ConfigDict(frozen=True)

    id: str
    kind: Kind
    worker_id: WorkerId | None
    thread_id: ThreadId | None
    problem: str
    frontend: Frontend | None = None
    address: str | None = None
    sent: datetime | None = None
    receives: int | None = None
    body: str | None = None

    def meant(self, wanted: str | None) -> bool:
        """Whether ``wanted`` (None: any) is its id or that of its thread."""
        return wanted in (None, self.id, self.thread_id)


class Done(BaseModel):
    """What was done: ``redriven`` is looked at again, ``deleted`` is gone, ``kept`` is as it was.

    ``more``: there are more than were looked at.
    """

    model_config = ConfigDict(frozen=True)

    redriven: tuple[DeadReply, ...] = ()
    deleted: tuple[DeadReply, ...] = ()
    kept: tuple[DeadReply, ...] = ()
    more: bool = False


class DeadReplies:
    """The dead replies of all workers. Every method raises Unavailable."""

    def __init__(self, *, table: Table, places: Places, rings: Rings) -> None:
        self._table = table
        self._places = places
        self._rings = rings
        # Two looks of this process at the same queue would hide letters from each other.
        self._lock = asyncio.Lock()

    async def counts(self) -> tuple[int, int]:
        """How many places are undeliverable, and about how many rings are dead."""
        return len(await self._undeliverable()), await self._rings.dead.count()

    async def shown(self) -> tuple[list[DeadReply], bool]:
        """All of them, and whether there are more rings than these; changes nothing."""
        async with self._lock:
            letters = await self._rings.dead.letters(most=MOST)
            await self._rings.dead.give_back(letters)
        rings = [_of_letter(x) for x in sorted(letters, key=lambda x: x.sent)]
        return rings + [_of_place(p) for p in await self._undeliverable()], len(letters) >= MOST

    async def redrive(self, *, wanted: str | None) -> Done:
        """Have the threads looked at again, and their places tried again; what nobody can read is kept.

        ``wanted`` is an id, or the id of a thread; None means all.
        """
        places = [p for p in await self._undeliverable() if _of_place(p).meant(wanted)]
        for place in places:
            await self._try_again(place)
        done = await self._settle(wanted, settle=self._ring_again)
        redriven = (*done.deleted, *map(_of_place, places))
        return done.model_copy(update={"redriven": redriven, "deleted": ()})

    async def drop(self, *, wanted: str | None) -> Done:
        """Delete rings that nobody can read, for good; everything else is kept."""
        return await self._settle(wanted, settle=self._drop)

    async def _settle(self, wanted: str | None, *, settle: Callable[[Letter], Awaitable[bool]]) -> Done:
        """What became of the letters that are meant: ``settle`` says whether one is gone."""
        async with self._lock:
            letters = await self._rings.dead.letters(most=MOST)
            meant = [x for x in letters if _of_letter(x).meant(wanted)]
            gone: list[Letter] = []
            try:
                for letter in meant:
                    if await settle(letter):
                        gone.append(letter)
            finally:
                await self._rings.dead.give_back(x for x in letters if x not in gone)
        return Done(
            deleted=tuple(map(_of_letter, gone)),
            kept=tuple(_of_letter(x) for x in meant if x not in gone),
            more=len(letters) >= MOST,
        )

    async def _undeliverable(self) -> Sequence[PlaceRecord]:
        workers = await self._table.workers()
        found = await asyncio.gather(*(self._places.undeliverable_of(worker) for worker in workers))
        return [place for places in found for place in places]

    async def _try_again(self, place: PlaceRecord) -> None:
        await self._places.revive(place)
        await self._rings.ring(place.worker_id, place.thread_id)
        _log.info("place tried again", frontend=place.frontend, address=place.address)

    async def _ring_again(self, letter: Letter) -> bool:
        """Whether it is rung; the letter goes last. A ring that is lost is made by the sweep, which has the
        thread on its list."""
        pointer = _pointer(letter)
        if pointer is None:
            return False
        for place in await self._places.places_of(pointer.worker_id, pointer.thread_id):
            await self._places.revive(place)
        await self._rings.ring(pointer.worker_id, pointer.thread_id)
        await self._rings.dead.forget(letter)
        _log.info("dead ring rung again", letter_id=letter.letter_id, thread_id=pointer.thread_id)
        return True

    async def _drop(self, letter: Letter) -> bool:
        if _pointer(letter) is not None:
            return False
        await self._rings.dead.forget(letter)
        _log.info("dead ring dropped", letter_id=letter.letter_id)
        return True


def _pointer(letter: Letter) -> ReplyPointer | None:
    try:
        return ReplyPointer.model_validate_json(letter.body)
    except ValidationError:
        return None


def _of_letter(letter: Letter) -> DeadReply:
    pointer = _pointer(letter)
    return DeadReply(
        id=letter.letter_id,
        kind=Kind.RING if pointer else Kind.UNREADABLE,
        worker_id=pointer.worker_id if pointer else None,
        thread_id=pointer.thread_id if pointer else None,
        problem=_BROKEN if pointer else _UNREADABLE,
        sent=letter.sent,
        receives=letter.receives,
        body=None if pointer else excerpt(letter.body),
    )


def _of_place(place: PlaceRecord) -> DeadReply:
    return DeadReply(
        id=f"{place.frontend}:{place.address}",
        kind=Kind.PLACE,
        worker_id=place.worker_id,
        thread_id=place.thread_id,
        problem=place.undeliverable or "",
        frontend=place.frontend,
        address=place.address,
    )
