"""What ends a sign-in ends it at once: the next request with it is nobody's, at any dispatcher."""

from collections.abc import AsyncIterator

import pytest

from tests.fakes.engine import EngineProcess
from tests.integration.signin_lab import SignInLab, signin_lab


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
