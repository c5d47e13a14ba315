"""An ASGI answer that leaves a Lambda in pieces, as they are made.

The pieces are those of the content type ``application/vnd.awslambda.http-integration-response``: a prelude
(JSON with status, headers and cookies), eight NUL bytes, then the body (Node's runtime interface client,
``http-response-stream``, is the reference). How they travel is the ``Pieces``' business.

A function URL that streams has two habits that are known from reports and cannot be tried here: it unpacks
answers with a ``Content-Encoding`` (aws-lambda-nodejs-runtime-interface-client, issue 96) and keeps readers
waiting when no byte follows the prelude (issue 95). So nothing is compressed for it, no request is
conditional, and an answer without a body says a newline where HTTP lets it.
"""

import asyncio
import json
from typing import Protocol

from starlette.types import ASGIApp, Message

from dispatcher.lambda_http import Event, body_of, head_of, scope_of

_UNASKED = frozenset({"accept-encoding", "if-none-match", "if-modified-since"})
_BODILESS = {204, 304}
_MARGIN_SECONDS = 1.0
"""Between asking an answer to end and ending it."""


class Pieces(Protocol):
    """Where the pieces go. Every method raises ConnectionError when nobody takes them any more."""

    async def write(self, piece: bytes) -> None:
        """Send a piece now."""


class Out:
    """One request's body going in, one answer going out."""

    def __init__(self, event: Event, *, pieces: Pieces) -> None:
        self._scope = scope_of(event, without=_UNASKED)
        self._body: bytes | None = body_of(event)
        self._pieces = pieces
        self._gone = asyncio.Event()
        self._bodiless = self._scope["method"] == "HEAD"
        self._status: int | None = None
        self._said = False

    async def run(self, app: ASGIApp, *, seconds: float) -> None:
        """Have the application answer. A second before its time is over it is told that the reader has gone,
        so its reader comes back instead of being cut off. Raises what the application raises, and
        TimeoutError for one that does not end."""
        ending = asyncio.get_running_loop().call_later(max(seconds - _MARGIN_SECONDS, 0), self._gone.set)
        try:
            async with asyncio.timeout(seconds) as limit:
                await app(self._scope, self._receive, self._send)
        except TimeoutError as error:
            if limit.expired():
                raise TimeoutError(f"the answer took longer than {seconds:.0f} seconds") from error
            raise
        finally:
            ending.cancel()
        if self._status is None:
            raise RuntimeError("the application gave no answer")
        if not self._said and not self._bodiless:
            await self._write(b"\n")

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._bodiless = self._bodiless or self._status in _BODILESS
            head = head_of(message)
            head["headers"].pop("content-length", None)  # a stream's length is known at its end
            await self._write(json.dumps(head).encode() + bytes(8))
            return
        if (piece := message.get("body", b"")) and not self._bodiless:
            self._said = True
            await self._write(piece)
        if not message.get("more_body"):
            self._gone.set()

    async def _write(self, piece: bytes) -> None:
        """A reader that has gone is no fault of the application's."""
        try:
            await self._pieces.write(piece)
        except ConnectionError:
            self._gone.set()
