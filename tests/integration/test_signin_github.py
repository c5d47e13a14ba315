"""Sign-in with GitHub, against a stand-in at the wire that keeps to OAuth with PKCE, and to nothing else."""

import asyncio
import base64
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from aiohttp import web

from tests.fakes.engine import EngineProcess
from tests.integration.signin_lab import PASSWORD, SignInLab, signin_lab

SECRET = "the client's secret"


@dataclass
class GitHub:
    """A stand-in. ``login``: who is signed in there; ``broken``: it answers with 500."""

    url: str = ""
    login: str = "ada-l"
    broken: bool = False
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    asked: list[dict[str, str]] = field(default_factory=list)

    def agree(self, location: str) -> str:
        """What the person does there: they say yes, and are sent back to this address."""
        parts = urlsplit(location)
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.url}/login/oauth/authorize"
        asked = {k: v[0] for k, v in parse_qs(parts.query).items()}
        assert asked["client_id"] == "client"
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_hex(8)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?code={code}&state={asked['state']}"

    async def token(self, request: web.Request) -> web.Response:
        """``POST /login/oauth/access_token``: errors come with 200, as GitHub does it."""
        if self.broken:
            return web.Response(status=500, text="no")
        form = {k: str(v) for k, v in (await request.post()).items()}
        self.asked.append(form)
        asked = self.codes.pop(form["code"], None)
        made = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(made).decode().rstrip("=")
        right = asked is not None and (form["client_secret"], challenge, form["redirect_uri"]) == (
            SECRET,
            asked["code_challenge"],
            asked["redirect_uri"],
        )
        if not right:
            return web.json_response({"error": "bad_verification_code", "error_description": "wrong"})
        token = f"gho_{secrets.token_hex(8)}"
        self.tokens.add(token)
        return web.json_response({"access_token": token, "token_type": "bearer", "scope": ""})

    async def user(self, request: web.Request) -> web.Response:
        """``GET /user``."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            return web.json_response({"message": "Bad credentials"}, status=401)
        return web.json_response({"login": self.login, "id": 1})


@asynccontextmanager
async def _github() -> AsyncIterator[GitHub]:
    github, app = GitHub(), web.Application()
    app.router.add_post("/login/oauth/access_token", github.token)
    app.router.add_get("/user", github.user)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    github.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield github
    finally:
        await runner.cleanup()


def github_settings(github: GitHub) -> dict[str, Any]:
    return {
        "login": "github",
        "github_client_id": "client",
        "github_client_secret": SECRET,
        "github_url": github.url,
        "github_api_url": github.url,
    }


@pytest.fixture
async def github() -> AsyncIterator[GitHub]:
    async with _github() as github:
        yield github


@pytest.fixture
async def site(engine: EngineProcess, github: GitHub) -> AsyncIterator[SignInLab]:
    async with signin_lab(engine.url, **github_settings(github)) as site:
        link = {"kind": "github-user", "name": "ada-l", "target": "ada"}
        assert (await site.operator.post("/v1/links", json=link)).status_code == 200
        yield site


async def begun(browser: httpx.AsyncClient, onward: str = "/") -> str:
    answer = await browser.get("/auth/github", params={"onward": onward})
    assert answer.status_code == 303
    return answer.headers["location"]


async def test_whoever_github_and_a_link_know_is_signed_in(site: SignInLab, github: GitHub) -> None:
    browser = site.client()
    back = await browser.get(github.agree(await begun(browser, "/?thread=t1")))
    assert (back.status_code, back.headers["location"]) == (303, "/?thread=t1")
    me = (await browser.get("/v1/me")).json()
    assert (me["user"], me["kind"]) == ("ada", "session")
    assert (await browser.post("/auth/refresh")).status_code == 200
    stored = str(site.items())
    assert not [t for t in github.tokens if t in stored], "GitHub's token is kept nowhere"
    about = (await browser.get("/v1/about")).json()["login"]
    assert about == {"required": True, "password": False, "github": True}
    assert (await browser.post("/auth/login", json={"user": "a", "password": "b"})).status_code == 404


def not_signed_in(back: httpx.Response) -> str:
    """Where the browser is sent that could not be signed in."""
    assert back.status_code == 303
    assert "branchline_session" not in back.headers.get("set-cookie", "")
    return str(back.headers["location"])


async def test_somebody_whom_nobody_knows_is_sent_to_the_page_with_the_reason(
    site: SignInLab, github: GitHub
) -> None:
    github.login = "Stranger"
    browser = site.client()
    back = await browser.get(github.agree(await begun(browser)))
    assert not_signed_in(back) == "/?sign_in=unknown_person&login=Stranger"
    assert (await browser.get("/v1/me")).status_code == 401
    lines = await site.audit(until="sign_in")
    seen = [(x["user"], x["about"], x["ok"]) for x in lines if x["what"] == "sign_in"]
    assert seen == [("", "github unknown_person", False)]


async def test_a_way_back_that_this_browser_has_not_begun_is_refused(site: SignInLab, github: GitHub) -> None:
    attacker, victim = site.client(), site.client()
    theirs = github.agree(await begun(attacker))
    none_begun = await victim.get(theirs)
    assert not_signed_in(none_begun) == "/?sign_in=lost_state"
    await begun(victim)
    another_state = await victim.get(theirs)
    assert not_signed_in(another_state) == "/?sign_in=lost_state"
    assert github.asked == [], "GitHub is not even asked"
    assert (await victim.get("/v1/me")).status_code == 401


async def test_a_code_of_another_browser_fails_for_want_of_its_verifier(
    site: SignInLab, github: GitHub
) -> None:
    attacker, victim = site.client(), site.client()
    stolen = parse_qs(urlsplit(github.agree(await begun(victim))).query)["code"][0]
    own = parse_qs(urlsplit(await begun(attacker)).query)["state"][0]
    back = await attacker.get("/auth/github/callback", params={"code": stolen, "state": own})
    assert not_signed_in(back) == "/?sign_in=github_refused"
    assert (await attacker.get("/v1/me")).status_code == 401


async def test_a_way_back_is_good_once_and_for_ten_minutes(site: SignInLab, github: GitHub) -> None:
    browser = site.client()
    address = github.agree(await begun(browser))
    assert (await browser.get(address)).headers["location"] == "/"
    assert not_signed_in(await browser.get(address)) == "/?sign_in=lost_state"
    late = github.agree(await begun(browser))
    site.clock.forward(600)
    assert not_signed_in(await browser.get(late)) == "/?sign_in=lost_state"


async def test_who_says_no_at_github_is_told_so(site: SignInLab, github: GitHub) -> None:
    browser = site.client()
    state = parse_qs(urlsplit(await begun(browser)).query)["state"][0]
    back = await browser.get("/auth/github/callback", params={"error": "access_denied", "state": state})
    assert not_signed_in(back) == "/?sign_in=github_refused"


async def test_a_github_that_is_down_is_said_to_be(site: SignInLab, github: GitHub) -> None:
    github.broken = True
    browser = site.client()
    back = await browser.get(github.agree(await begun(browser)))
    assert not_signed_in(back) == "/?sign_in=unavailable"


async def test_a_link_that_is_taken_away_ends_the_session(site: SignInLab, github: GitHub) -> None:
    browser = site.client()
    await browser.get(github.agree(await begun(browser)))
    gone = await site.operator.post("/v1/links/remove", json={"kind": "github-user", "name": "ada-l"})
    assert gone.status_code == 200
    assert (await browser.get("/v1/me")).status_code == 401
    assert (await browser.post("/auth/refresh")).status_code == 401


async def test_a_new_password_ends_sessions_that_came_over_github_too(
    engine: EngineProcess, github: GitHub
) -> None:
    async with signin_lab(engine.url, **{**github_settings(github), "login": "both"}) as site:
        link = {"kind": "github-user", "name": "ada-l", "target": "ada"}
        assert (await site.operator.post("/v1/links", json=link)).status_code == 200
        ada, elsewhere = await site.person("ada"), site.client()
        await elsewhere.get(github.agree(await begun(elsewhere)))
        assert (await elsewhere.get("/v1/me/account")).json() == {"password": True, "totp": False}
        assert (await elsewhere.post("/auth/refresh")).status_code == 200
        changed = await ada.post("/v1/me/password", password=PASSWORD, new="another long password")
        assert changed.status_code == 200
        assert (await elsewhere.get("/v1/me")).status_code == 401
        assert (await elsewhere.post("/auth/refresh")).status_code == 401


async def test_the_session_of_another_purpose_is_no_session(site: SignInLab, github: GitHub) -> None:
    browser = site.client()
    await begun(browser)
    way = browser.cookies["branchline_github"]
    assert (await site.client(cookie=f"branchline_session={way}").get("/v1/me")).status_code == 401


async def test_many_at_once_get_one_key(site: SignInLab, github: GitHub) -> None:
    site.clock.forward(7 * 24 * 3600)
    browsers = [site.client() for _ in range(8)]
    ways = await asyncio.gather(*(begun(browser) for browser in browsers))
    backs = await asyncio.gather(*(b.get(github.agree(way)) for b, way in zip(browsers, ways, strict=True)))
    assert {(back.status_code, back.headers["location"]) for back in backs} == {(303, "/")}
