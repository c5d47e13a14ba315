"""Who may see and do what: every address asks, projects are walls, a cookie alone changes nothing."""

import re
from collections.abc import AsyncIterator, Iterable, Iterator

import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from contracts.config import FleetConfig
from tests.fakes.engine import EngineProcess
from tests.integration.signin_lab import OPERATOR, Browser, SignInLab, signin_lab

OPEN = {
    "/",
    "/theme.js",
    "/icon.svg",
    "/assets/t1",
    "/healthz",
    "/v1/about",
    "/auth/login",
    "/auth/refresh",
    "/auth/logout",
    "/auth/github",
    "/auth/github/callback",
}
"""What anybody may ask for. Chats and ``/internal`` check by themselves and are not opened here."""
OPERATORS = ("/v1/links", "/v1/undeliverable", "/v1/dead-", "/v1/accounts", "/v1/audit")


@pytest.fixture
async def site(engine: EngineProcess) -> AsyncIterator[SignInLab]:
    async with signin_lab(engine.url) as site:
        yield site


def routes(given: Iterable[BaseRoute]) -> Iterator[APIRoute]:
    """Every route, those of included routers too."""
    for route in given:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from routes(inner.routes)
        else:
            assert isinstance(route, APIRoute), (
                f"{type(route)} is a kind of route that this test has to learn"
            )
            yield route


def addresses(site: SignInLab) -> list[tuple[str, str]]:
    """Method and path of every route, with an id where one belongs."""
    found = []
    for route in routes(site.app.routes):
        path = re.sub(r"\{[^}]*\}", "t1", route.path)
        found += [(method, path) for method in sorted(route.methods)]
    return found


async def token(site: SignInLab, user: str, *scopes: str, name: str = "ci") -> dict[str, str]:
    made = await site.operator.post("/v1/tokens", json={"name": name, "user": user, "scopes": scopes})
    assert made.status_code == 201, made.text
    return {"authorization": f"Bearer {made.json()['token']}"}


async def test_every_address_asks_who_asks_but_those_that_are_for_everybody(site: SignInLab) -> None:
    stranger, asked = site.client(), 0
    for method, path in addresses(site):
        answer = await stranger.request(method, path)
        says = answer.headers.get("content-type", "").startswith("application/json")  # the page says words
        code = answer.json()["error"]["code"] if answer.is_error and says and method != "HEAD" else None
        if path in OPEN:
            assert code != "sign_in" or path == "/auth/refresh", (method, path)
        else:
            assert path.startswith("/v1/"), f"{path} is open to everybody: name it, or put it below /v1"
            assert (answer.status_code, code) == (401, "sign_in"), (method, path)
            asked += 1
    assert asked >= 20
    assert (await stranger.get("/v1/nothing")).status_code == 401
    assert (await stranger.get("/v1")).status_code == 401


@pytest.mark.parametrize(
    "header",
    ["Bearer blt_unknown", "Bearer", "Basic YWRhOmFkYQ==", f"Basic {OPERATOR}", "Bearer x.y.z"],
)
async def test_a_token_that_is_none_opens_nothing(site: SignInLab, header: str) -> None:
    answer = await site.client(authorization=header).get("/v1/threads")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "sign_in")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_operators_addresses_are_for_operators(site: SignInLab) -> None:
    person = site.client(**await token(site, "ada", "read", "write"))
    operator = site.client(**await token(site, "root", "read", "write", "operate"))
    asked = 0
    for method, path in addresses(site):
        if path.startswith(OPERATORS):
            refused = await person.request(method, path)
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "refused"), path
            assert (await operator.request(method, path)).status_code not in (401, 403, 500), path
            asked += 1
    assert asked >= 13


async def test_a_thread_of_another_project_and_a_missing_one_answer_alike_everywhere(site: SignInLab) -> None:
    await site.operator.post("/v1/threads", json={"text": "hi", "thread_id": "theirs", "project": "shop"})
    ada = site.client(**await token(site, "ada", "read", "write"))
    asked = 0
    for route in routes(site.app.routes):
        if "{thread_id" not in route.path:
            continue
        for method in sorted(route.methods):
            for body in (
                {"text": "hello"},
                {"text": ""},
                {"text": "x", "message_id": "?"},
                {},
                {"sequence": 1},
                {"text": "hello", "uploads": ["a", "a"]},
            ):
                answers = [
                    await ada.request(method, re.sub(r"\{[^}]*\}", name, route.path), json=body)
                    for name in ("theirs", "absent")
                ]
                theirs, absent = ((a.status_code, a.text.replace("absent", "theirs")) for a in answers)
                assert theirs == absent, (method, route.path, body)
            asked += 1
        fitting = await ada.request(method, re.sub(r"\{[^}]*\}", "theirs", route.path), json={"text": "x"})
        assert fitting.status_code in (400, 404), route.path
    assert asked >= 4
    assert (await ada.get("/v1/threads/theirs")).json()["error"]["code"] == "unknown_thread"
    assert (await ada.get("/v1/threads")).json() == {"threads": []}
    into = await ada.post("/v1/threads", json={"text": "hi", "thread_id": "theirs"})
    assert (into.status_code, into.json()["error"]["code"]) == (404, "unknown_thread")


