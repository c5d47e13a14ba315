"""What ends a sign-in ends it at once: the next request with it is nobody's, at any dispatcher."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from contracts.config import FleetConfig
from tests.fakes.engine import EngineProcess
from tests.integration.signin_lab import FLEET, SignInLab, signin_lab


@pytest.fixture
async def site(engine: EngineProcess) -> AsyncIterator[SignInLab]:
    async with signin_lab(engine.url) as site:
        yield site


async def test_a_session_that_somebody_kept_ends_with_the_sign_out(
    engine: EngineProcess, site: SignInLab
) -> None:
    ada = await site.person("ada")
    kept = {"cookie": f"branchline_session={ada.http.cookies['branchline_session']}"}
    async with signin_lab(engine.url, account=site.account, clock=site.clock) as other:
        assert (await other.client(**kept).get("/v1/me")).status_code == 200
        assert (await ada.http.post("/auth/logout")).status_code == 204
        for place in (site, other):
            answer = await place.client(**kept).get("/v1/threads")
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "sign_in")


async def test_a_sign_out_needs_one_of_the_two_cookies_only(site: SignInLab) -> None:
    ada = await site.person("ada")
    session, refresh = (ada.http.cookies[f"branchline_{name}"] for name in ("session", "refresh"))
    half = site.client(cookie=f"branchline_session={session}")
    assert (await half.post("/auth/logout")).status_code == 204
    assert (await half.get("/v1/me")).status_code == 401
    assert (
        await site.client(cookie=f"branchline_refresh={refresh}").post("/auth/refresh")
    ).status_code == 401
    assert [x["user"] for x in await site.audit(until="sign_out") if x["what"] == "sign_out"] == ["ada"]


async def test_signing_out_here_leaves_one_signed_in_elsewhere(site: SignInLab) -> None:
    here, there = await site.person("ada"), await site.person("ada")
    assert (await here.http.post("/auth/logout")).status_code == 204
    assert (await there.http.get("/v1/me")).status_code == 200


async def test_a_session_ends_with_the_refresh_token_that_came_twice(site: SignInLab) -> None:
    ada = await site.person("ada")
    stolen = ada.http.cookies["branchline_refresh"]
    assert (await ada.refresh()).status_code == 200
    thief = site.client(cookie=f"branchline_refresh={stolen}")
    assert (await thief.post("/auth/refresh")).status_code == 401
    assert (await ada.http.get("/v1/me")).status_code == 401


@pytest.mark.parametrize("change", ["password", "remove"])
async def test_a_new_password_and_a_removed_account_end_sessions_at_once(
    site: SignInLab, change: str
) -> None:
    ada = await site.person("ada")
    more = {"password": "another long one"} if change == "password" else {}
    await site.operator.post(f"/v1/accounts/{change}", json={"user": "ada", **more})
    assert (await ada.http.get("/v1/me")).status_code == 401


# ---------------------------------------------------------------- answers that go on


@asynccontextmanager
async def reading(client: httpx.AsyncClient, thread: str = "t1") -> AsyncIterator[AsyncIterator[str]]:
    """A stream of a thread's log, of which the first event has come."""
    async with client.stream("GET", f"/v1/threads/{thread}/events") as answer:
        lines = answer.aiter_lines()
        async for line in lines:
            if line.startswith("data: "):
                break
        yield lines


async def rest(lines: AsyncIterator[str]) -> str:
    """What comes until the stream ends by itself."""
    async with asyncio.timeout(60):
        return "\n".join([line async for line in lines])


async def test_a_stream_ends_with_the_session_that_opened_it(site: SignInLab) -> None:
    ada = await site.person("ada")
    await ada.post("/v1/threads", text="hi", thread_id="t1")
    async with reading(ada.http) as lines:
        await ada.http.post("/auth/logout")
        assert "event" not in await rest(lines)


