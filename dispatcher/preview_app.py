"""An application that passes previews on and nothing else: what the Lambda runs that reaches the workers.

It stands in the workers' network, from which DynamoDB is all of AWS that it reaches. So it has no queue, no
launcher and no chat; of the API it has nothing. Decides nothing: who may see a preview, the proxy asks.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
from fastapi import FastAPI

from dispatcher import aws
from dispatcher.edge import Edge
from dispatcher.guard import Guard
from dispatcher.headers import SafeHeaders
from dispatcher.people import People
from dispatcher.preview_names import PreviewNames
from dispatcher.preview_proxy import PreviewDoor, proxying
from dispatcher.preview_tickets import Tickets
from dispatcher.settings import Settings
from dispatcher.signin import SigningIn
from dispatcher.signin_cookies import Cookies
from dispatcher.table import Table

_OPEN = "previews in a Lambda need a sign-in: set BRANCHLINE_LOGIN to accounts, github or both."
_NO_EDGE = (
    "previews in a Lambda need a name for each: set BRANCHLINE_PUBLIC_URL, and BRANCHLINE_EDGE_KEY to what"
    " CloudFront shows (docs/aws.md)."
)


def create_preview_app(settings: Settings) -> FastAPI:
    """The application; it connects when it is started and lets go when it is stopped. Raises ValueError for
    settings that would show previews to anybody, or under no name."""
    if not settings.signs_in:
        raise ValueError(_OPEN)
    if not settings.has_edge or settings.outside_host is None:
        raise ValueError(_NO_EDGE)
    names = PreviewNames.of(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            clients = await stack.enter_async_context(aws.connect())
            # It makes no request here: a sign-in by GitHub is checked by the links in the table.
            session = await stack.enter_async_context(aiohttp.ClientSession())
            signing = SigningIn(
                clients.dynamodb,
                settings=settings,
                people=People(clients.dynamodb, table=settings.table),
                session=session if settings.github_login else None,
            )
            passing = proxying(
                table=Table(clients.dynamodb, name=settings.table),
                names=names,
                tickets=Tickets(signing.keys),
                again=signing.doors.again,
                first_port=settings.preview_port,
                own_port=settings.port,
            )
            app.state.previews = await stack.enter_async_context(passing)
            yield

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(PreviewDoor, names=names)
    app.add_middleware(Guard, loopback=False, signed_in=True, previews=names)
    app.add_middleware(SafeHeaders, cookies=Cookies(settings), previews=names)
    app.add_middleware(Edge, key=settings.edge_key.get_secret_value())
    return app
