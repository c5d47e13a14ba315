"""How often one may ask: in memory, for this process alone. What has to hold over all dispatchers is counted
in the table (``signin_lockout``)."""

import time

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from dispatcher.errors import TooMany
from dispatcher.signin_records import digest

_FOR_USER = RateLimitItemPerMinute(10)
_FOR_ADDRESS = RateLimitItemPerMinute(60)


class Rates:
    """``posts_per_minute``: of one principal."""

    def __init__(self, *, posts_per_minute: int) -> None:
        self._window = MovingWindowRateLimiter(MemoryStorage())
        self._posts = RateLimitItemPerMinute(posts_per_minute)

    async def signing_in(self, *, user: str, address: str) -> None:
        """Count an attempt to sign in. Raises TooMany."""
        await self._hit(_FOR_ADDRESS, "address", address)
        await self._hit(_FOR_USER, "user", digest(user), address)

    async def posting(self, who: str) -> None:
        """Count a post. Raises TooMany."""
        await self._hit(self._posts, "posts", who)

    async def _hit(self, item: RateLimitItem, *who: str) -> None:
        if await self._window.hit(item, *who):
            return
        stats = await self._window.get_window_stats(item, *who)
        raise TooMany("Too many requests: wait a little.", retry_after=stats.reset_time - time.time())
