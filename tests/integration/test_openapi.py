"""The description of the API is valid, whole, and true of what the API answers."""

import copy
import json
from collections.abc import Iterable, Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import BaseRoute, Route

from contracts import changes
from contracts.changes import ChangeRecord, ChangesRecord
from contracts.words import ThreadId
from dispatcher.openapi_words import OPERATIONS
from tests.fakes.dispatcher import FakeLauncher, running_launcher
from tests.fakes.engine import EngineProcess, aws_client
from tests.integration.dispatcher_lab import TABLE, WORKER, Lab, lab
from tests.integration.signin_lab import PASSWORD, signin_lab

METHODS = ("get", "post", "patch", "put", "delete")


@pytest.fixture(scope="module")
def launcher() -> Iterator[FakeLauncher]:
    with running_launcher() as launcher:
        yield launcher


@pytest.fixture(scope="module")
def made(
    engine: EngineProcess, launcher: FakeLauncher, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    with lab(engine, launcher, tmp_path_factory.mktemp("dispatcher")) as made:
        yield made


@pytest.fixture(scope="module")
def document(made: Lab) -> dict[str, Any]:
    found: dict[str, Any] = made.client.get("/v1/openapi.json").raise_for_status().json()
    return found


def routes(found: Iterable[BaseRoute]) -> Iterator[Route]:
    """All routes, also those of routers that were taken in whole."""
    for route in found:
        inside: Any = getattr(route, "original_router", None)
        if inside is not None:
            yield from routes(inside.routes)
        elif isinstance(route, Route):
            yield route


def write_changes(made: Lab) -> None:
    """What thread ``a`` changed, as its worker would write it."""
    head = ChangesRecord(
        version="1", base_branch="main", base="0" * 40, branch="b", head="1" * 40, files=1, shown=1
    )
    file = ChangeRecord(path="a.txt", status="added", insertions=1, patch="@@ -0,0 +1 @@\n+a")
    with aws_client("dynamodb", url=made.engine.url, account=made.account) as client:
        at = changes.change_key(WORKER, ThreadId("a"), version="1", number=0)
        client.put_item(TableName=TABLE, Item=file.write(at))
        client.put_item(TableName=TABLE, Item=head.write(changes.head_key(WORKER, ThreadId("a"))))


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                yield method, path, methods[method]


def closed(schemas: dict[str, Any]) -> dict[str, Any]:
    """The schemas, so that a field that is not described is a mistake."""
    made = copy.deepcopy(schemas)
    for schema in made.values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return made


def check(document: dict[str, Any], answer: httpx.Response, *, method: str, path: str) -> Any:
    """The answer is one that the description has, status and all. Its JSON."""
    said = document["paths"][path][method]["responses"]
    assert str(answer.status_code) in said, f"{method} {path} answers {answer.status_code}"
    (schema,) = [c["schema"] for c in said[str(answer.status_code)]["content"].values()]
    whole = {**schema, "components": {"schemas": closed(document["components"]["schemas"])}}
    plain = answer.json()
    Draft202012Validator(whole).validate(plain)
    return plain


def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


async def test_every_route_of_the_api_is_described_in_words_and_nothing_else_is(
    engine: EngineProcess,
) -> None:
    async with signin_lab(engine.url) as site:
        served = {
            (method.lower(), str(route.path).replace(":anything", ""))
            for route in routes(site.app.routes)
            if route.path.startswith("/v1")
            for method in (route.methods or set()) - {"HEAD"}
        }
        document = (await site.operator.get("/v1/openapi.json")).raise_for_status().json()
    assert len(served) >= 35
    assert {(method, path) for method, path, _ in operations(document)} == served == set(OPERATIONS)
    bare = [f"{m} {p}" for m, p, o in operations(document) if "Not described" in str(o["responses"])]
    assert bare == []


def test_whatever_is_not_below_v1_is_not_described(document: dict[str, Any]) -> None:
    assert all(path.startswith("/v1/") for path in document["paths"])


def test_a_cookie_changes_nothing_without_the_forms_token_and_about_is_for_everybody(
    document: dict[str, Any],
) -> None:
    assert set(document["components"]["securitySchemes"]) == {"token", "session", "form"}
    for method, path, operation in operations(document):
        needed = operation.get("security", document["security"])
        if path == "/v1/about":
            assert needed == []
        else:
            with_cookie: dict[str, list[str]] = (
                {"session": []} if method == "get" else {"session": [], "form": []}
            )
            assert needed == [{"token": []}, with_cookie, {}], f"{method} {path}"


def test_real_answers_are_as_described(made: Lab, document: dict[str, Any]) -> None:
    one = "/v1/threads/{thread_id}"
    api = made.client

    def ask(method: str, path: str, *, at: str | None = None, **more: Any) -> Any:
        answer = api.request(method, at or path, **more)
        return check(document, answer, method=method.lower(), path=path)

    ask("POST", "/v1/threads", json={"text": "hello", "thread_id": "a"})
    ask("POST", f"{one}/messages", at="/v1/threads/a/messages", json={"text": "and this"})
    ask("POST", "/v1/threads", json={"text": "hello", "thread_id": "b"})
    assert len(ask("GET", "/v1/threads")["threads"]) == 2
    assert ask("GET", "/v1/threads", params={"limit": 1})["next"]
    assert len(ask("GET", one, at="/v1/threads/a")["messages"]) == 2
    ask("GET", f"{one}/preview", at="/v1/threads/a/preview")
    assert ask("PATCH", one, at="/v1/threads/a", json={"title": "The till"})["title"] == "The till"
    ask("POST", f"{one}/update", at="/v1/threads/a/update")
    ask("POST", f"{one}/pull", at="/v1/threads/a/pull")
    assert ask("GET", f"{one}/changes", at="/v1/threads/a/changes")["head"] is None
    write_changes(made)
    assert ask("GET", f"{one}/changes", at="/v1/threads/a/changes")["files"][0]["path"] == "a.txt"
    ask("DELETE", one, at="/v1/threads/b")
    sent = ask("POST", "/v1/uploads", params={"name": "a.txt"}, content=b"hello")
    assert api.get(f"/v1/uploads/{sent['upload_id']}").content == b"hello"
    ask("GET", "/v1/uploads/{upload_id}", at="/v1/uploads/none")
    ask("GET", "/v1/about")
    ask("GET", "/v1/me")
    ask("POST", f"{one}/stop", at="/v1/threads/a/stop")
    ask("POST", "/v1/links", json={"kind": "slack_user", "name": "T1/U1", "target": "ada"})
    ask("GET", "/v1/links")
    ask("POST", "/v1/links/remove", json={"kind": "slack_user", "name": "T1/U1"})
    for path in ("/v1/undeliverable", "/v1/dead-letters", "/v1/dead-replies"):
        ask("GET", path)
    for path in ("/v1/dead-letters/redrive", "/v1/dead-letters/drop", "/v1/dead-replies/redrive"):
        ask("POST", path)
    for method, path, at in (
        ("GET", one, "/v1/threads/nobody"),
        ("GET", f"{one}/preview", "/v1/threads/nobody/preview"),
        ("POST", f"{one}/stop", "/v1/threads/nobody/stop"),
        ("POST", "/v1/agui", "/v1/agui"),
        ("POST", "/v1/links", "/v1/links"),
        ("PATCH", one, "/v1/threads/nobody"),
        ("DELETE", one, "/v1/threads/nobody"),
        ("POST", f"{one}/update", "/v1/threads/nobody/update"),
        ("POST", f"{one}/pull", "/v1/threads/nobody/pull"),
        ("GET", f"{one}/changes", "/v1/threads/nobody/changes"),
        ("POST", "/v1/uploads", "/v1/uploads"),
        ("POST", "/v1/tokens", "/v1/tokens"),
    ):
        body: dict[str, Any] = {"json": {}} if method in ("POST", "PATCH") and path != "/v1/uploads" else {}
        assert "message" in ask(method, path, at=at, **body)["error"]


async def test_answers_about_accounts_tokens_and_deeds_are_as_described(engine: EngineProcess) -> None:
    async with signin_lab(engine.url) as site:
        document = (await site.operator.get("/v1/openapi.json")).json()

        async def ask(method: str, path: str, **more: Any) -> Any:
            answer = await site.operator.request(method, path, **more)
            return check(document, answer, method=method.lower(), path=path)

        account = {"user": "ada", "password": PASSWORD}
        await ask("POST", "/v1/accounts", json=account)
        await ask("POST", "/v1/accounts", json=account)  # a conflict
        await ask("POST", "/v1/accounts/password", json=account)
        assert (await ask("POST", "/v1/accounts/totp", json={"user": "ada", "on": True}))["uri"]
        assert len((await ask("GET", "/v1/accounts"))["accounts"]) == 1
        await ask("POST", "/v1/accounts/remove", json={"user": "ada"})
        token = {"name": "ci", "user": "ada"}
        assert (await ask("POST", "/v1/tokens", json={**token, "days": 3}))["token"]
        assert len((await ask("GET", "/v1/tokens"))["tokens"]) == 1
        await ask("POST", "/v1/tokens/revoke", json=token)
        assert (await ask("GET", "/v1/audit"))["audit"]
        assert (await ask("GET", "/v1/me"))["kind"] == "token"
        refused = await site.client().get("/v1/me")
        check(document, refused, method="get", path="/v1/me")


async def test_whatever_is_wrong_with_a_request_its_answer_is_described(engine: EngineProcess) -> None:
    """Ids that are none, bodies that are none, and more of a body than is taken."""
    bodies: list[dict[str, Any]] = [
        {"content": b"x", "headers": {"content-type": "text/plain"}},
        {"content": b"{", "headers": {"content-type": "application/json"}},
        {"json": {"text": 1}},
        {"json": {"text": "x" * 2_000_000}},
        {},
    ]
    async with signin_lab(engine.url, posts_per_minute=10_000) as site:
        document = (await site.operator.get("/v1/openapi.json")).json()
        for method, path, _ in list(operations(document)):
            for name in ("absent", "%3F"):
                at = path.replace("{thread_id}", name).replace("{upload_id}", name)
                for body in bodies if method != "get" else bodies[-1:]:
                    answer = await site.operator.request(method.upper(), at, **body)
                    if answer.is_error:
                        check(document, answer, method=method, path=path)


def test_the_events_of_a_log_are_as_described(made: Lab, document: dict[str, Any]) -> None:
    made.post("hello", thread_id="log").raise_for_status()
    log = made.client.get("/v1/threads/log/events", params={"follow": False}).text
    lines = [json.loads(line[6:]) for line in log.splitlines() if line.startswith("data: ")]
    content = document["paths"]["/v1/threads/{thread_id}/events"]["get"]["responses"]["200"]["content"]
    schemas = {"schemas": closed(document["components"]["schemas"])}
    checker = Draft202012Validator({**content["text/event-stream"]["schema"], "components": schemas})
    assert [line["type"] for line in lines][:1] == ["message.received"]
    for line in lines:
        checker.validate(line)
