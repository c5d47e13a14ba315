"""The Lambda's entry point, in a process that has the unpacked asset and nothing else, before an engine."""

import json
from pathlib import Path

import pytest

from fleet.standin.keys import new_private_key
from fleet.standin.slack import SECRET, signed
from tests.fakes.dispatcher import environment
from tests.fakes.lambda_events import http_event
from tests.integration.lambda_lab import ask, built, unpacked


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(built(tmp_path_factory.mktemp("asset")), tmp_path_factory.mktemp("unpacked"))


def lambda_env(engine_url: str, account: str) -> dict[str, str]:
    """The environment of the Lambda, with both chats configured; nothing of this process's own path."""
    github = {"GITHUB_WEBHOOK_SECRET": "s", "GITHUB_APP_ID": "1", "GITHUB_APP_PRIVATE_KEY": new_private_key()}
    slack = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_SIGNING_SECRET": SECRET}
    env = environment(engine_url=engine_url, account=account, **slack, **github)
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


def test_api_and_page_are_for_those_whom_the_address_has_checked(
    folder: Path, engine_url: str, account: str, tmp_path: Path
) -> None:
    kind = {"content-type": "application/json"}
    post = {"body": json.dumps({"text": "hello", "thread_id": "t1"}), "headers": kind}
    events = [
        http_event("GET", "/"),
        http_event("POST", "/v1/threads", **post),
        http_event("GET", "/v1/threads", signed_in=True),
        http_event("POST", "/v1/threads", signed_in=True, **post),
        http_event("GET", "/v1/threads/t1/events", signed_in=True),
        http_event("GET", "/", signed_in=True),
    ]
    got = ask(folder, events, tmp_path=tmp_path, **lambda_env(engine_url, account))
    assert [a["statusCode"] for a in got] == [403, 403, 200, 202, 200, 200]
    assert json.loads(got[2]["body"]) == {"threads": []}, "what was refused is not recorded"
    assert '"type":"message.received"' in got[4]["body"]
    assert got[4]["headers"]["content-type"].startswith("text/event-stream")
    assert "<html" in got[5]["body"]


def test_an_event_that_is_no_request_says_so(
    folder: Path, engine_url: str, account: str, tmp_path: Path
) -> None:
    env = lambda_env(engine_url, account)
    with pytest.raises(AssertionError, match="The event is no HTTP request in the payload format 2"):
        ask(folder, [{"Records": []}], tmp_path=tmp_path, **env)
