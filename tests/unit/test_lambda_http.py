"""A Lambda's HTTP events through an ASGI application: in, out, and answers that would never end."""

import base64
import gzip
import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from dispatcher.lambda_http import UnknownEvent, answer
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


def _app() -> Starlette:
    routes = [
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


async def test_an_event_that_is_no_request_is_refused() -> None:
    for event in ({}, {"version": "1.0", "httpMethod": "GET"}, {"Records": [{"eventSource": "aws:sqs"}]}):
        with pytest.raises(UnknownEvent):
            await answer(_app(), event)


def _told(result: dict[str, Any]) -> Any:
    assert result["isBase64Encoded"] is False
    return json.loads(result["body"])
