"""What a chat frontend is to the dispatcher: how it is switched on, what it may use and what it brings.

A frontend is a ``Frontdoor``: it says from its own settings whether it is on, and builds its ``Chat`` from
what the dispatcher offers. Which there are stands in ``doors``.
"""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
from fastapi import APIRouter

from dispatcher.ingest import Ingest
from dispatcher.people import People
from dispatcher.places import Places
from dispatcher.posting import Dialect, Poster
from dispatcher.settings import Settings
from dispatcher.table import Table


@dataclass(frozen=True, kw_only=True)
class Inside:
    """What a frontend may use. What it opens is closed through ``stack`` when the dispatcher stops."""

    settings: Settings
    table: Table
    ingest: Ingest
    people: People
    places: Places
    session: aiohttp.ClientSession
    stack: AsyncExitStack


@dataclass(frozen=True, kw_only=True)
class Chat:
    """What a frontend brings: its posts, and its routes if requests come to it over HTTP."""

    dialect: Dialect
    poster: Poster
    router: APIRouter | None = None


@dataclass(frozen=True, kw_only=True)
class Frontdoor:
    """One frontend. ``is_on`` reads settings and nothing else; ``build`` is called once, when it is."""

    is_on: Callable[[], bool]
    build: Callable[[Inside], Awaitable[Chat]]
