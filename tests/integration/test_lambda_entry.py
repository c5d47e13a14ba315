"""The Lambda's entry point, in a process that has the unpacked asset and nothing else, before an engine."""

import json
from pathlib import Path

import pytest

from dispatcher.signin_records import digest
from fleet.standin.keys import new_private_key
from fleet.standin.slack import SECRET, signed
from tests.fakes.dispatcher import environment
from tests.fakes.lambda_events import http_event
from tests.integration.lambda_lab import ask, built, unpacked

TOKEN = "blt_of-the-lambda"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(built(tmp_path_factory.mktemp("asset")), tmp_path_factory.mktemp("unpacked"))


def lambda_env(engine_url: str, account: str) -> dict[str, str]:
    """The environment of the Lambda, with both chats configured; nothing of this process's own path."""
    github = {"GITHUB_WEBHOOK_SECRET": "s", "GITHUB_APP_ID": "1", "GITHUB_APP_PRIVATE_KEY": new_private_key()}
    slack = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_SIGNING_SECRET": SECRET}
    login = {"BRANCHLINE_LOGIN": "accounts", "BRANCHLINE_OPERATOR_TOKEN_HASH": digest(TOKEN)}
    env = environment(engine_url=engine_url, account=account, **slack, **github, **login)
    return {k: v for k, v in env.items() if k != "PYTHONPATH"}


def test_it_answers_health_and_the_signed_challenge_of_slack(
    folder: Path, engine_url: str, account: str, tmp_path: Path
) -> None:
    body = json.dumps({"type": "url_verification", "challenge": "3eZbrw1aB", "token": "x"})
    signature = {k.lower(): v for k, v in signed(body.encode()).items()}
    kind = {"content-type": "application/json"}
    events = [
        http_event("GET", "/healthz"),
        http_event("POST", "/slack/events", body=body, headers={**kind, **signature}),
        http_event("POST", "/slack/events", body=body, headers=kind),
        http_event("POST", "/github/webhook", body="{}", headers={**kind, "x-github-event": "ping"}),
    ]
    got = ask(folder, events, tmp_path=tmp_path, **lambda_env(engine_url, account))
    assert [a["statusCode"] for a in got] == [200, 200, 401, 401]
    assert json.loads(got[0]["body"])["status"] == "ok"
    assert json.loads(got[1]["body"]) == {"challenge": "3eZbrw1aB"}


def test_the_api_is_for_those_who_signed_in_and_the_page_for_everybody(
    folder: Path, engine_url: str, account: str, tmp_path: Path
) -> None:
    kind = {"content-type": "application/json"}
    bearer = {"authorization": f"Bearer {TOKEN}"}
    body = json.dumps({"text": "hello", "thread_id": "t1"})
    account_body = json.dumps({"user": "local", "password": "correct horse battery"})
    events = [
        http_event("GET", "/"),
        http_event("POST", "/v1/threads", body=body, headers=kind),
        http_event("GET", "/v1/threads", headers=bearer),
        http_event("POST", "/v1/threads", body=body, headers={**kind, **bearer}),
        http_event("GET", "/v1/threads/t1/events", headers=bearer),
        http_event("POST", "/v1/accounts", body=account_body, headers={**kind, **bearer}),
        http_event("POST", "/auth/login", body=account_body, headers=kind),
    ]
    got = ask(folder, events, tmp_path=tmp_path, **lambda_env(engine_url, account))
    assert [a["statusCode"] for a in got] == [200, 401, 200, 202, 200, 201, 200]
    assert json.loads(got[2]["body"]) == {"threads": []}, "what was refused is not recorded"
    assert '"type":"message.received"' in got[4]["body"]
    assert got[4]["headers"]["content-type"].startswith("text/event-stream")
    assert "<html" in got[0]["body"]
    assert all(c.startswith("__Host-") and "Secure" in c for c in got[6]["cookies"])
    assert got[6]["headers"]["strict-transport-security"]


def test_without_a_sign_in_it_does_not_start(
    folder: Path, engine_url: str, account: str, tmp_path: Path
) -> None:
    env = {**lambda_env(engine_url, account), "BRANCHLINE_LOGIN": "none"}
    with pytest.raises(AssertionError, match="a Lambda needs a sign-in: set BRANCHLINE_LOGIN"):
        ask(folder, [http_event("GET", "/healthz")], tmp_path=tmp_path, **env)


def test_it_passes_no_preview_on_and_says_so(
    folder: Path, engine_url: str, account: str, tmp_path: Path
) -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    kind = {"content-type": "application/json"}
    post = {"body": json.dumps({"text": "hello", "thread_id": "t1"}), "headers": {**kind, **bearer}}
    events = [
        http_event("POST", "/v1/threads", **post),
        http_event("GET", "/v1/threads/t1/preview", headers=bearer),
        http_event("GET", "/", headers={"host": "preview-0123456789ab.localhost"}),
        http_event("GET", "/v1/openapi.json", headers=bearer),
    ]
    got = ask(folder, events, tmp_path=tmp_path, **lambda_env(engine_url, account))
    assert [a["statusCode"] for a in got] == [202, 200, 404, 200]
    shown = json.loads(got[1]["body"])
    assert (shown["url"], shown["ready"]) == (None, False)
    assert "a fleet on AWS needs a domain" in shown["problem"]
    assert "a fleet on AWS needs a domain" in got[2]["body"]
    assert "/v1/agui" in json.loads(got[3]["body"])["paths"]


def test_an_event_of_no_known_kind_says_so(
    folder: Path, engine_url: str, account: str, tmp_path: Path
) -> None:
    env = lambda_env(engine_url, account)
    with pytest.raises(AssertionError, match="The event is none of these: an HTTP request"):
        ask(folder, [{"Records": []}], tmp_path=tmp_path, **env)
