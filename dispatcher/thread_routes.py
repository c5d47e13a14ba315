"""What a person does to a thread as a whole: list, rename, delete, bring up to date, open its pull request.

Turns requests into calls and answers into JSON; who may do what is asked of ``access``.
"""

import asyncio
import unicodedata
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from contracts.messages import Author
from contracts.records import ThreadRecord
from contracts.words import Action, MessageId, ThreadId, WorkerId
from dispatcher import body, route
from dispatcher.access import Scope, principal, unknown_thread
from dispatcher.api import accepted, frontend_of, shown_row
from dispatcher.deleting import Deleting
from dispatcher.errors import Invalid
from dispatcher.ingest import Ingest, Post
from dispatcher.parts import TITLE_LIMIT
from dispatcher.pull_of_thread import PullOfThread
from dispatcher.table import Table
from dispatcher.thread_list import page

MOST_ROWS = 500
"""Longest page of the list."""
UPDATE = "Bring this branch up to date with the default branch."
"""What the message says; a worker that does not know the action does what the words say."""


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TitleBody(_Body):
    """A thread's new title."""

    title: str = Field(strict=True)


class UpdateBody(_Body):
    """The id of the message that asks for it, if its sender has one."""

    message_id: MessageId | None = Field(default=None, strict=True)


class ThreadRoutes:
    """The routes, each a few lines over the parts that do the work."""

    def __init__(self, *, table: Table, ingest: Ingest, deleting: Deleting, pulls: PullOfThread) -> None:
        self._pulls = pulls
        self._ingest = ingest
        self._table = table
        self._deleting = deleting

    def router(self) -> APIRouter:
        """All addresses; the longer ones first, because an id may be anything until it is checked."""
        router = APIRouter()
        one = "/v1/threads/{thread_id:anything}"
        router.add_api_route("/v1/threads", self.list_threads, methods=["GET"])
        router.add_api_route(f"{one}/update", self.post_update, methods=["POST"])
        router.add_api_route(f"{one}/pull", self.post_pull, methods=["POST"])
        router.add_api_route(one, self.patch_thread, methods=["PATCH"])
        router.add_api_route(one, self.delete_thread, methods=["DELETE"])
        return router

    async def list_threads(
        self,
        request: Request,
        limit: Annotated[int | None, Query(ge=1, le=MOST_ROWS)] = None,
        before: str | None = None,
    ) -> Response:
        """``GET /v1/threads``: the threads of one's projects, the one with the latest news first."""
        who = principal(request)
        who.needs(Scope.READ)
        workers = await self._table.workers()
        found = await asyncio.gather(*(self._rows(worker) for worker in workers))
        theirs = [row for rows in found for row in rows if who.belongs(row.project)]
        rows, more = page(theirs, limit=limit, before=before)
        shown = {"threads": [shown_row(row) for row in rows]}
        return JSONResponse(shown | ({"next": more} if more else {}))

    async def patch_thread(self, request: Request, thread_id: str) -> Response:
        """``PATCH /v1/threads/{thread_id}``: give it another title."""
        route.check_id(thread_id, what="thread_id")
        given = await body.read(request, TitleBody)
        title = checked_title(given.title)
        worker, row = await self._thread(request, thread_id)
        if row.deleting or not await self._table.rename(worker, row.thread_id, title=title):
            raise unknown_thread(thread_id)
        _, row = await self._thread(request, thread_id)
        return JSONResponse(shown_row(row))

    async def delete_thread(self, request: Request, thread_id: str) -> Response:
        """``DELETE /v1/threads/{thread_id}``: for good. Answers the same until nothing is left of it."""
        route.check_id(thread_id, what="thread_id")
        worker, row = await self._thread(request, thread_id)
        await self._deleting.delete(worker, row.thread_id)
        return JSONResponse({"thread_id": thread_id, "state": "deleting"}, status_code=202)

    async def post_update(self, request: Request, thread_id: str) -> Response:
        """``POST /v1/threads/{thread_id}/update``: a message that asks for the default branch's news."""
        route.check_id(thread_id, what="thread_id")
        given = await body.read(request, UpdateBody, optional=True)
        _, row = await self._thread(request, thread_id)
        user = principal(request).user
        recorded = await self._ingest.post(
            Post(
                text=UPDATE,
                thread_id=row.thread_id,
                thread_must_exist=True,
                message_id=given.message_id,
                action=Action.UPDATE,
                frontend=frontend_of(request),
                author=Author(id=user, name=user),
            )
        )
        return accepted(recorded)

    async def post_pull(self, request: Request, thread_id: str) -> Response:
        """``POST /v1/threads/{thread_id}/pull``: its pull request, opened as a draft if there is none."""
        route.check_id(thread_id, what="thread_id")
        _, row = await self._thread(request, thread_id)
        if row.deleting:
            raise unknown_thread(thread_id)
        pull = await self._pulls.of(row)
        return JSONResponse({"url": pull.url, "number": pull.number})

    async def _rows(self, worker: WorkerId) -> list[ThreadRecord]:
        """The worker's threads; whose they are is known of the worker where a row is too old to say."""
        rows = await self._table.threads(worker)
        if all(row.user is not None for row in rows):
            return rows
        owner = await self._table.worker(worker)
        user = owner.user if owner else None
        return [row if row.user else row.model_copy(update={"user": user}) for row in rows]

    async def _thread(self, request: Request, thread_id: str) -> tuple[WorkerId, ThreadRecord]:
        """A thread that who asks may change, also one that is being deleted. Raises Refused, NotFound."""
        who = principal(request)
        who.needs(Scope.WRITE)
        worker = await self._table.directory(ThreadId(thread_id))
        row = await self._table.thread(worker, ThreadId(thread_id)) if worker else None
        if worker is None or row is None:
            raise unknown_thread(thread_id)
        return worker, who.checked(row)


def checked_title(text: str) -> str:
    """The title as it is kept, without space around it. Raises Invalid."""
    title = text.strip()
    if not 1 <= len(title) <= TITLE_LIMIT or route.is_blank(title):
        raise Invalid(f"A title has 1 to {TITLE_LIMIT} characters: write another one.", code="invalid_title")
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in title):
        raise Invalid("A title is one line without control characters: leave them out.", code="invalid_title")
    return title
