"""Under which names the dispatcher answers: its own machine's, one configured for a tunnel, and no other."""

import httpx
import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dispatcher.app import create_app
from dispatcher.guard import Guard
from dispatcher.settings import Settings

TUNNEL = "Fox-12.tunnel.example"
CHATS = ("/slack/events", "/slack/interactive", "/github/webhook", "/internal/token", "/healthz")
LOCAL = ("/", "/theme.js", "/v1/threads", "/metrics", "/slack", "/v1/slack/events", "//slack/events")


async def _yes(_: Request) -> Response:
    return PlainTextResponse("yes")


async def ask(
    path: str,
    *,
    host: str,
    public_host: str | None,
    loopback: bool = True,
    signed_in: bool = False,
    **headers: str,
) -> int:
    inner = Starlette(routes=[Route("/{any:path}", _yes)])
    app = Guard(inner, loopback=loopback, public_host=public_host, signed_in=signed_in)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        url = httpx.URL("http://127.0.0.1").copy_with(raw_path=path.encode())
        return (await client.get(url, headers={"host": host, **headers})).status_code


@pytest.mark.parametrize("host", [TUNNEL, TUNNEL.lower(), TUNNEL.upper(), f"{TUNNEL}:443"])
async def test_a_tunnel_that_is_configured_brings_the_chats(host: str) -> None:
    assert [await ask(path, host=host, public_host=TUNNEL) for path in CHATS] == [200] * len(CHATS)


async def test_page_and_api_do_not_answer_under_the_name_of_a_tunnel() -> None:
    assert [await ask(path, host=TUNNEL, public_host=TUNNEL) for path in LOCAL] == [403] * len(LOCAL)


async def test_where_people_sign_in_page_and_api_answer_under_the_name_of_a_tunnel_and_no_other() -> None:
    for path in (*CHATS, *LOCAL):
        assert await ask(path, host=TUNNEL, public_host=TUNNEL, signed_in=True) == 200
        assert await ask(path, host="evil.example", public_host=TUNNEL, signed_in=True) == 403


@pytest.mark.parametrize(
    "host",
    ["evil.example", f"x.{TUNNEL}", f"{TUNNEL}.evil.example", f"localhost.{TUNNEL}", "", "[::", "10.0.0.1"],
)
async def test_every_other_name_is_refused_everywhere(host: str) -> None:
    for path in (*CHATS, *LOCAL):
        assert await ask(path, host=host, public_host=TUNNEL) == 403
        assert await ask(path, host=host, public_host=None) == 403


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080"])
async def test_the_machine_itself_is_answered_everywhere_with_or_without_a_tunnel(host: str) -> None:
    for path in (*CHATS, *LOCAL):
        assert await ask(path, host=host, public_host=TUNNEL) == 200
        assert await ask(path, host=host, public_host=None) == 200


async def test_a_page_of_another_origin_is_refused_under_the_name_of_a_tunnel_too() -> None:
    elsewhere = {"origin": "https://evil.example"}
    assert await ask("/slack/events", host=TUNNEL, public_host=TUNNEL, **elsewhere) == 403
    own = {"origin": f"https://{TUNNEL}"}
    assert await ask("/slack/events", host=TUNNEL, public_host=TUNNEL, **own) == 200


async def test_on_another_address_than_loopback_no_name_is_asked_for() -> None:
    assert await ask("/v1/threads", host="fleet.example", public_host=None, loopback=False) == 200


async def test_the_application_takes_the_name_from_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRANCHLINE_PUBLIC_HOST", TUNNEL)
    transport = httpx.ASGITransport(create_app(Settings()))
    async with httpx.AsyncClient(transport=transport, base_url=f"https://{TUNNEL}") as client:
        answers = [await client.get("/slack/nothing"), await client.get("/")]
        assert [a.status_code for a in answers] == [404, 403]
        assert "on localhost" in answers[1].json()["error"]["message"]


@pytest.mark.parametrize("wrong", ["https://fox.example", "fox.example:443", "fox.example/", "a b"])
def test_a_name_that_is_none_is_refused_at_start(wrong: str) -> None:
    with pytest.raises(ValidationError, match="public_host"):
        Settings(public_host=wrong)
