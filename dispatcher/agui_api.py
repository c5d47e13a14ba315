"""``POST /v1/agui``: AG-UI 1.0 for clients that speak it. Posts the message, then follows its turn.

A repeat of the same request posts nothing twice and replays the run, so that is how one reconnects. Who
leaves stops nothing.
"""

import asyncio
import importlib
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

from fastapi import APIRouter, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from contracts.events import EVENT
from contracts.messages import Author
from contracts.records import ThreadRecord
from contracts.words import ThreadId, WorkerId
from dispatcher import body, route
from dispatcher.access import Principal, Scope, principal
from dispatcher.errors import Unavailable
from dispatcher.ingest import Ingest, Post
from dispatcher.record import Recorded
from dispatcher.streams import Streams
from dispatcher.table import Table
from dispatcher.watching import while_admitted

KEEP_ALIVE_SECONDS = 15
"""Between two signs of life of a stream in which nothing happens."""
_BODY_LIMIT = 16 * 1024 * 1024
"""Bytes: clients send the whole conversation along, each time."""


class Agui:
    """The route. ``default_project``: the fleet's, which not everybody belongs to."""

    def __init__(
        self, *, ingest: Ingest, table: Table, streams: Streams, default_project: str | None
    ) -> None:
        self._ingest, self._table, self._streams = ingest, table, streams
        self._default_project = default_project

    def router(self) -> APIRouter:
        """All addresses."""
        router = APIRouter()
        router.add_api_route("/v1/agui", self.run, methods=["POST"])
        return router

    async def run(self, request: Request) -> Response:
        """``POST /v1/agui``: ``RunAgentInput`` in, AG-UI events as server-sent events out."""
        who = principal(request)
        who.needs(Scope.WRITE)
        who.needs(Scope.READ)
        # Its models take as long to import as all the rest; most processes never need them.
        agui = await asyncio.to_thread(importlib.import_module, "dispatcher.agui")
        asked = agui.Asked(await body.read(request, agui.RunAgentInput, limit=_BODY_LIMIT))
        if asked.project is not None:
            who.checked_project(asked.project)
        found = await self._found(asked.thread_id, who)
        recorded = await self._ingest.post(_post(asked, who, project=self._project(asked, who, found)))
        request.state.about = str(recorded.thread_id)
        worker, row = await self._ingest.thread(recorded.thread_id)
        run = agui.Run(thread_id=recorded.thread_id, run_id=asked.run_id, message_id=recorded.message_id)
        lines = self._lines(agui, run, worker, recorded, after=_before(found), last=row.last_event)
        events = while_admitted(lines, request=request)
        return EventSourceResponse(events, ping=KEEP_ALIVE_SECONDS, sep="\n")

    async def _found(self, thread_id: ThreadId, who: Principal) -> ThreadRecord | None:
        """The thread as it is before this message, also one that is being deleted; None when there is none.

        Raises NotFound for a thread of a project that is not theirs, Invalid, Unavailable.
        """
        route.check_id(thread_id, what="thread_id")
        worker = await self._table.directory(thread_id)
        row = await self._table.thread(worker, thread_id) if worker else None
        return None if row is None else who.checked(row)

    def _project(self, asked: Any, who: Principal, found: ThreadRecord | None) -> str | None:
        """Which project is meant, for whoever may not use all of them: a new thread is in one of theirs.

        Raises NotFound.
        """
        if asked.project is not None or found is not None or who.projects is None:
            project: str | None = asked.project
            return project
        return who.default(self._default_project)

    async def _lines(
        self,
        agui: Any,
        run: Any,
        worker: WorkerId,
        recorded: Recorded,
        *,
        after: tuple[int, int],
        last: int,
    ) -> AsyncGenerator[ServerSentEvent, None]:
        """The run, from its message on. Storage that fails ends the stream; its reader asks again."""
        sequence, event = after
        start = event if recorded.sequence > sequence else 0  # a repeat: its message is somewhere before
        for line in agui.dumped(run.begin()):
            yield ServerSentEvent(data=line, sep="\n")
        with suppress(Unavailable):
            following = self._streams.follow(
                worker=worker, thread_id=recorded.thread_id, after=start, last=last
            )
            async with aclosing(following) as lines:
                async for _, line in lines:
                    for each in agui.dumped(run.add(EVENT.validate_json(line))):
                        yield ServerSentEvent(data=each, sep="\n")
                    if run.ended:
                        return


def _before(found: ThreadRecord | None) -> tuple[int, int]:
    """The thread's last sequence and event before this message; zeros when there is no thread."""
    return (found.last_sequence, found.last_event) if found else (0, 0)


def _post(asked: Any, who: Principal, *, project: str | None) -> Post:
    return Post(
        text=asked.text,
        thread_id=asked.thread_id,
        project=project,
        user=who.user,
        mode=asked.mode,
        message_id=asked.message_id,
        author=Author(id=who.user, name=who.user),
    )
