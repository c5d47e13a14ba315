"""The loop that answers in pieces, with a door of the test's own behind it, before the Runtime API."""

import base64
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.lambda_events import http_event
from tests.fakes.runtime_api import FunctionError, LambdaFunction, function

ROOT = Path(__file__).resolve().parents[2]
_PROCESS = """
import asyncio, os
from dispatcher import lambda_stream
from dispatcher.lambda_out import Out
from dispatcher.lambda_runtime import RuntimeApi

async def app(scope, receive, send):
    if scope["path"] == "/early":
        raise ValueError("it broke before it said anything")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-given", b"yes")]})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    if scope["path"] == "/midway":
        raise ValueError("it broke midway: sûr")
    for _ in range(int(scope["query_string"] or 0)):
        await send({"type": "http.response.body", "body": bytes(range(256)) * 1024, "more_body": True})
    await send({"type": "http.response.body", "body": b" and the rest"})

class Door:
    async def answer(self, event, context, *, pieces):
        if "rawPath" not in event:
            return {"seen": event, "left": context.get_remaining_time_in_millis()}
        await Out(event, pieces=pieces).run(app, seconds=20)

asyncio.run(lambda_stream._serve(RuntimeApi(os.environ["AWS_LAMBDA_RUNTIME_API"]), Door()))
"""


@pytest.fixture
def loop() -> Iterator[LambdaFunction]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with function([sys.executable, "-c", _PROCESS], env=env, cwd=ROOT) as running:
        yield running


def test_an_error_midway_is_told_behind_what_was_said_and_the_next_event_is_answered(
    loop: LambdaFunction,
) -> None:
    broken = loop.request(http_event("GET", "/midway"))
    assert (broken.status, broken.body) == (200, b"half")
    assert broken.answer.headers["trailer"].split(", ") == [
        "Lambda-Runtime-Function-Error-Type",
        "Lambda-Runtime-Function-Error-Body",
    ]
    assert broken.answer.trailers["lambda-runtime-function-error-type"] == "Function.ValueError"
    told = json.loads(base64.b64decode(broken.answer.trailers["lambda-runtime-function-error-body"]))
    assert (told["errorType"], told["errorMessage"]) == ("ValueError", "it broke midway: sûr")
    assert "in app" in "".join(told["stackTrace"])
    whole = loop.request(http_event("GET", "/whole"))
    assert (whole.body, whole.answer.trailers) == (b"half and the rest", {})
    assert whole.head["headers"] == {"x-given": "yes"}
    assert (loop.starts, loop.refused) == (1, [])


def test_an_error_before_the_first_piece_is_an_error_of_the_event(loop: LambdaFunction) -> None:
    with pytest.raises(FunctionError, match="before it said anything") as failed:
        loop.request(http_event("GET", "/early"))
    assert failed.value.kind == "Function.ValueError"
    assert loop.request(http_event("GET", "/whole")).status == 200
    assert (loop.starts, loop.refused) == (1, [])


def test_megabytes_pass_unchanged(loop: LambdaFunction) -> None:
    body = loop.request(http_event("GET", "/whole", query="40")).body
    assert body == b"half" + bytes(range(256)) * 1024 * 40 + b" and the rest"


def test_what_is_no_request_is_answered_in_one_piece_and_knows_its_time(loop: LambdaFunction) -> None:
    answer = loop.begin({"hello": "world"})
    said = json.loads(answer.body())
    assert said["seen"] == {"hello": "world"}
    assert 0 < said["left"] <= loop.seconds * 1000
    assert not answer.streamed
