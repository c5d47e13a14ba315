"""The model as a process of its own, spoken to over HTTP as Claude Code does."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]


def message(text: str, *, stream: bool) -> dict[str, Any]:
    return {"model": "m", "stream": stream, "messages": [{"role": "user", "content": text}]}


@contextmanager
def process(module: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A model's process and its address."""
    line = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout
            ready = json.loads(child.stdout.readline())
            assert ready["event"] == "ready"
            yield child, ready["url"]
        finally:
            child.kill()


def test_the_offline_model_answers_as_a_stream_and_as_json() -> None:
    with process("fleet.model") as (_, url), httpx.Client(base_url=url) as http:
        whole = http.post("/v1/messages", json=message("hello", stream=False)).json()
        streamed = http.post("/v1/messages?beta=true", json=message("hello", stream=True))

        assert whole["stop_reason"] == "end_turn"
        assert whole["content"][0]["text"].startswith("Hello! I am the offline model")
        lines = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: ")]
        assert (lines[0]["type"], lines[-1]["type"]) == ("message_start", "message_stop")
        text = "".join(
            line["delta"].get("text", "") for line in lines if line["type"] == "content_block_delta"
        )
        assert text == whole["content"][0]["text"]


def test_the_other_requests_of_claude_code_are_answered() -> None:
    with process("fleet.model") as (_, url), httpx.Client(base_url=url) as http:
        assert http.head("/").status_code == 200
        assert http.get("/").status_code == 200
        assert (
            http.post("/v1/messages/count_tokens", json=message("hello", stream=False)).json()["input_tokens"]
            > 0
        )
        assert http.post("/v1/messages", content=b"{").json()["error"]["type"] == "invalid_request_error"


def test_a_term_signal_ends_it_with_status_0_while_a_stream_is_open(tmp_path: Path) -> None:
    with process("tests.fakes.model") as (child, url):
        waiting = message(f"do: wait {tmp_path}/never", stream=True)
        with httpx.stream("POST", f"{url}/v1/messages", json=waiting) as answer:
            next(answer.iter_bytes())
            child.send_signal(signal.SIGTERM)
            assert child.wait(timeout=10) == 0


def test_a_term_signal_ends_it_while_a_request_hangs(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with process("tests.fakes.model", "--log", str(log)) as (child, url):
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as line:
            body = json.dumps(message("do: hang", stream=True)).encode()
            line.sendall(
                b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            while not log.exists():
                assert child.poll() is None
            child.send_signal(signal.SIGTERM)
            assert child.wait(timeout=10) == 0
    assert json.loads(log.read_text())["text"] == "do: hang"


def test_it_dies_with_its_parent() -> None:
    code = (
        "import subprocess, sys, os\n"
        "child = subprocess.Popen([sys.executable, '-m', 'fleet.model'], stdout=subprocess.PIPE, text=True)\n"
        "print(child.stdout.readline(), end='', flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    port = int(json.loads(out.stdout)["url"].rsplit(":", 1)[1])
    while True:  # bounded by the test's own time limit
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                break


def test_a_taken_port_is_told_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = [sys.executable, "-m", "fleet.model", "--port", port]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"cannot listen on port {port}" in done.stderr


@pytest.mark.parametrize(
    ("status", "kind"), [(429, "rate_limit_error"), (529, "overloaded_error"), (500, "api_error")]
)
def test_errors_carry_status_type_and_headers(status: int, kind: str) -> None:
    with process("tests.fakes.model") as (_, url):
        text = f"do: error {status} retry-after=7"
        answer = httpx.post(f"{url}/v1/messages", json=message(text, stream=True))
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
    assert answer.headers["retry-after"] == "7"
