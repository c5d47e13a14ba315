"""Slows down guessing at one account, over all dispatchers: a counter in the table that every attempt raises
before it is judged, so that attempts at the same time cannot share one guess.

The pause grows and ends; nobody is locked out for good. Does not know whether there is such an account: a
name that nobody has is treated the same.
"""

import time
from collections.abc import Callable

from dispatcher import signin_records as rows
from dispatcher.errors import Overtaken, TooMany, Unavailable
from dispatcher.signin_store import ABSENT, Store

FREE = 5
"""Attempts that cost no pause."""
_FIRST_PAUSE = 30.0
_LONGEST_PAUSE = 900.0
_FORGOTTEN_SECONDS = 24 * 3600
_TRIES = 8


def pause(failures: int) -> float:
    """Seconds until the next attempt, after so many in a row that failed."""
    if failures < FREE:
        return 0.0
    return float(min(_FIRST_PAUSE * 2.0 ** min(failures - FREE, 10), _LONGEST_PAUSE))


class Lockout:
    """``now``: Unix time in seconds."""

    def __init__(self, store: Store, *, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now

    async def begin(self, user: str) -> None:
        """Count an attempt. Raises TooMany during a pause, Unavailable."""
        for _ in range(_TRIES):
            now = self._now()
            row = await self._store.get(rows.failures_key(user))
            fresh = row is None or row["expires"] <= now
            count = 0 if row is None or fresh else int(row["failures"])
            until = 0.0 if row is None or fresh else float(row["until"])
            if now < until:
                raise TooMany("Too many attempts: wait a little and try again.", retry_after=until - now)
            try:
                await self._write(user, count + 1, seen=row)
            except Overtaken:
                continue
            return
        raise Unavailable("Too many attempts at once: try again in a moment.")

    async def give_back(self, user: str) -> None:
        """The attempt was none: its password was right, and the code was not asked for yet."""
        row = await self._store.get(rows.failures_key(user))
        try:
            if row is not None:
                await self._write(user, max(int(row["failures"]) - 1, 0), seen=row)
        except Overtaken:
            return  # somebody else is at it; one attempt more than there were does no harm

    async def clear(self, user: str) -> None:
        """It was they."""
        await self._store.take(rows.failures_key(user))

    async def _write(self, user: str, failures: int, *, seen: dict[str, object] | None) -> None:
        now = self._now()
        await self._store.put(
            rows.failures_key(user),
            {"failures": failures, "until": now + pause(failures)},
            expires=now + _FORGOTTEN_SECONDS,
            condition=ABSENT if seen is None else "failures = :seen",
            values=None if seen is None else {":seen": seen["failures"]},
        )
