"""One request passed on to a site, and its answer passed back, both as they come; for sockets see
``preview_socket``. Bounded in size and time. Knows no worker and decides nothing about who may ask."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
import structlog
from multidict import CIMultiDict
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from yarl import URL

from dispatcher import preview_headers, preview_socket
from dispatcher import preview_words as words

_log = structlog.get_logger(__name__)

MOST_SENT = 64 * 1024 * 1024
"""Bytes of a request's body."""
MOST_ANSWERED = 1024 * 1024 * 1024
"""Bytes of an answer; a longer one is cut off."""
_TIMES = aiohttp.ClientTimeout(total=3600, sock_connect=3, sock_read=300)
_PIECE = 64 * 1024
_AUTOMATIC = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """How the browser sees the preview: ``host`` as it asks for it, its ``origin``, and who may frame it."""

    host: str
    origin: str
    ancestors: str


class _Gone(Exception):
    """The browser went away before its request was whole."""


class _TooLarge(Exception):
    """The request's body is longer than may be passed on."""


class Relay:
    """Passes on over one session. A connection of it is closed with its answer."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def pass_on(self, to: str, *, seen: Seen, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request with what the site at ``to`` (an origin) says."""
        query = scope["query_string"]
        path = scope["raw_path"].decode("latin-1") + (f"?{query.decode('latin-1')}" if query else "")
        url = URL(to + path, encoded=True)
        client = (scope.get("client") or ("", 0))[0]
        given = preview_headers.inwards(scope["headers"], host=seen.host, origin=seen.origin, client=client)
        headers = CIMultiDict((_text(name), _text(value)) for name, value in given)
        if scope["type"] == "websocket":
            await preview_socket.pass_on(
                self._session, url=url, headers=headers, scope=scope, receive=receive, send=send
            )
            return
        if any(name == b"sec-websocket-key" for name, _ in scope["headers"]):
            # A Lambda is handed an upgrade as a plain request; passed on as one, the site would send a page.
            await PlainTextResponse(words.NO_SOCKETS, status_code=501)(scope, receive, send)
            return
        exchange = _Exchange(to=to, seen=seen, scope=scope, receive=receive, send=send)
        await exchange.run(self._session, url=url, headers=headers)


class _Exchange:
    """One request and its answer."""

    def __init__(self, *, to: str, seen: Seen, scope: Scope, receive: Receive, send: Send) -> None:
        self._to, self._seen, self._scope = to, seen, scope
        self._receive, self._send = receive, send
        self._begun = False
        self._body_read = asyncio.Event()

    async def run(self, session: aiohttp.ClientSession, *, url: URL, headers: CIMultiDict[str]) -> None:
        """Until the answer has ended or the browser has gone, whichever is first."""
        has_body = "Content-Length" in headers or any(
            k == b"transfer-encoding" for k, _ in self._scope["headers"]
        )
        if not has_body:
            self._body_read.set()
        answering = asyncio.create_task(self._answer(session, url=url, headers=headers, has_body=has_body))
        leaving = asyncio.create_task(self._gone())
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (answering, leaving):
                task.cancel()
            await asyncio.wait({answering, leaving})
        if not answering.cancelled() and (error := answering.exception()) is not None:
            raise error

    async def _answer(
        self, session: aiohttp.ClientSession, *, url: URL, headers: CIMultiDict[str], has_body: bool
    ) -> None:
        try:
            async with session.request(
                self._scope["method"],
                url,
                headers=headers,
                data=self._body() if has_body else None,
                allow_redirects=False,
                skip_auto_headers=_AUTOMATIC,
                timeout=_TIMES,
            ) as answer:
                await self._pass_back(answer)
        except _Gone:
            return
        except (_TooLarge, aiohttp.ClientError, TimeoutError, OSError) as error:
            await self._failed(error)

    async def _pass_back(self, answer: aiohttp.ClientResponse) -> None:
        seen = self._seen
        headers = preview_headers.outwards(
            answer.raw_headers, origin=seen.origin, target=self._to, ancestors=seen.ancestors
        )
        self._begun = True
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
        passed = 0
        async for piece in answer.content.iter_chunked(_PIECE):
            passed += len(piece)
            if passed > MOST_ANSWERED:
                raise aiohttp.ClientPayloadError("the answer is too long")
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def _failed(self, error: Exception) -> None:
        """Words, if nothing was passed back yet; else the answer stays unfinished, which its reader sees."""
        _log.info("preview not passed on", to=self._to, problem=repr(error), begun=self._begun)
        if self._begun:
            return
        large = isinstance(error, _TooLarge) or isinstance(error.__cause__, _TooLarge)
        says = (words.TOO_LARGE, 413, None) if large else (words.AWAY, 503, 2)
        page = words.page(says[0], status=says[1], again=says[2], ancestors=self._seen.ancestors)
        await page(self._scope, self._receive, self._send)

    async def _body(self) -> AsyncIterator[bytes]:
        passed, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            piece, more = message.get("body", b""), message.get("more_body", False)
            passed += len(piece)
            if passed > MOST_SENT:
                raise _TooLarge
            if piece:
                yield piece
        self._body_read.set()

    async def _gone(self) -> None:
        """Until the browser has gone. What it sends is read by whoever passes the body on, first."""
        await self._body_read.wait()
        with suppress(asyncio.CancelledError):
            while (await self._receive())["type"] != "http.disconnect":
                pass


def _text(header: bytes) -> str:
    return header.decode("utf-8", "replace")
