"""The dispatcher's application, for one Lambda event after the other.

It is connected at the first event, because a snapshot of a Lambda's environment must not hold connections,
and then lives as long as the environment does. Between two events everything stands still, so nothing runs
beside the requests: no sweep, no listener for replies. Reads no setting.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from dispatcher import lambda_http
from dispatcher.answers import error_answer
from dispatcher.errors import Refused
from dispatcher.guard import CHECKED

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
        return await lambda_http.answer(Wall(self._app, event=event), event, seconds=seconds)

    def close(self) -> None:
        """Let go of everything."""
        if self._life is not None:
            self._runner.run(self._life.aclose())
        self._runner.close()


class Wall:
    """ASGI middleware: the API and the page have no sign-in, so here only those get to them whom the address
    itself has checked (a function URL or an HTTP API with an authorizer)."""

    def __init__(self, app: FastAPI, *, event: lambda_http.Event) -> None:
        self._app = app
        self._known = bool(event.get("requestContext", {}).get("authorizer"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with 403."""
        if self._known or scope["path"].startswith(CHECKED):
            await self._app(scope, receive, send)
        else:
            refusal = Refused("This address is for chats only: ask through one with an authorizer.")
            await error_answer(refusal)(scope, receive, send)


def _seconds(context: Any) -> float:
    """How long an answer may take."""
    if context is None:
        return lambda_http.LONGEST_SECONDS
    return max(float(context.get_remaining_time_in_millis()) / 1000 - _MARGIN_SECONDS, 0.0)
