"""What the tests of signing in share: the application behind real HTTP, with a clock that tests set."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from contracts.config import FleetConfig
from dispatcher.app import create_app
from dispatcher.settings import Settings
from dispatcher.signin_records import digest
from tests.fakes.dispatcher import REGION
from tests.fakes.engine import aws_client, fresh_account

OPERATOR = "blt_operator-of-the-tests"
PASSWORD = "correct horse battery"
FLEET = {
    "project": {"site": {"repo": "https://github.com/acme/site.git"}, "shop": {"repo": "b.git"}},
    "user": {
        "ada": {"projects": ["site"], "github": ["ada-l"]},
        "bob": {"projects": ["shop"]},
        "root": {"operator": True},
    },
}
TABLE = "branchline"


class Clock:
    """Unix time in seconds, moved by hand from the present on."""

    def __init__(self) -> None:
        self.time = time.time()

    def __call__(self) -> float:
        return self.time

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self.time += seconds


@dataclass
class Browser:
    """One person's browser: its cookies, and the token of the form that its page has seen."""

    http: httpx.AsyncClient
    form: str = ""

    async def login(self, user: str, password: str = PASSWORD, **more: Any) -> httpx.Response:
        """Sign in; the form token is kept."""
        answer = await self.http.post("/auth/login", json={"user": user, "password": password, **more})
        return self._seen(answer)

    async def refresh(self) -> httpx.Response:
        """Renew the session."""
        return self._seen(await self.http.post("/auth/refresh"))

    async def post(self, path: str, **plain: Any) -> httpx.Response:
        """Change something, as the page does."""
        return await self.http.post(path, json=plain, headers={"X-Branchline-Form": self.form})

    def _seen(self, answer: httpx.Response) -> httpx.Response:
        if answer.status_code == 200:
            self.form = answer.json()["form_token"]
        return answer


@dataclass
class SignInLab:
    """An application with accounts. ``operator`` talks to it with a token that may do everything."""

    url: str
    app: FastAPI
    clock: Clock
    operator: httpx.AsyncClient
    account: str
    engine_url: str
    _open: list[httpx.AsyncClient] = field(default_factory=list)

    def client(self, **headers: str) -> httpx.AsyncClient:
        """Another machine or browser."""
        made = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30)
        self._open.append(made)
        return made

    def browser(self) -> Browser:
        """A browser without cookies."""
        return Browser(self.client())

    async def person(self, user: str = "ada") -> Browser:
        """A browser of somebody with an account who has just signed in."""
        await self.operator.post("/v1/accounts", json={"user": user, "password": PASSWORD})
        browser = self.browser()
        assert (await browser.login(user)).status_code == 200
        return browser

    async def audit(self, *, until: str) -> list[dict[str, Any]]:
        """The audit lines, newest first, once there is one with this word."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            lines = (await self.operator.get("/v1/audit")).json()["audit"]
            if any(line["what"] == until for line in lines):
                return list(lines)
            await asyncio.sleep(0.02)
        raise AssertionError(f"no line about {until}: {lines}")

    def items(self) -> list[dict[str, Any]]:
        """Everything in the table, as stored."""
        with aws_client("dynamodb", url=self.engine_url, account=self.account) as client:
            return list(client.scan(TableName=TABLE, ConsistentRead=True)["Items"])

    async def close(self) -> None:
        """Close every client."""
        for client in self._open:
            await client.aclose()


def settings_of(**more: Any) -> Settings:
    """Settings with two projects, three people and accounts."""
    given = {
        "login": "accounts",
        "fleet": FleetConfig.model_validate(FLEET),
        "operator_token_hash": digest(OPERATOR),
        "seal_key": "a key that only dispatchers hold",
        "project": "site",
        "sweep_seconds": 3600,
    }
    return Settings(**{**given, **more})


@contextmanager
def _environment(engine_url: str, account: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as env:
        env.setenv("AWS_ENDPOINT_URL", engine_url)
        env.setenv("AWS_DEFAULT_REGION", REGION)
        env.setenv("AWS_ACCESS_KEY_ID", account)
        env.setenv("AWS_SECRET_ACCESS_KEY", "local")
        yield


@asynccontextmanager
async def signin_lab(
    engine_url: str, *, clock: Clock | None = None, account: str | None = None, **more: Any
) -> AsyncIterator[SignInLab]:
    """The application on a free port of loopback; ``more``: settings."""
    clock, account = clock or Clock(), account or fresh_account()
    with _environment(engine_url, account):
        app = create_app(settings_of(**more), frontdoors=(), now=clock)
        async with _served(app) as url:
            made = SignInLab(
                url=url,
                app=app,
                clock=clock,
                operator=httpx.AsyncClient(),
                account=account,
                engine_url=engine_url,
            )
            await made.operator.aclose()
            made.operator = made.client(authorization=f"Bearer {OPERATOR}")
            try:
                yield made
            finally:
                await made.close()


@asynccontextmanager
async def _served(app: FastAPI) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, proxy_headers=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if serving.done():
                await serving
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listener.close()
