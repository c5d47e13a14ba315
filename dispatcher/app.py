"""The dispatcher as one ASGI application: the same for uvicorn on one machine and for a Lambda.

Wires the parts and owns their lifetime; decides nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import aiohttp
from fastapi import FastAPI

from dispatcher import answers, aws, page
from dispatcher.api import Api
from dispatcher.contact import Contact
from dispatcher.endings import Endings
from dispatcher.guard import Guard, is_loopback
from dispatcher.ingest import Ingest
from dispatcher.launcher import HttpLauncher, Launcher, NoLauncher
from dispatcher.letters import Letters
from dispatcher.operators import Operators
from dispatcher.queues import Queues
from dispatcher.record import Recorder
from dispatcher.rescue import Rescue
from dispatcher.settings import Settings
from dispatcher.streams import Streams
from dispatcher.sweep import Sweep
from dispatcher.table import Table
from dispatcher.wake import Wake


def create_app(settings: Settings) -> FastAPI:
    """The application; it connects when it is started and lets go when it is stopped."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            clients = await stack.enter_async_context(aws.connect())
            launcher = await _launcher(settings, stack)
            await _wire(app, settings=settings, clients=clients, launcher=launcher, stack=stack)
            yield

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, loopback=is_loopback(settings.host))
    answers.install(app)
    app.include_router(page.router(settings))
    return app


async def _wire(
    app: FastAPI, *, settings: Settings, clients: aws.Clients, launcher: Launcher, stack: AsyncExitStack
) -> None:
    table = Table(clients.dynamodb, name=settings.table)
    queues = Queues(clients.sqs)
    recorder = Recorder(table)
    wake = Wake(table=table, launcher=launcher, recorder=recorder)
    streams = Streams(table)
    contact = Contact(table=table, queues=queues)
    endings = Endings(table=table, wake=wake)
    letters = Letters(table=table, queues=queues, contact=contact, wake=wake, endings=endings)
    rescue = Rescue(table=table, wake=wake, recorder=recorder, endings=endings)
    sweep = Sweep(table=table, rescue=rescue, letters=letters, contact=contact, settings=settings)
    ingest = Ingest(
        settings=settings,
        table=table,
        queues=queues,
        contact=contact,
        recorder=recorder,
        wake=wake,
        streams=streams,
    )
    api = Api(settings=settings, ingest=ingest, table=table, queues=queues, streams=streams)
    app.include_router(api.router())
    app.include_router(Operators(table=table, letters=letters).router())
    await sweep.prepare()
    stack.push_async_callback(_cancel, asyncio.create_task(sweep.run()))


async def _launcher(settings: Settings, stack: AsyncExitStack) -> Launcher:
    if settings.launcher_url is None:
        return NoLauncher()
    session = await stack.enter_async_context(aiohttp.ClientSession())
    token = settings.launcher_token.get_secret_value()
    return HttpLauncher(url=settings.launcher_url, token=token, session=session)


async def _cancel(running: "asyncio.Task[Any]") -> None:
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
