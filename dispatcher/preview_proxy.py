"""The way to a worker's preview: who asks, which worker is meant, where it listens; then all is passed on.

It connects to what the worker wrote into its own row, if that may be a preview's address, and never to what a
request names. Decides nothing about what is passed on (``preview_headers``) and keeps no answer.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

import aiohttp
import structlog
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from contracts.records import WorkerRecord
from contracts.words import WorkerId
from dispatcher import access
from dispatcher import preview_words as words
from dispatcher.access import Principal
from dispatcher.errors import Unavailable
from dispatcher.preview_names import PreviewNames, label
from dispatcher.preview_relay import Relay, Seen
from dispatcher.preview_target import target
from dispatcher.preview_tickets import PARAMETER, Tickets
from dispatcher.standing import Again, Standing
from dispatcher.table import Table
from dispatcher.watching import WATCH_SECONDS

_log = structlog.get_logger(__name__)

MOST_AT_ONCE = 256
"""Requests and sockets that are passed on at the same time."""
_FRESH_SECONDS = 1.0
_MOST_PEOPLE = 1000
_SOON, _LATER = 2, 10
_NOT_ALLOWED = 1008


class PreviewDoor:
    """ASGI middleware: what is asked under a preview's name goes to ``app.state.previews``."""

    def __init__(self, app: ASGIApp, *, names: PreviewNames) -> None:
        self._app, self._names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        host = Headers(scope=scope).get("host", "") if scope["type"] in ("http", "websocket") else ""
        name = self._names.label_of(host)
        if name is None:
            await self._app(scope, receive, send)
            return
        proxy: PreviewProxy | None = getattr(scope["app"].state, "previews", None)
        if proxy is None:
            await words.page(words.NOT_HERE, status=404)(scope, receive, send)
        else:
            await proxy.serve(name, host=host, scope=scope, receive=receive, send=send)


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A worker's row as it was read; ``at``: monotonic seconds."""

    row: WorkerRecord | None
    at: float


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """Who somebody was when that was last asked; ``at``: monotonic seconds."""

    who: Principal | None
    at: float


