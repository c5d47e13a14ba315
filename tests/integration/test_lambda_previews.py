"""The Lambda that passes previews on, from the asset, in AWS's own client of the Runtime API: a person signs
in at the page's Lambda and opens the site of a worker through the other, which may read what its role says
and reaches nothing of AWS but the table."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cdk.settings import PREVIEW_RIGHTS
from contracts import records
from contracts.words import WorkerId
from dispatcher.lambda_http import MOST_ANSWERED
from dispatcher.preview_names import label
from tests.fakes.engine import aws_client
from tests.fakes.lambda_events import http_event
from tests.fakes.preview import until
from tests.fakes.runtime_api import FunctionError, LambdaFunction
from tests.fakes.site import Site, running_site
from tests.fakes.wire import DYNAMODB, Answer, Wire
from tests.integration.lambda_lab import BEARER, JSON, built, lambda_env, managed, streaming, unpacked

pytestmark = pytest.mark.slow
WORKER, OTHER = WorkerId("local-site-local"), WorkerId("local-site-ada")
DOMAIN, KEY = "chat.example.com", "what CloudFront shows"
NAME = f"{label(WORKER)}.{DOMAIN}"
PASSWORD = "correct horse battery"
TABLE = "branchline"
SECONDS = 8.0


class Walled(Wire):
    """The way from the network: to the table alone, and there to what the role allows."""

    def __init__(self, engine_url: str) -> None:
        super().__init__(engine_url)
        self.refusals: list[str] = []
        self.asked: set[tuple[str, str]] = set()

    def answer(self, *, path: str, headers: dict[str, str], body: bytes) -> Answer:
        target = headers.get("X-Amz-Target", "")
        action = target.rpartition(".")[2]
        key = self._key(json.loads(body or b"{}"))
        if not target.startswith("DynamoDB_") or not self._may(action, key):
            self.refusals.append(f"{target or path} {key}")
            denied = {"__type": DYNAMODB + "AccessDeniedException", "message": "The role does not allow it."}
            return 400, "application/x-amz-json-1.0", json.dumps(denied).encode()
        self.asked.add((action, key.partition("#")[0]))
        return super().answer(path=path, headers=headers, body=body)

    def _may(self, action: str, key: str) -> bool:
        return any(fnmatchcase(key, pattern) for pattern in PREVIEW_RIGHTS.get(action, ()))

    def _key(self, asked: dict[str, Any]) -> str:
        """The partition that a request names."""
        named = asked.get("Key") or asked.get("Item") or {"pk": {"S": ""}}
        values = asked.get("ExpressionAttributeValues", {})
        return str(values.get(":pk", named["pk"])["S"])


def through_edge(
    method: str, path: str, *, host: str, query: str = "", key: str = KEY, **more: Any
) -> dict[str, Any]:
    """What a function URL is asked by CloudFront."""
    said = {"x-forwarded-host": host, "x-branchline-edge": key, "x-branchline-viewer": "198.51.100.7"}
    headers = {**said, **more.pop("headers", {})}
    return http_event(method, path, query=query, headers=headers, **more)


def body_of(answer: dict[str, Any]) -> bytes:
    body = str(answer["body"])
    return base64.b64decode(body) if answer["isBase64Encoded"] else body.encode()


def cookies_of(answers: list[str]) -> list[str]:
    """What a browser sends back of what it was given to keep."""
    return [cookie.partition(";")[0] for cookie in answers]


@dataclass
class Fleet:
    """Both functions before one engine, a worker's site, and a person who has signed in."""

    page: LambdaFunction
    previews: LambdaFunction
    wall: Walled
    site: Site
    session: list[str]

    async def ask(self, path: str, *, cookies: list[str] | None = None, **more: Any) -> dict[str, Any]:
        """The previews' answer, asked under the name of the worker's."""
        event = through_edge(more.pop("method", "GET"), path, host=NAME, cookies=cookies, **more)
        return dict(await asyncio.to_thread(self.previews.invoke, event))

    async def opened(self) -> dict[str, Any]:
        """What the page is told about the preview."""
        event = through_edge("GET", "/v1/threads/t1/preview", host=DOMAIN, cookies=self.session)
        return dict((await asyncio.to_thread(self.page.request, event)).json)

    async def cookie(self) -> list[str]:
        """A ticket, taken for a cookie of the preview's name."""
        url = urlsplit((await self.opened())["url"])
        assert url.netloc == NAME
        got = await self.ask("/", query=url.query)
        assert (got["statusCode"], got["headers"]["location"]) == (303, f"https://{NAME}/")
        (kept,) = got["cookies"]
        assert kept.startswith("__Host-branchline-preview=")
        return cookies_of([kept])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(built(tmp_path_factory.mktemp("asset")), tmp_path_factory.mktemp("unpacked"))