async def test_posting_without_a_project_means_one_of_theirs(site: SignInLab) -> None:
    bob = site.client(**await token(site, "bob", "read", "write"))
    made = await bob.post("/v1/threads", json={"text": "hi"})
    assert made.status_code == 202
    thread = (await bob.get(f"/v1/threads/{made.json()['thread_id']}")).json()
    assert (thread["project"], thread["worker_id"]) == ("shop", "local-shop-bob")
    other = await bob.post("/v1/threads", json={"text": "hi", "project": "site"})
    assert (other.status_code, other.json()["error"]["code"]) == (404, "unknown_project")


async def test_a_token_may_do_what_it_is_for_and_ends_when_it_is_revoked(site: SignInLab) -> None:
    reader = site.client(**await token(site, "ada", "read", name="reader"))
    assert (await reader.get("/v1/threads")).status_code == 200
    assert (await reader.post("/v1/threads", json={"text": "hi"})).status_code == 403
    writer = site.client(**await token(site, "ada", "write", name="writer"))
    assert (await writer.post("/v1/threads", json={"text": "hi", "thread_id": "a"})).status_code == 202
    assert (await writer.get("/v1/threads")).status_code == 403
    greedy = site.client(**await token(site, "ada", "operate", name="greedy"))
    assert (await greedy.get("/v1/links")).status_code == 403, "a token may not do more than its user"
    more = await writer.post("/v1/tokens", json={"name": "again"})
    assert more.status_code == 403, "a token may not make its own successor"
    gone = await site.operator.post("/v1/tokens/revoke", json={"name": "reader", "user": "ada"})
    assert gone.json()["name"] == "reader"
    assert (await reader.get("/v1/threads")).status_code == 401
    listed = (await site.operator.get("/v1/tokens")).json()["tokens"]
    assert sorted(t["name"] for t in listed) == ["greedy", "writer"]
    assert not [key for t in listed for key in t if key in ("token", "digest")]


async def test_a_token_ends_when_its_time_is_over(site: SignInLab) -> None:
    made = await site.operator.post("/v1/tokens", json={"name": "short", "user": "ada", "days": 1})
    short = site.client(authorization=f"Bearer {made.json()['token']}")
    site.clock.forward(24 * 3600 - 2)
    assert (await short.get("/v1/threads")).status_code == 200
    site.clock.forward(2)
    assert (await short.get("/v1/threads")).status_code == 401


async def test_a_person_makes_tokens_for_themselves_alone(site: SignInLab) -> None:
    ada = await site.person("ada")
    assert (await ada.post("/v1/tokens", name="mine")).status_code == 201
    assert (await ada.post("/v1/tokens", name="mine")).status_code == 409
    assert (await ada.post("/v1/tokens", name="his", user="bob")).status_code == 403
    assert (await ada.post("/v1/tokens", name="more", scopes=["operate"])).status_code == 403
    assert (await ada.post("/v1/tokens", name="a b")).json()["error"]["code"] == "invalid_name"
    assert (await ada.post("/v1/tokens/revoke", name="mine", user="bob")).status_code == 403
    await site.operator.post("/v1/tokens", json={"name": "bobs", "user": "bob"})
    listed = (await ada.http.get("/v1/tokens")).json()["tokens"]
    assert [(t["user"], t["name"]) for t in listed] == [("ada", "mine")]


# ---------------------------------------------------------------- pages of others


async def refused(browser: Browser, **headers: str) -> tuple[int, str]:
    answer = await browser.http.post("/v1/threads", json={"text": "hi", "thread_id": "x"}, headers=headers)
    return answer.status_code, answer.json().get("error", {}).get("code", "")


async def test_with_a_cookie_nothing_changes_without_the_form(site: SignInLab) -> None:
    ada = await site.person("ada")
    other = await site.person("bob")
    assert await refused(ada) == (403, "wrong_form_token")
    assert await refused(ada, **{"x-branchline-form": ""}) == (403, "wrong_form_token")
    assert await refused(ada, **{"x-branchline-form": other.form}) == (403, "wrong_form_token")
    for method, path in addresses(site):
        if path.startswith("/v1/") and method not in ("GET", "HEAD"):
            answer = await ada.http.request(method, path, json={})
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "wrong_form_token"), path
    assert (await site.operator.get("/v1/threads/x")).status_code == 404
    assert (await refused(ada, **{"x-branchline-form": ada.form}))[0] == 202


async def test_the_form_of_another_origin_is_refused(site: SignInLab) -> None:
    ada = await site.person("ada")
    form = {"x-branchline-form": ada.form}
    assert await refused(ada, origin="https://evil.example", **form) == (403, "refused")
    assert await refused(ada, origin="null", **form) == (403, "refused")
    assert (await refused(ada, origin=site.url, **form))[0] == 202


