"""Signing in, the pure parts: rights, settings that let anybody in, pauses, codes, cookies, headers."""

import httpx
import pyotp
import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contracts.config import FleetConfig
from dispatcher import signin_codes as codes
from dispatcher.access import Principal, Scope
from dispatcher.app import create_app
from dispatcher.errors import Invalid, NotFound, Refused, TooMany, Unavailable
from dispatcher.headers import SafeHeaders
from dispatcher.preview_names import PreviewNames
from dispatcher.rates import Rates
from dispatcher.settings import Settings
from dispatcher.signin_cookies import Cookie, Cookies, address_of
from dispatcher.signin_github import local_path
from dispatcher.signin_lockout import FREE, pause
from dispatcher.signin_passwords import LONGEST, SHORTEST, Passwords
from dispatcher.signin_rights import as_token, refuse_open, rights_of

FLEET = FleetConfig.model_validate(
    {
        "project": {"site": {"repo": "a"}, "shop": {"repo": "b"}},
        "user": {"ada": {"projects": ["site"]}, "root": {"operator": True}, "idle": {}},
    }
)
OUTSIDE = "fleet.example"
APP = {"github_client_id": "id", "github_client_secret": "secret"}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.chdir(str(tmp_path))


def settings(**more: object) -> Settings:
    return Settings.model_validate({"fleet": FLEET, **more})


# ---------------------------------------------------------------- rights


def test_a_person_has_their_projects_and_an_operator_all_of_them() -> None:
    ada, root = rights_of("ada", settings=settings()), rights_of("root", settings=settings())
    assert ada is not None
    assert root is not None
    assert (ada.projects, ada.scopes) == ({"site"}, {Scope.READ, Scope.WRITE})
    assert (root.projects, root.scopes) == (None, set(Scope))
    assert rights_of("eve", settings=settings()) is None


def test_the_person_at_this_machine_may_do_everything_unless_the_file_says_otherwise() -> None:
    local, named = rights_of("local", settings=settings()), rights_of("ada", settings=settings(user="ada"))
    assert local is not None
    assert local.projects is None
    assert named is not None
    assert named.projects == {"site"}


def test_a_token_may_never_do_more_than_its_user_may_now() -> None:
    found = as_token("ada", scopes=frozenset({Scope.READ, Scope.OPERATE}), settings=settings())
    assert found is not None
    assert found.scopes == {Scope.READ}
    assert as_token("eve", scopes=frozenset(Scope), settings=settings()) is None


def test_without_naming_one_people_mean_a_project_of_theirs() -> None:
    def who(*projects: str) -> Principal:
        return Principal(user="u", kind="token", projects=frozenset(projects))

    assert Principal(user="u", kind="local").default("site") == "site"
    assert Principal(user="u", kind="local").default(None) is None
    assert who("site", "shop").default("site") == "site"
    assert who("shop").default("site") == "shop"
    assert who("shop").default(None) == "shop"
    assert who("a", "b").default(None) is None
    for projects in ((), ("a", "b")):
        with pytest.raises(NotFound):
            who(*projects).default("site")


# ---------------------------------------------------------------- settings that let anybody in


@pytest.mark.parametrize(
    ("given", "in_lambda", "says"),
    [
        ({"host": "0.0.0.0"}, False, "set BRANCHLINE_LOGIN"),
        ({"host": "10.0.0.1"}, False, "set BRANCHLINE_LOGIN"),
        ({}, True, "a Lambda needs a sign-in"),
        ({"login": "github"}, False, "BRANCHLINE_GITHUB_CLIENT_ID"),
        ({"login": "both", "github_client_id": "id"}, False, "BRANCHLINE_GITHUB_CLIENT_ID"),
        ({"login": "github", "host": "0.0.0.0", **APP}, False, "BRANCHLINE_PUBLIC_URL"),
        ({"login": "github", "public_host": OUTSIDE, **APP}, False, "BRANCHLINE_PUBLIC_URL"),
        ({"login": "github", **APP}, True, "BRANCHLINE_PUBLIC_URL"),
    ],
)
def test_what_would_let_anybody_in_or_nobody_does_not_start(
    given: dict[str, str], in_lambda: bool, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        create_app(settings(**given), in_lambda=in_lambda)


@pytest.mark.parametrize(
    ("given", "in_lambda"),
    [
        ({}, False),
        ({"host": "::1"}, False),
        ({"host": "localhost", "public_host": OUTSIDE}, False),
        ({"login": "accounts", "host": "0.0.0.0"}, False),
        ({"login": "accounts"}, True),
        ({"login": "github", **APP}, False),
        ({"login": "both", "host": "::", "public_url": f"https://{OUTSIDE}", **APP}, False),
    ],
)
def test_what_is_safe_starts(given: dict[str, str], in_lambda: bool) -> None:
    refuse_open(settings(**given), in_lambda=in_lambda)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("login", "yes"),
        ("public_url", "fleet.example"),
        ("public_url", "https://fleet.example/x"),
        ("operator_token_hash", "blt_a-token-and-no-hash"),
    ],
)
def test_a_setting_that_is_none_is_refused(name: str, wrong: str) -> None:
    with pytest.raises(ValidationError, match=name):
        settings(**{name: wrong})


