"""The HTTP API, ``/v1``: threads, messages, logs, stops. Turns requests into calls and answers into JSON."""

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import JSONResponse, Response

from contracts import names
from contracts.messages import Author
from contracts.places import PlaceRecord
from contracts.records import MessageRecord, ThreadRecord
from contracts.words import Frontend, MessageId, Mode, ThreadId, WorkerId
from dispatcher import body, route
from dispatcher.access import Principal, Scope, principal, unknown_thread
from dispatcher.errors import Invalid, Unavailable
from dispatcher.ingest import Ingest, Post
from dispatcher.places import Places
from dispatcher.record import Recorded
from dispatcher.settings import Settings
from dispatcher.streams import Line, Streams
from dispatcher.table import Table
from dispatcher.watching import while_admitted

KEEP_ALIVE_SECONDS = 15
"""Between two signs of life of a stream in which nothing happens."""
_LAST_NUMBER = 10**12 - 2


class _Anything(Convertor[str]):
    """Takes an id as it comes, with slashes and line ends, so that a wrong one is named and not cut."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        """As it is."""
        return value

    def to_string(self, value: str) -> str:
        """As it is."""
        return value


register_url_convertor("anything", _Anything())


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MessageBody(_Body):
    """A message for a thread that is there."""

    text: str = Field(strict=True)
    mode: Mode = Mode.QUEUE
    message_id: MessageId | None = Field(default=None, strict=True)
    uploads: tuple[Annotated[str, Field(strict=True)], ...] = ()


class ThreadBody(MessageBody):
    """A message for a new thread, or for the one named."""

    thread_id: ThreadId | None = Field(default=None, strict=True)
    project: str | None = Field(default=None, strict=True)


class StopBody(_Body):
    """The last sequence that the sender of a stop has seen."""

    sequence: int | None = Field(default=None, ge=1, strict=True)


class Api:
    """The routes, each a few lines over the parts that do the work."""

    def __init__(
        self,
        *,
        settings: Settings,
        ingest: Ingest,
        table: Table,
        streams: Streams,
        places: Places,
    ) -> None:
        self._settings = settings
        self._ingest = ingest
        self._table = table
        self._streams = streams
        self._places = places

    def router(self) -> APIRouter:
        """All addresses; the longer ones first, because an id may be anything until it is checked."""
        router = APIRouter()
        one = "/v1/threads/{thread_id:anything}"
        router.add_api_route("/v1/threads", self.post_thread, methods=["POST"])
        router.add_api_route(f"{one}/messages", self.post_message, methods=["POST"])
        router.add_api_route(f"{one}/stop", self.post_stop, methods=["POST"])
        router.add_api_route(f"{one}/events", self.get_events, methods=["GET"])
        router.add_api_route(one, self.get_thread, methods=["GET"])
        return router

    async def post_thread(self, request: Request) -> Response:
        """``POST /v1/threads``."""
        given = await body.read(request, ThreadBody)
        who, row = await self._may_post(request, given, thread_id=given.thread_id)
        project = given.project
        if project is not None:
            who.checked_project(project)
        elif row is None and who.projects is not None:
            project = who.default(self._settings.default_project)
        posted = await self._post(
            request, given, who=who, thread_id=given.thread_id, project=project, must_exist=False
        )
        request.state.about = str(posted.thread_id)
        return accepted(posted)

    async def post_message(self, request: Request, thread_id: str) -> Response:
        """``POST /v1/threads/{thread_id}/messages``."""
        route.check_id(thread_id, what="thread_id")
        given = await body.read(request, MessageBody)
        who, row = await self._may_post(request, given, thread_id=ThreadId(thread_id))
        if row is None and who.projects is not None:
            raise unknown_thread(thread_id)  # before anything could tell it from one that is not theirs
        return accepted(
            await self._post(
                request, given, who=who, thread_id=ThreadId(thread_id), project=None, must_exist=True
            )
        )

    async def post_stop(self, request: Request, thread_id: str) -> Response:
        """``POST /v1/threads/{thread_id}/stop``."""
        route.check_id(thread_id, what="thread_id")
        given = await body.read(request, StopBody, optional=True)
        await self._thread(request, thread_id, needs=Scope.WRITE)
        stopping = await self._ingest.stop(ThreadId(thread_id), through=given.sequence)
        return JSONResponse(stopping.model_dump(), status_code=202 if stopping.stopping else 200)

    async def get_thread(self, request: Request, thread_id: str) -> Response:
        """``GET /v1/threads/{thread_id}``: its row, its messages with their state and outcome, and the
        places in which it is shown."""
        worker, row = await self._thread(request, thread_id)
        # The turn records first: a message that ends in between is then seen with its outcome.
        turns, _ = await self._table.open(worker=worker, thread_id=row.thread_id)
        states = {t.sequence: t.state.value for t in turns}
        messages = await self._table.messages(worker=worker, thread_id=row.thread_id)
        places = await self._places.places_of(worker, row.thread_id)
        shown = {"messages": [_message(m, states) for m in messages], "places": [_place(p) for p in places]}
        return JSONResponse({**shown_row(row), **shown})

    async def get_events(
        self,
        request: Request,
        thread_id: str,
        follow: bool = True,
        after: Annotated[int, Query(ge=0, le=_LAST_NUMBER)] = 0,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        """``GET /v1/threads/{thread_id}/events``: the log as server-sent events."""
        worker, row = await self._thread(request, thread_id)
        start = after if last_event_id is None else _number(last_event_id, last=row.last_event)
        lines = (
            self._streams.follow(worker=worker, thread_id=row.thread_id, after=start, last=row.last_event)
            if follow
            else self._streams.whole(worker=worker, thread_id=row.thread_id, after=start)
        )
        events = while_admitted(_sent(lines), request=request)
        return EventSourceResponse(events, ping=KEEP_ALIVE_SECONDS, sep="\n")

    async def _thread(
        self, request: Request, thread_id: str, *, needs: Scope = Scope.READ
    ) -> tuple[WorkerId, ThreadRecord]:
        """A thread that who asks may use so. Raises Refused, NotFound, Invalid, Unavailable."""
        who = principal(request)
        who.needs(needs)
        worker, row = await self._ingest.thread(ThreadId(thread_id))
        return worker, who.checked(row)

    async def _may_post(
        self, request: Request, given: MessageBody, *, thread_id: ThreadId | None
    ) -> tuple[Principal, ThreadRecord | None]:
        """Who asks, if they may post into this thread or make it, and its row when they may not see all.

        Raises Refused, Invalid, TooLarge, NotFound; in the order in which a thread that is not there does.
        """
        who = principal(request)
        who.needs(Scope.WRITE)
        route.check_text(given.text)
        if given.message_id is not None:
            route.check_id(given.message_id, what="message_id")
        if who.projects is None or thread_id is None or not names.is_id(thread_id):
            return who, None
        worker = await self._table.directory(thread_id)
        row = await self._table.thread(worker, thread_id) if worker else None
        return who, None if row is None else who.checked(row)

    async def _post(
        self,
        request: Request,
        given: MessageBody,
        *,
        who: Principal,
        thread_id: ThreadId | None,
        project: str | None,
        must_exist: bool,
    ) -> Recorded:
        user = who.user
        return await self._ingest.post(
            Post(
                text=given.text,
                thread_id=thread_id,
                thread_must_exist=must_exist,
                project=project,
                user=user,
                mode=given.mode,
                message_id=given.message_id,
                frontend=frontend_of(request),
                author=Author(id=user, name=user),
                uploads=given.uploads,
            )
        )


def accepted(recorded: Recorded) -> Response:
    """The answer to a message that was taken in."""
    return JSONResponse(recorded.model_dump(include={"thread_id", "message_id", "sequence"}), status_code=202)


def shown_row(row: ThreadRecord) -> dict[str, Any]:
    """A thread as readers get it."""
    return row.model_dump(mode="json", exclude={"v", "deleting"})


def frontend_of(request: Request) -> Frontend:
    """Which frontend a message over ``/v1`` comes from: the page says who it is."""
    return Frontend.WEB if request.headers.get("X-Branchline-Client") == "page" else Frontend.API


def _message(message: MessageRecord, states: dict[int, str]) -> dict[str, Any]:
    plain = message.model_dump(mode="json", exclude={"v", "id", "thread_id"})
    state = plain["outcome"] or states.get(message.sequence, "waiting")
    return {"message_id": message.id, **plain, "state": state}


def _place(place: PlaceRecord) -> dict[str, Any]:
    return place.model_dump(mode="json", include={"frontend", "address", "shown", "undeliverable"})


def _number(text: str, *, last: int) -> int:
    """``Last-Event-ID`` as a number; one beyond the log comes from an earlier log, so all is news."""
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise Invalid("Last-Event-ID must be the number of an event.", code="invalid_parameter")
    return int(text) if int(text) <= last else 0


async def _sent(lines: AsyncGenerator[Line, None]) -> AsyncGenerator[ServerSentEvent, None]:
    """Events in their frames. Storage that fails ends the stream; its reader comes back for the rest."""
    with suppress(Unavailable):
        async with aclosing(lines):
            async for number, line in lines:
                yield ServerSentEvent(id=str(number), data=line, sep="\n")
