"""The description of the API is valid, whole, and true of what the API answers."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

import dispatcher
from tests.fakes.dispatcher import FakeLauncher, running_launcher
from tests.fakes.engine import EngineProcess
from tests.integration.dispatcher_lab import Lab, lab

ROUTE = re.compile(r'add_api_route\(\s*f?"(/v1[^"]*)"')
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


def test_every_route_of_the_api_is_described_in_words(document: dict[str, Any]) -> None:
    described = {path for _, path, _ in operations(document)}
    sources = [p.read_text() for p in Path(str(dispatcher.__file__)).parent.glob("*.py")]
    named = {path for source in sources for path in ROUTE.findall(source)}
    assert len(named) >= 9
    assert {path.replace(":anything", "") for path in named} <= described
    bare = [f"{m} {p}" for m, p, o in operations(document) if "Not described" in str(o["responses"])]
    assert bare == []


def test_whatever_is_not_below_v1_is_not_described(document: dict[str, Any]) -> None:
    assert all(path.startswith("/v1/") for path in document["paths"])
    assert set(document["components"]["securitySchemes"]) == {"token", "session"}


def test_real_answers_are_as_described(made: Lab, document: dict[str, Any]) -> None:
    one = "/v1/threads/{thread_id}"
    api = made.client

    def ask(method: str, path: str, *, at: str | None = None, **more: Any) -> Any:
        answer = api.request(method, at or path, **more)
        return check(document, answer, method=method.lower(), path=path)

    ask("POST", "/v1/threads", json={"text": "hello", "thread_id": "a"})
    ask("POST", f"{one}/messages", at="/v1/threads/a/messages", json={"text": "and this"})
    assert len(ask("GET", "/v1/threads")["threads"]) == 1
    assert len(ask("GET", one, at="/v1/threads/a")["messages"]) == 2
    ask("GET", f"{one}/preview", at="/v1/threads/a/preview")
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
    ):
        body = {"json": {}} if method == "POST" else {}
        assert "message" in ask(method, path, at=at, **body)["error"]


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
