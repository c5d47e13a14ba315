"""The HTTP API for those who run a fleet, ``/v1/dead-letters`` and ``/v1/dead-replies``. Turns requests into
calls and answers into JSON."""

import asyncio
from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from contracts.words import WorkerId
from dispatcher import body
from dispatcher.access import Scope, needs
from dispatcher.dead_replies import DeadReplies, Done
from dispatcher.letters import MOST, DeadLetter, Letters
from dispatcher.table import Table
from dispatcher.verdicts import Verdict

_WORDS = {Verdict.REDRIVE: "redriven", Verdict.DELETE: "deleted", Verdict.KEEP: "kept"}
_Done = dict[Verdict, list[DeadLetter]]


class Which(BaseModel):
    """Which dead letters are meant: all, those of a worker, or the one of a letter's or a message's id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    worker_id: WorkerId | None = Field(default=None, strict=True)
    id: str | None = Field(default=None, strict=True)


class WhichReplies(BaseModel):
    """Which dead replies are meant: all, one by its id, or those of a thread by the thread's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str | None = Field(default=None, strict=True)


class Operators:
    """The routes. Every one can be repeated: a letter that is gone is not asked for again.

    ``replies``: None without a chat frontend; then there are none.
    """

    def __init__(self, *, table: Table, letters: Letters, replies: DeadReplies | None) -> None:
        self._table = table
        self._letters = letters
        self._replies = replies

    def router(self) -> APIRouter:
        """All addresses."""
        router = APIRouter(dependencies=[Depends(needs(Scope.OPERATE))])
        router.add_api_route("/v1/dead-letters", self.show, methods=["GET"])
        router.add_api_route("/v1/dead-letters/redrive", self.redrive, methods=["POST"])
        router.add_api_route("/v1/dead-letters/drop", self.drop, methods=["POST"])
        router.add_api_route("/v1/dead-replies", self.show_replies, methods=["GET"])
        router.add_api_route("/v1/dead-replies/redrive", self.redrive_replies, methods=["POST"])
        router.add_api_route("/v1/dead-replies/drop", self.drop_replies, methods=["POST"])
        return router

    async def show(self, worker_id: str | None = None) -> Response:
        """``GET /v1/dead-letters``: every dead letter, what it is about and what a re-drive would do.

        ``more`` says that a worker has more than are shown.
        """
        workers = await self._workers(worker_id)
        found = await asyncio.gather(*(self._letters.shown(w) for w in workers))
        listed = [_plain(x) for letters in found for x in letters]
        return JSONResponse({"dead_letters": listed, "more": any(len(x) >= MOST for x in found)})

    async def redrive(self, request: Request) -> Response:
        """``POST /v1/dead-letters/redrive``: ring again for what is open, delete what is settled, keep the
        rest; ``{"redriven", "deleted", "kept", "more"}``. No body means all."""
        which = await body.read(request, Which, optional=True)
        workers = await self._workers(which.worker_id)
        return _answer(await asyncio.gather(*(self._letters.redrive(w, wanted=which.id) for w in workers)))

    async def drop(self, request: Request) -> Response:
        """``POST /v1/dead-letters/drop``: delete letters that nobody can read or place, for good; letters of
        messages are kept. Answers like a re-drive."""
        which = await body.read(request, Which, optional=True)
        workers = await self._workers(which.worker_id)
        return _answer(await asyncio.gather(*(self._letters.drop(w, wanted=which.id) for w in workers)))

    async def show_replies(self) -> Response:
        """``GET /v1/dead-replies``: rings whose looks broke too often, and places that take no posts."""
        found, more = await self._replies.shown() if self._replies else ([], False)
        return JSONResponse({"dead_replies": [x.model_dump(mode="json") for x in found], "more": more})

    async def redrive_replies(self, request: Request) -> Response:
        """``POST /v1/dead-replies/redrive`` ``{"id"?}``: look at them again, and try their places again;
        ``{"redriven", "deleted", "kept", "more"}``. No body means all."""
        which = await body.read(request, WhichReplies, optional=True)
        done = await self._replies.redrive(wanted=which.id) if self._replies else Done()
        return JSONResponse(done.model_dump(mode="json"))

    async def drop_replies(self, request: Request) -> Response:
        """``POST /v1/dead-replies/drop`` ``{"id"?}``: delete rings that nobody can read, for good. Answers
        like a re-drive."""
        which = await body.read(request, WhichReplies, optional=True)
        done = await self._replies.drop(wanted=which.id) if self._replies else Done()
        return JSONResponse(done.model_dump(mode="json"))

    async def _workers(self, wanted: str | None) -> list[WorkerId]:
        return [w for w in await self._table.workers() if wanted in (None, w)]


def _answer(done: list[_Done]) -> Response:
    plain: dict[str, Any] = {
        word: [_plain(x) for each in done for x in each.get(fate, [])] for fate, word in _WORDS.items()
    }
    plain["more"] = any(sum(map(len, each.values())) >= MOST for each in done)
    return JSONResponse(plain)


def _plain(letter: DeadLetter) -> dict[str, Any]:
    return letter.model_dump(mode="json")
