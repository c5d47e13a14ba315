"""What a preview's proxy decides without asking anybody: names, addresses, headers, tickets."""

import time
from collections.abc import Callable
from typing import Any, cast

import httpx
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from contracts.records import Item
from contracts.words import WorkerId
from dispatcher import preview_headers
from dispatcher.guard import Guard
from dispatcher.preview_names import PreviewNames, label
from dispatcher.preview_target import target
from dispatcher.preview_tickets import Tickets, cookie_name
from dispatcher.signin_keys import Keys
from dispatcher.signin_sessions import Proof
from dispatcher.signin_store import Store
from dispatcher.standing import Standing

W = WorkerId("local-site-local")
OTHER = WorkerId("local-site-ada")
LABEL = label(W)
HERE = PreviewNames()
PUBLIC = PreviewNames(public_host="Fleet.example.com")


# ------------------------------------------------------------ names


def test_each_worker_has_a_name_of_its_own_that_stays() -> None:
    assert label(W) == label(W) != label(OTHER)
    assert HERE.label_of(f"{LABEL}.localhost:8080") == LABEL
    assert PUBLIC.label_of(f"{LABEL.upper()}.FLEET.example.com") == LABEL


@pytest.mark.parametrize(
    "host",
    ["localhost:8080", "127.0.0.1", f"{LABEL}.evil.example", f"x.{LABEL}.localhost",
     f"{LABEL}.localhost.evil", f"{LABEL}.fleet.example.com", "site.localhost", "", "[::",
     f"{LABEL}.localhost:x"],
)  # fmt: skip
def test_a_name_that_is_no_previews_is_not_taken_for_one(host: str) -> None:
    assert HERE.label_of(host) is None


def test_a_preview_is_opened_on_the_side_from_which_somebody_came() -> None:
    assert HERE.origin(W, asked="127.0.0.1:8080") == f"http://{LABEL}.localhost:8080"
    assert HERE.origin(W, asked="localhost") == f"http://{LABEL}.localhost"
    assert HERE.origin(W, asked="fleet.example.com") is None
    assert PUBLIC.origin(W, asked="fleet.example.com") == f"https://{LABEL}.fleet.example.com"
    assert PUBLIC.page_origins(f"{LABEL}.fleet.example.com") == ["https://fleet.example.com"]


async def ask(host: str, *, previews: PreviewNames | None, public_host: str | None, **headers: str) -> int:
    async def yes(_: object) -> PlainTextResponse:
        return PlainTextResponse("yes")

    inner = Starlette(routes=[Route("/{any:path}", yes)])
    app = Guard(inner, loopback=True, public_host=public_host, previews=previews)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        return (await client.get("/", headers={"host": host, **headers})).status_code


async def test_the_guard_lets_previews_in_under_their_names_and_nothing_else_under_foreign_ones() -> None:
    public = f"{LABEL}.fleet.example.com"
    assert await ask(f"{LABEL}.localhost", previews=HERE, public_host="fleet.example.com") == 200
    assert await ask(public, previews=HERE, public_host="fleet.example.com") == 403  # nobody signs in there
    assert await ask(public, previews=PUBLIC, public_host="fleet.example.com") == 200
    assert await ask(f"{LABEL}.evil.example", previews=PUBLIC, public_host="fleet.example.com") == 403
    assert await ask("fleet.example.com", previews=PUBLIC, public_host="fleet.example.com") == 403


async def test_scripts_of_a_preview_are_of_another_origin_for_the_api_and_for_other_previews() -> None:
    own = f"http://{LABEL}.localhost:8080"
    for host in ("127.0.0.1:8080", "localhost:8080", f"{label(OTHER)}.localhost:8080"):
        assert await ask(host, previews=HERE, public_host=None, origin=own) == 403
    assert await ask(f"{LABEL}.localhost:8080", previews=HERE, public_host=None, origin=own) == 200
    assert await ask(f"{LABEL}.localhost:8080", previews=HERE, public_host=None, origin="null") == 403


# ------------------------------------------------------------ addresses


