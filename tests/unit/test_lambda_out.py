"""An answer that leaves a Lambda in pieces: what they are, when they leave, and when there are no more."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dispatcher.lambda_out import Out
from tests.fakes.lambda_events import http_event


class Kept:
    """Pieces that are kept; ``broken`` after so many."""

    def __init__(self, *, broken: int | None = None) -> None:
        self.pieces: list[bytes] = []
        self._broken = broken

    async def write(self, piece: bytes) -> None:
        assert piece, "an empty chunk would end the answer"
        if self._broken is not None and len(self.pieces) >= self._broken:
            raise ConnectionResetError
        self.pieces.append(piece)

    @property
    def head(self) -> dict[str, Any]:
        prelude, nothing, rest = self.pieces[0].partition(bytes(8))
        assert (nothing, rest) == (bytes(8), b"")
        head: dict[str, Any] = json.loads(prelude)
        return head

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces[1:])


async def _seen(request: Request) -> Response:
    made = JSONResponse({"body": (await request.body()).decode(), "headers": dict(request.headers)})
    made.set_cookie("a", "1")
    made.set_cookie("b", "2")
    return made


async def _redirect(_: Request) -> Response:
    return RedirectResponse("/elsewhere", status_code=303)


async def _nothing(_: Request) -> Response:
    return Response(status_code=204)


async def _endless(request: Request) -> Response:
    async def lines() -> AsyncIterator[str]:
        n = 0
        try:
            while not await request.is_disconnected():
                n += 1
                yield f"data: {n}\n\n"
        finally:
            request.app.state.ended = True

    return StreamingResponse(lines(), media_type="text/event-stream")


def _app() -> Starlette:
    app = Starlette(
        routes=[
            Route("/seen", _seen, methods=["GET", "POST"]),
            Route("/redirect", _redirect),
            Route("/nothing", _nothing),
            Route("/endless", _endless),
        ]
    )
    app.state.ended = False
    return app


async def answered(path: str, *, method: str = "GET", app: ASGIApp | None = None, **more: Any) -> Kept:
    kept = Kept()
    await Out(http_event(method, path, **more), pieces=kept).run(app or _app(), seconds=30)
    return kept


async def test_status_headers_and_cookies_come_first_and_the_length_not_at_all() -> None:
    kept = await answered("/seen", method="POST", body="hello")
    assert kept.head["statusCode"] == 200
    assert kept.head["headers"] == {"content-type": "application/json"}
    assert [c.split(";")[0] for c in kept.head["cookies"]] == ["a=1", "b=2"]
    assert json.loads(kept.body)["body"] == "hello"


async def test_nobody_is_asked_to_compress_or_to_say_that_nothing_changed() -> None:
    headers = {"accept-encoding": "gzip", "if-none-match": '"x"', "if-modified-since": "x", "x-kept": "yes"}
    seen = json.loads((await answered("/seen", headers=headers)).body)["headers"]
    assert set(seen) == {"host", "x-forwarded-proto", "x-kept"}


async def test_an_answer_without_a_body_says_a_newline_where_http_lets_it() -> None:
    assert (await answered("/redirect")).body == b"\n"
    assert (await answered("/nothing")).body == b""
    assert (await answered("/seen", method="HEAD")).body == b""


async def test_an_endless_answer_is_ended_before_its_time_is_over() -> None:
    app, kept = _app(), Kept()
    await Out(http_event("GET", "/endless"), pieces=kept).run(app, seconds=1.05)
    assert app.state.ended
    assert kept.body.startswith(b"data: 1\n\ndata: 2\n\n")


async def test_an_answer_is_ended_when_nobody_takes_it() -> None:
    app, kept = _app(), Kept(broken=3)
    await Out(http_event("GET", "/endless"), pieces=kept).run(app, seconds=60)
    assert app.state.ended
    assert len(kept.pieces) == 3


async def test_an_application_that_does_not_end_when_told_is_cut_off() -> None:
    async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await Out(http_event("GET", "/"), pieces=Kept()).run(deaf, seconds=0.05)


async def test_an_application_without_an_answer_is_a_fault() -> None:
    async def mute(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    with pytest.raises(RuntimeError, match="no answer"):
        await Out(http_event("GET", "/"), pieces=Kept()).run(mute, seconds=5)
