"""A Lambda's HTTP event as an ASGI request, and the ASGI answer as the event's result.

For the payload format 2.0 of function URLs and HTTP APIs. A result leaves in one piece, so an answer that
never ends (server-sent events) is ended: a moment after its first piece, or when its time is over; its reader
comes back with ``Last-Event-ID``. (``lambda_out`` answers in pieces.) Starts nothing and knows no route.
"""

import asyncio
import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Scope

Event = Mapping[str, Any]

LINGER_SECONDS = 0.25
"""How long an answer that goes on may still grow after its first piece."""
LONGEST_SECONDS = 20.0
"""How long an answer that goes on is waited for. An HTTP API gives up after 30 seconds."""
_TEXT = ("text/", "application/json", "application/javascript")


class UnknownEvent(ValueError):
    """The event is of no kind that is known, or of another than was asked for."""


def is_http(event: Event) -> bool:
    """Whether this is a request in the payload format 2.0."""
    return event.get("version") == "2.0" and "http" in event.get("requestContext", {})


def scope_of(event: Event, *, without: frozenset[str] = frozenset()) -> Scope:
    """The request without its body, and ``without`` headers of these names. Raises UnknownEvent."""
    if not is_http(event):
        raise UnknownEvent("The event is no HTTP request in the payload format 2.0: check what invokes this.")
    http = event["requestContext"]["http"]
    raw_path = str(event["rawPath"])
    headers = [(str(k).lower(), str(v)) for k, v in event.get("headers", {}).items()]
    headers = [(name, value) for name, value in headers if name not in without]
    if event.get("cookies"):
        headers.append(("cookie", "; ".join(event["cookies"])))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": http["method"],
        "scheme": dict(headers).get("x-forwarded-proto", "https"),
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "root_path": "",
        "query_string": str(event.get("rawQueryString", "")).encode(),
        "headers": [(k.encode("latin-1", "replace"), v.encode("latin-1", "replace")) for k, v in headers],
        "client": (http.get("sourceIp", ""), 0),
        "server": (event["requestContext"].get("domainName", ""), 443),
    }


def body_of(event: Event) -> bytes:
    """The request's body."""
    body = event.get("body") or ""
    return base64.b64decode(body) if event.get("isBase64Encoded") else str(body).encode()


def head_of(start: Message) -> dict[str, Any]:
    """Status, headers and cookies of an answer, as results and preludes have them."""
    given = [(k.decode("latin-1").lower(), v.decode("latin-1")) for k, v in start.get("headers", ())]
    cookies = [v for k, v in given if k == "set-cookie"]
    headers = {k: v for k, v in given if k != "set-cookie"}
    return {"statusCode": start["status"], "headers": headers, **({"cookies": cookies} if cookies else {})}


async def answer(app: ASGIApp, event: Event, *, seconds: float = LONGEST_SECONDS) -> dict[str, Any]:
    """What the application says to a request. Raises UnknownEvent, and whatever the application raises."""
    exchange = _Exchange(body_of(event))
    ending = asyncio.get_running_loop().call_later(min(seconds, LONGEST_SECONDS), exchange.gone.set)
    try:
        await app(scope_of(event), exchange.receive, exchange.send)
    finally:
        ending.cancel()
    return exchange.result()


class _Exchange:
    """One request's body going in, one answer coming out."""

    def __init__(self, body: bytes) -> None:
        self.gone = asyncio.Event()
        self._body: bytes | None = body
        self._start: Message = {}
        self._answer = bytearray()

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._answer += message.get("body", b"")
        if not message.get("more_body"):
            self.gone.set()
        elif self._answer:
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self.gone.set)

    def result(self) -> dict[str, Any]:
        if not self._start:
            raise RuntimeError("the application gave no answer")
        head = head_of(self._start)
        packed = "content-encoding" in head["headers"]
        plain = head["headers"].get("content-type", "").startswith(_TEXT) and not packed
        body = self._answer.decode() if plain else base64.b64encode(self._answer).decode()
        return {**head, "body": body, "isBase64Encoded": not plain}
