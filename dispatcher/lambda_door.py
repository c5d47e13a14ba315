"""The dispatcher's application, for one Lambda event after the other.

It is connected at the first event, because a snapshot of a Lambda's environment must not hold connections,
and then lives as long as the environment does. Between two events everything stands still, so nothing runs
beside the requests: replies and the sweep have events of their own. Who asks is found out by the application.
Reads no setting.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Protocol

from fastapi import FastAPI

from dispatcher import lambda_events, lambda_http
from dispatcher.lambda_out import Out, Pieces
from dispatcher.lambda_rounds import Rounds

_MARGIN_SECONDS = 2.0
"""Kept of the time that Lambda gives, to hand the answer over."""


class Context(Protocol):
    """What of Lambda's context is used."""

    def get_remaining_time_in_millis(self) -> int:
        """How long this event may still take."""


class Door:
    """The application for events, one after the other. Not for two threads. ``whole``: answers in one piece
    are waited for until they end."""

    def __init__(self, app: FastAPI, *, whole: bool = False) -> None:
        self._app, self._whole = app, whole
        self._runner: asyncio.Runner | None = None
        self._life: AsyncExitStack | None = None

    def __call__(self, event: lambda_http.Event, context: Context | None) -> dict[str, Any]:
        """The answer to an event, in one piece. Raises lambda_events.UnknownEvent."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(self.answer(event, context)) or {}

    async def answer(
        self, event: lambda_http.Event, context: Context | None, *, pieces: Pieces | None = None
    ) -> dict[str, Any] | None:
        """The answer to an event; None if it was given to ``pieces``, as that to a request is if there are
        any. Raises UnknownEvent, and whatever the application raises."""
        asked = lambda_events.read(event)
        seconds = _seconds(context)
        await self._connect()
        match asked:
            case lambda_events.Request() if pieces is not None:
                await Out(asked.event, pieces=pieces).run(self._app, seconds=seconds)
                return None
            case lambda_events.Request():
                return await lambda_http.answer(self._app, asked.event, seconds=seconds, whole=self._whole)
            case lambda_events.Replies():
                again = await self._rounds.look(asked.rung, seconds=seconds)
                return {"batchItemFailures": [{"itemIdentifier": i} for i in again]}
            case lambda_events.Sweep():
                async with asyncio.timeout(seconds):
                    await self._rounds.sweep(asked.started_by)
                return {"done": "sweep"}
            case lambda_events.Start():
                async with asyncio.timeout(seconds):
                    await self._rounds.start(asked.worker_id)
                return {"done": "start"}
            case lambda_events.WarmUp():
                return {"done": "warm-up"}

    @property
    def _rounds(self) -> Rounds:
        rounds: Rounds | None = getattr(self._app.state, "rounds", None)
        if rounds is None:
            raise lambda_http.UnknownEvent("This function answers requests alone: check what invokes it.")
        return rounds

    async def _connect(self) -> None:
        if self._life is None:
            life = AsyncExitStack()
            await life.enter_async_context(self._app.router.lifespan_context(self._app))
            self._life = life

    def close(self) -> None:
        """Let go of everything that ``__call__`` has opened."""
        if self._runner is None:
            return
        if self._life is not None:
            self._runner.run(self._life.aclose())
        self._runner.close()


def _seconds(context: Context | None) -> float:
    """How long an answer may take."""
    if context is None:
        return lambda_http.LONGEST_SECONDS
    return max(float(context.get_remaining_time_in_millis()) / 1000 - _MARGIN_SECONDS, 0.0)
