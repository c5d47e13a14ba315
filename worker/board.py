"""The one mutable thing of the engine: the current state, and a bell that rings when it changed.

Transitions run on the event loop's thread without awaiting, so each is atomic. No decisions here.
"""

import asyncio
from collections.abc import Callable

from worker.turn import State


class Board:
    """Holds the worker's state."""

    def __init__(self) -> None:
        self.state = State()
        self._changed = asyncio.Event()

    def apply(self, transition: Callable[[State], State]) -> None:
        """Replace the state by what the transition makes of it."""
        self.state = transition(self.state)
        self._changed.set()

    def ring(self) -> None:
        """Make the engine look again without a change of state."""
        self._changed.set()

    async def changed(self, *, seconds: float) -> bool:
        """Wait for a change or a ring, at most so long; whether there was one."""
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True
