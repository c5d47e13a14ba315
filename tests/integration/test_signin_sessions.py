"""Signing in with an account: the way in, the wrong ways, how long it lasts and how it ends."""

from collections.abc import AsyncIterator

import pyotp
import pytest

from dispatcher import signin_records as rows
from dispatcher.signin_lockout import FREE
from tests.fakes.engine import EngineProcess
from tests.integration.signin_lab import PASSWORD, SignInLab, signin_lab

DAY = 24 * 3600


@pytest.fixture
async def site(engine: EngineProcess) -> AsyncIterator[SignInLab]:
    async with signin_lab(engine.url) as site:
        yield site


async def test_somebody_with_an_account_signs_in_and_sees_who_they_are(site: SignInLab) -> None:
    browser = await site.person("ada")
    me = (await browser.http.get("/v1/me")).json()
    assert me == {
        "user": "ada",
        "kind": "session",
        "projects": [{"name": "site", "github": True}],
        "scopes": ["read", "write"],
        "form_token": browser.form,
    }
    kept = [c for c in browser.http.cookies.jar if c.name.startswith("branchline_")]
    assert {c.name for c in kept} == {"branchline_session", "branchline_refresh"}
    assert (await browser.post("/v1/threads", text="hello", thread_id="t1")).status_code == 202


async def test_cookies_are_for_this_site_and_not_for_scripts(site: SignInLab) -> None:
    await site.person("ada")
    answer = await site.browser().login("ada")
    for cookie in answer.headers.get_list("set-cookie"):
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Path=/" in cookie
        assert "Secure" not in cookie, "over http on loopback a browser would drop it"


async def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(site: SignInLab) -> None:
    await site.operator.post("/v1/accounts", json={"user": "ada", "password": PASSWORD})
    wrong = await site.browser().login("ada", "not the password")
    unknown = await site.browser().login("nobody", "not the password")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "wrong_credentials")
    assert (unknown.status_code, unknown.content) == (wrong.status_code, wrong.content)
    assert "set-cookie" not in wrong.headers


async def test_guessing_is_slowed_down_over_all_dispatchers_and_never_for_good(engine: EngineProcess) -> None:
    async with signin_lab(engine.url) as site:
        await site.operator.post("/v1/accounts", json={"user": "ada", "password": PASSWORD})
        for _ in range(FREE):
            assert (await site.browser().login("ada", "a guess at it")).status_code == 401
            assert (await site.browser().login("nobody", "a guess at it")).status_code == 401
        # Another dispatcher has another memory, and the same table.
        async with signin_lab(engine.url, clock=site.clock, account=site.account) as other:
            locked = await other.browser().login("ada")
            assert (locked.status_code, locked.json()["error"]["code"]) == (429, "too_many")
            assert 1 <= int(locked.headers["retry-after"]) <= 30
            assert (await other.browser().login("nobody")).content == locked.content
            site.clock.forward(31)
            assert (await other.browser().login("ada")).status_code == 200
            assert (await other.browser().login("ada", "a guess at it")).status_code == 401, "count is at one"
            assert (await other.browser().login("ada")).status_code == 200


async def test_attempts_from_one_address_are_bounded(site: SignInLab) -> None:
    browser = site.browser()
    codes = [(await browser.login("ada", "a guess at it")).status_code for _ in range(10)]
    assert codes == [401] * FREE + [429] * (10 - FREE)
    site.clock.forward(2 * DAY)
    assert (await browser.login("ada", "a guess at it")).status_code == 429, "not the pause: it is over"
    assert (await browser.login("bob", "a guess at it")).status_code == 401


async def test_a_code_is_needed_checked_and_good_once(site: SignInLab) -> None:
    await site.operator.post("/v1/accounts", json={"user": "ada", "password": PASSWORD})
    asked = await site.operator.post("/v1/accounts/totp", json={"user": "ada", "on": True})
    totp = pyotp.parse_uri(asked.json()["uri"])
    assert isinstance(totp, pyotp.TOTP)
    code = totp.at(int(site.clock()))
    needed = await site.browser().login("ada")
    assert (needed.status_code, needed.json()["error"]["code"]) == (401, "code_needed")
    wrong = await site.browser().login("ada", code="000000" if code != "000000" else "111111")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "wrong_credentials")
    assert (await site.browser().login("ada", "not the password", code=code)).status_code == 401
    assert (await site.browser().login("ada", code=code)).status_code == 200
    again = await site.browser().login("ada", code=code)
    assert (again.status_code, again.json()["error"]["code"]) == (401, "wrong_credentials")
    site.clock.forward(60)
    assert (await site.browser().login("ada", code=totp.at(int(site.clock())))).status_code == 200
    await site.operator.post("/v1/accounts/totp", json={"user": "ada", "on": False})
    assert (await site.browser().login("ada")).status_code == 200


async def test_asking_for_a_code_costs_no_attempt(site: SignInLab) -> None:
    await site.operator.post("/v1/accounts", json={"user": "ada", "password": PASSWORD})
    await site.operator.post("/v1/accounts/totp", json={"user": "ada", "on": True})
    for _ in range(FREE + 2):
        assert (await site.browser().login("ada")).json()["error"]["code"] == "code_needed"


