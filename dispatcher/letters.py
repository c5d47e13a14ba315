"""Dead letters: pointers that a worker received too often, or could not read. Listed, rung again, put away.

A letter is matched with the records and only they count: everything here may be done twice, because a
standard queue may show a letter twice and this process may die between any two steps. What is to be done
is decided in ``verdicts``.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.messages import Pointer
from contracts.records import MessageRecord, OpenRecord, StopRecord
from contracts.words import MessageId, ThreadId, WorkerId
from dispatcher.contact import Contact
from dispatcher.endings import Endings
from dispatcher.errors import QueueMissing
from dispatcher.queues import Queues
from dispatcher.table import Table
from dispatcher.verdicts import (
    Letter,
    Standing,
    Verdict,
    by_hand,
    excerpt,
    of_message,
    place,
    standing,
    verdict,
)
from dispatcher.wake import Wake

_log = structlog.get_logger(__name__)
MOST = 500
"""Letters of one worker that are looked at together."""
_WHY = "its worker was told of it again and again and is not running."


class DeadLetter(BaseModel):
    """A dead letter as an operator sees it. ``state`` is that of the message, or says what the letter is;
    ``fate`` is what a re-drive by hand would do; ``body`` is shown only of a letter nobody can place."""

    model_config = ConfigDict(frozen=True)

    letter_id: str
    worker_id: WorkerId
    kind: str
    message_id: MessageId | None
    thread_id: ThreadId | None
    sequence: int | None
    state: str
    sent: datetime
    receives: int
    redrives: int
    fate: Verdict
    body: str | None


class Case(BaseModel):
    """A letter and what the records say about it."""

    model_config = ConfigDict(frozen=True)

    letter: Letter
    pointer: Pointer | None
    standing: Standing
    turn: OpenRecord | None
    message: MessageRecord | None
    redrives: int

    def meant(self, wanted: str | None) -> bool:
        """Whether ``wanted`` (None: any) is the id of the letter or of its message."""
        return wanted in (None, self.letter.letter_id, self.pointer and self.pointer.message_id)

    def shown(self, worker: WorkerId) -> DeadLetter:
        """As an operator sees it."""
        pointer = self.pointer
        placed = self.standing in (Standing.OPEN, Standing.SETTLED)
        return DeadLetter(
            letter_id=self.letter.letter_id,
            worker_id=worker,
            kind=pointer.kind if pointer else "unreadable",
            message_id=pointer.message_id if pointer and placed else None,
            thread_id=pointer.thread_id if pointer and placed else None,
            sequence=pointer.sequence if pointer and placed else None,
            state=self._state(),
            sent=self.letter.sent,
            receives=self.letter.receives,
            redrives=self.redrives,
            fate=by_hand(self.standing),
            body=None if placed else excerpt(self.letter.body),
        )

    def _state(self) -> str:
        if self.message is not None and self.message.outcome is not None:
            return self.message.outcome.value
        return self.turn.state.value if self.turn is not None else self.standing.value


class Letters:
    """The dead letters of all workers."""

    def __init__(
        self, *, table: Table, queues: Queues, contact: Contact, wake: Wake, endings: Endings
    ) -> None:
        self._table = table
        self._queues = queues
        self._contact = contact
        self._wake = wake
        self._endings = endings
        # Two looks of this process at the same queue would hide letters from each other.
        self._locks: defaultdict[WorkerId, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._told: dict[WorkerId, frozenset[str]] = {}

    # ---------------------------------------------------------------- for the sweep

    async def care(self, worker: WorkerId) -> None:
        """Put away what is settled, ring again for what is open; what stays is logged once.

        Raises Unavailable.
        """
        if not await self._queues.dead(worker).count():
            self._told.pop(worker, None)
            return
        kept = await self._settle(worker, judge=_by_sweep, wanted=None)
        stuck = [c for c in kept if c.standing is not Standing.OPEN]
        for case in stuck:
            if case.letter.letter_id not in self._told.get(worker, frozenset()):
                _log.error("dead letter kept", **_named(worker, case), body=excerpt(case.letter.body))
        self._told[worker] = frozenset(c.letter.letter_id for c in stuck)

    # ---------------------------------------------------------------- for operators

    async def shown(self, worker: WorkerId) -> list[DeadLetter]:
        """The worker's dead letters, the oldest first; changes nothing. Raises Unavailable."""
        seen = await self._settle(worker, judge=lambda _: Verdict.KEEP, wanted=None)
        return [c.shown(worker) for c in seen]

    async def redrive(self, worker: WorkerId, *, wanted: str | None) -> dict[Verdict, list[DeadLetter]]:
        """Do by hand what the sweep does, however often it was tried; what was done to which letter.

        ``wanted`` is the id of a letter or of a message, None means all. Raises Unavailable.
        """
        return await self._done(worker, judge=lambda c: by_hand(c.standing), wanted=wanted)

    async def drop(self, worker: WorkerId, *, wanted: str | None) -> dict[Verdict, list[DeadLetter]]:
        """Delete letters that nobody can read or place; others are kept. Raises Unavailable."""
        return await self._done(worker, judge=_dropped, wanted=wanted)

    async def _done(
        self, worker: WorkerId, *, judge: Callable[[Case], Verdict], wanted: str | None
    ) -> dict[Verdict, list[DeadLetter]]:
        done: dict[Verdict, list[DeadLetter]] = {}

        def noted(case: Case) -> Verdict:
            fate = judge(case)
            done.setdefault(fate, []).append(case.shown(worker))
            return fate

        await self._settle(worker, judge=noted, wanted=wanted)
        return done

    # ---------------------------------------------------------------- the work

    async def _settle(
        self, worker: WorkerId, *, judge: Callable[[Case], Verdict], wanted: str | None
    ) -> list[Case]:
        """Do what ``judge`` says about each letter that is meant; those that stay, the oldest first."""
        async with self._locks[worker]:
            letters = {x.letter_id: x for x in await self._queues.dead(worker).letters(most=MOST)}
            kept = []
            try:
                for letter in sorted(letters.values(), key=lambda x: x.sent):
                    case = await self._case_or_unreadable(worker, letter)
                    fate = judge(case) if case.meant(wanted) else Verdict.KEEP
                    if await self._carry_out(worker, case, fate):
                        del letters[letter.letter_id]
                    else:
                        kept.append(case)
            finally:
                await self._queues.dead(worker).give_back(letters.values())
        return kept

    async def _case_or_unreadable(self, worker: WorkerId, letter: Letter) -> Case:
        """The case; records that cannot be read make the letter one for a person, and stop no other."""
        try:
            return await self._case(worker, letter)
        except ValidationError:
            _log.exception("record of a dead letter unreadable", letter_id=letter.letter_id)
            return Case(
                letter=letter, pointer=letter.pointer, standing=Standing.UNREADABLE, turn=None, message=None,
                redrives=0,
            )  # fmt: skip

    async def _case(self, worker: WorkerId, letter: Letter) -> Case:
        pointer = letter.pointer
        where = place(pointer) if pointer else None
        turns: Iterable[OpenRecord] = ()
        stops: list[StopRecord] = []
        turn = message = None
        redrives = 0
        if where is not None:
            thread_id, sequence = where
            turns, stops = await self._table.open(worker=worker, thread_id=thread_id)
            turn = of_message(turns, sequence)
            message = await self._table.message(worker=worker, thread_id=thread_id, sequence=sequence)
            redrives = int((await self._table.note(worker, _note(where))).get("redrives", 0))
        found = standing(pointer, turn=turn, message=message, stop=stops[0] if stops else None)
        return Case(
            letter=letter, pointer=pointer, standing=found, turn=turn, message=message, redrives=redrives
        )

    async def _carry_out(self, worker: WorkerId, case: Case, fate: Verdict) -> bool:
        """Whether the letter is gone. It goes last: until then every step can be done again."""
        if fate is Verdict.KEEP or (fate is Verdict.GIVE_UP and not await self._give_up(worker, case)):
            return False
        if fate is Verdict.REDRIVE:
            await self._ring(worker, case)
        await self._queues.dead(worker).forget(case.letter)
        _log.info("dead letter settled", done=fate, **_named(worker, case))
        return True

    async def _ring(self, worker: WorkerId, case: Case) -> None:
        pointer = case.pointer
        where = place(pointer) if pointer else None
        if pointer is None or where is None:
            raise AssertionError("only what has a place is open")
        # Counted before it is sent: a death in between costs one try, the other way round it would be free.
        await self._table.write_note(worker, _note(where), redrives=case.redrives + 1)
        try:
            await self._queues.send(url=await self._contact.meet(worker, record=None), pointer=pointer)
        except QueueMissing:
            await self._queues.send(url=await self._contact.renew(worker), pointer=pointer)
        await self._wake.unless_up(worker, thread_id=where[0])

    async def _give_up(self, worker: WorkerId, case: Case) -> bool:
        """A turn that waits for the end of a usage limit is not given up: its time comes."""
        if case.turn is None or case.turn.resumes_at is not None:
            return False
        return await self._endings.give_up(worker, case.turn, why=_WHY)


def _by_sweep(case: Case) -> Verdict:
    pointer = case.pointer
    is_message = pointer is not None and pointer.kind == "message"
    return verdict(case.standing, redrives=case.redrives, is_message=is_message)


def _dropped(case: Case) -> Verdict:
    unplaced = case.standing in (Standing.UNREADABLE, Standing.UNKNOWN)
    return Verdict.DELETE if unplaced else Verdict.KEEP


def _note(where: tuple[ThreadId, int]) -> str:
    return f"redrives#{where[0]}#{where[1]}"


def _named(worker: WorkerId, case: Case) -> dict[str, object]:
    named = case.pointer.message_id if case.pointer and case.standing is not Standing.UNKNOWN else None
    return {
        "worker_id": worker,
        "letter_id": case.letter.letter_id,
        "message_id": named,
        "standing": case.standing.value,
    }
