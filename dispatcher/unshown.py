"""The net under the replies: rings for every thread with a message that may not be answered in its places.

The list of them is kept in the table: a thread is put there in the transaction that records a message, and
taken off when a look has found everything shown. So it costs as much as there is under way, and nothing else.
"""

import asyncio

from contracts.places import UnshownRecord
from dispatcher.places import Places
from dispatcher.rings import Rings

_AT_ONCE = 8


class Unshown:
    """Rings for them."""

    def __init__(self, *, places: Places, rings: Rings) -> None:
        self._places = places
        self._rings = rings

    async def ring_all(self) -> None:
        """One ring each. Raises Unavailable."""
        turn = asyncio.Semaphore(_AT_ONCE)

        async def ring(row: UnshownRecord) -> None:
            async with turn:
                await self._rings.ring(row.worker_id, row.thread_id)

        await asyncio.gather(*(ring(row) for row in await self._places.unshown()))