@pytest.mark.parametrize("path", ["/auth/login", "/auth/refresh", "/auth/logout"])
async def test_no_page_of_another_site_signs_anybody_in_or_out(site: SignInLab, path: str) -> None:
    ada = await site.person("ada")
    body = {"user": "ada", "password": "x"}
    for headers in (
        {"origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        answer = await ada.http.post(path, json=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "refused")
        assert "set-cookie" not in answer.headers
    assert (await ada.http.post("/auth/refresh")).status_code == 200


async def test_a_form_of_html_cannot_sign_anybody_in(site: SignInLab) -> None:
    answer = await site.client().post("/auth/login", data={"user": "ada", "password": "x"})
    assert answer.status_code == 415


# ---------------------------------------------------------------- what answers carry, and who did what


async def test_answers_carry_their_headers(site: SignInLab) -> None:
    for path in ("/", "/v1/about", "/v1/threads", "/healthz", "/nothing", "/auth/nothing"):
        answer = await site.client().get(path)
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["referrer-policy"] == "no-referrer", path
        assert "strict-transport-security" not in answer.headers, "over http a browser must not believe it"
        if path.startswith(("/v1", "/auth")):
            assert answer.headers["cache-control"] == "no-store", path


async def test_too_many_posts_are_refused_for_a_while(engine: EngineProcess) -> None:
    async with signin_lab(engine.url, posts_per_minute=3) as site:
        ada = site.client(**await token(site, "ada", "read", "write"))
        codes = [(await ada.post("/v1/threads", json={"text": ""})).status_code for _ in range(4)]
        assert codes == [400, 400, 400, 429]
        last = await ada.post("/v1/threads", json={"text": "x"})
        assert 1 <= int(last.headers["retry-after"]) <= 60
        assert (await ada.get("/v1/threads")).status_code == 200, "reading is not posting"
        bob = site.client(**await token(site, "bob", "read", "write"))
        assert (await bob.post("/v1/threads", json={"text": ""})).status_code == 400


async def test_the_audit_says_who_did_what_without_secrets_and_texts(site: SignInLab) -> None:
    ada = await site.person("ada")
    await site.browser().login("ada", "secret-guess-1")
    await site.browser().login("secret-in-the-wrong-field", "secret-guess-2")
    await ada.post("/v1/threads", text="secret text", thread_id="t1")
    await ada.post("/v1/threads/t1/stop")
    await ada.post("/v1/links", kind="github-user", name="eve", target="ada")
    made = await ada.post("/v1/tokens", name="mine")
    site.clock.forward(1)
    await site.operator.post("/v1/links", json={"kind": "github-user", "name": "eve", "target": "bob"})
    site.clock.forward(1)
    await site.operator.post("/v1/links/remove", json={"kind": "github-user", "name": "eve"})
    lines = await site.audit(until="link_remove")
    seen = {(x["user"], x["kind"], x["what"], x["about"], x["ok"]) for x in lines}
    assert seen >= {
        ("ada", "session", "sign_in", "password", True),
        ("ada", "session", "sign_in", "wrong_credentials", False),
        ("", "session", "sign_in", "wrong_credentials", False),
        ("ada", "session", "post", "t1", True),
        ("ada", "session", "stop", "t1", True),
        ("ada", "session", "link_add", "", False),
        ("ada", "session", "token_make", "mine of ada", True),
        ("local", "token", "account_add", "ada", True),
    }
    assert all(x["address"] == "127.0.0.1" for x in lines)
    assert [x["what"] for x in lines[:2]] == ["link_remove", "link_add"], "newest first"
    assert "secret" not in str(lines)
    assert made.json()["token"] not in str(lines)
    assert (await site.operator.get("/v1/audit?limit=2")).json()["audit"] == lines[:2]
    stored = [i for i in site.items() if i["pk"]["S"].startswith("audit#")]
    days = {round((int(i["expires"]["N"]) - site.clock()) / 86400) for i in stored}
    assert days == {90}


async def test_somebody_whom_the_file_does_not_name_any_more_is_nobody(engine: EngineProcess) -> None:
    async with signin_lab(engine.url) as site:
        ada = await site.person("ada")
        bearer = await token(site, "ada", "read")
        kept = ada.http.cookies["branchline_session"]
        without = {"project": {"site": {"repo": "a"}}, "user": {}}
        fleet = FleetConfig.model_validate(without)
        async with signin_lab(engine.url, account=site.account, clock=site.clock, fleet=fleet) as later:
            assert (await later.client(**bearer).get("/v1/threads")).status_code == 401
            cookie = later.client(cookie=f"branchline_session={kept}")
            assert (await cookie.get("/v1/threads")).status_code == 401
            assert (await later.browser().login("ada")).status_code == 401


async def test_without_a_sign_in_the_person_at_this_machine_may_do_everything(engine: EngineProcess) -> None:
    async with signin_lab(engine.url, login="none") as site:
        local = site.client()
        about = (await local.get("/v1/about")).json()
        assert about["login"] == {"required": False, "password": False, "github": False}
        me = (await local.get("/v1/me")).json()
        assert (me["user"], me["kind"], me["form_token"]) == ("local", "local", None)
        assert (await local.get("/v1/links")).status_code == 200
        assert (await local.post("/v1/threads", json={"text": "hi"})).status_code == 202
        assert (await local.post("/auth/login", json={"user": "a", "password": "b"})).status_code == 404
