"""What GitHub's refusals mean for us: later, never, or not there. One translation for all calls. No I/O."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import gidgethub
from gidgethub import BadRequest, GitHubBroken, HTTPException, RateLimitExceeded

from dispatcher.posting import Later, Undeliverable

_LIMITED = 60.0
"""Seconds to wait after a secondary rate limit that names no time, as GitHub asks for."""
_LONGEST = 3600.0


class Missing(Undeliverable):
    """404: gone, or nothing the App may see."""


class Rejected(Undeliverable):
    """422: GitHub understood and does not want it; the text says why."""


class Unaccepted(Undeliverable):
    """401: the token or the App's key is not (or no longer) accepted."""


@asynccontextmanager
async def translated(what: str, *, seconds: float = 20.0) -> AsyncIterator[None]:
    """Bound a call; turn its failures into ``Later`` or ``Undeliverable``; ``what`` names it for people."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except RateLimitExceeded as error:
        until = error.rate_limit.reset_datetime.timestamp() - time.time()
        raise Later(
            "GitHub's hourly limit is reached.", seconds=min(max(until, 1.0), _LONGEST), everywhere=True
        ) from error
    except GitHubBroken as error:
        raise Later(f"GitHub could not {what} ({int(error.status_code)}).") from error
    except HTTPException as error:
        raise _refusal(error, what=what) from error
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, gidgethub.GitHubException) as error:
        raise Later(f"GitHub gave no answer when asked to {what}.") from error


def _refusal(error: HTTPException, *, what: str) -> Exception:
    status, said = int(error.status_code), str(error)[:200]
    pause = error.headers.get("retry-after", "") if error.headers else ""
    if status == 429 or (status == 403 and (pause or "rate limit" in said.lower())):
        seconds = float(pause) if pause.replace(".", "", 1).isdigit() else _LIMITED
        return Later("GitHub asks to slow down.", seconds=min(seconds, _LONGEST), everywhere=True)
    kind = {401: Unaccepted, 404: Missing, 410: Missing, 422: Rejected}.get(status, Undeliverable)
    if isinstance(error, BadRequest) or status >= 300:
        return kind(f"GitHub does not let the App {what}: {said}")
    return Later(f"GitHub gave an answer that is none when asked to {what}.")
