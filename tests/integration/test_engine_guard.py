"""Whom the embedded engine lets in."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.fakes.engine import EngineProcess, aws_client, running_engine

TARGETS = {"sqs": "AmazonSQS.ListQueues", "dynamodb": "DynamoDB_20120810.ListTables", "s3": "Any"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    with running_engine(tmp_path_factory.mktemp("engine"), 0, "--access-key", "known") as process:
        yield process


def ask(
    engine: EngineProcess,
    *,
    method: str = "POST",
    path: str = "/",
    service: str = "sqs",
    key: str = "known",
    body: bytes = b"{}",
    **headers: str,
) -> HTTPResponse:
    scope = f"AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/{service}/aws4_request"
    connection = HTTPConnection("127.0.0.1", engine.port, timeout=10)
    sent = {"X-Amz-Target": TARGETS[service], "Authorization": scope}
    sent |= {name.replace("_", "-"): text for name, text in headers.items()}
    connection.request(method, path, body=body, headers=sent)
    response = connection.getresponse()
    response.body = response.read()  # type: ignore[attr-defined]
    connection.close()
    return response


def test_a_program_with_the_right_key_is_answered_without_cors_headers(engine: EngineProcess) -> None:
    for service in ("sqs", "dynamodb"):
        response = ask(engine, service=service)
        assert response.status == 200
        assert not [name for name, _ in response.getheaders() if name.lower().startswith("access-control")]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:4321"])
def test_a_web_page_is_refused_whatever_its_origin(engine: EngineProcess, origin: str) -> None:
    response = ask(engine, Origin=origin)
    assert response.status == 403
    assert "Access-Control-Allow-Origin" not in response.headers


def test_a_browser_that_hides_its_origin_is_refused(engine: EngineProcess) -> None:
    assert ask(engine, Sec_Fetch_Site="cross-site").status == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.7"])
def test_a_foreign_host_name_is_refused(engine: EngineProcess, host: str) -> None:
    assert ask(engine, Host=host).status == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:99"])
def test_a_loopback_host_name_is_answered(engine: EngineProcess, host: str) -> None:
    assert ask(engine, Host=host).status == 200


@pytest.mark.parametrize("key", ["unknown", "Known", "knownx", "x"])
def test_an_unknown_access_key_is_refused(engine: EngineProcess, key: str) -> None:
    assert ask(engine, key=key).status == 403


def test_a_twelve_digit_key_needs_the_test_option(tmp_path: Path, engine: EngineProcess) -> None:
    assert ask(engine, key="123456789012").status == 200  # running_engine sets --any-account
    with running_engine(tmp_path) as other:
        assert ask(other, key="123456789012").status == 200
        assert ask(other, key="12345678901").status == 403


def test_an_unsigned_request_is_refused(engine: EngineProcess) -> None:
    assert ask(engine, Authorization="").status == 403


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "DELETE", "PUT"])
def test_only_post_is_answered(engine: EngineProcess, method: str) -> None:
    assert ask(engine, method=method).status == 405


def test_the_administration_pages_of_ministack_are_out_of_reach(engine: EngineProcess) -> None:
    with aws_client("sqs", url=engine.url, account="111122223333") as sqs:
        sqs.create_queue(QueueName="kept")
        ask(engine, path="/_ministack/reset")
        assert len(sqs.list_queues()["QueueUrls"]) == 1


def test_a_service_that_was_not_asked_for_is_refused(engine: EngineProcess) -> None:
    response = ask(engine, service="s3")
    assert response.status == 400
    assert "--services" in json.loads(response.body)["message"]  # type: ignore[attr-defined]


def test_a_body_beyond_the_limit_is_refused(engine: EngineProcess) -> None:
    assert ask(engine, body=b" " * ((4 << 20) + 1)).status == 413


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(engine: EngineProcess, body: bytes) -> None:
    assert ask(engine, body=body).status == 400
    assert ask(engine, body=body, service="dynamodb").status == 400


def test_a_wrong_key_reaches_the_client_as_an_error_it_can_read(engine: EngineProcess) -> None:
    with aws_client("dynamodb", url=engine.url, account="stranger") as db:
        with pytest.raises(ClientError, match="access key id is not the engine's"):
            db.list_tables()
