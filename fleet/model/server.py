"""The HTTP face of a scripted model: the few endpoints Claude Code asks for, on loopback.

It parses, asks the script and streams what the script says. It must not hold state about conversations.
"""

import asyncio
import contextlib
import inspect
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from fleet.model.conversation import ModelRequest
from fleet.model.protocol import Answer, Hang, Refusal, Reply, events, frame, refusal_body, whole

_LOOK_EVERY = 0.05
"""Seconds between two looks at whether the client of a silent request is still there."""


class Script(Protocol):
    """Decides what the model says. ``reply`` may be a coroutine."""

    def reply(self, request: ModelRequest) -> Answer | Awaitable[Answer]:
        """The answer to this request; it should follow from the request alone."""


def create_app(script: Script) -> Starlette:
    """An ASGI app that speaks the Messages API in the words of ``script``."""

    async def messages(http: Request) -> Response:
        try:
            request = ModelRequest(await http.json(), dict(http.headers))
        except json.JSONDecodeError:
            return _refuse(Refusal(status=400, message="The body is not JSON."))
        answer = script.reply(request)
        return await _respond(
            http, request=request, answer=await answer if inspect.isawaitable(answer) else answer
        )

    return Starlette(
        routes=[
            Route("/v1/messages", messages, methods=["POST"]),
            Route("/v1/messages/count_tokens", _count_tokens, methods=["POST"]),
            Route("/{path:path}", _hello, methods=["GET", "HEAD"]),
        ]
    )


async def _respond(http: Request, *, request: ModelRequest, answer: Answer) -> Response:
    if isinstance(answer, Refusal):
        return _refuse(answer)
    if answer.parts and isinstance(answer.parts[0], Hang):
        return await _stay_silent(http)
    if request.stream:
        return StreamingResponse(_stream(answer, model=request.model), media_type="text/event-stream")
    return JSONResponse(await whole(answer, model=request.model))


async def _stream(reply: Reply, *, model: str) -> AsyncIterator[bytes]:
    async for event in events(reply, model=model):
        yield frame(event)


def _refuse(refusal: Refusal) -> Response:
    return JSONResponse(refusal_body(refusal), status_code=refusal.status, headers=dict(refusal.headers))


async def _stay_silent(http: Request) -> Response:
    while not await http.is_disconnected():
        await asyncio.sleep(_LOOK_EVERY)
    return Response(status_code=499)


async def _count_tokens(http: Request) -> Response:
    return JSONResponse({"input_tokens": len(await http.body()) // 4})


async def _hello(_: Request) -> Response:
    return JSONResponse({"type": "scripted_model"})


class LoopbackServer(uvicorn.Server):
    """uvicorn on a socket that is already bound, leaving signals to whoever runs it.

    Set ``should_exit`` to stop it: open streams are cut, it does not wait for them.
    """

    def __init__(self, app: Starlette) -> None:
        super().__init__(
            uvicorn.Config(
                app, log_level="critical", lifespan="off", access_log=False, timeout_graceful_shutdown=0
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the program: uvicorn would raise them again at the end."""
        yield


def bind(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1; port 0 takes a free one. Raises ``OSError`` when it is taken."""
    return socket.create_server(("127.0.0.1", port), backlog=128)


def url_of(listener: socket.socket) -> str:
    """What to put into ``ANTHROPIC_BASE_URL`` for this socket."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}"
