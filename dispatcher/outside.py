"""The HTTP API for those who run a fleet with chats, ``/v1/links`` and ``/v1/undeliverable``: who is who, and
where nothing can be posted any more. Turns requests into calls and answers into JSON."""

import asyncio
from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from contracts.places import LinkKind, LinkRecord, PlaceRecord
from dispatcher import body, route
from dispatcher.access import Scope, needs
from dispatcher.errors import Invalid, NotFound
from dispatcher.people import People
from dispatcher.places import Places
from dispatcher.settings import Settings
from dispatcher.table import Table


class Name(BaseModel):
    """An outside name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = Field(strict=True)
    name: str = Field(strict=True)

    @property
    def known_kind(self) -> LinkKind:
        """The kind, checked. Raises Invalid."""
        try:
            return LinkKind(self.kind)
        except ValueError:
            raise Invalid(f"The kind must be one of {', '.join(LinkKind)}.", code="invalid_link") from None


class NewLink(Name):
    """An outside name and the user or project that it is to stand for."""

    target: str = Field(strict=True)


class Outside:
    """The routes. Every one can be repeated."""

    def __init__(self, *, settings: Settings, table: Table, people: People, places: Places) -> None:
        self._settings = settings
        self._table = table
        self._people = people
        self._places = places

    def router(self) -> APIRouter:
        """All addresses."""
        router = APIRouter(dependencies=[Depends(needs(Scope.OPERATE))])
        router.add_api_route("/v1/links", self.show, methods=["GET"])
        router.add_api_route("/v1/links", self.add, methods=["POST"])
        router.add_api_route("/v1/links/remove", self.remove, methods=["POST"])
        router.add_api_route("/v1/undeliverable", self.undeliverable, methods=["GET"])
        return router

    async def show(self) -> Response:
        """``GET /v1/links``: ``{"links": [{"kind", "name", "target", "source"}]}``."""
        return JSONResponse({"links": [_link(link) for link in await self._people.links()]})

    async def add(self, request: Request) -> Response:
        """``POST /v1/links`` ``{"kind", "name", "target"}``: the link, 200. 404 for an unknown project."""
        given = await body.read(request, NewLink)
        kind = given.known_kind
        request.state.about = f"{kind} {given.name} is {given.target}"
        if not kind.of_person:
            route.choose_project(self._settings.projects, asked=given.target, default=None)
        return JSONResponse(_link(await self._people.add(kind, given.name, given.target)))

    async def remove(self, request: Request) -> Response:
        """``POST /v1/links/remove`` ``{"kind", "name"}``: what it was, 200. 404 when there is none."""
        given = await body.read(request, Name)
        request.state.about = f"{given.kind} {given.name}"
        gone = await self._people.remove(given.known_kind, given.name)
        if gone is None:
            raise NotFound(
                f"There is no link of the {given.kind} {given.name}: GET /v1/links lists them.",
                code="unknown_link",
            )
        return JSONResponse(_link(gone))

    async def undeliverable(self) -> Response:
        """``GET /v1/undeliverable``: the places in which nothing can be posted, each with the reason."""
        found = await asyncio.gather(
            *(self._places.undeliverable_of(worker) for worker in await self._table.workers())
        )
        return JSONResponse({"undeliverable": [_place(place) for places in found for place in places]})


def _link(link: LinkRecord) -> dict[str, Any]:
    return link.model_dump(mode="json", exclude={"v"})


def _place(place: PlaceRecord) -> dict[str, Any]:
    plain = place.model_dump(mode="json", include={"worker_id", "thread_id", "frontend", "address"})
    return {**plain, "problem": place.undeliverable}
