"""``GET /healthz``: whether the dispatcher can do its work, and what it owes to people. Repairs nothing."""

import asyncio
import time
from collections.abc import Callable

import structlog
from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from dispatcher.dead_replies import DeadReplies
from dispatcher.errors import DispatcherError
from dispatcher.queues import Queues
from dispatcher.settings import Settings
from dispatcher.table import Table

_log = structlog.get_logger(__name__)
_COUNT_SECONDS = 3.0


class Health:
    """The route. ``dead``: the replies nobody gets, if there is a chat frontend; ``now`` is monotonic."""

    def __init__(
        self,
        *,
        settings: Settings,
        table: Table,
        queues: Queues,
        dead: DeadReplies | None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._offline_model = settings.offline_model
        self._fresh_seconds = settings.sweep_seconds
        self._table = table
        self._queues = queues
        self._dead = dead
        self._now = now
        self._owed: dict[str, int] = {}
        self._counted: float | None = None

    def router(self) -> APIRouter:
        """The one address."""
        router = APIRouter()
        router.add_api_route("/healthz", self.health, methods=["GET"])
        return router

    async def health(self) -> Response:
        """``GET /healthz``. Answers 503 with a sentence when table or queues cannot be reached.

        ``undeliverable`` (places) and ``dead_replies`` (rings) are for people: they change nothing about the
        status, are left out where there is no chat, and are counted once in ``sweep_seconds`` at most.
        """
        await asyncio.gather(self._table.check(), self._queues.check())
        plain = {"status": "ok", "offline_model": self._offline_model}
        return JSONResponse({**plain, **await self._owing()})

    async def _owing(self) -> dict[str, int]:
        if self._dead is None:
            return {}
        if self._counted is None or self._now() - self._counted >= self._fresh_seconds:
            self._counted = self._now()
            try:
                async with asyncio.timeout(_COUNT_SECONDS):
                    places, rings = await self._dead.counts()
                self._owed = {"undeliverable": places, "dead_replies": rings}
            except (DispatcherError, TimeoutError) as error:
                _log.warning("replies not counted", problem=repr(error))
        return self._owed
