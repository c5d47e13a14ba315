"""What AG-UI clients may reach: the same walls as everywhere below ``/v1``, for whoever asks."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.fakes.engine import EngineProcess
from tests.integration.signin_lab import SignInLab, signin_lab


@pytest.fixture
async def site(engine: EngineProcess) -> AsyncIterator[SignInLab]:
    async with signin_lab(engine.url) as site:
        yield site


def given(thread: str = "t1", **props: str) -> dict[str, Any]:
    message = {"id": "u1", "role": "user", "content": "Edit the headline."}
    return {"threadId": thread, "runId": "run-1", "messages": [message], "forwardedProps": props}


async def client(site: SignInLab, user: str, *scopes: str) -> httpx.AsyncClient:
    body = {"name": "-".join(scopes), "user": user, "scopes": scopes}
    made = await site.operator.post("/v1/tokens", json=body)
    return site.client(authorization=f"Bearer {made.json()['token']}")


async def first(asking: httpx.AsyncClient, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status, and the answer or the run's first event; then nobody listens any more."""
    async with asking.stream("POST", "/v1/agui", json=body) as answer:
        if answer.status_code != 200:
            return answer.status_code, json.loads(await answer.aread())["error"]
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                return answer.status_code, json.loads(line[6:])
    raise AssertionError("the run says nothing")


async def test_a_run_without_a_project_is_in_a_project_of_ones_own(site: SignInLab) -> None:
    """The fleet's default project is none of bob's."""
    bob = await client(site, "bob", "read", "write")
    status, event = await first(bob, given())
    assert (status, event["type"]) == (200, "RUN_STARTED")
    thread = (await site.operator.get("/v1/threads/t1")).json()
    assert (thread["project"], thread["worker_id"]) == ("shop", "local-shop-bob")


async def test_nobody_runs_anything_in_a_project_of_others(site: SignInLab) -> None:
    await site.operator.post("/v1/threads", json={"text": "hi", "thread_id": "theirs", "project": "site"})
    bob = await client(site, "bob", "read", "write")
    for body in (given("theirs"), given("theirs", project="shop")):
        status, error = await first(bob, body)
        assert (status, error["code"]) == (404, "unknown_thread")
    status, error = await first(bob, given("other", project="site"))
    assert (status, error["code"]) == (404, "unknown_project")
    assert len((await site.operator.get("/v1/threads/theirs")).json()["messages"]) == 1
    assert (await site.operator.get("/v1/threads/other")).status_code == 404


async def test_a_thread_of_others_that_is_being_deleted_is_not_there(site: SignInLab) -> None:
    await site.operator.post("/v1/threads", json={"text": "hi", "thread_id": "theirs", "project": "site"})
    assert (await site.operator.delete("/v1/threads/theirs")).status_code == 202
    bob = await client(site, "bob", "read", "write")
    assert (await first(bob, given("theirs")))[1]["code"] == "unknown_thread"


async def test_the_audit_names_the_thread_while_its_run_goes_on(site: SignInLab) -> None:
    ada = await client(site, "ada", "read", "write")
    async with ada.stream("POST", "/v1/agui", json=given()) as answer:
        assert answer.status_code == 200
        lines = await site.audit(until="post")
    assert [(x["user"], x["about"]) for x in lines if x["what"] == "post"] == [("ada", "t1")]


@pytest.mark.parametrize("scope", ["read", "write"])
async def test_a_run_is_posted_and_read_so_it_needs_both_scopes(site: SignInLab, scope: str) -> None:
    half = await client(site, "ada", scope)
    status, error = await first(half, given())
    assert (status, error["code"]) == (403, "refused")
    assert (await site.operator.get("/v1/threads/t1")).status_code == 404
