"""Which name and address of a viewer are believed, and what of it goes any further."""

from typing import Any

from starlette.types import Receive, Scope, Send

from dispatcher.edge import Edge

KEY = "a key that CloudFront shows"
URL = "abc.lambda-url.us-east-1.on.aws"
SAID = {"x-forwarded-host": "chat.example.com", "x-branchline-viewer": "198.51.100.7"}


async def seen(headers: dict[str, str], *, type_: str = "http") -> Scope:
    """What the application behind it is asked."""
    asked: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope)

    async def nothing(*_: Any) -> Any:
        raise AssertionError("nobody is to be asked")

    given = [(k.encode(), v.encode()) for k, v in {"host": URL, "accept": "*/*", **headers}.items()]
    await Edge(app, key=KEY)(
        {"type": type_, "headers": given, "client": ("203.0.113.1", 0)}, nothing, nothing
    )
    return asked[0]


def plain(scope: Scope) -> dict[str, str]:
    return {k.decode(): v.decode() for k, v in scope["headers"]}


async def test_what_cloudfront_says_of_its_viewer_is_believed() -> None:
    scope = await seen({**SAID, "x-branchline-edge": KEY})
    assert plain(scope) == {"host": "chat.example.com", "accept": "*/*"}
    assert scope["client"] == ("198.51.100.7", 0)


async def test_what_anybody_else_says_is_taken_away() -> None:
    for forged in ({}, {"x-branchline-edge": "a guess"}, {"x-branchline-edge": f"{KEY},{KEY}"}):
        scope = await seen({**SAID, **forged})
        assert plain(scope) == {"host": URL, "accept": "*/*"}
        assert scope["client"] == ("203.0.113.1", 0)


async def test_a_key_without_a_name_changes_nothing_and_goes_no_further() -> None:
    scope = await seen({"x-branchline-edge": KEY})
    assert plain(scope) == {"host": URL, "accept": "*/*"}


async def test_what_is_no_request_passes() -> None:
    scope = await seen({"x-branchline-edge": KEY}, type_="lifespan")
    assert plain(scope)["x-branchline-edge"] == KEY
