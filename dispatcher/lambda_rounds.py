"""What a server does beside the requests, done when an event asks for it: replies, and a round of the sweep.

A ring that could not be answered is named, so that SQS hands out that one again and not its neighbours. What
there is to do later is rung for with a delay, at most once at a time for a thread and environment: each ring
may lead to one more, and a turn rings every second. What gets lost is rung for by the sweep.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog

from contracts.places import ReplyPointer
from contracts.words import ThreadId, WorkerId
from dispatcher.errors import DispatcherError
from dispatcher.lambda_events import Rung
from dispatcher.replies import Broken, Replies
from dispatcher.rings import Ring, Rings
from dispatcher.sweep import Sweep

_log = structlog.get_logger(__name__)
_Key = tuple[WorkerId, ThreadId]
_MOST_PROMISED = 1000
_BROKEN_SECONDS = 30.0
_SOONER_SECONDS = 1.0


class Rounds:
    """``replies`` and ``rings`` are None without a chat frontend. ``now`` is monotonic, in seconds."""

    def __init__(
        self,
        *,
        sweep: Sweep,
        replies: Replies | None,
        rings: Rings | None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sweep, self._replies, self._rings, self._now = sweep, replies, rings, now
        self._promised: dict[_Key, float] = {}

    async def sweep(self, started_by: str | None = None) -> None:
        """Look once at every worker, or at the one of this short name. What goes wrong is logged, and the
        next round looks again.

        The line at the end is counted (``cdk/words.py``): without it nobody looks, and its number of seconds
        says how long somebody has waited for a worker to begin."""
        if started_by is not None:
            await self._sweep.one(started_by)
        elif await self._sweep.once():
            oldest, now = self._sweep.oldest, datetime.now(UTC)
            _log.info("swept", oldest_seconds=max(int((now - oldest).total_seconds()), 0) if oldest else 0)

    async def start(self, worker: WorkerId) -> None:
        """Start a worker that has work and does not run. What goes wrong is logged."""
        await self._sweep.start(worker)

    async def look(self, rung: Sequence[Rung], *, seconds: float) -> list[str]:
        """Answer rings within so many seconds; the message ids of those that have to come again."""
        if self._replies is None or self._rings is None:
            _log.warning("rings without a chat", count=len(rung))
            return []
        threads: dict[_Key, list[Rung]] = {}
        failed = [r for r in rung if r.ring.pointer is None]
        for one in rung:
            if one.ring.pointer is not None:
                key = (one.ring.pointer.worker_id, one.ring.pointer.thread_id)
                threads.setdefault(key, []).append(one)
        for one in failed:
            _log.error("ring unreadable", receives=one.ring.receives)
        await self._hide([r.ring for r in failed], seconds=1)  # they walk into the dead letters
        return [r.message_id for r in failed] + await self._all(threads, seconds=seconds)

    async def _all(self, threads: dict[_Key, list[Rung]], *, seconds: float) -> list[str]:
        looks = {asyncio.create_task(self._one(key, rung)): rung for key, rung in threads.items()}
        if not looks:
            return []
        _, late = await asyncio.wait(looks, timeout=seconds)
        for look in late:
            _log.warning("replies not looked at in time")
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
        again = [rung for look, rung in looks.items() if look.cancelled() or not look.result()]
        return [r.message_id for rung in again for r in rung]

    async def _one(self, key: _Key, rung: list[Rung]) -> bool:
        """One look for all rings of a thread; whether they are settled."""
        assert self._replies is not None  # noqa: S101 - asked before
        worker, thread_id = key
        pointer = ReplyPointer(worker_id=worker, thread_id=thread_id)
        try:
            wait = await self._replies.look(pointer, is_last=any(r.ring.is_last for r in rung))
        except DispatcherError as error:
            _log.warning("replies not looked at", thread_id=thread_id, problem=str(error))
            return False
        except Exception as error:
            if not isinstance(error, Broken):
                _log.exception("replies broken", thread_id=thread_id)
            await self._hide([r.ring for r in rung], seconds=_BROKEN_SECONDS)
            return False
        if wait is not None:
            await self._promise(key, seconds=wait)
        return True

    async def _promise(self, key: _Key, *, seconds: float) -> None:
        """Have somebody look again then, unless somebody will."""
        assert self._rings is not None  # noqa: S101 - asked before
        now = self._now()
        due = now + seconds
        if now < self._promised.get(key, 0.0) <= due + _SOONER_SECONDS:
            return
        if len(self._promised) >= _MOST_PROMISED:
            self._promised = {k: at for k, at in self._promised.items() if at > now}
        self._promised[key] = due
        await self._rings.ring(*key, delay=math.ceil(seconds))

    async def _hide(self, rings: Sequence[Ring], *, seconds: float) -> None:
        """Hand these out again after so long, not after the queue's whole visibility."""
        assert self._rings is not None  # noqa: S101 - asked before
        try:
            await self._rings.hide(rings, seconds=seconds)
        except DispatcherError as error:
            _log.warning("ring not hidden", problem=str(error))
