"""What people change about their own sign-in, and that nobody else does with a session left open."""

from collections.abc import AsyncIterator

import pyotp
import pytest

from dispatcher.signin_lockout import FREE
from tests.fakes.engine import EngineProcess
from tests.integration.signin_lab import PASSWORD, Browser, SignInLab, signin_lab

NEW = "another long password"
PATHS = ("/v1/me/password", "/v1/me/totp", "/v1/me/totp/off")


@pytest.fixture
async def site(engine: EngineProcess) -> AsyncIterator[SignInLab]:
    async with signin_lab(engine.url, sign_ins_per_minute=100) as site:
        yield site


def body(path: str, password: str, **more: str) -> dict[str, str]:
    return {"password": password, **({"new": NEW} if path.endswith("password") else {}), **more}


async def with_codes(site: SignInLab, ada: Browser) -> pyotp.TOTP:
    """Turn codes on; what the authenticator knows then. Its first code is used."""
    asked = await ada.post("/v1/me/totp", password=PASSWORD)
    totp = pyotp.parse_uri(asked.json()["uri"])
    assert isinstance(totp, pyotp.TOTP)
    answer = await ada.post("/v1/me/totp/confirm", code=totp.at(int(site.clock())))
    assert answer.status_code == 200, answer.text
    ada.form = answer.json()["form_token"]
    return totp


async def test_a_new_password_keeps_the_one_who_chose_it_and_ends_every_other_session(
    site: SignInLab,
) -> None:
    ada, elsewhere = await site.person("ada"), await site.person("ada")
    old, form = ada.http.cookies["branchline_session"], ada.form
    answer = await ada.post("/v1/me/password", password=PASSWORD, new=NEW)
    assert (answer.status_code, answer.json()["user"]) == (200, "ada")
    assert answer.json()["form_token"] not in (None, form)
    ada.form = answer.json()["form_token"]
    assert (await ada.post("/v1/threads", text="hi")).status_code == 202
    assert (await ada.refresh()).status_code == 200
    kept = site.client(cookie=f"branchline_session={old}")
    assert (await kept.get("/v1/me")).status_code == 401, "also what somebody has copied"
    assert (await elsewhere.http.get("/v1/me")).status_code == 401
    assert (await elsewhere.refresh()).status_code == 401
    assert (await site.browser().login("ada")).status_code == 401
    assert (await site.browser().login("ada", NEW)).status_code == 200


@pytest.mark.parametrize("path", PATHS)
async def test_who_does_not_know_the_password_changes_nothing(site: SignInLab, path: str) -> None:
    ada = await site.person("ada")
    wrong = await ada.post(path, **body(path, "not the password"))
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (403, "wrong_credentials")
    assert "set-cookie" not in wrong.headers
    assert (await ada.http.get("/v1/me")).status_code == 200, "a wrong password is no end of the session"
    assert (await site.browser().login("ada")).status_code == 200


async def test_guessing_with_somebodys_session_is_slowed_down_as_a_sign_in_is(site: SignInLab) -> None:
    ada = await site.person("ada")
    for _ in range(FREE):
        await ada.post("/v1/me/totp/off", password="a guess at it")
    late = await ada.post("/v1/me/password", password=PASSWORD, new=NEW)
    assert (late.status_code, late.json()["error"]["code"]) == (429, "too_many")


async def test_attempts_are_bounded_for_the_address_too(engine: EngineProcess) -> None:
    async with signin_lab(engine.url, sign_ins_per_minute=3) as site:
        ada = await site.person("ada")
        codes = [(await ada.post("/v1/me/totp/confirm", code="123456")).status_code for _ in range(3)]
        assert codes == [409, 409, 429]


