"""``GET /v1/openapi.json``: the API as OpenAPI 3.1, from its routes and the shapes that they read and answer.

A route without words in ``openapi_words`` is a mistake that a test finds. Must not know what a route does.
"""

import asyncio
import importlib
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from contracts.events import EVENT
from contracts.messages import Upload
from dispatcher import api, operators, outside, shapes, signin_admin, signin_own, thread_routes
from dispatcher.dead_replies import Done
from dispatcher.ingest import Stopping
from dispatcher.openapi_words import ADDRESS, BYTES, JSON, OPERATIONS, Said
from dispatcher.preview import PreviewShown

_REF = "#/components/schemas/{model}"
_OPTIONAL_BODIES = ("StopBody", "UpdateBody", "Which", "WhichReplies")
_READ = (
    *(api.ThreadBody, api.MessageBody, api.StopBody, outside.NewLink, outside.Name),
    *(operators.Which, operators.WhichReplies, thread_routes.TitleBody, thread_routes.UpdateBody),
    *(signin_admin.NewToken, signin_admin.WhichToken, signin_admin.WhichAccount),
    *(signin_admin.NewAccount, signin_admin.Codes),
    *(signin_own.OwnProof, signin_own.OwnPassword, signin_own.OwnCode),
)
_ANSWERED = (
    *(shapes.Accepted, shapes.ThreadList, shapes.ThreadWhole, shapes.LinkList, shapes.LinkShown),
    *(shapes.UndeliverableList, shapes.DeadLetterList, shapes.Redriven, shapes.DeadReplyList),
    *(shapes.ErrorAnswer, Stopping, Done, PreviewShown, Upload, shapes.ThreadShown, shapes.Deleted),
    *(shapes.Pull, shapes.ChangesShown, shapes.About, shapes.Me, shapes.TokenShown, shapes.TokenMade),
    *(
        shapes.TokenList,
        shapes.AccountList,
        shapes.AccountNamed,
        shapes.AccountCodes,
        shapes.AuditList,
        shapes.OwnAccount,
    ),
)
_SECURITY = {
    "token": {"type": "http", "scheme": "bearer", "description": "A token of a person's own."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "branchline_session",
        "description": "Who signed in on the page; over https the name begins with `__Host-`.",
    },
    "form": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Branchline-Form",
        "description": "With the session, for whatever changes something: the `form_token` of `/v1/me`.",
    },
}
# On a machine of one's own nobody signs in, so none of them is needed there.
_TO_READ: list[dict[str, list[str]]] = [{"token": []}, {"session": []}, {}]
_TO_CHANGE: list[dict[str, list[str]]] = [{"token": []}, {"session": [], "form": []}, {}]


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
            if method != "get":
                operation["security"] = _TO_CHANGE
            _complete(operation, OPERATIONS.get((method, path)))
    made["components"] = {"schemas": _schemas(), "securitySchemes": _SECURITY}
    made["security"] = _TO_READ
    return made


def _complete(operation: dict[str, Any], said: Said | None) -> None:
    operation["responses"] = {}
    if said is None:
        operation["responses"]["200"] = {"description": "Not described."}
        return
    operation["summary"] = said.words
    if said.public:
        operation["security"] = []
    answer: dict[str, Any] = {"description": "As asked."}
    if said.answers:
        answer["content"] = {said.content: {"schema": _shape(said.answers)}}
    operation["responses"][str(said.status)] = answer
    if said.answers == "Stopping":
        operation["responses"]["200"] = answer
    for status in sorted({401, 403, 503, *said.errors} - ({401, 403} if said.public else set())):
        error = {"description": "Refused, in words.", "content": {JSON: {"schema": _ref("ErrorAnswer")}}}
        operation["responses"][str(status)] = error
    if said.asks:
        body = {"content": {BYTES if said.asks == BYTES else JSON: {"schema": _shape(said.asks)}}}
        operation["requestBody"] = {**body, "required": said.asks not in _OPTIONAL_BODIES}


def _shape(name: str) -> dict[str, str]:
    """What 3.1 says of bytes is nothing at all."""
    return {} if name == BYTES else _ref(name)


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
