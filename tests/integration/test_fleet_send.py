"""``branchline send`` and its kin against a small stand-in for the dispatcher, at the wire."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TIME = "2026-11-20T06:00:00Z"
AUTHOR = {"id": "local", "name": "local"}


class Desk(ThreadingHTTPServer):
    """Answers as the dispatcher would; drops the connection after ``drop_after`` events, once."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.log: list[dict[str, Any]] = []
        self.posts: list[dict[str, Any]] = []
        self.asked_after: list[str | None] = []
        self.drop_after = 0
        self.refusal: tuple[int, dict[str, Any]] | None = None

    def say(self, kind: str, *, of: str | None = "m1", **data: Any) -> None:
        """Append one event to the log of the thread."""
        event = {"id": len(self.log) + 1, "thread_id": "t1", "type": kind, "time": TIME, "data": data}
        if of is not None:
            event |= {"message_id": of, "turn_id": f"turn of {of}"}
        self.log.append(event)


class Answers(BaseHTTPRequestHandler):
    server: Desk

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.posts.append({"path": self.path, **json.loads(body or "{}")})
        if self.server.refusal is not None:
            status, answer = self.server.refusal
            return self._json(status, answer)
        if self.path.endswith("/stop"):
            return self._json(202, {"thread_id": "t1", "sequence": 1, "stopping": ["m1"]})
        return self._json(202, {"thread_id": "t1", "message_id": "m1", "sequence": 1})

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.posts.append({"path": self.path, **body})
        return self._json(200, {"thread_id": "t1", "title": body["title"].strip()})

    def do_DELETE(self) -> None:
        self.server.posts.append({"path": self.path, "deleted": True})
        return self._json(202, {"thread_id": "t1", "state": "deleting"})

    def do_GET(self) -> None:
        if self.path == "/v1/undeliverable":
            return self._json(200, {"undeliverable": []})
        if self.path == "/v1/threads":
            return self._json(
                200, {"threads": [{"thread_id": "t1", "title": "\x1b[31mred", "state": "idle"}]}
            )
        after = self.headers.get("last-event-id")
        self.server.asked_after.append(after)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        stop, self.server.drop_after = self.server.drop_after or len(self.server.log), 0
        for event in self.server.log[int(after or 0) : stop]:
            self.wfile.write(f"id: {event['id']}\ndata: {json.dumps(event)}\n\n".encode())
        return None

    def _json(self, status: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def desk() -> Iterator[Desk]:
    with Desk() as desk:
        thread = threading.Thread(target=desk.serve_forever)
        thread.start()
        yield desk
        desk.shutdown()
        thread.join()


def branchline(desk: Desk, *arguments: str, says: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fleet", *arguments],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "BRANCHLINE_URL": f"http://127.0.0.1:{desk.server_port}",
        },
        input=says,
        capture_output=True,
        text=True,
        timeout=60,
    )


def a_turn(desk: Desk, *, kind: str = "turn.completed") -> None:
    desk.say("message.received", text="x", author=AUTHOR, frontend="api", mode="queue", sequence=1)
    desk.say("worker.starting", of=None, worker_id="w")
    desk.say("turn.started", branch="thread-t1", base="0", session_id="s", attempt=1)
    desk.say("turn.text", text="Hello ")
    desk.say("turn.text", text="there.")
    desk.say(kind, text="Hello there.", duration_ms=1200)


def test_send_follows_its_message_to_the_outcome(desk: Desk) -> None:
    a_turn(desk)
    done = branchline(desk, "send", "hi", "--mode", "steer", "--message-id", "m1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "received (message 1 of thread t1)",
        "worker starting",
        "running on thread-t1",
        "Hello there.",
        "completed (1.2 s)",
    ]
    assert desk.posts == [{"path": "/v1/threads", "text": "hi", "mode": "steer", "message_id": "m1"}]


def test_a_failed_turn_is_exit_code_1(desk: Desk) -> None:
    a_turn(desk, kind="turn.failed")
    assert branchline(desk, "send", "hi").returncode == 1