async def test_a_stream_ends_with_the_token_that_opened_it(site: SignInLab) -> None:
    await site.operator.post("/v1/threads", json={"text": "hi", "thread_id": "t1"})
    made = await site.operator.post("/v1/tokens", json={"name": "ci", "user": "ada"})
    reader = site.client(authorization=f"Bearer {made.json()['token']}")
    async with reading(reader) as lines:
        await site.operator.post("/v1/tokens/revoke", json={"name": "ci", "user": "ada"})
        await rest(lines)


async def test_a_stream_ends_when_its_session_is_over_and_goes_on_with_the_next(site: SignInLab) -> None:
    ada = await site.person("ada")
    await ada.post("/v1/threads", text="hi", thread_id="t1")
    async with reading(ada.http) as lines:
        site.clock.forward(15 * 60)
        await rest(lines)
    assert (await ada.refresh()).status_code == 200
    async with reading(ada.http):
        pass


async def previewed(site: SignInLab, asking: httpx.AsyncClient, thread: str) -> dict[str, str]:
    """What a browser has that opened a thread's preview: its name and its cookie."""
    url = urlsplit((await asking.get(f"/v1/threads/{thread}/preview")).json()["url"])
    host = {"host": url.netloc}
    taken = await site.client().get(f"/?{url.query}", headers=host)
    assert taken.status_code == 303
    return host | {"cookie": taken.headers["set-cookie"].partition(";")[0]}


async def refused(site: SignInLab, headers: dict[str, str]) -> None:
    """Until the preview is not shown any more."""
    async with asyncio.timeout(60):
        while (await site.client().get("/", headers=headers)).status_code != 401:
            await asyncio.sleep(0.1)


async def test_a_preview_ends_with_what_opened_it(site: SignInLab) -> None:
    ada, other = await site.person("ada"), await site.person("ada")
    await ada.post("/v1/threads", text="hi", thread_id="t1")
    made = (await ada.post("/v1/tokens", name="ci")).json()["token"]
    program = site.client(authorization=f"Bearer {made}")
    by_session, by_other, by_token, by_operator = [
        await previewed(site, each, "t1") for each in (ada.http, other.http, program, site.operator)
    ]
    for headers in (by_session, by_other, by_token, by_operator):
        assert (await site.client().get("/", headers=headers)).status_code == 503, "its worker is not up"
    await ada.http.post("/auth/logout")
    await refused(site, by_session)
    await site.operator.post("/v1/tokens/revoke", json={"name": "ci", "user": "ada"})
    await refused(site, by_token)
    for headers in (by_other, by_operator):
        assert (await site.client().get("/", headers=headers)).status_code == 503


async def test_a_preview_of_a_project_one_does_not_belong_to_any_more_is_closed(
    engine: EngineProcess, site: SignInLab
) -> None:
    ada = await site.person("ada")
    await ada.post("/v1/threads", text="hi", thread_id="t1")
    headers = await previewed(site, ada.http, "t1")
    moved = FleetConfig.model_validate(FLEET | {"user": {"ada": {"projects": ["shop"]}}})
    async with signin_lab(engine.url, account=site.account, clock=site.clock, fleet=moved) as later:
        name = {**headers, "host": headers["host"].partition(":")[0]}
        assert (await later.client().get("/", headers=name)).status_code == 401


async def test_a_stream_of_somebody_who_may_go_on_goes_on(site: SignInLab) -> None:
    """Beyond the first time that its reader is asked about; told by another reader's stream, which ends."""
    here, there = await site.person("ada"), await site.person("ada")
    await here.post("/v1/threads", text="hi", thread_id="t1")
    async with reading(there.http) as stays, reading(here.http) as ends:
        await here.http.post("/auth/logout")
        await rest(ends)
        await there.post("/v1/threads/t1/messages", text="and this")
        async with asyncio.timeout(60):
            async for line in stays:
                if line.startswith("data: "):
                    assert "and this" in line
                    break
