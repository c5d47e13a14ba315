"""How fast a frontend may be asked: edits a second, refusals with a time, growing pauses. No I/O.

Everything here is forgotten by a restart, on purpose: the frontend says it again.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from dispatcher.posting import Later

EDIT_SECONDS = 1.0
"""Least time between two edits in one place."""
LONGEST_PAUSE = 300.0
TRIES = 12
"""How often in a row a post is refused, within about 20 minutes, before it is given up."""
_REMEMBERED = 10_000


@dataclass
class _Place:
    not_before: float = 0.0
    failures: int = 0
    refusals: int = 0
    acted: float | None = None


class Pace:
    """One frontend's. ``now`` is a monotonic clock, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._not_before = 0.0

    def wait(self, address: str) -> float:
        """Seconds until this place may be asked again; 0 when it may be now."""
        return max(self._not_before, self._of(address).not_before) - self._now()

    def edit_in(self, address: str, *, rest: float = EDIT_SECONDS) -> float:
        """Seconds until a post of this place that wants so long a rest may be edited; 0 or less: now."""
        acted = self._of(address).acted
        return 0.0 if acted is None else acted + max(rest, EDIT_SECONDS) - self._now()

    def acts(self, address: str) -> None:
        """A post is made or edited now, whatever comes of it."""
        self._of(address).acted = self._now()

    def acted(self, address: str) -> None:
        """A post was made or edited just now."""
        place = self._of(address)
        place.acted, place.failures, place.refusals = self._now(), 0, 0

    def refused(self, address: str, error: Later) -> float:
        """The frontend could not take it; how long this place waits now."""
        place = self._of(address)
        place.refusals = place.refusals + 1 if error.refused else 0
        seconds = error.seconds
        if seconds is None:
            seconds = min(2.0**place.failures, LONGEST_PAUSE)
            place.failures = min(place.failures + 1, 10)
        place.not_before = self._now() + seconds
        if error.everywhere:
            self._not_before = max(self._not_before, place.not_before)
        return seconds

    def is_hopeless(self, address: str) -> bool:
        """Whether this place has been refused so often in a row that it is given up; asked once, it counts
        anew."""
        place = self._of(address)
        if place.refusals < TRIES:
            return False
        self._places.pop(address)
        return True

    def _of(self, address: str) -> _Place:
        place = self._places.setdefault(address, _Place())
        self._places.move_to_end(address)
        if len(self._places) > _REMEMBERED:
            self._places.popitem(last=False)
        return place
