"""What is around a fleet under test, and who writes to it. Here: nothing, and people who use the API.

``reply_town`` brings a Slack and a GitHub. A run has one of these; it starts no process of the fleet itself.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.chaos.fleet import Fleet
from tests.chaos.history import Found, History
from tests.chaos.places import Places
from tests.chaos.traffic import Traffic
from tests.chaos.villain import Villain


class Around:
    """The parts of a run that differ with what is around the fleet."""

    @asynccontextmanager
    async def standing(self, history: History) -> AsyncIterator[None]:
        """From before the first process of the fleet until after the last."""
        yield

    def places(self, **given: Any) -> Places:
        return Places(**given)

    def traffic(self, **given: Any) -> Traffic:
        return Traffic(**given)

    def villain(self, **given: Any) -> Villain:
        return Villain(**given)

    async def rest(self, fleet: Fleet, *, seconds: float) -> None:
        """Wait until nothing is left to do out here; called when all messages have their outcome."""

    def counts(self) -> dict[str, int | str]:
        """Lines for the table at the end."""
        return {}

    def judge(self, found: Found, *, history: History) -> dict[str, list[str]]:
        """More rules than those of every run, and what broke them."""
        return {}