@pytest.mark.parametrize(
    ("url", "to"),
    [
        ("http://127.0.0.1:4321", "http://127.0.0.1:4321"),
        ("http://127.0.0.1:4420/", "http://127.0.0.1:4420"),
        ("http://10.1.2.3:4321", "http://10.1.2.3:4321"),
        ("http://192.168.0.9:4321", "http://192.168.0.9:4321"),
        ("http://[::1]:4321", "http://[::1]:4321"),
        ("http://[fd00::1]:4321", "http://[fd00::1]:4321"),
    ],
)
def test_a_preview_on_this_machine_or_in_a_private_network_is_reached(url: str, to: str) -> None:
    assert target(url, first_port=4321) == to


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254:4321",  # where clouds tell secrets
        "http://[fe80::1]:4321",
        "http://8.8.8.8:4321",
        "http://0.0.0.0:4321",
        "http://[::ffff:8.8.8.8]:4321",
        "http://localhost:4321",  # a name may mean something else at the second look
        "http://site.example:4321",
        "http://127.0.0.1",
        "http://127.0.0.1:4566",  # the engine
        "http://127.0.0.1:4320",
        "http://127.0.0.1:4421",
        "http://127.0.0.1:4400",  # the server's own, here
        "https://127.0.0.1:4321",
        "http://me@127.0.0.1:4321",
        "http://127.0.0.1:4321@8.8.8.8",
        "http://127.0.0.1:4321/x",
        "http://127.0.0.1:4321?x",
        "http://127.0.0.1:99999",
        "file:///etc/passwd",
        "",
    ],
)
def test_no_other_address_is_ever_connected_to(url: str) -> None:
    assert target(url, first_port=4321, never=4400) is None


@given(st.text(max_size=60))
def test_whatever_stands_in_the_row_makes_no_error_and_no_address_outside(text: str) -> None:
    found = target(f"http://{text}", first_port=4321)
    assert found is None or found.startswith(
        ("http://127.", "http://10.", "http://172.", "http://192.", "http://[")
    )


# ------------------------------------------------------------ headers


def inwards(*headers: tuple[bytes, bytes]) -> dict[bytes, bytes]:
    made = preview_headers.inwards(headers, host="h:1", origin="http://h:1", client="127.0.0.1")
    assert len(dict(made)) == len(made)
    return dict(made)


def test_the_site_gets_its_own_cookies_and_never_the_products() -> None:
    got = inwards((b"Cookie", b"a=1; branchline-preview=x; __Host-branchline-session=y; Branchline_z=1; b=2"))
    assert got[b"cookie"] == b"a=1; b=2"
    assert b"cookie" not in inwards((b"cookie", b"branchline-preview=x"))


def test_headers_of_one_connection_and_of_other_proxies_stay_here() -> None:
    got = inwards(
        (b"Connection", b"keep-alive, X-Mine"),
        (b"X-Mine", b"1"),
        (b"TE", b"trailers"),
        (b"Upgrade", b"h2c"),
        (b"Transfer-Encoding", b"chunked"),
        (b"X-Forwarded-Host", b"evil.example"),
        (b"Forwarded", b"host=evil.example"),
        (b"Host", b"evil.example"),
        (b"Accept", b"text/html"),
    )
    assert got == {
        b"accept": b"text/html",
        b"host": b"h:1",
        b"x-forwarded-host": b"h:1",
        b"x-forwarded-proto": b"http",
        b"x-forwarded-for": b"127.0.0.1",
    }


def outwards(*headers: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return preview_headers.outwards(
        headers,
        origin="https://p.fleet.example.com",
        target="http://127.0.0.1:4321",
        ancestors="'self' https://f",
    )


def test_a_sites_cookie_is_for_its_own_name_only_and_is_never_one_of_the_products() -> None:
    got = outwards(
        (b"Set-Cookie", b"a=1; DOMAIN=example.com; Path=/"), (b"Set-Cookie", b"__Host-branchline-preview=x")
    )
    assert [v for k, v in got if k == b"set-cookie"] == [b"a=1; Path=/"]


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("http://127.0.0.1:4321/a?b#c", "https://p.fleet.example.com/a?b#c"),
        ("http://localhost:4321/a", "https://p.fleet.example.com/a"),
        ("//localhost:4321/a", "https://p.fleet.example.com/a"),
        ("/a", "/a"),
        ("a", "a"),
        ("https://elsewhere.example/a", "https://elsewhere.example/a"),
        ("http://localhost:9999/a", "http://localhost:9999/a"),
        ("http://[", "http://["),
    ],
)
def test_a_redirect_to_where_the_site_listens_leads_to_where_it_is_seen(said: str, seen: str) -> None:
    assert dict(outwards((b"Location", said.encode())))[b"location"] == seen.encode()


