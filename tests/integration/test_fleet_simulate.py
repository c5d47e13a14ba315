"""``branchline simulate`` before a dispatcher that only listens: signatures, repeats, faults, mistakes."""

import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from slack_sdk.signature import SignatureVerifier

from fleet import simulation
from fleet.home import Home
from fleet.problem import Problem
from fleet.project import Project
from fleet.scene import Lines
from fleet.simulation import CHANNEL, Simulation
from fleet.standin.slack_world import TEAM
from tests.fakes.engine import wait_until

ROOT = Path(__file__).resolve().parents[2]
Heard = list[tuple[str, dict[str, str], bytes]]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    made.create()
    return made


@pytest.fixture
def dispatcher() -> Iterator[tuple[str, Heard]]:
    """A server that takes everything, and what it heard."""
    heard: Heard = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(202)
            self.end_headers()
            self.wfile.write(b'{"status": "accepted"}')

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", heard
    server.shutdown()
    server.server_close()
    serving.join()


def prepared(home: Home, *, url: str) -> Simulation:
    """What ``up --simulate`` prepares."""
    project = Project(name="site", repo="https://example.invalid/site.git", user="ada")
    return simulation.prepare(home, project=project, config=None, dispatcher=url, outside={})


class Stage:
    """The stand-ins as a process, and the control API."""

    def __init__(self, home: Home, facts: Simulation) -> None:
        self.facts = facts
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "BRANCHLINE_HOME": str(home.path)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fleet.standin"], env=env, stdout=subprocess.PIPE, cwd=ROOT
        )
        assert self.process.stdout is not None
        assert b'"ready"' in self.process.stdout.readline()
        key = {"Authorization": f"Bearer {facts.secrets.key}"}
        self.http = httpx.Client(base_url=facts.control, headers=key, trust_env=False, timeout=30)

    def do(self, path: str, **given: Any) -> dict[str, Any]:
        """Have something done; the answer."""
        answer = self.http.post(path, json={"person": "ada", **given})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def slack(self, method: str, **given: Any) -> httpx.Response:
        """A call of the bot's."""
        bot = {"Authorization": f"Bearer {self.facts.secrets.bot_token}"}
        url = f"http://127.0.0.1:{self.facts.slack_port}/api/{method}"
        return httpx.post(url, json={"channel": CHANNEL, **given}, headers=bot, trust_env=False)

    def close(self) -> None:
        self.http.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def stage(home: Home, dispatcher: tuple[str, Heard]) -> Iterator[Stage]:
    made = Stage(home, prepared(home, url=dispatcher[0]))
    yield made
    made.close()
    assert made.process.returncode == 0


def test_a_mention_is_delivered_signed_and_a_retry_is_the_same_event(
    stage: Stage, dispatcher: tuple[str, Heard]
) -> None:
    said = stage.do("/slack/say", text="hello")
    assert said["answers"] == [202, 202]  # app_mention and message
    assert stage.do("/slack/replay", times=1)["answers"] == [202, 202]
    heard = dispatcher[1]
    verifier = SignatureVerifier(stage.facts.secrets.signing_secret)
    assert all(verifier.is_valid_request(body, headers) for _, headers, body in heard)
    assert [path for path, _, _ in heard] == ["/slack/events"] * 4
    assert [headers.get("x-slack-retry-num") for _, headers, _ in heard] == [None, None, "1", "1"]
    assert heard[0][2] == heard[2][2]
    assert json.loads(heard[0][2])["event"]["text"] == "<@U0BRANCH> hello"


