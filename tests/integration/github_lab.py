"""A dispatcher with the GitHub frontend in this process, before an engine and a stand-in for GitHub."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import uvicorn

from contracts import records
from contracts.events import OutcomeData, TurnCompleted
from contracts.words import ThreadId, TurnId, WorkerId
from dispatcher import aws
from dispatcher.app import create_app
from dispatcher.github_api import GitHub
from dispatcher.github_app import GitHubApp
from dispatcher.github_door import DOOR
from dispatcher.record import Recorder
from dispatcher.rings import Rings
from dispatcher.settings import Settings
from dispatcher.table import Table
from fleet.standin.github import GitHubStandin
from fleet.standin.github_world import Repo
from tests.fakes.engine import aws_client

SECRET = "a webhook secret"
KEY = "the key of launcher and dispatcher"
WORKER = WorkerId("local-site-ada")
TOML = """
[project.site]
repo = "{url}/acme/site.git"
github_repos = ["Acme/Site"]
[project.other]
repo = "{url}/acme/other.git"
github_repos = ["acme/other"]
[user.ada]
projects = ["site"]
github = ["Ada"]
"""


@dataclass(kw_only=True)
class Lab:
    """``repo`` is acme/site, where ada may write and eve may read. ``url`` is the dispatcher's."""

    github: GitHubStandin
    repo: Repo
    url: str
    account: str
    engine_url: str
    client: httpx.AsyncClient

    def items(self) -> list[dict[str, Any]]:
        """Everything in the table."""
        with aws_client("dynamodb", url=self.engine_url, account=self.account) as client:
            return client.scan(TableName="branchline", ConsistentRead=True)["Items"]

    def messages(self) -> list[dict[str, Any]]:
        """All messages, by time."""
        found = [records.decode(i) for i in self.items() if i["sk"]["S"].startswith("message#")]
        return sorted(found, key=lambda m: (m["thread_id"], m["sequence"]))

    async def call(self, do: Any, *arguments: Any, **named: Any) -> Any:
        """Run something that sends, while the dispatcher of this loop answers."""
        return await asyncio.to_thread(do, *arguments, **named)

    async def post(self, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """A request of anybody's."""
        return await self.client.post(f"{self.url}/github/webhook", content=body, headers=headers)


async def until(true: Callable[[], object]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.02)


async def answer(there: Lab, text: str, *, issue: int = 1) -> None:
    """End the one message of an issue as a worker would, and ring."""
    (message,) = (m for m in there.messages() if m["thread_id"].startswith(f"issue-{issue}-"))
    final = {"changed": True, "commit": "a" * 40, "branch": f"thread-{message['thread_id']}", "pushed": True}

    def ended(number: int) -> TurnCompleted:
        return TurnCompleted(
            id=number,
            thread_id=ThreadId(message["thread_id"]),
            message_id=message["id"],
            turn_id=TurnId("t"),
            time=datetime.now(UTC),
            data=OutcomeData(text=text, **final),
        )

    async with aws.connect() as clients:
        recorder = Recorder(Table(clients.dynamodb, name="branchline"), Rings(clients.sqs))
        await recorder.append(worker=WORKER, thread_id=ThreadId(message["thread_id"]), make=ended)


@asynccontextmanager
async def lab(
    engine_url: str, account: str, github: GitHubStandin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lab]:
    """All of it, for the length of a block."""
    config = tmp_path / "branchline.toml"
    config.write_text(TOML.format(url=github.url))
    for name, value in {
        "AWS_ENDPOINT_URL": engine_url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": account,
        "AWS_SECRET_ACCESS_KEY": "local",
        "BRANCHLINE_CONFIG": str(config),
        "BRANCHLINE_LAUNCHER_TOKEN": KEY,
        "BRANCHLINE_GITHUB_API_URL": github.url,
        "GITHUB_WEBHOOK_SECRET": SECRET,
        "GITHUB_APP_ID": github.world.app_id,
        "GITHUB_APP_PRIVATE_KEY": github.private_key,
    }.items():
        monkeypatch.setenv(name, value)
    app = create_app(Settings(), frontdoors=(DOOR,))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="on"))
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(30):
            while not server.started:
                assert not serving.done(), "the dispatcher did not start"
                await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        github.hooks.url, github.hooks.secret = f"{url}/github/webhook", SECRET
        repo = github.world.add_repo("Acme/Site", ada="write", eve="read", mia="admin")
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            yield Lab(
                github=github, repo=repo, url=url, account=account, engine_url=engine_url, client=client
            )
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def speaking(github: GitHubStandin) -> AsyncIterator[GitHub]:
    """The API as the dispatcher uses it, without a dispatcher."""
    async with aiohttp.ClientSession() as session:
        app = GitHubApp(
            session=session,
            app_id=github.world.app_id,
            private_key=github.private_key,
            api_url=github.url,
        )
        yield GitHub(app=app, session=session)
