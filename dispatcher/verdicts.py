"""What is to be done about a dead letter, and about a worker that leaves its work untouched. Pure: no I/O.

A pointer is only a bell, so nothing here decides about a message whose worker lives: it looks at the records
by itself. States and failure cases stand in ``docs/decisions/dead-letters.md``.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, ValidationError

from contracts import names
from contracts.messages import Pointer
from contracts.records import MessageRecord, OpenRecord, StopRecord
from contracts.words import ThreadId

REDRIVES = 3
"""How often a dead letter is rung again before its message is given up."""
WAKES_AT_ONCE = 5
"""How often in a row a worker is started at the next look although nothing came of it."""
REFUSALS = 3
"""How often in a row a start may be refused before threads and operators are told."""
LOOKS = 1440
"""After so many looks that count at untouched work that nobody works on it is given up: a day of minutes."""
_HURRY = 0.75
"""A look that comes sooner than this share of the pace does not count: a clock is not exact."""
_SELDOM = 60
_SEQUENCES = 10**12
_SHOWN = 120
_SECRET = re.compile(
    r"[A-Za-z0-9_+/=.~-]{12,}|(?i:(?<=password)|(?<=secret)|(?<=token)|(?<=key))\W*[:=]\W*\S+"
)


class Standing(StrEnum):
    """What the records say about the thing that a letter points at."""

    UNREADABLE = "unreadable"
    """The body is no pointer."""
    UNKNOWN = "unknown"
    """No such message, or a message that has neither an outcome nor a turn record."""
    SETTLED = "settled"
    """There is nothing left to do: the message has its outcome, the stop is carried out, it only rang."""
    OPEN = "open"
    """A message without outcome, or a stop that is not carried out yet."""


class Verdict(StrEnum):
    """What is done about a letter."""

    DELETE = "delete"
    REDRIVE = "redrive"
    GIVE_UP = "give_up"
    KEEP = "keep"


class Letter(BaseModel):
    """One receipt of a dead letter. ``letter_id`` is SQS's own id of the letter, the same at each receipt."""

    model_config = ConfigDict(frozen=True)

    letter_id: str
    receipt: str
    body: str
    sent: datetime
    receives: int

    @property
    def pointer(self) -> Pointer | None:
        """The body, if it is what a queue of ours carries."""
        try:
            return Pointer.model_validate_json(self.body)
        except ValidationError:
            return None


def place(pointer: Pointer) -> tuple[ThreadId, int] | None:
    """Thread and sequence a pointer names, if they can be those of a record (a stop: sequence 0)."""
    thread_id, sequence = pointer.thread_id, 0 if pointer.kind == "stop" else pointer.sequence
    if thread_id is None or sequence is None or not names.is_id(thread_id):
        return None
    return (thread_id, sequence) if 0 <= sequence < _SEQUENCES else None


def standing(
    pointer: Pointer | None,
    *,
    turn: OpenRecord | None,
    message: MessageRecord | None,
    stop: StopRecord | None,
) -> Standing:
    """Where the thing stands. ``turn`` must have been read before ``message``: a message that ends in between
    is then seen with its outcome."""
    if pointer is None:
        return Standing.UNREADABLE
    if pointer.kind != "message":
        return Standing.OPEN if pointer.kind == "stop" and stop is not None else Standing.SETTLED
    if message is None or pointer.message_id not in (None, message.id):
        return Standing.UNKNOWN
    if message.outcome is not None:
        return Standing.SETTLED
    return Standing.OPEN if turn is not None else Standing.UNKNOWN


def verdict(found: Standing, *, redrives: int, is_message: bool) -> Verdict:
    """What the sweep does: what is open is rung again, at most ``REDRIVES`` times; what nobody can read or
    place stays for a person."""
    if found is Standing.SETTLED:
        return Verdict.DELETE
    if found is not Standing.OPEN:
        return Verdict.KEEP
    if redrives < REDRIVES:
        return Verdict.REDRIVE
    return Verdict.GIVE_UP if is_message else Verdict.KEEP


def by_hand(found: Standing) -> Verdict:
    """What a re-drive by a person does: it rings however often that was tried before."""
    return verdict(found, redrives=0, is_message=True)


def excerpt(body: str) -> str:
    """The beginning of an unreadable body on one line, without anything that could be a secret."""
    plain = " ".join(_SECRET.sub("[redacted]", body).split())
    plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in plain)
    return plain if len(plain) <= _SHOWN else plain[: _SHOWN - 1] + "…"


def wakes(looks: int) -> bool:
    """Whether a worker is started at this look; ``looks`` counts those in a row, this one included, at which
    it did not run and its work was untouched. Often at first, then more seldom, at last not at all."""
    if looks <= WAKES_AT_ONCE:
        return True
    return looks < LOOKS and (looks & (looks - 1) == 0 or looks % _SELDOM == 0)


def counts(*, untouched: bool, seconds: float, pace: float) -> bool:
    """Whether a look counts, and does anything, so many seconds after the last one that did."""
    return not untouched or not 0 <= seconds < pace * _HURRY


def next_looks(*, before: int, untouched: bool) -> int:
    """The count at this look."""
    return min(before + 1, LOOKS + 1) if untouched else 1


def of_message(turns: Sequence[OpenRecord], sequence: int) -> OpenRecord | None:
    """The turn record of one message among those of its thread."""
    return next((t for t in turns if t.sequence == sequence), None)
