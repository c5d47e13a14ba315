"""The dispatcher's application, for one Lambda event after the other.

It is connected at the first event, because a snapshot of a Lambda's environment must not hold connections,
and then lives as long as the environment does. Between two events everything stands still, so nothing runs
beside the requests: no sweep, no listener for replies. Who asks is found out by the application. Reads no
setting.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from fastapi import FastAPI

from dispatcher import lambda_http

_MARGIN_SECONDS = 2.0
"""Kept of the time that Lambda gives, to hand the answer over."""


class Door:
    """The application for events, one after the other. Not for two threads."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._runner = asyncio.Runner()
        self._life: AsyncExitStack | None = None

    def __call__(self, event: lambda_http.Event, context: Any) -> dict[str, Any]:
        """The answer to an HTTP event. Raises lambda_http.UnknownEvent for any other."""
        return self._runner.run(self._answer(event, seconds=_seconds(context)))

    async def _answer(self, event: lambda_http.Event, *, seconds: float) -> dict[str, Any]:
        if self._life is None:
            life = AsyncExitStack()
            await life.enter_async_context(self._app.router.lifespan_context(self._app))
            self._life = life
        return await lambda_http.answer(self._app, event, seconds=seconds)

    def close(self) -> None:
        """Let go of everything."""
        if self._life is not None:
            self._runner.run(self._life.aclose())
        self._runner.close()


def _seconds(context: Any) -> float:
    """How long an answer may take."""
    if context is None:
        return lambda_http.LONGEST_SECONDS
    return max(float(context.get_remaining_time_in_millis()) / 1000 - _MARGIN_SECONDS, 0.0)
