"""``POST /v1/agui``: AG-UI 1.0 for clients that speak it. Posts the message, then follows its turn.

A repeat of the same request posts nothing twice and replays the run, so that is how one reconnects. Who
leaves stops nothing.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

from fastapi import APIRouter, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from contracts.events import EVENT
from contracts.messages import Author
from contracts.words import ThreadId, WorkerId
from dispatcher import body
from dispatcher.access import Principal, Scope, principal
from dispatcher.errors import NotFound, Unavailable
from dispatcher.ingest import Ingest, Post
from dispatcher.record import Recorded
from dispatcher.streams import Streams

_KEEP_ALIVE_SECONDS = 15
_BODY_LIMIT = 16 * 1024 * 1024
"""Bytes: clients send the whole conversation along, each time."""


class Agui:
    """The route."""

    def __init__(self, *, ingest: Ingest, streams: Streams) -> None:
        self._ingest, self._streams = ingest, streams

    def router(self) -> APIRouter:
        """All addresses."""
        router = APIRouter()
        router.add_api_route("/v1/agui", self.run, methods=["POST"])
        return router

    async def run(self, request: Request) -> Response:
        """``POST /v1/agui``: ``RunAgentInput`` in, AG-UI events as server-sent events out."""
        who = principal(request)
        who.needs(Scope.WRITE)
        # Its models take as long to import as all the rest; most processes never need them.
        agui = await asyncio.to_thread(importlib.import_module, "dispatcher.agui")
        asked = agui.Asked(await body.read(request, agui.RunAgentInput, limit=_BODY_LIMIT))
        if asked.project is not None:
            who.checked_project(asked.project)
        before = await self._before(asked.thread_id, who)
        recorded = await self._ingest.post(_post(asked, who))
        worker, row = await self._ingest.thread(recorded.thread_id)
        run = agui.Run(thread_id=recorded.thread_id, run_id=asked.run_id, message_id=recorded.message_id)
        lines = self._lines(agui, run, worker, recorded, after=before, last=row.last_event)
        return EventSourceResponse(lines, ping=_KEEP_ALIVE_SECONDS, sep="\n")

    async def _before(self, thread_id: ThreadId, who: Principal) -> tuple[int, int]:
        """The thread's last sequence and event before this message; zeros when there is no thread.

        Raises NotFound for a thread of a project that is not theirs, Invalid, Unavailable.
        """
        try:
            _, row = await self._ingest.thread(thread_id)
        except NotFound:
            return 0, 0
        who.checked(row)
        return row.last_sequence, row.last_event

    async def _lines(
        self,
        agui: Any,
        run: Any,
        worker: WorkerId,
        recorded: Recorded,
        *,
        after: tuple[int, int],
        last: int,
    ) -> AsyncIterator[ServerSentEvent]:
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


def _post(asked: Any, who: Principal) -> Post:
    return Post(
        text=asked.text,
        thread_id=asked.thread_id,
        project=asked.project,
        user=who.user,
        mode=asked.mode,
        message_id=asked.message_id,
        author=Author(id=who.user, name=who.user),
    )
