"""``GET /v1/openapi.json``: the API as OpenAPI 3.1, from its routes and the shapes that they read and answer.

A route that stands here with no words is a mistake that a test finds. Must not know what a route does.
"""

import asyncio
import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from contracts.events import EVENT
from dispatcher import api, operators, outside, shapes
from dispatcher.dead_replies import Done
from dispatcher.ingest import Stopping
from dispatcher.preview import PreviewShown

ADDRESS = "/v1/openapi.json"
_REF = "#/components/schemas/{model}"
_JSON, _SSE = "application/json", "text/event-stream"


class Said(NamedTuple):
    """What there is to say of an operation: in words, the body it reads, what it answers and with which
    status, and which errors it has beside those of every request."""

    words: str
    asks: str | None = None
    answers: str | None = None
    status: int = 200
    errors: tuple[int, ...] = ()
    content: str = _JSON


_ONE = "/v1/threads/{thread_id}"
_POST_ERRORS = (400, 404, 409, 413, 415, 503)
OPERATIONS: dict[tuple[str, str], Said] = {
    ("get", "/v1/threads"): Said("List the threads, the one with the latest news first.", None, "ThreadList"),
    ("post", "/v1/threads"): Said(
        "Post a message into a new thread, or into the one named.",
        "ThreadBody",
        "Accepted",
        202,
        _POST_ERRORS,
    ),
    ("get", _ONE): Said("A thread, its messages and where it is shown.", None, "ThreadWhole", 200, (404,)),
    ("post", f"{_ONE}/messages"): Said(
        "Post a message into a thread.", "MessageBody", "Accepted", 202, _POST_ERRORS
    ),
    ("post", f"{_ONE}/stop"): Said(
        "End all that is unanswered, up to a message; 200 when there was nothing.",
        "StopBody",
        "Stopping",
        202,
        (400, 404),
    ),
    ("get", f"{_ONE}/events"): Said(
        "The thread's log: one event in each `data:`, its number in `id:`. It goes on for ever unless"
        " `follow=false`; `Last-Event-ID` goes on where a reader was.",
        None,
        "Event",
        200,
        (400, 404),
        _SSE,
    ),
    ("get", f"{_ONE}/preview"): Said(
        "Where the preview is opened, and what it shows now.", None, "PreviewShown", 200, (404,)
    ),
    ("post", "/v1/agui"): Said(
        "AG-UI 1.0: post the last message and follow its turn. `forwardedProps` may hold `project` and"
        " `mode`. The same request again posts nothing and shows the run again.",
        "RunAgentInput",
        "AguiEvent",
        200,
        _POST_ERRORS,
        _SSE,
    ),
    ("get", "/v1/links"): Said("Who is who outside.", None, "LinkList"),
    ("post", "/v1/links"): Said("Link an outside name.", "NewLink", "Link", 200, (400, 404)),
    ("post", "/v1/links/remove"): Said("Remove such a link.", "Name", "Link", 200, (400, 404)),
    ("get", "/v1/undeliverable"): Said(
        "Places in which nothing can be posted any more.", None, "UndeliverableList"
    ),
    ("get", "/v1/dead-letters"): Said("Dead letters of the workers' queues.", None, "DeadLetterList"),
    ("post", "/v1/dead-letters/redrive"): Said("Ring for them again.", "Which", "Redriven"),
    ("post", "/v1/dead-letters/drop"): Said("Delete those that nobody can read.", "Which", "Redriven"),
    ("get", "/v1/dead-replies"): Said("Answers that did not reach their chat.", None, "DeadReplyList"),
    ("post", "/v1/dead-replies/redrive"): Said("Try them again.", "WhichReplies", "Done"),
    ("post", "/v1/dead-replies/drop"): Said("Delete those that nobody can read.", "WhichReplies", "Done"),
    ("get", ADDRESS): Said("This description."),
}
_OPTIONAL_BODIES = ("StopBody", "Which", "WhichReplies")
_READ = (
    *(api.ThreadBody, api.MessageBody, api.StopBody, outside.NewLink, outside.Name),
    *(operators.Which, operators.WhichReplies),
)
_ANSWERED = (
    *(shapes.Accepted, shapes.ThreadList, shapes.ThreadWhole, shapes.LinkList, shapes.LinkShown),
    *(shapes.UndeliverableList, shapes.DeadLetterList, shapes.Redriven, shapes.DeadReplyList),
    *(shapes.ErrorAnswer, Stopping, Done, PreviewShown),
)
_SECURITY = {
    "token": {"type": "http", "scheme": "bearer", "description": "A token of a person's own."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "branchline_session",
        "description": "Who signed in on the page; what changes something needs `X-Branchline-Form` as well.",
    },
}


