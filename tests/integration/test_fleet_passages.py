"""Workers in containers reach single ports of this machine, their own repository, and nothing else of it."""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from contracts import names
from contracts.words import ClientId, ProjectId, UserId, WorkerId
from fleet import remotes
from fleet.boxed import Limits
from fleet.boxes import Engine
from fleet.child import Part
from fleet.home import Home
from fleet.passages import Passages
from fleet.ports import any_free
from fleet.runtime import Containers, owner_of
from fleet.serving import served
from tests.fakes.engine import wait_until
from tests.integration.worker_lab import bare_remote, git

ROOT = Path(__file__).resolve().parents[2]


def _worker(project: str, *, user: str = "local") -> WorkerId:
    return names.worker_id(client=ClientId("local"), project=ProjectId(project), user=UserId(user))


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers only when everything has come, so that an end has to be passed on, too."""
    said = await reader.read()
    writer.write(b"heard " + said)
    writer.close()


@pytest.fixture
async def echoing() -> AsyncIterator[int]:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@contextlib.contextmanager
def _inside(outside: Path) -> Iterator[int]:
    """The program of the container's other end, in front of one that only waits; the port it opens."""
    there = any_free()
    script = ROOT / "container" / "passage.py"
    argv = [sys.executable, "-I", "-S", str(script), f"{there}={outside}", "--", "cat"]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True)
    try:
        wait_until(lambda: _ask(there) is not None)
        yield there
    finally:
        assert process.poll() is None, "it did not become the program"
        process.communicate()
        served = subprocess.run(["pgrep", "-f", f"{there}={outside}"], capture_output=True, text=True)
        for pid in served.stdout.split():
            subprocess.run(["kill", "-9", pid], check=True)


def _ask(port: int, data: bytes = b"") -> bytes | None:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
            line.sendall(data)
            line.shutdown(socket.SHUT_WR)
            return line.makefile("rb").read()
    except OSError:
        return None


async def test_what_is_said_comes_out_at_the_port_it_leads_to(tmp_path: Path, echoing: int) -> None:
    deep = tmp_path / ("long" * 30)  # a path that is longer than a socket's may be
    passages = Passages(deep / "passages")
    async with passages.serving():
        short = tmp_path / "s"
        short.symlink_to(passages.folder / passages.to(echoing))
        data = bytes(3_000_000)

        def through() -> bytes | None:
            with _inside(short) as there:
                return _ask(there, data)

        assert await asyncio.to_thread(through) == b"heard " + data
    assert list(passages.folder.iterdir()) == []


async def test_a_port_where_nobody_listens_hangs_up_and_the_next_time_there_may_be_somebody(
    tmp_path: Path,
) -> None:
    passages = Passages(tmp_path)
    port = any_free()
    async with passages.serving():
        name = passages.to(port)
        reader, _writer = await asyncio.open_unix_connection(str(tmp_path / name))
        assert await reader.read() == b""
        _writer.close()
        server = await asyncio.start_server(_echo, "127.0.0.1", port)
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / name))
        writer.write(b"you")
        writer.write_eof()
        assert await reader.read() == b"heard you"
        writer.close()
        server.close()


def _containers(folder: Path, repositories: Mapping[str, Path], **more: str) -> Containers:
    return Containers(
        engine=Engine(name="podman", version=(4, 3, 1)), home=Home(folder), image="localhost/worker",
        limits=Limits(), repositories=repositories, **more,
    )  # fmt: skip


