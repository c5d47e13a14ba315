"""As on AWS, without an account: users who bring keys of their own work with those and with no others."""

import asyncio
import base64
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fleet.serving import served
from fleet.standin import github_git
from tests.fakes.ecs import Refusal
from tests.fakes.engine import REGION, ROOT, aws_client, fresh_account, wait_until
from tests.integration.cloud_lab import SECONDS, Cloud, cloud_of_processes
from tests.integration.test_ecs_launcher import SERVICES
from tests.integration.worker_lab import bare_remote, git

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

OWN, OTHER = "key-of-the-user-0123456789-abcd", "key-of-the-fleet-0123456789-wxyz"
TOKEN = "token-of-the-user-0123456789-efgh"
NAME = "branchline/user/local/model"


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The cloud, and the command of who runs it."""

    cloud: Cloud
    folder: Path

    def run(self, *arguments: str, key: str = "") -> str:
        """``branchline keys``; what it said."""
        env = {
            **{k: os.environ[k] for k in ("PATH", "HOME", "LANG") if k in os.environ},
            "PYTHONPATH": str(ROOT),
            "BRANCHLINE_HOME": str(self.folder / "home"),
            "AWS_ENDPOINT_URL": self.cloud.ecs.url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": self.cloud.account,
            "AWS_SECRET_ACCESS_KEY": "local",
        }
        argv = [sys.executable, "-m", "fleet", "keys", *arguments]
        done = subprocess.run(
            argv, cwd=self.folder, env=env, input=key, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def used(self) -> set[str | None]:
        """The keys that the model was sent."""
        return {request.request.headers.get("x-api-key") for request in self.cloud.model.requests}

    def left(self, *, tasks: int) -> list[int]:
        """With what status so many workers have left, in order."""
        cloud = self.cloud.fargate
        wait_until(lambda: len(cloud.codes) == tasks and not cloud.running, seconds=SECONDS)
        return [cloud.codes[arn] for arn in cloud.ran]

    def seen(self) -> str:
        """All that a person or a log ever sees."""
        threads = json.dumps([self.cloud.events(thread) for thread in ("t1",)])
        return threads + self.cloud.fargate.logs() + self.cloud.function.logs()


def _private(repository: Path, *, password: str) -> Starlette:
    """Git over HTTP for whoever knows the password, whatever the name."""

    async def answer(request: Request) -> Response:
        given = base64.b64decode(request.headers.get("authorization", "").removeprefix("Basic ")).decode()
        if given.partition(":")[2] != password:
            return Response(status_code=401, headers={"WWW-Authenticate": 'Basic realm="private"'})
        done = await asyncio.to_thread(
            github_git.serve,
            repository,
            method=request.method,
            tail=f"/{request.path_params['path']}".removeprefix(str(repository)),
            query=request.url.query,
            content_type=request.headers.get("content-type", ""),
            encoding=request.headers.get("content-encoding", ""),
            body=await request.body(),
        )
        return Response(done.body, status_code=done.status, headers=dict(done.headers))

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])


@contextmanager
def over_http(repository: Path, *, password: str) -> Iterator[str]:
    """The repository's address, for whoever knows the password."""
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()

    async def serve() -> None:
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        async with served(_private(repository, password=password)) as url:
            told.put((f"{url}{repository}", lambda: loop.call_soon_threadsafe(ended.set)))
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    url, end = told.get(timeout=30)
    try:
        yield url
    finally:
        end()
        thread.join()


@contextmanager
def keys(tmp_path: Path, *, repo: str | None = None, **of_tasks: str | None) -> Iterator[Keys]:
    account = fresh_account()
    told = {"BRANCHLINE_OWN_KEYS": f"arn:aws:secretsmanager:{REGION}:{account}:secret:", **of_tasks}
    told |= {"ANTHROPIC_API_KEY": of_tasks.get("ANTHROPIC_API_KEY", OTHER)}
    services = f"{SERVICES},secretsmanager"
    remote = tmp_path / "git" / "remote.git"
    with cloud_of_processes(
        tmp_path,
        remote=remote if remote.exists() else None,
        account=account,
        services=services,
        repo=repo,
        **told,
    ) as cloud:
        yield Keys(cloud=cloud, folder=tmp_path)


