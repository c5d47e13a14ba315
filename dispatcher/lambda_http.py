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
MOST_ANSWERED = 4 * 1024 * 1024
"""Bytes of an answer: a Lambda's result has 6 MB at most, and base64 makes four bytes of three."""
_MOST_TEXT = 1024 * 1024
"""Bytes that may leave as text, which as JSON can be several times as long."""
_LATE = "The answer took too long: try again.\n"
_TOO_LARGE = f"The answer is too large to be passed on: {MOST_ANSWERED // 2**20} MB at most.\n"
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
    if event.get("body") and "content-length" not in dict(headers):
        # Over HTTP/2 a browser need not say it; without it who passes a request on takes it for empty.
        headers.append(("content-length", str(len(body_of(event)))))
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


async def answer(
    app: ASGIApp, event: Event, *, seconds: float = LONGEST_SECONDS, whole: bool = False
) -> dict[str, Any]:
    """What the application says to a request. ``whole``: an answer that goes on is waited for until it ends
    or its time is over. Raises UnknownEvent, and whatever the application raises."""
    exchange = _Exchange(body_of(event), linger=None if whole else LINGER_SECONDS)
    seconds = seconds if whole else min(seconds, LONGEST_SECONDS)
    ending = asyncio.get_running_loop().call_later(seconds, exchange.is_late)
    try:
        await app(scope_of(event), exchange.receive, exchange.send)
    finally:
        ending.cancel()
    return exchange.result()


class _Exchange:
    """One request's body going in, one answer coming out."""

    def __init__(self, body: bytes, *, linger: float | None) -> None:
        self._gone = asyncio.Event()
        self._linger = linger
        self._late = False
        self._body: bytes | None = body
        self._start: Message = {}
        self._answer = bytearray()

    def is_late(self) -> None:
        """The time is over."""
        self._late = True
        self._gone.set()

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if not self._is_too_large:
            self._answer += message.get("body", b"")
        if not message.get("more_body") or self._is_too_large:
            self._gone.set()
        elif self._answer and self._linger is not None:
            asyncio.get_running_loop().call_later(self._linger, self._gone.set)

    @property
    def _is_too_large(self) -> bool:
        return len(self._answer) > MOST_ANSWERED

    def result(self) -> dict[str, Any]:
        if self._is_too_large:
            return _words(502, _TOO_LARGE)
        if not self._start and self._late:
            return _words(504, _LATE)
        if not self._start:
            raise RuntimeError("the application gave no answer")
        head = head_of(self._start)
        packed = "content-encoding" in head["headers"]
        plain = head["headers"].get("content-type", "").startswith(_TEXT) and not packed
        text = _text(bytes(self._answer)) if plain else None
        if text is not None:
            return {**head, "body": text, "isBase64Encoded": False}
        return {**head, "body": base64.b64encode(self._answer).decode(), "isBase64Encoded": True}


def _text(answer: bytes) -> str | None:
    """What can leave as text. A site may say it is text and mean another encoding."""
    if len(answer) > _MOST_TEXT:
        return None
    try:
        return answer.decode()
    except UnicodeDecodeError:
        return None


def _words(status: int, text: str) -> dict[str, Any]:
    headers = {"content-type": "text/plain; charset=utf-8", "cache-control": "no-store"}
    return {"statusCode": status, "headers": headers, "body": text, "isBase64Encoded": False}