def test_a_comment_is_delivered_signed_and_a_redelivery_has_its_id(
    stage: Stage, dispatcher: tuple[str, Heard]
) -> None:
    assert stage.do("/github/say", text="hello")["answers"] == [202]
    assert stage.do("/github/replay", times=2)["answers"] == [202, 202]
    comments = [h for h in dispatcher[1] if h[1]["x-github-event"] == "issue_comment"]
    secret = stage.facts.secrets.webhook_secret.encode()
    for _, headers, body in comments:
        assert (
            headers["x-hub-signature-256"] == f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"
        )
    assert len(comments) == 3
    assert len({headers["x-github-delivery"] for _, headers, _ in comments}) == 1
    assert json.loads(comments[0][2])["comment"]["body"] == "@branchline hello"


def test_a_post_and_its_edits_are_shown_until_it_is_answered(stage: Stage) -> None:
    said = stage.do("/slack/say", text="hello")
    ask = {"place": said["place"], "message": said["message"]}
    assert stage.http.get("/slack/show", params=ask).json()["answered"] is False
    button = {
        "type": "button",
        "text": {"type": "plain_text", "text": "Stop"},
        "action_id": "branchline_stop",
    }
    section = {"type": "section", "text": {"type": "mrkdwn", "text": ":eyes: a &amp; b"}}
    living = {"event_type": "e", "event_payload": {"key": f"living:slack:T:C:{said['message']}"}}
    post = stage.slack(
        "chat.postMessage",
        thread_ts=said["place"],
        text="x",
        blocks=[section, {"type": "actions", "elements": [button]}],
        metadata=living,
    ).json()
    shown = stage.http.get("/slack/show", params=ask).json()
    assert (shown["answered"], shown["messages"][1]["buttons"]) == (False, ["Stop"])
    stage.slack("chat.update", ts=post["ts"], text="done")
    shown = stage.http.get("/slack/show", params=ask).json()
    assert shown["answered"] is True
    assert shown["messages"][1]["edits"] == ["👀 a & b", "done"]


def test_a_button_is_pressed_while_it_is_there(stage: Stage, dispatcher: tuple[str, Heard]) -> None:
    said = stage.do("/slack/say", text="hello")
    refused = stage.http.post("/slack/press", json={"person": "ada", "button": "stop"})
    assert refused.status_code == 404
    assert 'no button "stop"' in refused.json()["error"]
    button = {
        "type": "button",
        "text": {"type": "plain_text", "text": "Stop"},
        "action_id": "branchline_stop",
    }
    blocks = [{"type": "actions", "elements": [button]}]
    stage.slack("chat.postMessage", thread_ts=said["place"], text="x", blocks=blocks)
    assert stage.do("/slack/press", button="stop", place=said["place"])["answers"] == [202]
    path, headers, body = dispatcher[1][-1]
    assert path == "/slack/interactive"
    assert SignatureVerifier(stage.facts.secrets.signing_secret).is_valid_request(body, headers)
    assert json.loads(parse_qs(body.decode())["payload"][0])["actions"][0]["action_id"] == "branchline_stop"


def test_the_next_post_fails_as_asked_and_only_that(stage: Stage) -> None:
    stage.do("/slack/fault", kind="limited")
    limited = stage.slack("chat.postMessage", text="x")
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "2")
    assert stage.slack("chat.postMessage", text="x").json()["ok"]
    assert stage.http.post("/slack/fault", json={"kind": "anything"}).status_code == 400


def test_the_tasks_of_a_stream_are_shown_until_it_ends_and_it_can_be_made_to_expire(stage: Stage) -> None:
    said = stage.do("/slack/say", text="hello")
    rows = [
        {"type": "plan_update", "title": "Working"},
        {"type": "task_update", "id": "1", "title": "Paint it", "status": "complete"},
        {"type": "task_update", "id": "2", "title": "Test it", "status": "in_progress"},
    ]
    to = {"recipient_team_id": TEAM, "recipient_user_id": "U0ADA"}
    made = stage.slack(
        "chat.startStream", thread_ts=said["place"], chunks=rows, task_display_mode="plan", **to
    ).json()
    about = {"place": said["place"], "message": said["message"]}
    seen = stage.http.get("/slack/show", params=about).json()
    assert seen["messages"][-1]["text"] == "Working\n☑ Paint it\n▸ Test it"
    assert not seen["answered"]
    stage.do("/slack/fault", kind="expired")
    refused = stage.slack("chat.appendStream", ts=made["ts"], chunks=rows).json()
    assert refused["error"] == "message_not_in_streaming_state"
    assert stage.http.post("/github/fault", json={"kind": "expired"}).status_code == 400