def test_a_container_is_told_of_passages_and_never_gets_the_machines_loopback(tmp_path: Path) -> None:
    boxes = _containers(tmp_path, {})
    env = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:5001",
        "ANTHROPIC_BASE_URL": "http://localhost:80/v1",
        "BRANCHLINE_TOKEN_URL": "http://127.0.0.1:8080/internal/token",
    }
    part = Part(name="worker", argv=("python",), env=env, cwd=tmp_path, grace=60)
    made = boxes.worker(part, worker_id=_worker("site"), port=33000, paths_url="http://127.0.0.1:6001")
    assert made.env["AWS_ENDPOINT_URL"] == "http://127.0.0.1:5001"
    assert made.env["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:40080/v1"
    assert made.env["BRANCHLINE_TOKEN_URL"] == "http://127.0.0.1:6001/internal/token"
    opened = [word for word in made.argv if "=/run/machine/" in word]
    assert opened == ["5001=/run/machine/5001", "6001=/run/machine/6001", "40080=/run/machine/80"]
    assert made.argv[made.argv.index("--stop-timeout") + 1] == "110", "the worker itself may take 60 s"
    assert made.grace == 110
    assert not any("allow_host_loopback" in word or word == "host" for word in made.argv)


def test_a_model_that_is_elsewhere_needs_no_passage(tmp_path: Path) -> None:
    env = {"ANTHROPIC_BASE_URL": "https://model.example:8443"}
    part = Part(name="worker", argv=("python",), env=env, cwd=tmp_path)
    made = _containers(tmp_path, {}).worker(
        part, worker_id=_worker("site"), port=33000, paths_url="http://127.0.0.1:6001"
    )
    assert made.env["ANTHROPIC_BASE_URL"] == "https://model.example:8443"


async def test_a_worker_reads_and_writes_its_own_projects_repository_and_no_other(tmp_path: Path) -> None:
    places = {name: bare_remote(tmp_path / name) for name in ("one", "two")}
    boxes = _containers(tmp_path / "home", {owner_of(_worker(name)): path for name, path in places.items()})
    async with boxes.serving() as url:
        for user in ("local", "ann"):
            shown = remotes.password(boxes.secret, _worker("one", user=user))
            mine = url.replace("//", f"//x:{shown.replace(':', '%3A')}@")
            own = tmp_path / user
            await asyncio.to_thread(git, tmp_path, "clone", "--quiet", f"{mine}{places['one']}", str(own))
            await asyncio.to_thread(git, own, "push", "--quiet", "origin", f"HEAD:refs/heads/of-{user}")
            assert git(places["one"], "rev-parse", "--verify", f"of-{user}")
        async with httpx.AsyncClient(trust_env=False) as client:
            for given, path, status in (
                (shown, places["one"], 200),
                (shown, places["two"], 404),
                (remotes.password("another", _worker("one")), places["one"], 401),
                (boxes.secret, places["one"], 401),
                (shown.replace("one", "two"), places["two"], 401),
                ("", places["one"], 401),
            ):
                asked = f"{url}{path}/info/refs?service=git-receive-pack"
                assert (await client.get(asked, auth=("x", given))).status_code == status, (given, path)


async def test_of_the_dispatcher_only_the_address_of_tokens_is_passed_on(tmp_path: Path) -> None:
    async def anything(request: Request) -> JSONResponse:
        given = request.headers.get("authorization")
        return JSONResponse(
            {"path": request.url.path, "given": given, "body": (await request.body()).decode()}
        )

    dispatcher = Starlette(routes=[Route("/{path:path}", anything, methods=["GET", "POST"])])
    async with served(dispatcher) as its_url:
        boxes = _containers(tmp_path, {}, token_url=f"{its_url}/internal/token")
        async with boxes.serving() as url, httpx.AsyncClient(trust_env=False) as client:
            bearer = {"Authorization": "Bearer b"}
            told = await client.post(f"{url}/internal/token", content="{}", headers=bearer)
            assert told.json() == {"path": "/internal/token", "given": "Bearer b", "body": "{}"}
            assert (await client.post(f"{url}/internal/token", content=bytes(1 << 17))).status_code == 413
            assert (await client.get(f"{url}/v1/threads", headers=bearer)).status_code == 401
            assert (await client.get(f"{url}/internal/token/../../v1/threads")).status_code == 401
