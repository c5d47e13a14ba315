"""``GET /v1/threads/{thread_id}/preview``: where a thread's preview is opened and what it shows now."""

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import JSONResponse, Response

from contracts import names
from contracts.records import WorkerRecord
from contracts.words import ThreadId, WorkerId
from dispatcher import preview_words as words
from dispatcher.access import SIGN_IN, Scope, principal
from dispatcher.errors import SignIn
from dispatcher.ingest import Ingest
from dispatcher.preview_names import PreviewNames
from dispatcher.preview_tickets import PARAMETER, Tickets
from dispatcher.standing import Find
from dispatcher.table import Table


class PreviewShown(BaseModel):
    """``url``: where to open it, None where it is not passed on; it may hold a ticket that is good for a
    minute. ``ready``: whether it listens now, else ``problem`` says why not. ``thread_id`` and ``branch``:
    what is checked out now, which may be another thread's. ``live``: whether its sockets are passed on, so
    that the site shows changes by itself; else who shows it loads it again."""

    model_config = ConfigDict(frozen=True)

    url: str | None
    ready: bool
    branch: str | None
    thread_id: ThreadId | None
    problem: str | None
    live: bool = True


class Preview:
    """The route. ``passed_on``: whether this server passes previews on, or another for it; ``live``: with
    their sockets; ``tickets``: None where nobody signs in; ``standing``: what a request is let in by."""

    def __init__(
        self,
        *,
        ingest: Ingest,
        table: Table,
        preview_names: PreviewNames,
        tickets: Tickets | None,
        standing: Find,
        passed_on: bool,
        live: bool,
    ) -> None:
        self._ingest, self._table, self._names = ingest, table, preview_names
        self._standing = standing
        self._tickets, self._passed_on, self._live = tickets, passed_on, live

    def router(self) -> APIRouter:
        """All addresses."""
        router = APIRouter()
        address = "/v1/threads/{thread_id:anything}/preview"
        router.add_api_route(address, self.show, methods=["GET"])
        return router

    async def show(self, request: Request, thread_id: str) -> Response:
        """``GET /v1/threads/{thread_id}/preview``."""
        who = principal(request)
        who.needs(Scope.READ)
        worker, thread = await self._ingest.thread(ThreadId(thread_id))
        who.checked(thread)
        url = await self._url(worker, request=request)
        shown = _shown(await self._table.worker(worker), url=url, live=self._live)
        return JSONResponse(shown.model_dump(mode="json"), headers={"Cache-Control": "no-store"})

    async def _url(self, worker: WorkerId, *, request: Request) -> str | None:
        host = request.headers.get("host", "")
        origin = self._names.origin(worker, asked=host) if self._passed_on else None
        if origin is None or self._tickets is None:
            return f"{origin}/" if origin else None
        by = await self._standing(request)
        if by is None:
            raise SignIn(SIGN_IN)  # it ended since the request was let in
        ticket = await self._tickets.ticket(worker=worker, by=by)
        return f"{origin}/?{PARAMETER}={ticket}"


def _shown(row: WorkerRecord | None, *, url: str | None, live: bool) -> PreviewShown:
    up = row is not None and row.state == "up"
    ready = row is not None and up and row.preview_url is not None
    problem: str | None = None
    if url is None:
        problem = words.NOT_HERE
    elif row is None or not up:
        problem = words.COLD
    elif not ready:
        problem = row.preview_problem or words.STARTING
    shows = row.shows if row is not None else None
    branch = names.branch(shows) if shows else None
    return PreviewShown(url=url, ready=ready, branch=branch, thread_id=shows, problem=problem, live=live)
