"""A Lambda's HTTP events through an ASGI application: in, out, and answers that would never end."""

import asyncio
import base64
import gzip
import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from dispatcher.lambda_http import LINGER_SECONDS, MOST_ANSWERED, UnknownEvent, answer, scope_of
from tests.fakes.lambda_events import http_event


async def _echo(request: Request) -> Response:
    seen = {
        "method": request.method,
        "path": request.url.path,
        "query": dict(request.query_params),
        "host": request.headers["host"],
        "cookies": request.cookies,
        "from": request.client.host if request.client else None,
        "body": (await request.body()).decode("latin-1"),
    }
    made = JSONResponse(seen, status_code=201, headers={"X-Given": "yes"})
    made.set_cookie("a", "1")
    made.set_cookie("b", "2")
    return made


async def _picture(_: Request) -> Response:
    return Response(b"\x89PNG\xff", media_type="image/png")


async def _packed(_: Request) -> Response:
    made = gzip.compress(b"let a = 1;")
    return Response(made, media_type="text/javascript", headers={"Content-Encoding": "gzip"})


async def _endless(request: Request) -> Response:
    async def lines() -> Any:
        yield "data: first\n\n"
        yield "data: second\n\n"
        while not await request.is_disconnected():
            yield ""
        ended.append(True)

    ended: list[bool] = request.app.state.ended
    return StreamingResponse(lines(), media_type="text/event-stream")


async def _silent(request: Request) -> Response:
    async def lines() -> Any:
        while not await request.is_disconnected():
            yield ""
        request.app.state.ended.append(True)

    return StreamingResponse(lines(), media_type="text/event-stream")


async def _slow(_: Request) -> Response:
    async def words() -> Any:
        yield "one "
        await asyncio.sleep(2 * LINGER_SECONDS)  # what is shown is that this is longer than others wait
        yield "two"

    return StreamingResponse(words(), media_type="text/plain")


class _Never:
    """Waits until nobody waits any more, and says nothing."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


async def _large(_: Request) -> Response:
    async def pieces() -> Any:
        for _ in range(5):
            yield b"x" * (MOST_ANSWERED // 4)

    return StreamingResponse(pieces(), media_type="text/plain")


async def _latin(_: Request) -> Response:
    return Response(b"caf\xe9", media_type="text/plain")


def _app() -> Starlette:
    routes = [
        Route("/never", _Never()),
        Route("/slow", _slow),
        Route("/large", _large),
        Route("/latin", _latin),
        Route("/echo/{rest:path}", _echo, methods=["GET", "POST"]),
        Route("/picture", _picture),
        Route("/packed", _packed),
        Route("/endless", _endless),
        Route("/silent", _silent),
    ]
    app = Starlette(routes=routes)
    app.state.ended = []
    return app


async def test_a_request_arrives_whole() -> None:
    event = http_event(
        "POST",
        "/echo/a%20b",
        query="x=1&y=%C3%A9",
        body="héllo",
        cookies=["s=1", "t=2"],
        host="chat.example.com",
    )
    got = await answer(_app(), event)
    assert got["statusCode"] == 201
    seen = _told(got)
    assert seen == {
        "method": "POST",
        "path": "/echo/a b",
        "query": {"x": "1", "y": "é"},
        "host": "chat.example.com",
        "cookies": {"s": "1", "t": "2"},
        "from": "192.0.2.7",
        "body": "héllo".encode().decode("latin-1"),
    }


async def test_a_body_in_base64_arrives_as_its_bytes() -> None:
    event = http_event("POST", "/echo/x", body=base64.b64encode(b"\xff\x00z").decode(), encoded=True)
    assert _told(await answer(_app(), event))["body"] == b"\xff\x00z".decode("latin-1")


async def test_headers_and_each_cookie_leave() -> None:
    got = await answer(_app(), http_event("GET", "/echo/x"))
    assert got["headers"]["x-given"] == "yes"
    assert "set-cookie" not in got["headers"]
    assert [c.split(";")[0] for c in got["cookies"]] == ["a=1", "b=2"]


async def test_what_is_no_text_leaves_in_base64() -> None:
    got = await answer(_app(), http_event("GET", "/picture"))
    assert got["isBase64Encoded"] is True
    assert base64.b64decode(got["body"]) == b"\x89PNG\xff"


async def test_text_that_is_compressed_leaves_in_base64() -> None:
    got = await answer(_app(), http_event("GET", "/packed"))
    assert got["isBase64Encoded"] is True
    assert gzip.decompress(base64.b64decode(got["body"])) == b"let a = 1;"


async def test_an_endless_answer_ends_a_moment_after_its_first_piece() -> None:
    app = _app()
    got = await answer(app, http_event("GET", "/endless"), seconds=3600)
    assert got["body"] == "data: first\n\ndata: second\n\n"
    assert app.state.ended == [True]


async def test_an_answer_without_a_piece_ends_with_its_time() -> None:
    app = _app()
    got = await answer(app, http_event("GET", "/silent"), seconds=0.05)
    assert (got["statusCode"], got["body"]) == (200, "")
    assert app.state.ended == [True]


async def test_an_answer_that_is_waited_for_leaves_whole_however_slowly_it_comes() -> None:
    got = await answer(_app(), http_event("GET", "/slow"), seconds=3600, whole=True)
    assert (got["statusCode"], got["body"]) == (200, "one two")
    got = await answer(_app(), http_event("GET", "/endless"), seconds=0.05, whole=True)
    assert got["body"].startswith("data: first"), "until its time is over"


async def test_what_has_not_begun_when_its_time_is_over_is_an_answer_too() -> None:
    got = await answer(_app(), http_event("GET", "/never"), seconds=0.05)
    assert got["statusCode"] == 504
    assert "try again" in got["body"]


async def test_what_is_larger_than_a_result_may_be_is_not_begun() -> None:
    got = await answer(_app(), http_event("GET", "/large"))
    assert (got["statusCode"], "too large" in got["body"]) == (502, True)


async def test_text_in_another_encoding_than_it_says_leaves_as_its_bytes() -> None:
    got = await answer(_app(), http_event("GET", "/latin"))
    assert (got["isBase64Encoded"], base64.b64decode(got["body"])) == (True, b"caf\xe9")


async def test_a_body_has_a_length_whether_its_sender_said_it_or_not() -> None:
    told = scope_of(http_event("POST", "/echo/x", body="h\u00e9llo"))["headers"]
    assert [v for k, v in told if k == b"content-length"] == [b"6"]
    said = scope_of(http_event("POST", "/echo/x", body="abc", headers={"content-length": "3"}))["headers"]
    assert [v for k, v in said if k == b"content-length"] == [b"3"]


async def test_an_event_that_is_no_request_is_refused() -> None:
    for event in ({}, {"version": "1.0", "httpMethod": "GET"}, {"Records": [{"eventSource": "aws:sqs"}]}):
        with pytest.raises(UnknownEvent):
            await answer(_app(), event)


def _told(result: dict[str, Any]) -> Any:
    assert result["isBase64Encoded"] is False
    return json.loads(result["body"])
