"""Ends an answer that goes on when whoever reads it may not any more.

A stream is let in once and then lives for hours, so who reads it is asked again while it does: after a
sign-out, a revoked token or a session that is over nothing more is said. Must not read what it passes on.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from starlette.requests import Request

WATCH_SECONDS = 5.0
"""How long a stream may go on for somebody who was let in before and is not any more."""

Still = Callable[[], Awaitable[bool]]
"""Whether who asked at first may ask now; False as well when nobody can tell."""
_Each = TypeVar("_Each")


def while_admitted(events: AsyncGenerator[_Each, None], *, request: Request) -> AsyncIterator[_Each]:
    """The events, for as long as who asks may have them; their reader comes back and is told why not."""
    still: Still | None = getattr(request.state, "still", None)
    return events if still is None else _watched(events, still=still)


async def _watched(events: AsyncGenerator[_Each, None], *, still: Still) -> AsyncIterator[_Each]:
    loop = asyncio.get_running_loop()
    due = loop.time() + WATCH_SECONDS * random.uniform(0.5, 1)  # noqa: S311 - so that not all ask at once
    async with aclosing(events):
        coming = asyncio.ensure_future(anext(events))
        try:
            while True:
                await asyncio.wait({coming}, timeout=max(due - loop.time(), 0))
                if loop.time() >= due:
                    if not await still():
                        return
                    due = loop.time() + WATCH_SECONDS
                if not coming.done():
                    continue
                try:
                    event = coming.result()
                except StopAsyncIteration:
                    return
                yield event
                coming = asyncio.ensure_future(anext(events))
        finally:
            coming.cancel()
            await asyncio.wait({coming})
