"""The dispatcher as a process: how it starts, how it says that it cannot, and how it ends."""

import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest
from httpx_sse import connect_sse

from tests.fakes.dispatcher import environment, running_dispatcher
from tests.fakes.engine import EngineProcess, fresh_account, running_engine, wait_until

pytestmark = pytest.mark.slow


def started(env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dispatcher"], env=env, cwd=cwd, capture_output=True, text=True, timeout=60
    )


def test_a_taken_port_is_said_in_one_sentence(engine: EngineProcess, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        env = environment(engine_url=engine.url, account=fresh_account(), BRANCHLINE_PORT=port)
        ended = started(env, tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        f"dispatcher: port {port} is taken: stop what listens there, or set BRANCHLINE_PORT to another."
    ]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("BRANCHLINE_PORT", "http", "the setting port is not usable"),
        ("BRANCHLINE_CONFIG", "missing.toml", "BRANCHLINE_CONFIG names missing.toml"),
        ("BRANCHLINE_CONFIG", "broken.toml", "broken.toml"),
    ],
)
def test_a_setting_that_will_not_do_is_said_in_one_sentence(
    engine: EngineProcess, tmp_path: Path, name: str, value: str, says: str
) -> None:
    (tmp_path / "broken.toml").write_text("[project")
    ended = started(environment(engine_url=engine.url, account=fresh_account(), **{name: value}), tmp_path)
    assert ended.returncode == 2
    assert says in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_with_a_stream_open(
    engine: EngineProcess, tmp_path: Path, number: signal.Signals
) -> None:
    with running_dispatcher(engine.url, account=fresh_account(), cwd=tmp_path) as dispatcher:
        with httpx.Client(base_url=dispatcher.url, timeout=30) as client:
            client.post("/v1/threads", json={"text": "hello", "thread_id": "a"})
            with connect_sse(client, "GET", "/v1/threads/a/events") as source:
                events = source.iter_sse()
                assert next(events).id == "1"
                assert dispatcher.stop(number) == 0
        logs = dispatcher.logs()
    assert "timeout graceful shutdown exceeded" not in logs
    assert "Traceback" not in logs


def test_its_log_is_one_json_object_per_line(engine: EngineProcess, tmp_path: Path) -> None:
    with running_dispatcher(engine.url, account=fresh_account(), cwd=tmp_path) as dispatcher:
        dispatcher.stop()
        lines = [httpx.Response(200, content=line).json() for line in dispatcher.logs().splitlines()]
    assert {"event", "level", "logger", "timestamp"} <= set(lines[0])


def test_it_dies_with_the_process_that_started_it(engine: EngineProcess, tmp_path: Path) -> None:
    env = environment(engine_url=engine.url, account=fresh_account(), BRANCHLINE_DIE_WITH_PARENT="1")
    program = textwrap.dedent("""
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-m", "dispatcher"], stdout=subprocess.PIPE, text=True)
        for line in child.stdout:
            if "listening" in line:
                print(child.pid, flush=True)
                break
        sys.stdin.read()
    """)
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        env=env,
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    wait_until(lambda: not alive(pid))


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits to be collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_it_starts_without_storage_and_says_so_until_there_is_some(tmp_path: Path) -> None:
    with running_engine(tmp_path / "engine") as engine:
        port, account = engine.port, fresh_account()
        engine.stop()
        with running_dispatcher(f"http://127.0.0.1:{port}", account=account, cwd=tmp_path) as dispatcher:
            with httpx.Client(base_url=dispatcher.url, timeout=30) as client:
                assert client.get("/").status_code == 200
                answer = client.get("/healthz")
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
                engine.restart()
                wait_until(lambda: client.get("/healthz").status_code == 200, seconds=30)
                assert client.post("/v1/threads", json={"text": "hello"}).status_code == 202


def test_the_page_is_told_when_the_offline_model_answers(engine: EngineProcess, tmp_path: Path) -> None:
    more = {"BRANCHLINE_OFFLINE_MODEL": "1"}
    with running_dispatcher(engine.url, account=fresh_account(), cwd=tmp_path, **more) as dispatcher:
        for address in ("/healthz", "/v1/about"):
            assert httpx.get(f"{dispatcher.url}{address}").json()["offline_model"] is True