def test_a_lost_connection_goes_on_where_it_was(desk: Desk) -> None:
    a_turn(desk)
    desk.drop_after = 4
    done = branchline(desk, "send", "hi")
    assert done.returncode == 0
    assert "Hello there.\n" in done.stdout
    assert desk.asked_after == [None, "4"]


def test_what_other_messages_of_the_thread_say_is_not_shown(desk: Desk) -> None:
    desk.say("turn.text", of="m0", text="old news")
    desk.say("turn.completed", of="m0", text="old news")
    a_turn(desk)
    assert "old news" not in branchline(desk, "send", "hi", "--thread", "t1").stdout


def test_events_of_a_newer_version_are_left_out(desk: Desk) -> None:
    desk.say("turn.sung", melody="la")
    a_turn(desk)
    assert branchline(desk, "send", "hi").returncode == 0


def test_a_long_text_comes_from_standard_input(desk: Desk) -> None:
    a_turn(desk)
    branchline(desk, "send", "-", says="line one\nline two\n")
    assert desk.posts[0]["text"] == "line one\nline two\n"


def test_no_wait_returns_at_once_and_json_says_where(desk: Desk) -> None:
    done = branchline(desk, "send", "hi", "--no-wait", "--json")
    assert json.loads(done.stdout) == {"thread_id": "t1", "message_id": "m1", "sequence": 1}


def test_an_empty_message_is_a_usage_error_and_is_not_sent(desk: Desk) -> None:
    assert branchline(desk, "send", "-", says=" \n").returncode == 2
    assert desk.posts == []


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, 2, "BRANCHLINE_TOKEN"),
        (404, 2, "branchline threads"),
        (409, 2, "refused"),
        (503, 1, "try again"),
    ],
)
def test_a_refusal_is_one_sentence_with_the_reason(desk: Desk, status: int, code: int, words: str) -> None:
    desk.refusal = (status, {"error": {"code": "x", "message": "That is the reason."}})
    done = branchline(desk, "send", "hi")
    assert done.returncode == code
    assert words in done.stderr
    assert "That is the reason" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_tail_shows_the_whole_log_with_what_people_wrote(desk: Desk) -> None:
    a_turn(desk)
    done = branchline(desk, "tail", "t1")
    assert done.stdout.splitlines()[0] == "local: x"
    as_json = branchline(desk, "tail", "t1", "--json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in as_json] == [1, 2, 3, 4, 5, 6]


def test_threads_and_stop(desk: Desk) -> None:
    table = branchline(desk, "threads").stdout
    assert "t1" in table
    assert "\x1b" not in table
    assert json.loads(branchline(desk, "threads", "--json").stdout)[0]["thread_id"] == "t1"
    stopped = branchline(desk, "stop", "t1")
    assert (stopped.returncode, stopped.stdout.strip()) == (0, "stopping 1 message in thread t1")
    assert desk.posts[-1]["path"] == "/v1/threads/t1/stop"


def test_a_thread_is_renamed(desk: Desk) -> None:
    renamed = branchline(desk, "rename", "t1", " The sky ")
    assert (renamed.returncode, renamed.stdout.strip()) == (0, "thread t1 is called: The sky")
    assert desk.posts == [{"path": "/v1/threads/t1", "title": " The sky "}]


def test_a_thread_is_deleted_only_when_a_person_says_yes(desk: Desk) -> None:
    for says in ("n\n", "\n", ""):
        assert branchline(desk, "delete", "t1", says=says).returncode == 1
    assert desk.posts == []
    assert branchline(desk, "delete", "t1", says="y\n").returncode == 0
    sure = branchline(desk, "delete", "t1", "--yes")
    assert (sure.returncode, sure.stdout.strip()) == (0, "thread t1 is deleted")
    assert desk.posts == [{"path": "/v1/threads/t1", "deleted": True}] * 2