def test_whoever_has_no_key_is_refused(stage: Stage) -> None:
    answer = stage.http.post("/slack/say", json={"text": "x"}, headers={"Authorization": "Bearer no"})
    assert answer.status_code == 401


def test_a_thread_that_is_not_there_is_said_to_be_none(stage: Stage) -> None:
    answer = stage.http.post("/slack/say", json={"person": "ada", "text": "x", "place": "1.2"})
    assert (answer.status_code, "no thread 1.2" in answer.json()["error"]) == (404, True)
    answer = stage.http.get("/github/show", params={"place": "7"})
    assert (answer.status_code, "no issue 7" in answer.json()["error"]) == (404, True)


def test_a_pull_request_needs_a_branch_that_is_there(stage: Stage) -> None:
    given = {"person": "ada", "text": "hello", "pull": "nowhere"}
    answer = stage.http.post("/github/say", json=given)
    assert answer.status_code == 404
    assert answer.json()["error"] == "the project's repository has no branch nowhere; push it there first"


def test_after_a_restart_numbers_go_on_and_secrets_stay(home: Home, dispatcher: tuple[str, Heard]) -> None:
    seen = []
    for _ in range(2):
        stage = Stage(home, prepared(home, url=dispatcher[0]))
        seen.append((stage.do("/github/say", text="hello"), stage.facts.secrets))
        stage.close()
    (first, secrets), (second, same) = seen
    assert (first["place"], second["place"]) == ("1", "2")
    assert int(second["message"]) > int(first["message"])
    assert secrets == same


def test_a_fleet_that_simulates_nothing_says_how_to_start_one(home: Home) -> None:
    prepared(home, url="http://127.0.0.1:1")
    simulation.switch_off(home)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "BRANCHLINE_HOME": str(home.path)}
    for arguments in (["slack", "hello"], ["github", "hello"]):
        command = [sys.executable, "-m", "fleet", "simulate", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 3
        assert "./scripts/up --simulate" in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_real_slack_and_a_simulated_one_do_not_go_together() -> None:
    with pytest.raises(Problem, match="SLACK_BOT_TOKEN is set"):
        simulation.refuse_real({"SLACK_BOT_TOKEN": "xoxb-real"})
    simulation.refuse_real({"SLACK_BOT_TOKEN": "", "GITHUB_TOKEN": "for cloning"})


def test_lines_tell_what_is_new_and_nothing_twice() -> None:
    def view(*edits: str) -> dict[str, Any]:
        post = {"id": "1", "who": "branchline", "bot": True, "text": edits[-1], "edits": edits}
        more = {"reactions": ["👀"], "buttons": ["Stop"], "files": []}
        return {"title": "#site", "place": "1", "messages": [post | more], "whispers": [], "beside": []}

    lines = Lines()
    told = [
        [line.plain for line in lines.feed(v)] for v in (view("a\x1b[2J"), view("a\x1b[2J"), view("a", "b"))
    ]
    assert told[0] == ["#site · 1", "branchline: a[2J\n  [Stop]", "  👀 on branchline's message"]
    assert told[1] == []
    assert told[2] == ["branchline (edited): b\n  [Stop]"]


def test_the_stand_ins_leave_when_they_are_told_to(stage: Stage) -> None:
    stage.process.send_signal(signal.SIGTERM)
    wait_until(lambda: stage.process.poll() is not None, seconds=20)
    with pytest.raises(httpx.ConnectError):
        stage.http.get("/slack/ready")
