"""Bad input over real HTTP: each gets one shape of answer and one sentence, and nothing is recorded."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.fakes.dispatcher import running_launcher
from tests.fakes.engine import running_engine
from tests.integration.dispatcher_lab import Lab, lab

JSON = {"Content-Type": "application/json"}
MESSAGES = "/v1/threads/known/messages"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    place = tmp_path_factory.mktemp("site")
    with (
        running_engine(place / "engine") as engine,
        running_launcher() as launcher,
        lab(engine, launcher, place) as site,
    ):
        assert site.post("hello", thread_id="known").status_code == 202
        yield site


@pytest.fixture(autouse=True)
def _nothing_is_recorded(site: Lab) -> Iterator[None]:
    before = site.count()
    yield
    assert site.count() == before


def refused(answer: httpx.Response, *, status: int, code: str, says: str = "") -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(answer.json()) == {"error"}
    assert set(error) == {"code", "message"}
    assert error["code"] == code
    assert says in error["message"]
    assert error["message"].endswith(".")
    assert "Traceback" not in answer.text


BODIES: list[tuple[str, bytes, int, str, str]] = [
    ("nothing", b"", 400, "invalid_body", "not valid JSON"),
    ("no JSON", b"hello", 400, "invalid_body", "not valid JSON"),
    ("half of JSON", b'{"text": "a', 400, "invalid_body", "not valid JSON"),
    ("deep JSON", b"[" * 100_000, 400, "invalid_body", "recursion"),
    ("bytes that are no UTF-8", b'{"text": "\xff\xfe"}', 400, "invalid_body", "UTF-8"),
    ("a lone surrogate", b'{"text": "\\ud800"}', 400, "invalid_body", "not valid JSON"),
    ("a lone surrogate in an id", b'{"text": "a", "message_id": "\\udfff"}', 400, "invalid_body", ""),
    ("a NUL", b'{"text": "a\\u0000b"}', 400, "invalid_text", "NUL"),
    ("a list", b'["a"]', 400, "invalid_body", "JSON object"),
    ("null", b"null", 400, "invalid_body", "JSON object"),
    ("no text", b"{}", 400, "invalid_body", '"text" is missing'),
    ("text null", b'{"text": null}', 400, "invalid_body", '"text"'),
    ("text number", b'{"text": 1}', 400, "invalid_body", '"text"'),
    ("text empty", b'{"text": ""}', 400, "empty_text", "empty"),
    ("text blank", b'{"text": " \\n\\t\\u00a0 "}', 400, "empty_text", "empty"),
    ("mode unknown", b'{"text": "a", "mode": "now"}', 400, "invalid_body", "queue, steer, interrupt"),
    ("mode number", b'{"text": "a", "mode": 1}', 400, "invalid_body", "queue, steer, interrupt"),
    ("unknown field", b'{"text": "a", "txt": 1}', 400, "invalid_body", '"txt"'),
    ("message id number", b'{"text": "a", "message_id": 5}', 400, "invalid_body", '"message_id"'),
    ("message id empty", b'{"text": "a", "message_id": ""}', 400, "invalid_message_id", ""),
    ("message id path", b'{"text": "a", "message_id": "../x"}', 400, "invalid_message_id", ""),
    ("long message id", b'{"text": "a", "message_id": "%s"}' % (b"x" * 9_999), 400, "invalid_message_id", ""),
]  # fmt: skip


@pytest.mark.parametrize("address", ["/v1/threads", MESSAGES])
@pytest.mark.parametrize(("name", "body", "status", "code", "says"), BODIES, ids=[b[0] for b in BODIES])
def test_a_body_that_will_not_do_is_refused(
    site: Lab, address: str, name: str, body: bytes, status: int, code: str, says: str
) -> None:
    refused(site.client.post(address, content=body, headers=JSON), status=status, code=code, says=says)


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"]
)
def test_a_body_not_declared_as_json_is_refused(site: Lab, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = site.client.post("/v1/threads", content=b'{"text": "a"}', headers=headers)
    refused(answer, status=415, code="wrong_content_type", says="application/json")


@pytest.mark.parametrize(
    "body", [b"1", b'{"sequence": 0}', b'{"sequence": "1"}', b'{"sequence": true}', b'{"n": 1}']
)
def test_a_stop_that_will_not_do_is_refused(site: Lab, body: bytes) -> None:
    answer = site.client.post("/v1/threads/known/stop", content=body, headers=JSON)
    refused(answer, status=400, code="invalid_body")


def test_an_unknown_project_is_answered_with_the_known_ones(site: Lab) -> None:
    refused(site.post("a", project="nope"), status=404, code="unknown_project", says="known are site")


def test_an_unknown_address_and_a_wrong_method_have_the_same_shape(site: Lab) -> None:
    refused(site.client.get("/nope"), status=404, code="not_found")
    refused(site.client.put("/v1/threads"), status=405, code="method_not_allowed")
    refused(site.client.post("/v1/threads/known/events"), status=405, code="method_not_allowed")


@pytest.mark.parametrize("query", ["after=-1", "after=x", "after=9999999999999999", "follow=perhaps"])
def test_a_parameter_that_will_not_do_is_refused(site: Lab, query: str) -> None:
    answer = site.client.get(f"/v1/threads/known/events?{query}")
    refused(answer, status=400, code="invalid_parameter", says=query.partition("=")[0])


# ---------------------------------------------------------------- other origins


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "10.0.0.1", "localhost.evil.example", "[::", ""]
)
def test_a_name_that_is_not_this_machine_is_refused(site: Lab, host: str) -> None:
    refused(site.client.get("/v1/threads", headers={"Host": host}), status=403, code="refused")


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:9", "[::1]:8080", "branchline.localhost", "LOCALHOST:1"]
)
def test_the_names_of_this_machine_are_answered(site: Lab, host: str) -> None:
    assert site.client.get("/v1/threads", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:4321", "http://[::", ""])
def test_a_web_page_of_another_origin_is_refused(site: Lab, origin: str) -> None:
    answer = site.client.post("/v1/threads", json={"text": "a"}, headers={"Origin": origin})
    refused(answer, status=403, code="refused")
    refused(site.client.get("/v1/threads", headers={"Origin": origin}), status=403, code="refused")


def test_the_own_page_is_answered_and_may_run_only_its_own_files(site: Lab) -> None:
    own = {"Origin": site.dispatcher.url}
    assert site.client.get("/v1/threads", headers=own).status_code == 200
    page = site.client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(named) >= 4
    for address in named:
        assert site.client.get(address).status_code == 200, address
    assert " on" + "click" not in page.text
    assert "<style" not in page.text
    assert not re.findall(r"<script(?![^>]* src=)", page.text)