# ---------------------------------------------------------------- pauses, codes, passwords


def test_pauses_begin_late_grow_and_end() -> None:
    pauses = [pause(n) for n in range(1, 5000)]
    assert pauses[: FREE - 1] == [0.0] * (FREE - 1)
    assert pauses[FREE - 1 : FREE + 2] == [30.0, 60.0, 120.0]
    assert pauses == sorted(pauses)
    assert max(pauses) == 900.0


def test_a_code_belongs_to_its_step_and_the_two_beside_it() -> None:
    seed, now = codes.new_seed(), 1_700_000_000.0
    totp, step = pyotp.TOTP(seed), (1_700_000_000 // 30)
    for offset in (-1, 0, 1):
        assert codes.step_of(totp.generate_otp(step + offset), seed=seed, now=now) == step + offset
    for offset in (-2, 2):
        assert codes.step_of(totp.generate_otp(step + offset), seed=seed, now=now) is None
    assert codes.step_of(" ".join(totp.generate_otp(step)), seed=seed, now=now) == step
    assert codes.step_of("", seed=seed, now=now) is None
    assert codes.step_of("\uff11\uff12\uff13\uff14\uff15\uff16", seed=seed, now=now) is None


def test_a_seed_is_read_with_the_key_it_was_sealed_with_and_no_other() -> None:
    sealed = codes.Seal("one key").close("SEED")
    assert "SEED" not in sealed
    assert codes.Seal("one key").open(sealed) == "SEED"
    with pytest.raises(Unavailable, match="BRANCHLINE_SEAL_KEY"):
        codes.Seal("another").open(sealed)


async def test_a_password_is_right_however_its_characters_are_composed() -> None:
    passwords = Passwords()
    stored = await passwords.hash("Zürich im Regen")
    assert stored.startswith("$argon2id$")
    assert await passwords.is_right("Zu\u0308rich im Regen", stored=stored)
    assert not await passwords.is_right("Zurich im Regen", stored=stored)
    assert not await passwords.is_right("Zürich im Regen", stored=None)
    assert not await passwords.is_right("Zürich im Regen", stored="no hash")


@pytest.mark.parametrize("wrong", ["x" * (SHORTEST - 1), "x" * (LONGEST + 1), ""])
async def test_a_password_has_a_length(wrong: str) -> None:
    with pytest.raises(Invalid):
        await Passwords().hash(wrong)


async def test_one_address_may_not_try_many_names() -> None:
    rates = Rates(posts_per_minute=1)
    for n in range(60):
        await rates.signing_in(user=f"user-{n}", address="10.0.0.1")
    with pytest.raises(TooMany) as refused:
        await rates.signing_in(user="another", address="10.0.0.1")
    assert 1 <= refused.value.retry_after <= 60
    await rates.signing_in(user="another", address="10.0.0.2")


# ---------------------------------------------------------------- cookies, addresses, headers


def connection(host: str, *, scheme: str = "http", peer: str = "127.0.0.1", **headers: str) -> HTTPConnection:
    given = {"host": host, **headers}
    raw = [(k.replace("_", "-").encode(), v.encode()) for k, v in given.items()]
    return HTTPConnection(
        {
            "type": "http",
            "scheme": scheme,
            "path": "/",
            "query_string": b"",
            "headers": raw,
            "server": ("127.0.0.1", 1),
            "client": (peer, 1),
        }
    )


def kept(cookies: Cookies, asked: HTTPConnection) -> str:
    answer = Response()
    cookies.keep(asked, answer, Cookie.SESSION, value="v", seconds=60)
    return answer.headers["set-cookie"]


@pytest.mark.parametrize(
    ("host", "scheme", "public_url", "secure"),
    [
        ("127.0.0.1:8080", "http", None, False),
        (OUTSIDE, "https", None, True),
        (OUTSIDE, "http", f"https://{OUTSIDE}", True),
        (f"{OUTSIDE}:443", "http", f"https://{OUTSIDE}", True),
        ("127.0.0.1:8080", "http", f"https://{OUTSIDE}", False),
        (OUTSIDE, "http", f"http://{OUTSIDE}", False),
        ("127.0.0.1", "http", "https://127.0.0.1", False),
    ],
)
def test_over_https_cookies_are_secure_and_bound_to_the_host(
    host: str, scheme: str, public_url: str | None, secure: bool
) -> None:
    cookies, asked = Cookies(settings(public_url=public_url)), connection(host, scheme=scheme)
    header = kept(cookies, asked)
    assert header.startswith("__Host-branchline_session=" if secure else "branchline_session=")
    assert ("Secure" in header) is secure
    assert "HttpOnly" in header
    assert "SameSite=lax" in header
    assert "Domain" not in header


def test_over_https_a_cookie_without_the_bound_name_is_not_read() -> None:
    cookies = Cookies(settings())
    planted = connection(OUTSIDE, scheme="https", cookie="branchline_session=planted")
    assert cookies.read(planted, Cookie.SESSION) is None
    ours = connection(OUTSIDE, scheme="https", cookie="__Host-branchline_session=ours")
    assert cookies.read(ours, Cookie.SESSION) == "ours"


def test_no_password_goes_in_clear_over_a_network() -> None:
    cookies = Cookies(settings(public_url=f"https://{OUTSIDE}"))
    cookies.check(connection(OUTSIDE))
    cookies.check(connection("localhost:8080"))
    with pytest.raises(Refused, match="https"):
        cookies.check(connection("192.168.1.5:8080"))


def test_a_tunnel_says_who_is_behind_it_and_nobody_else_may() -> None:
    told = {"x_forwarded_for": "6.6.6.6, 1.2.3.4"}
    assert address_of(connection(OUTSIDE, **told), outside=OUTSIDE) == "1.2.3.4"
    assert address_of(connection(OUTSIDE, peer="9.9.9.9", **told), outside=OUTSIDE) == "9.9.9.9"
    assert address_of(connection("127.0.0.1", **told), outside=OUTSIDE) == "127.0.0.1"
    assert address_of(connection(OUTSIDE, **told), outside=None) == "127.0.0.1"


def test_a_tunnel_that_adds_a_header_of_its_own_is_believed_and_not_the_one_before_it() -> None:
    twice = [(b"host", OUTSIDE.encode()), (b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"1.2.3.4")]
    asking = HTTPConnection({"type": "http", "headers": twice, "client": ("127.0.0.1", 1)})
    assert address_of(asking, outside=OUTSIDE) == "1.2.3.4"


@pytest.mark.parametrize(
    ("path", "becomes"),
    [
        ("/", "/"),
        ("/?thread=a", "/?thread=a"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nset-cookie: x", "/"),
        ("", "/"),
        ("/" + "x" * 600, "/"),
    ],
)
def test_one_goes_on_to_a_path_of_this_server_and_nowhere_else(path: str, becomes: str) -> None:
    assert local_path(path) == becomes


async def _headers(path: str, *, base: str) -> httpx.Headers:
    async def plain(_: Request) -> Response:
        return JSONResponse({}, headers={"Referrer-Policy": "same-origin", "Cache-Control": "public"})

    site = Starlette(routes=[Route("/{any:path}", plain)])
    app = SafeHeaders(site, cookies=Cookies(settings()), previews=PreviewNames(public_host="fleet.example"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base) as client:
        return (await client.get(path)).headers


async def test_headers_over_https_and_what_a_route_has_set_itself() -> None:
    api = await _headers("/v1/x", base="https://fleet.example")
    assert api["strict-transport-security"].startswith("max-age=")
    assert api["referrer-policy"] == "same-origin"
    assert api["x-content-type-options"] == "nosniff"
    assert api["cache-control"] == "no-store", "what the API says in JSON is kept nowhere"
    page = await _headers("/page.js", base="http://127.0.0.1")
    assert page["cache-control"] == "public"
    assert "strict-transport-security" not in page
    for name in ("preview-0123456789ab.localhost", "preview-0123456789ab.fleet.example"):
        preview = await _headers("/v1/x", base=f"http://{name}")
        assert dict(preview) | {"content-length": ""} == {
            "referrer-policy": "same-origin",
            "cache-control": "public",
            "content-type": "application/json",
            "content-length": "",
        }, "the site in a preview is shown as it is"


async def test_what_is_no_page_may_do_nothing_in_a_browser() -> None:
    api = await _headers("/v1/x", base="https://fleet.example")
    assert api["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert api["x-frame-options"] == "DENY"
    assert api["cross-origin-resource-policy"] == "same-origin"
    assert api["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in api["permissions-policy"]