def test_only_the_page_may_show_a_site_in_a_frame() -> None:
    got = outwards((b"X-Frame-Options", b"DENY"), (b"Content-Security-Policy", b"img-src *"))
    assert got == [
        (b"content-security-policy", b"img-src *"),
        (b"content-security-policy", b"frame-ancestors 'self' https://f"),
    ]


# ------------------------------------------------------------ tickets


def signer(*, now: Callable[[], float] = time.time) -> Keys:
    """Keys of one table, as every dispatcher has them; no test here reads that table."""
    return Keys(cast("Store", OneTable()), now=now)


class OneTable:
    """The rows of signing in, in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    async def get(self, key: Item) -> dict[str, Any] | None:
        return self.rows.get(str(key))

    async def put(self, key: Item, plain: dict[str, Any], **_: object) -> None:
        self.rows[str(key)] = plain


ADA = Standing(kind="session", user="ada", key="k", proof=Proof(how="password", mark="1"))


BY = ADA.model_dump(mode="json")


async def cookie_of(tickets: Tickets, ticket: str, *, secure: bool = False) -> str:
    made = await tickets.cookie(ticket, worker=W, secure=secure)
    assert made is not None
    return made.partition(";")[0]


async def test_a_ticket_becomes_a_cookie_that_opens_one_workers_preview() -> None:
    tickets = Tickets(signer())
    cookie = await cookie_of(tickets, await tickets.ticket(worker=W, by=ADA))
    assert await tickets.admits(f"a=1; {cookie}; b=2", worker=W, secure=False)
    assert not await tickets.admits(cookie, worker=OTHER, secure=False)
    assert not await tickets.admits("", worker=W, secure=False)


async def test_another_dispatcher_of_the_same_table_takes_ticket_and_cookie() -> None:
    table = cast("Store", OneTable())
    one, other = Tickets(Keys(table)), Tickets(Keys(table))
    cookie = await cookie_of(other, await one.ticket(worker=W, by=ADA))
    assert await one.admits(cookie, worker=W, secure=False)


async def test_a_ticket_of_another_worker_of_another_key_or_a_cookie_as_a_ticket_is_refused() -> None:
    keys = signer()
    tickets, others = Tickets(keys), Tickets(signer())
    cookie = (await cookie_of(tickets, await tickets.ticket(worker=W, by=ADA))).partition("=")[2]
    claims = {"aud": "preview-ticket", "sub": "ada", "worker": W, "by": BY, "iat": 0, "exp": 2**40}
    wrong = [
        await tickets.ticket(worker=OTHER, by=ADA),
        await others.ticket(worker=W, by=ADA),
        await keys.sign(
            {"sub": "ada", "worker": W, "by": BY}, audience="branchline", seconds=60
        ),  # a session
        cookie,
        "",
        "x.y.z",
        jwt.encode(claims, "", algorithm="none"),
    ]
    assert [await tickets.cookie(each, worker=W, secure=False) for each in wrong] == [None] * len(wrong)
    ticket = await tickets.ticket(worker=W, by=ADA)
    assert not await tickets.admits(f"{cookie_name(secure=False)}={ticket}", worker=W, secure=False)


async def test_a_ticket_is_good_for_a_minute_and_a_cookie_for_eight_hours_at_most() -> None:
    at = [time.time()]
    tickets = Tickets(signer(now=lambda: at[0]))
    ticket = await tickets.ticket(worker=W, by=ADA)
    at[0] += 59
    made = await tickets.cookie(ticket, worker=W, secure=False) or ""
    assert "Max-Age=28800" in made
    at[0] += 2
    assert await tickets.cookie(ticket, worker=W, secure=False) is None
    cookie = made.partition(";")[0]
    assert await tickets.admits(cookie, worker=W, secure=False)
    at[0] += 28800
    assert not await tickets.admits(cookie, worker=W, secure=False)


async def test_no_script_reads_the_cookie_and_no_other_name_sets_it() -> None:
    tickets = Tickets(signer())
    ticket = await tickets.ticket(worker=W, by=ADA)
    public = await tickets.cookie(ticket, worker=W, secure=True) or ""
    assert public.startswith("__Host-")
    assert "HttpOnly" in public
    assert "Secure" in public
    assert "Domain" not in public
    assert "SameSite=Lax" in public
