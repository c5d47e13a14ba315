"""The dispatcher as one ASGI application: the same for uvicorn on one machine and for a Lambda.

Wires the parts and owns their lifetime; decides nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import aiohttp
from fastapi import APIRouter, FastAPI

from dispatcher import answers, aws, doors, page
from dispatcher.agui_api import Agui
from dispatcher.api import Api
from dispatcher.beside import BesideLauncher
from dispatcher.changes import Changes
from dispatcher.contact import Contact
from dispatcher.dead_replies import DeadReplies
from dispatcher.deleting import Deleting
from dispatcher.ecs import EcsLauncher, launching
from dispatcher.ecs_settings import EcsSettings
from dispatcher.edge import Edge
from dispatcher.endings import Endings
from dispatcher.frontends import Chat, Frontdoor, Inside
from dispatcher.github_settings import GitHubSettings
from dispatcher.guard import Guard, is_loopback
from dispatcher.headers import SafeHeaders
from dispatcher.health import Health
from dispatcher.ingest import Ingest
from dispatcher.lambda_rounds import Rounds
from dispatcher.launcher import HttpLauncher, Launcher, NoLauncher
from dispatcher.letters import Letters
from dispatcher.openapi import Openapi
from dispatcher.operators import Operators
from dispatcher.outside import Outside
from dispatcher.people import People
from dispatcher.places import Places
from dispatcher.preview import Preview
from dispatcher.preview_names import PreviewNames
from dispatcher.preview_proxy import PreviewDoor, PreviewProxy, proxying
from dispatcher.preview_tickets import Tickets
from dispatcher.pull_of_thread import OpenPull, PullOfThread, connected
from dispatcher.queues import Queues
from dispatcher.record import Recorder
from dispatcher.replies import Listener, Replies
from dispatcher.rescue import Rescue
from dispatcher.rings import Rings
from dispatcher.settings import Settings
from dispatcher.signin import SigningIn
from dispatcher.signin_cookies import Cookies
from dispatcher.signin_gate import Gate
from dispatcher.signin_rights import refuse_open
from dispatcher.streams import Streams
from dispatcher.sweep import Sweep
from dispatcher.table import Table
from dispatcher.thread_routes import ThreadRoutes
from dispatcher.unshown import Unshown
from dispatcher.upload_store import UploadStore
from dispatcher.uploads import Uploads
from dispatcher.wake import Wake
from dispatcher.worker_tokens import TokenDoor


def create_app(
    settings: Settings,
    *,
    frontdoors: Sequence[Frontdoor] = doors.ALL,
    in_lambda: bool = False,
    now: Callable[[], float] = time.time,
) -> FastAPI:
    """The application; it connects when it is started and lets go when it is stopped.

    ``in_lambda``: it listens nowhere, and nothing runs beside the requests; ``app.state.rounds`` does it when
    asked. ``now``: Unix time, for signing in. Raises ValueError for settings that would let anybody in.
    """
    refuse_open(settings, in_lambda=in_lambda)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            clients = await stack.enter_async_context(aws.connect())
            launcher = await _launcher(settings, clients, stack)
            signing = await _sign_in(app, settings, clients, stack, now)
            on = [door for door in frontdoors if door.is_on()]
            house = _House(
                settings=settings,
                clients=clients,
                signing=signing,
                launcher=launcher,
                chats=bool(on),
                in_lambda=in_lambda,
            )
            house.pulls = await connected(stack)
            chats = await _open(app, house, on, stack)
            if not in_lambda:
                app.state.previews = await stack.enter_async_context(house.proxying())
            await house.sweep.prepare()
            if in_lambda:
                app.state.rounds = house.rounds(chats)
            for work in [] if in_lambda else house.loops(chats):
                stack.push_async_callback(_cancel, asyncio.create_task(work))
            yield

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Gate)
    previews = PreviewNames.of(settings)
    app.add_middleware(PreviewDoor, names=previews)
    app.add_middleware(
        Guard,
        loopback=is_loopback(settings.host) and not in_lambda,
        public_host=settings.outside_host,
        signed_in=settings.signs_in,
        previews=previews,
    )
    app.add_middleware(SafeHeaders, cookies=Cookies(settings), previews=previews)
    if settings.has_edge:
        app.add_middleware(Edge, key=settings.edge_key.get_secret_value())
    answers.install(app)
    app.include_router(page.router(settings))
    return app


class _House:
    """Every part of the dispatcher, each made once. ``chats``: whether there is a chat frontend."""

    def __init__(
        self,
        *,
        settings: Settings,
        clients: aws.Clients,
        signing: SigningIn,
        launcher: Launcher,
        chats: bool,
        in_lambda: bool,
    ) -> None:
        self.settings, self.in_lambda, self.signing = settings, in_lambda, signing
        self.dynamodb = clients.dynamodb
        self.tickets = Tickets(signing.keys) if settings.signs_in else None
        self.pulls: OpenPull | None = None
        self.table = table = Table(clients.dynamodb, name=settings.table)
        self.places = Places(clients.dynamodb, table=settings.table)
        self.people = People(clients.dynamodb, table=settings.table)
        self.rings = rings = (
            Rings(clients.sqs, polls=clients.polls, url=settings.replies_queue) if chats else None
        )
        self.queues = queues = Queues(clients.sqs)
        self.streams = Streams(table)
        self.uploads = UploadStore(clients.dynamodb, table=settings.table)
        recorder = Recorder(table, rings, uploads=self.uploads)
        wake = Wake(table=table, launcher=launcher, recorder=recorder)
        contact = Contact(table=table, queues=queues, rings=rings)
        endings = Endings(table=table, wake=wake)
        self.letters = Letters(table=table, queues=queues, contact=contact, wake=wake, endings=endings)
        self.sweep = Sweep(
            table=table,
            rescue=Rescue(
                table=table, wake=wake, recorder=recorder, endings=endings, pace=settings.sweep_seconds
            ),
            letters=self.letters,
            contact=contact,
            people=self.people,
            tidy=launcher.tidy if isinstance(launcher, EcsLauncher) else None,
            unshown=Unshown(places=self.places, rings=rings) if rings else None,
            pool=launcher.pool if isinstance(launcher, EcsLauncher) else None,
            settings=settings,
        )
        self.ingest = Ingest(
            settings=settings,
            table=table,
            queues=queues,
            contact=contact,
            recorder=recorder,
            wake=wake,
            streams=self.streams,
        )

    def loops(self, chats: Sequence[Chat]) -> list[Coroutine[Any, Any, None]]:
        """What runs beside the requests."""
        if self.rings is None:
            return [self.sweep.run()]
        return [self.sweep.run(), Listener(rings=self.rings, replies=self._replies(chats)).run()]

    def rounds(self, chats: Sequence[Chat]) -> Rounds:
        """The same in pieces, for events."""
        replies = self._replies(chats) if self.rings is not None else None
        return Rounds(sweep=self.sweep, replies=replies, rings=self.rings)

    def _replies(self, chats: Sequence[Chat]) -> Replies:
        posts = {chat.poster.frontend: (chat.dialect, chat.poster) for chat in chats}
        return Replies(table=self.table, places=self.places, frontends=posts)

    def proxying(self) -> AbstractAsyncContextManager[PreviewProxy]:
        """What passes previews on."""
        return proxying(
            table=self.table,
            names=PreviewNames.of(self.settings),
            tickets=self.tickets,
            again=self.signing.doors.again,
            first_port=self.settings.preview_port,
            own_port=self.settings.port,
        )

    def routers(self) -> list[APIRouter]:
        """The addresses of everything but the chats."""
        api = Api(
            settings=self.settings,
            ingest=self.ingest,
            table=self.table,
            streams=self.streams,
            places=self.places,
        )
        preview = Preview(
            ingest=self.ingest,
            table=self.table,
            preview_names=PreviewNames.of(self.settings),
            tickets=self.tickets,
            standing=self.signing.doors.standing,
            passed_on=not self.in_lambda or self.settings.has_edge,
            live=not self.in_lambda,
        )
        dead = DeadReplies(table=self.table, places=self.places, rings=self.rings) if self.rings else None
        health = Health(settings=self.settings, table=self.table, queues=self.queues, dead=dead)
        operators = Operators(table=self.table, letters=self.letters, replies=dead)
        outside = Outside(settings=self.settings, table=self.table, people=self.people, places=self.places)
        agui = Agui(
            ingest=self.ingest,
            table=self.table,
            streams=self.streams,
            default_project=self.settings.default_project,
        )
        changes = Changes(self.dynamodb, table=self.settings.table, ingest=self.ingest)
        return [
            preview.router(),
            agui.router(),
            changes.router(),
            Uploads(self.uploads).router(),
            self._threads().router(),
            api.router(),
            health.router(),
            operators.router(),
            outside.router(),
        ]

    def _threads(self) -> ThreadRoutes:
        deleting = Deleting(table=self.table, places=self.places, ingest=self.ingest, streams=self.streams)
        pulls = PullOfThread(projects=self.settings.projects, open_=self.pulls)
        return ThreadRoutes(table=self.table, ingest=self.ingest, deleting=deleting, pulls=pulls)


async def _open(app: FastAPI, house: _House, on: Sequence[Frontdoor], stack: AsyncExitStack) -> list[Chat]:
    """Build the chats and open all addresses."""
    chats: list[Chat] = []
    if on:
        inside = Inside(
            settings=house.settings,
            table=house.table,
            ingest=house.ingest,
            people=house.people,
            places=house.places,
            session=await stack.enter_async_context(aiohttp.ClientSession()),
            stack=stack,
        )
        chats = [await door.build(inside) for door in on]
    routers = house.routers()
    routers.append(Openapi([*house.signing.routers, *routers]).router())
    for router in routers + [chat.router for chat in chats if chat.router is not None]:
        app.include_router(router)
    return chats


async def _sign_in(
    app: FastAPI,
    settings: Settings,
    clients: aws.Clients,
    stack: AsyncExitStack,
    now: Callable[[], float],
) -> SigningIn:
    """The parts of signing in; the gate can ask, and their addresses are opened."""
    github = settings.github_login
    session = await stack.enter_async_context(aiohttp.ClientSession()) if github else None
    people = People(clients.dynamodb, table=settings.table)
    made = SigningIn(clients.dynamodb, settings=settings, people=people, session=session, now=now)
    for router in made.routers:
        app.include_router(router)
    app.state.doors = made.doors
    return made


async def _launcher(settings: Settings, clients: aws.Clients, stack: AsyncExitStack) -> Launcher:
    ecs = EcsSettings()
    if ecs.launcher == "ecs":
        table = Table(clients.dynamodb, name=settings.table)
        key = settings.launcher_token.get_secret_value()
        app = GitHubSettings().is_ready and ecs.token_url and key
        tokens = TokenDoor(url=ecs.token_url, key=key) if app else None
        launcher = await launching(
            ecs, table=table, replies=settings.replies_queue, stack=stack, tokens=tokens
        )
        if not ecs.start_function:
            return launcher
        lambda_ = await stack.enter_async_context(aws.service("lambda"))
        return BesideLauncher(lambda_, function=ecs.start_function, ecs=launcher)
    if settings.launcher_url is None:
        return NoLauncher()
    session = await stack.enter_async_context(aiohttp.ClientSession())
    token = settings.launcher_token.get_secret_value()
    return HttpLauncher(url=settings.launcher_url, token=token, session=session)


async def _cancel(running: "asyncio.Task[Any]") -> None:
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