@contextmanager
def walled(engine_url: str) -> Iterator[Walled]:
    wall = Walled(engine_url)
    try:
        yield wall
    finally:
        wall.close()


@pytest.fixture
async def fleet(folder: Path, engine_url: str, account: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    edge = {"BRANCHLINE_PUBLIC_URL": f"https://{DOMAIN}", "BRANCHLINE_EDGE_KEY": KEY}
    env = lambda_env(engine_url, account, **edge)
    async with running_site() as site:
        with walled(engine_url) as wall, streaming(folder, tmp_path=tmp_path, **env) as page:
            # As the stack has it: without the operator's token, which stands in a secret out of reach.
            own = {k: v for k, v in env.items() if not k.endswith("TOKEN_HASH")}
            own |= {"AWS_ENDPOINT_URL": wall.url, "BRANCHLINE_PREVIEW_PORT": str(site.port)}
            handler = "dispatcher.lambda_previews.handle"
            with managed(folder, seconds=SECONDS, handler=handler, **own) as previews:
                session = await asyncio.to_thread(_signed_in, page)
                _listens(site.url, engine_url=engine_url, account=account)
                yield Fleet(page=page, previews=previews, wall=wall, site=site, session=session)
                assert wall.refusals == []
                assert previews.starts == 1, previews.logs()


def _signed_in(page: LambdaFunction) -> list[str]:
    """A thread, an account, and the cookies of a person's session."""
    thread = json.dumps({"text": "hello", "thread_id": "t1"})
    person = json.dumps({"user": "local", "password": PASSWORD})
    to = {"host": DOMAIN, "headers": {**JSON, **BEARER}}
    assert page.request(through_edge("POST", "/v1/threads", body=thread, **to)).status == 202
    assert page.request(through_edge("POST", "/v1/accounts", body=person, **to)).status == 201
    got = page.request(through_edge("POST", "/auth/login", host=DOMAIN, body=person, headers=JSON))
    assert got.status == 200, got.body
    return cookies_of(got.head["cookies"])


def _listens(url: str, *, engine_url: str, account: str) -> None:
    """The worker is up and says where its preview is, as its owner would."""
    plain = {"state": "up", "owner": "somebody", "preview_url": url}
    with aws_client("dynamodb", url=engine_url, account=account) as client:
        client.update_item(
            TableName=TABLE,
            Key=records.worker_key(WORKER),
            UpdateExpression="SET " + ", ".join(f"#{n} = :{n}" for n in plain),
            ExpressionAttributeNames={f"#{n}": n for n in plain},
            ExpressionAttributeValues={f":{n}": v for n, v in records.encode(plain).items()},
        )


async def test_a_person_who_signed_in_sees_the_site_and_the_site_nothing_of_theirs(fleet: Fleet) -> None:
    shown = await fleet.opened()
    assert (shown["ready"], shown["live"], shown["problem"]) == (True, False, None)
    cookie = await fleet.cookie()
    got = await fleet.ask("/page", cookies=cookie)
    assert (got["statusCode"], body_of(got)) == (200, "<html><h1>Café</h1></html>".encode("latin-1"))
    assert f"frame-ancestors 'self' https://{DOMAIN}" in got["headers"]["content-security-policy"]
    got = await fleet.ask("/a%20b", query="x=1", cookies=[*cookie, *fleet.session, "theme=dark"])
    seen = json.loads(body_of(got))
    assert seen["path"] == "/a%20b?x=1"
    assert (seen["headers"]["host"], seen["headers"]["cookie"]) == (NAME, "theme=dark")
    assert seen["headers"]["x-forwarded-for"] == "198.51.100.7"
    assert KEY not in json.dumps(seen)
    got = await fleet.ask("/cookies", cookies=cookie)
    assert cookies_of(got["cookies"]) == ["a=1"]
    assert fleet.wall.asked == {
        ("Query", "workers"),
        *(("GetItem", p) for p in ("worker", "signin-keys", "family", "accounts")),
    }


async def test_a_body_arrives_whole_and_a_streamed_answer_as_one(fleet: Fleet) -> None:
    cookie = await fleet.cookie()
    sent = base64.b64encode(b"h\xc3\xa9llo" * 10_000).decode()
    got = await fleet.ask(
        "/form", method="POST", cookies=cookie, body=sent, encoded=True, headers={"origin": f"https://{NAME}"}
    )
    assert json.loads(body_of(got))["body"] == "héllo" * 10_000
    asking = asyncio.create_task(fleet.ask("/stream", cookies=cookie))
    await until(lambda: fleet.site.open == 1)
    fleet.site.more.set()
    got = await asking
    assert body_of(got).startswith(b"first\n")
    assert body_of(got).endswith(b"second\n")


async def test_what_does_not_end_ends_with_the_functions_time_and_what_is_too_large_is_named(
    fleet: Fleet,
) -> None:
    cookie = await fleet.cookie()
    got = await fleet.ask("/stream", cookies=cookie)
    assert got["statusCode"] == 200
    assert body_of(got).startswith(b"first\n")
    assert b"second" not in body_of(got)
    await until(lambda: fleet.site.open == 0)
    got = await fleet.ask("/form", method="POST", cookies=cookie, body="x" * MOST_ANSWERED)
    assert (got["statusCode"], got["headers"]["content-type"]) == (502, "text/plain; charset=utf-8")
    assert "too large" in got["body"]


async def test_strangers_and_tickets_of_others_get_nothing(fleet: Fleet) -> None:
    cookie = await fleet.cookie()
    query = urlsplit((await fleet.opened())["url"]).query
    elsewhere = through_edge("GET", "/", host=f"{label(OTHER)}.{DOMAIN}", query=query, cookies=cookie)
    for got in (
        await fleet.ask("/page"),
        await fleet.ask("/page", cookies=fleet.session),
        await fleet.ask("/page", query="branchline_ticket=a.b.c"),
        await asyncio.to_thread(fleet.previews.invoke, elsewhere),
    ):
        assert got["statusCode"] == 401
        assert "open it from the page" in got["body"]
        assert "cookies" not in got
    assert fleet.site.asked == []


async def test_a_name_is_believed_of_cloudfront_alone(fleet: Fleet) -> None:
    cookie = await fleet.cookie()
    for key in ("", "a guess", KEY + " "):
        got = await fleet.ask("/page", key=key, cookies=cookie)
        assert got["statusCode"] == 404, "the function's own name is no preview's"
    direct = http_event("GET", "/page", cookies=cookie, headers={"x-forwarded-host": NAME})
    assert (await asyncio.to_thread(fleet.previews.invoke, direct))["statusCode"] == 404
    assert fleet.site.asked == []


async def test_a_request_of_another_origin_does_not_pass(fleet: Fleet) -> None:
    cookie = await fleet.cookie()
    got = await fleet.ask("/form", method="POST", cookies=cookie, headers={"origin": "https://evil.example"})
    assert got["statusCode"] == 403
    assert fleet.site.asked == []


async def test_an_upgrade_to_a_socket_is_refused_in_words(fleet: Fleet) -> None:
    upgrade = {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    got = await fleet.ask("/socket", cookies=await fleet.cookie(), headers=upgrade)
    assert got["statusCode"] == 501
    assert "WebSockets are not passed on" in got["body"]
    assert fleet.site.asked == []


async def test_there_is_nothing_of_the_api_and_no_other_kind_of_event(fleet: Fleet) -> None:
    for path in ("/v1/threads", "/healthz", "/", "/auth/login"):
        event = through_edge("GET", path, host=DOMAIN, headers=BEARER)
        assert (await asyncio.to_thread(fleet.previews.invoke, event))["statusCode"] == 404
    with pytest.raises(FunctionError, match="requests alone"):
        await asyncio.to_thread(fleet.previews.invoke, {"branchline": "sweep"})


async def test_whoever_signs_out_loses_the_preview_as_well(fleet: Fleet) -> None:
    cookie = await fleet.cookie()
    assert (await fleet.ask("/page", cookies=cookie))["statusCode"] == 200
    me = through_edge("GET", "/v1/me", host=DOMAIN, cookies=fleet.session)
    form = {"x-branchline-form": (await asyncio.to_thread(fleet.page.request, me)).json["form_token"]}
    out = through_edge("POST", "/auth/logout", host=DOMAIN, cookies=fleet.session, headers=form)
    assert (await asyncio.to_thread(fleet.page.request, out)).status == 204

    async def is_out() -> bool:
        return (await fleet.ask("/page", cookies=cookie))["statusCode"] == 401

    await until(is_out)


def test_without_a_name_or_a_sign_in_it_does_not_start(folder: Path, engine_url: str, account: str) -> None:
    handler = "dispatcher.lambda_previews.handle"
    named = {"BRANCHLINE_PUBLIC_URL": f"https://{DOMAIN}", "BRANCHLINE_EDGE_KEY": KEY}
    for missing, says in (("PUBLIC_URL", "a name for each"), ("EDGE_KEY", "a name for each")):
        env = {k: v for k, v in lambda_env(engine_url, account, **named).items() if not k.endswith(missing)}
        with managed(folder, handler=handler, **env) as previews, pytest.raises(FunctionError, match=says):
            previews.invoke(through_edge("GET", "/", host=NAME))
    env = lambda_env(engine_url, account, **named, BRANCHLINE_LOGIN="none")
    with managed(folder, handler=handler, **env) as previews, pytest.raises(FunctionError, match="a sign-in"):
        previews.invoke(through_edge("GET", "/", host=NAME))