async def test_codes_are_asked_for_once_one_was_confirmed(site: SignInLab) -> None:
    ada, elsewhere = await site.person("ada"), await site.person("ada")
    account = {"password": True, "totp": False}
    assert (await ada.http.get("/v1/me/account")).json() == account
    asked = await ada.post("/v1/me/totp", password=PASSWORD)
    totp = pyotp.parse_uri(asked.json()["uri"])
    assert isinstance(totp, pyotp.TOTP)
    assert (await site.browser().login("ada")).status_code == 200, "nothing is asked for yet"
    code = totp.at(int(site.clock()))
    wrong = await ada.post("/v1/me/totp/confirm", code="000000" if code != "000000" else "111111")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "wrong_code")
    answer = await ada.post("/v1/me/totp/confirm", code=code)
    assert answer.status_code == 200
    assert (await ada.http.get("/v1/me/account")).json() == account | {"totp": True}
    assert (await elsewhere.http.get("/v1/me")).status_code == 401
    assert (await site.browser().login("ada")).json()["error"]["code"] == "code_needed"
    replayed = await site.browser().login("ada", code=code)
    assert replayed.json()["error"]["code"] == "wrong_credentials", "the code that confirmed is used"
    site.clock.forward(60)
    assert (await site.browser().login("ada", code=totp.at(int(site.clock())))).status_code == 200


async def test_with_codes_one_is_needed_for_every_change(site: SignInLab) -> None:
    ada = await site.person("ada")
    totp = await with_codes(site, ada)
    for path in PATHS:
        needed = await ada.post(path, **body(path, PASSWORD))
        assert (needed.status_code, needed.json()["error"]["code"]) == (403, "code_needed")
    site.clock.forward(60)
    off = await ada.post("/v1/me/totp/off", password=PASSWORD, code=totp.at(int(site.clock())))
    assert off.status_code == 200
    assert (await site.browser().login("ada")).status_code == 200


async def test_a_seed_is_confirmed_in_time_and_once(site: SignInLab) -> None:
    ada = await site.person("ada")
    asked = await ada.post("/v1/me/totp", password=PASSWORD)
    totp = pyotp.parse_uri(asked.json()["uri"])
    assert isinstance(totp, pyotp.TOTP)
    site.clock.forward(14 * 60)
    assert (await ada.refresh()).status_code == 200
    site.clock.forward(60)
    late = await ada.post("/v1/me/totp/confirm", code=totp.at(int(site.clock())))
    assert (late.status_code, late.json()["error"]["code"]) == (409, "nothing_to_confirm")
    assert totp.secret not in str(site.items())


async def test_a_password_has_its_length_and_is_another_one(site: SignInLab) -> None:
    ada = await site.person("ada")
    short = await ada.post("/v1/me/password", password=PASSWORD, new="short")
    assert (short.status_code, short.json()["error"]["code"]) == (400, "invalid_password")
    same = await ada.post("/v1/me/password", password=PASSWORD, new=PASSWORD)
    assert (same.status_code, same.json()["error"]["code"]) == (400, "same_password")
    assert (await site.browser().login("ada")).status_code == 200


async def test_no_token_changes_how_its_person_signs_in(site: SignInLab) -> None:
    ada = await site.person("ada")
    made = (await ada.post("/v1/tokens", name="ci")).json()["token"]
    for asking in (site.client(authorization=f"Bearer {made}"), site.operator):
        for path in (*PATHS, "/v1/me/totp/confirm"):
            answer = await asking.post(path, json=body(path, PASSWORD))
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "refused")


async def test_the_audit_says_who_changed_their_sign_in_and_who_tried_to(site: SignInLab) -> None:
    ada = await site.person("ada")
    await ada.post("/v1/me/password", password="not the password", new=NEW)
    site.clock.forward(1)
    assert (await ada.post("/v1/me/password", password=PASSWORD, new=NEW)).status_code == 200
    lines = [x for x in await site.audit(until="own_password") if x["what"] == "own_password"]
    while len(lines) < 2:
        lines = [x for x in await site.audit(until="own_password") if x["what"] == "own_password"]
    assert [(x["user"], x["about"], x["ok"]) for x in lines] == [("ada", "ada", True), ("ada", "ada", False)]
    assert NEW not in str(await site.audit(until="own_password"))
