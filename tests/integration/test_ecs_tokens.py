"""A GitHub App on AWS: a worker that ECS starts clones a private repository and pushes to it with tokens that
it asks the dispatcher for; and the function that answers has workers started by the one beside it."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.words import WorkerId
from dispatcher.worker_tokens import worker_secret
from fleet.ports import any_free
from fleet.standin.github import GitHubStandin, running_github
from tests.fakes.dispatcher import REGION, running_dispatcher
from tests.fakes.ecs import EcsWire, Refusal, ecs_environment, prepare
from tests.fakes.engine import EngineProcess, fresh_account, running_engine, wait_until
from tests.fakes.fargate import Processes
from tests.fakes.lambda_events import http_event
from tests.fakes.model import serving_model
from tests.fakes.runtime_api import LambdaFunction
from tests.fakes.wire import Answer
from tests.integration.lambda_lab import BEARER, JSON, built, lambda_env, streaming, unpacked
from tests.integration.test_ecs_launcher import SERVICES
from tests.integration.worker_lab import bare_remote, git

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SECONDS = 180.0
KEY = "the key in the dispatcher's secret"
WORKER = WorkerId("local-site-local")
BESIDE = "branchline-beside"


class LambdaWire(EcsWire):
    """Takes invocations as well: ``invoked`` are the events that a function is to get some time."""

    def __init__(self, engine_url: str) -> None:
        self.invoked: list[dict[str, Any]] = []
        super().__init__(engine_url)

    def answer(self, *, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if not path.startswith("/2015-03-31/functions/"):
            return super().answer(path=path, headers=headers, body=body)
        assert path == f"/2015-03-31/functions/{BESIDE}/invocations"
        assert headers["X-Amz-Invocation-Type"] == "Event", "nobody waits for the start"
        for refusal in self.refusals:
            if refusal.action == "Invoke" and refusal.times > 0:
                refusal.times -= 1
                said = {"Type": "User", "message": refusal.message}
                return refusal.status, "application/json", json.dumps(said).encode()
        self.invoked.append(json.loads(body))
        return 202, "application/json", b""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    with running_engine(tmp_path / "engine", 0, "--services", SERVICES) as running:
        yield running


@pytest.fixture
def wire(engine: EngineProcess) -> Iterator[LambdaWire]:
    made = LambdaWire(engine.url)
    try:
        yield made
    finally:
        made.close()


def app_of(github: GitHubStandin) -> dict[str, str]:
    return {
        "BRANCHLINE_GITHUB_API_URL": github.url,
        "GITHUB_WEBHOOK_SECRET": "a webhook secret",
        "GITHUB_APP_ID": github.world.app_id,
        "GITHUB_APP_PRIVATE_KEY": github.private_key,
        "BRANCHLINE_LAUNCHER_TOKEN": KEY,
    }


def log_of(url: str) -> list[dict[str, Any]]:
    lines = httpx.get(f"{url}/v1/threads/t1/events?follow=false", timeout=30).text.splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def test_a_private_repository_is_cloned_and_pushed_to_with_tokens_of_the_app(
    engine: EngineProcess, wire: LambdaWire, tmp_path: Path
) -> None:
    account, port = fresh_account(), any_free()
    with running_github() as github, serving_model() as model:
        repo = github.world.add_repo("acme/site")
        repo.folder = bare_remote(tmp_path / "git")
        of_tasks = {
            "AWS_ENDPOINT_URL": wire.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": account,
            "AWS_SECRET_ACCESS_KEY": "local",
            "ANTHROPIC_BASE_URL": model.url,
            "ANTHROPIC_API_KEY": "not-a-key",
            "BRANCHLINE_PREVIEW_PORT": str(any_free()),
        }
        boundary = prepare(url=engine.url, account=account, environment=of_tasks)
        told = {
            **ecs_environment(boundary),
            **app_of(github),
            "BRANCHLINE_PORT": str(port),
            "BRANCHLINE_TOKEN_URL": f"http://127.0.0.1:{port}/internal/token",
            "BRANCHLINE_REPO": github.clone_url("acme/site"),
        }
        with (
            running_dispatcher(wire.url, account=account, cwd=tmp_path, **told) as dispatcher,
            closing(Processes(url=engine.url, account=account, folder=tmp_path / "tasks")) as tasks,
        ):
            body = {"text": "Write it\ndo: write a.txt one\ndo: say Done.", "thread_id": "t1"}
            httpx.post(f"{dispatcher.url}/v1/threads", json=body, timeout=30).raise_for_status()
            try:
                wait_until(
                    lambda: "turn.completed" in [e["type"] for e in log_of(dispatcher.url)], seconds=SECONDS
                )
            except AssertionError:
                raise AssertionError(dispatcher.logs()[-3000:] + tasks.logs()[-3000:]) from None
        assert git(repo.folder, "show", "thread-t1:a.txt") == "one"
        assert github.grants, "it was done with tokens of the App"
        assert {caller.permissions.get("contents") for caller, _ in github.grants.values()} == {"write"}
    (asked,) = wire.starts
    (container,) = asked["overrides"]["containerOverrides"]
    given = {pair["name"]: pair["value"] for pair in container["environment"]}
    assert given["BRANCHLINE_TOKEN_SECRET"] == worker_secret(KEY, WORKER)
    assert KEY not in json.dumps(asked), "the key itself is nobody's to see"


@contextmanager
def two_functions(
    wire: LambdaWire, boundary: str, account: str, tmp_path: Path
) -> Iterator[tuple[LambdaFunction, LambdaFunction]]:
    """``page`` and ``beside``, as the stack makes them."""
    folder = unpacked(built(tmp_path / "asset"), tmp_path / "unpacked")
    env = lambda_env(wire.url, account, **ecs_environment(boundary))
    with (
        streaming(folder, tmp_path=tmp_path, seconds=60, **env, BRANCHLINE_START_FUNCTION=BESIDE) as page,
        streaming(folder, tmp_path=tmp_path, seconds=60, **env) as beside,
    ):
        yield page, beside


def test_the_function_that_answers_has_the_worker_started_by_the_one_beside_it(
    engine: EngineProcess, wire: LambdaWire, tmp_path: Path
) -> None:
    account = fresh_account()
    boundary = prepare(url=engine.url, account=account)
    body = json.dumps({"text": "hello", "thread_id": "t1"})
    asked = http_event("POST", "/v1/threads", body=body, headers={**JSON, **BEARER})
    with two_functions(wire, boundary, account, tmp_path) as (page, beside):
        assert page.request(asked).status == 202
        assert wire.starts == [], "ECS is not waited for"
        (event,) = wire.invoked
        assert event == {"branchline": "start", "worker_id": WORKER}
        for _ in range(2):  # Lambda may hand it over again
            assert beside.invoke(event) == {"done": "start"}
        assert len(wire.starts) == 1
        answer = page.request(
            http_event("GET", "/v1/threads/t1/events", query="follow=false", headers=BEARER)
        )
        assert answer.body.count(b'"worker.starting"') == 1


def test_a_start_that_lambda_does_not_take_is_made_by_the_next_sweep(
    engine: EngineProcess, wire: LambdaWire, tmp_path: Path
) -> None:
    account = fresh_account()
    boundary = prepare(url=engine.url, account=account)
    wire.refusals.append(Refusal(action="Invoke", code="TooManyRequestsException", status=429, times=9))
    body = json.dumps({"text": "hello", "thread_id": "t1"})
    asked = http_event("POST", "/v1/threads", body=body, headers={**JSON, **BEARER})
    with two_functions(wire, boundary, account, tmp_path) as (page, beside):
        assert page.request(asked).status == 202, page.logs()[-2000:]
        assert (wire.invoked, wire.starts) == ([], [])
        assert beside.invoke({"branchline": "sweep"}) == {"done": "sweep"}
        assert len(wire.starts) == 1