async def test_a_session_ends_and_is_renewed_with_the_same_form_token(site: SignInLab) -> None:
    browser = await site.person("ada")
    form = browser.form
    site.clock.forward(15 * 60 - 1)
    assert (await browser.http.get("/v1/me")).status_code == 200
    site.clock.forward(1)
    ended = await browser.http.get("/v1/me")
    assert (ended.status_code, ended.json()["error"]["code"]) == (401, "sign_in")
    assert (await browser.refresh()).status_code == 200
    assert browser.form == form
    assert (await browser.http.get("/v1/me")).status_code == 200


async def test_nobody_is_renewed_after_thirty_days(site: SignInLab) -> None:
    browser = await site.person("ada")
    site.clock.forward(30 * DAY - 1)
    assert (await browser.refresh()).status_code == 200
    site.clock.forward(30 * DAY)
    assert (await browser.refresh()).status_code == 401


async def test_a_new_key_each_week_and_the_old_one_for_what_it_has_signed(site: SignInLab) -> None:
    week = 7 * DAY
    site.clock.time = (site.clock() // week + 1) * week - 60
    browser = await site.person("ada")
    old = browser.http.cookies["branchline_session"]
    site.clock.forward(120)
    assert (await browser.http.get("/v1/me")).status_code == 200
    assert (await browser.refresh()).status_code == 200
    assert browser.http.cookies["branchline_session"] != old
    keys = [i for i in site.items() if i["pk"]["S"] == rows.KEYS]
    assert len(keys) == 2
    for key in keys:
        assert int(key["expires"]["N"]) >= (int(key["sk"]["S"]) + 1) * week + 15 * 60


async def test_a_refresh_token_that_comes_twice_ends_its_whole_family(site: SignInLab) -> None:
    browser = await site.person("ada")
    stolen = browser.http.cookies["branchline_refresh"]
    assert (await browser.refresh()).status_code == 200
    thief = site.client(cookie=f"branchline_refresh={stolen}")
    assert (await thief.post("/auth/refresh")).status_code == 401
    assert (await browser.refresh()).status_code == 401, "nobody knows which of the two was the thief"
    lines = await site.audit(until="refresh_reused")
    assert next(x for x in lines if x["what"] == "refresh_reused")["user"] == "ada"
    assert (await (await site.person("ada")).refresh()).status_code == 200, "another sign-in goes on"


async def test_who_signs_out_is_out_and_cannot_be_renewed(site: SignInLab) -> None:
    browser = await site.person("ada")
    kept = browser.http.cookies["branchline_refresh"]
    assert (await browser.http.post("/auth/logout")).status_code == 204
    assert not [c for c in browser.http.cookies.jar if c.value]
    assert (await browser.http.get("/v1/me")).status_code == 401
    again = site.client(cookie=f"branchline_refresh={kept}")
    assert (await again.post("/auth/refresh")).status_code == 401


@pytest.mark.parametrize("change", ["password", "remove"])
async def test_a_new_password_and_a_removed_account_end_sessions(site: SignInLab, change: str) -> None:
    browser = await site.person("ada")
    more = {"password": "another long one"} if change == "password" else {}
    done = await site.operator.post(f"/v1/accounts/{change}", json={"user": "ada", **more})
    assert done.status_code == 200
    assert (await browser.refresh()).status_code == 401
    assert (await site.browser().login("ada")).status_code == 401


async def test_nothing_that_opens_a_door_stands_in_the_table_in_clear(site: SignInLab) -> None:
    await site.operator.post("/v1/accounts", json={"user": "ada", "password": PASSWORD})
    uri = (await site.operator.post("/v1/accounts/totp", json={"user": "ada", "on": True})).json()["uri"]
    totp = pyotp.parse_uri(uri)
    assert isinstance(totp, pyotp.TOTP)
    browser = site.browser()
    assert (await browser.login("ada", code=totp.at(int(site.clock())))).status_code == 200
    made = await site.operator.post("/v1/tokens", json={"name": "ci", "user": "ada"})
    stored = str(site.items())
    for secret in (PASSWORD, totp.secret, made.json()["token"], browser.http.cookies["branchline_refresh"]):
        assert secret not in stored
    assert "$argon2id$" in stored


async def test_an_account_is_for_somebody_whom_the_file_names(site: SignInLab) -> None:
    stranger = await site.operator.post("/v1/accounts", json={"user": "eve", "password": PASSWORD})
    assert (stranger.status_code, stranger.json()["error"]["code"]) == (404, "unknown_user")
    short = await site.operator.post("/v1/accounts", json={"user": "ada", "password": "short"})
    assert (short.status_code, short.json()["error"]["code"]) == (400, "invalid_password")
    await site.operator.post("/v1/accounts", json={"user": "ada", "password": PASSWORD})
    twice = await site.operator.post("/v1/accounts", json={"user": "ada", "password": PASSWORD})
    assert (twice.status_code, twice.json()["error"]["code"]) == (409, "account_exists")
    listed = (await site.operator.get("/v1/accounts")).json()["accounts"]
    assert [(a["user"], a["totp"]) for a in listed] == [("ada", False)]
