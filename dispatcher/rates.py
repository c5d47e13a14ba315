"""How often one may ask: in memory, for this process alone. What has to hold over all dispatchers is counted
in the table (``signin_lockout``)."""

import time

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from dispatcher.errors import TooMany
from dispatcher.signin_records import digest


class Rates:
    """``posts_per_minute``: of one principal; ``sign_ins_per_minute``: of one user from one address, and six
    times as many from the address."""

    def __init__(self, *, posts_per_minute: int, sign_ins_per_minute: int = 10) -> None:
        self._window = MovingWindowRateLimiter(MemoryStorage())
        self._posts = RateLimitItemPerMinute(posts_per_minute)
        self._user = RateLimitItemPerMinute(sign_ins_per_minute)
        self._address = RateLimitItemPerMinute(6 * sign_ins_per_minute)

    async def signing_in(self, *, user: str, address: str) -> None:
        """Count an attempt to sign in. Raises TooMany."""
        await self._hit(self._address, "address", address)
        await self._hit(self._user, "user", digest(user), address)

    async def posting(self, who: str) -> None:
        """Count a post. Raises TooMany."""
        await self._hit(self._posts, "posts", who)

    async def _hit(self, item: RateLimitItem, *who: str) -> None:
        if await self._window.hit(item, *who):
            return
        stats = await self._window.get_window_stats(item, *who)
        raise TooMany("Too many requests: wait a little.", retry_after=stats.reset_time - time.time())