def test_a_user_with_keys_works_with_them_and_without_them_with_the_fleets(tmp_path: Path) -> None:
    remote = bare_remote(tmp_path / "git")
    with (
        over_http(remote, password=TOKEN) as repo,
        keys(tmp_path, repo=repo, GITHUB_TOKEN="token-of-the-fleet-0123456789") as mine,
    ):
        cloud = mine.cloud
        assert "set: the model key of local, in branchline/user/local/model" in mine.run(
            "set", "model", key=f"{OWN}\n"
        )
        mine.run("set", "github", key=TOKEN)
        cloud.ecs.refusals.append(Refusal(action="GetSecretValue", code="InternalServiceError", status=500))
        leak = f"printf '{OWN[:-4]}%s {TOKEN[:-4]}%s' {OWN[-4:]} {TOKEN[-4:]}"
        cloud.post(f"Look\ndo: bash env > env.txt; {leak}\ndo: repeat-context\ndo: say Done.", thread="t1")
        cloud.answered("t1")
        assert mine.used() == {OWN}
        env = git(remote, "show", "thread-t1:env.txt")
        assert "BRANCHLINE_TURN=" in env, "it was pushed, with the token of the user's own"
        for secret in (OWN, OTHER, TOKEN, "token-of-the-fleet"):
            assert secret not in env
            assert secret not in mine.seen()
        assert "[redacted] [redacted]" in mine.seen(), "the model has said both"
        assert mine.left(tasks=1) == [0]

        assert "removed: the model key of local" in mine.run("remove", "model")
        cloud.model.requests.clear()
        cloud.post("Go on\ndo: say Done.", thread="t1")
        wait_until(lambda: cloud.types("t1").count("turn.completed") == 2, seconds=SECONDS)
        assert mine.used() == {OTHER}


def test_a_key_that_cannot_be_read_starts_nothing_with_another(tmp_path: Path) -> None:
    with keys(tmp_path, BRANCHLINE_OWN_MODEL_KEY="CLAUDE_CODE_OAUTH_TOKEN") as mine:
        cloud = mine.cloud
        mine.run("set", "model", key=OWN)
        refused = Refusal(action="GetSecretValue", code="AccessDeniedException", times=1000)
        cloud.ecs.refusals.append(refused)
        cloud.post("Write it\ndo: write a.txt one\ndo: say Done.", thread="t1")
        assert mine.left(tasks=1) == [1]
        assert f"{NAME} could not be read (AccessDeniedException)" in cloud.fargate.logs()
        assert refused.times < 999, "it asked again before it gave up"
        assert cloud.model.requests == []
        assert cloud.row().owner is None, "it did not even take the lease"

        refused.times = 0
        assert cloud.function.invoke({"branchline": "sweep"}) == {"done": "sweep"}
        cloud.answered("t1")
        assert mine.used() == {None}, "the fleet's key is of another kind, and would come first"
        sent = {request.request.headers.get("authorization") for request in cloud.model.requests}
        assert sent == {f"Bearer {OWN}"}


def test_a_secret_that_holds_no_key_is_said_to(tmp_path: Path) -> None:
    with keys(tmp_path) as mine:
        cloud = mine.cloud
        with aws_client("secretsmanager", url=cloud.ecs.url, account=cloud.account) as client:
            client.create_secret(Name=NAME, SecretString="two\nlines of it")
        cloud.post("Write it\ndo: say Done.", thread="t1")
        assert mine.left(tasks=1) == [1]
        assert f"The secret {NAME} holds no key" in cloud.fargate.logs()
        assert "lines of it" not in cloud.fargate.logs()
        assert cloud.model.requests == []


def test_where_the_fleet_has_no_key_the_thread_says_so(tmp_path: Path) -> None:
    with keys(tmp_path, ANTHROPIC_API_KEY=None) as mine:
        cloud = mine.cloud
        cloud.post("Write it\ndo: write a.txt one\ndo: say Done.", thread="t1")
        wait_until(lambda: "turn.failed" in cloud.types("t1"), seconds=SECONDS)
        (failed,) = [event for event in cloud.events("t1") if event["type"] == "turn.failed"]
        assert "There is no key for the model" in json.dumps(failed)
        assert cloud.model.requests == []

        listed = mine.run("set", "model", "--now", key=OWN)
        assert "set: the model key of local" in listed
        assert "asked 1 worker to leave" in listed
        assert mine.left(tasks=1) == [0]
        cloud.post("Again\ndo: write a.txt one\ndo: say Done.", thread="t1")
        cloud.answered("t1")
        assert mine.used() == {OWN}
        shown = mine.run("list", "--json")
        (row,) = json.loads(shown)
        assert (row["user"], row["key"], row["ends"]) == ("local", "model", f"...{OWN[-4:]}")
        assert OWN not in shown