class Openapi:
    """The route. ``routers``: all that is described."""

    def __init__(self, routers: Sequence[APIRouter]) -> None:
        self._routers = [*routers, self.router()]
        self._made: dict[str, Any] | None = None

    def router(self) -> APIRouter:
        """All addresses."""
        router = APIRouter()
        router.add_api_route(ADDRESS, self.show, methods=["GET"])
        return router

    async def show(self) -> Response:
        """``GET /v1/openapi.json``."""
        if self._made is None:
            routes = [route for router in self._routers for route in router.routes]
            self._made = await asyncio.to_thread(describe, routes)
        return JSONResponse(self._made)


def describe(routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """The document for those of the routes that are below ``/v1``."""
    below = [route for route in routes if str(getattr(route, "path", "")).startswith("/v1")]
    made = get_openapi(
        title="Branchline",
        version="1",
        summary="Threads, their messages and their logs.",
        description="Errors have one shape, whoever raised them. Readers ignore fields they do not know.",
        routes=below,
    )
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            _complete(operation, OPERATIONS.get((method, path)))
    made["components"] = {"schemas": _schemas(), "securitySchemes": _SECURITY}
    # On a machine of one's own nobody signs in, so none of them is needed there.
    made["security"] = [{"token": []}, {"session": []}, {}]
    return made


def _complete(operation: dict[str, Any], said: Said | None) -> None:
    operation["responses"] = {}
    if said is None:
        operation["responses"]["200"] = {"description": "Not described."}
        return
    operation["summary"] = said.words
    answer: dict[str, Any] = {"description": "As asked."}
    if said.answers:
        answer["content"] = {said.content: {"schema": _ref(said.answers)}}
    operation["responses"][str(said.status)] = answer
    if said.answers == "Stopping":
        operation["responses"]["200"] = answer
    for status in sorted({401, 403, *said.errors}):
        error = {"description": "Refused, in words.", "content": {_JSON: {"schema": _ref("ErrorAnswer")}}}
        operation["responses"][str(status)] = error
    if said.asks:
        body = {"content": {_JSON: {"schema": _ref(said.asks)}}}
        operation["requestBody"] = {**body, "required": said.asks not in _OPTIONAL_BODIES}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=name)}


def _schemas() -> dict[str, Any]:
    agui = importlib.import_module("dispatcher.agui")  # late, because its models take long to import
    events: list[tuple[str, Any, TypeAdapter[Any]]] = [
        ("RunAgentInput", "validation", TypeAdapter(agui.RunAgentInput)),
        ("Event", "serialization", EVENT),
        ("AguiEvent", "serialization", TypeAdapter(agui.AnyEvent)),
    ]
    asked: list[Any] = [(shape.__name__, "validation", TypeAdapter(shape)) for shape in _READ]
    told: list[Any] = [(shape.__name__, "serialization", TypeAdapter(shape)) for shape in _ANSWERED]
    inputs = [*asked, *told, *events]
    by_key, shared = TypeAdapter.json_schemas(inputs, ref_template=_REF)
    schemas: dict[str, Any] = dict(shared.get("$defs", {}))
    for (name, _), schema in by_key.items():
        if schema.get("$ref") != _REF.format(model=name):
            schemas[str(name)] = schema
    return schemas