class PreviewProxy:
    """Passes requests on to the workers' previews. ``tickets``: None where nobody signs in; ``again``: who
    somebody is now; it is asked once a second at most. ``first_port``:
    of those that previews may have; ``own_port`` is none of them."""

    def __init__(
        self,
        *,
        table: Table,
        names: PreviewNames,
        tickets: Tickets | None,
        again: Again,
        relay: Relay,
        first_port: int,
        own_port: int,
    ) -> None:
        self._table, self._names, self._tickets, self._relay = table, names, tickets, relay
        self._again = again
        self._people: dict[Standing, _Asked] = {}
        self._first_port, self._own_port = first_port, own_port
        self._workers: dict[str, WorkerId] = {}
        self._rows: dict[WorkerId, _Known] = {}
        self._listed = float("-inf")
        self._under_way = 0

    async def serve(self, name: str, *, host: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for the preview of this name. ``host``: the whole of its ``Host``."""
        seen = Seen(
            host=host,
            origin=self._names.own_origin(host),
            ancestors=" ".join(["'self'", *self._names.page_origins(host)]),
        )
        try:
            found = await self._decide(name, seen=seen, scope=scope)
        except Unavailable:
            found = _words(words.RECORDS, seen, again=_SOON)
        if isinstance(found, Response):
            await found(scope, receive, send)
        elif self._under_way >= MOST_AT_ONCE:
            await _words(words.BUSY, seen, again=_SOON)(scope, receive, send)
        else:
            passing = self._pass_on(found, seen=seen, scope=scope, receive=receive, send=send)
            if scope["type"] == "websocket" and self._tickets is not None:
                await self._while_admitted(passing, name=name, seen=seen, scope=scope, send=send)
            else:
                await passing

    async def _while_admitted(
        self, passing: Coroutine[Any, Any, None], *, name: str, seen: Seen, scope: Scope, send: Send
    ) -> None:
        """Pass a socket on until it ends, or until who opened it may not see the preview any more."""
        under_way = asyncio.create_task(passing)
        try:
            while not (await asyncio.wait({under_way}, timeout=WATCH_SECONDS))[0]:
                try:
                    refusal = await self._check(await self._worker(name), seen=seen, scope=scope)
                except Unavailable:
                    continue
                if refusal is not None:
                    under_way.cancel()
                    await asyncio.wait({under_way})
                    await send({"type": "websocket.close", "code": _NOT_ALLOWED})
                    return
            await under_way
        finally:
            under_way.cancel()
            await asyncio.wait({under_way})

    async def _pass_on(self, to: str, *, seen: Seen, scope: Scope, receive: Receive, send: Send) -> None:
        self._under_way += 1
        try:
            await self._relay.pass_on(to, seen=seen, scope=scope, receive=receive, send=send)
        finally:
            self._under_way -= 1

    async def _decide(self, name: str, *, seen: Seen, scope: Scope) -> str | Response:
        """Where to pass the request on to, or what to say instead. Raises Unavailable."""
        worker = await self._worker(name)
        refusal = await self._check(worker, seen=seen, scope=scope)
        if refusal is not None:
            return refusal
        if worker is None or not scope.get("raw_path", b"").startswith(b"/"):
            return _words(words.UNKNOWN, seen, status=404)
        row = await self._row(worker)
        if row is None or row.state != "up":
            return _words(words.COLD, seen, again=_LATER)
        if row.preview_url is None:
            return _words(row.preview_problem or words.STARTING, seen, again=_SOON)
        to = target(row.preview_url, first_port=self._first_port, never=self._own_port)
        if to is None:
            _log.warning("preview address not allowed", worker_id=worker, url=row.preview_url)
            return _words(words.ELSEWHERE, seen, again=_LATER)
        return to

    # ------------------------------------------------------------ who asks

    async def _check(self, worker: WorkerId | None, *, seen: Seen, scope: Scope) -> Response | None:
        """What to say to somebody who may not see this preview, or who has a ticket to be taken first.

        Raises Unavailable.
        """
        if self._tickets is None:
            return None
        if worker is None:  # whether there is such a worker is nobody's business
            return _words(words.SIGN_IN, seen, status=401)
        secure = seen.origin.startswith("https:")
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == PARAMETER]
        cookie = await self._tickets.cookie(given[-1], worker=worker, secure=secure) if given else None
        if cookie is not None and scope["type"] == "http":
            return _without_ticket(seen, scope=scope, query=query, cookie=cookie)
        cookies = "; ".join(Headers(scope=scope).getlist("cookie"))
        by = await self._tickets.admits(cookies, worker=worker, secure=secure)
        if by is not None and await self._may_see(by, worker):
            return None
        return _words(words.SIGN_IN, seen, status=401)

    async def _may_see(self, by: Standing, worker: WorkerId) -> bool:
        """Whether who was let in by this may read the threads of this worker now. Raises Unavailable."""
        known = self._people.get(by)
        if known is None or time.monotonic() - known.at >= _FRESH_SECONDS:
            if len(self._people) >= _MOST_PEOPLE:
                self._people.clear()
            began = time.monotonic()
            known = self._people[by] = _Asked(who=await self._again(by), at=began)
        row = await self._row(worker)
        who = known.who
        return (
            who is not None and access.Scope.READ in who.scopes and (row is None or who.belongs(row.project))
        )

    # ------------------------------------------------------------ which worker

    async def _worker(self, name: str) -> WorkerId | None:
        """The worker whose preview has this name; the list of workers is read again once a second at most."""
        if name not in self._workers and time.monotonic() - self._listed >= _FRESH_SECONDS:
            self._listed = time.monotonic()
            self._workers = {label(worker): worker for worker in await self._table.workers()}
        return self._workers.get(name)

    async def _row(self, worker: WorkerId) -> WorkerRecord | None:
        known = self._rows.get(worker)
        if known is None or time.monotonic() - known.at >= _FRESH_SECONDS:
            began = time.monotonic()
            known = self._rows[worker] = _Known(row=await self._table.worker(worker), at=began)
        return known.row


@asynccontextmanager
async def proxying(
    *,
    table: Table,
    names: PreviewNames,
    tickets: Tickets | None,
    again: Again,
    first_port: int,
    own_port: int,
) -> AsyncIterator[PreviewProxy]:
    """A proxy with its connections, for the length of a block."""
    # An idle connection would count as somebody who looks at the preview, and keep its worker up for ever.
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    ) as session:
        yield PreviewProxy(
            table=table,
            names=names,
            tickets=tickets,
            again=again,
            relay=Relay(session),
            first_port=first_port,
            own_port=own_port,
        )


def _words(text: str, seen: Seen, *, status: int = 503, again: int | None = None) -> Response:
    return words.page(text, status=status, again=again, ancestors=seen.ancestors)


def _without_ticket(seen: Seen, *, scope: Scope, query: list[tuple[str, str]], cookie: str) -> Response:
    """To the same address without the ticket; whole, because a path may begin with two slashes."""
    rest = urlencode([(name, value) for name, value in query if name != PARAMETER])
    address = seen.origin + scope["raw_path"].decode("latin-1") + (f"?{rest}" if rest else "")
    headers = {
        "Location": address,
        "Set-Cookie": cookie,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "Content-Security-Policy": f"frame-ancestors {seen.ancestors}",
    }
    return Response(status_code=303, headers=headers)
