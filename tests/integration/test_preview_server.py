"""The dev server as a process: started, watched, replaced, and gone without a trace."""

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.astro import lock_hash, write_site
from tests.fakes.preview import SECRET, Stage, until
from worker.ports import Preview, PreviewState
from worker.preview_process import MARK, marked, sweep

pytestmark = pytest.mark.slow


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


async def test_an_astro_project_is_installed_started_and_announced(stage: Stage) -> None:
    write_site(stage.path, headline="Hello")
    async with stage.running() as server:
        await until(lambda: server.state.ready)
        assert server.state == PreviewState(ready=True, url=f"http://127.0.0.1:{stage.port}")
        assert stage.announced == [server.state]
        assert "Hello" in await stage.get()
        preview: Preview = server
        assert preview.switched() is None
    assert stage.tools.journal("install")[0]["argv"] == ["ci", "--no-audit", "--no-fund"]
    assert stage.starts[0]["argv"][:3] == ["dev", "--ignore-lock", "--host"]
    assert (stage.path / "node_modules" / ".branchline-lock").read_text() == lock_hash(stage.path)


async def test_when_it_is_cancelled_no_process_of_it_is_alive(stage: Stage) -> None:
    write_site(stage.path, headline="Hello")
    async with stage.running() as server:
        await until(lambda: server.state.ready)
        assert list(marked(stage.marker))
    assert not list(marked(stage.marker))
    assert await stage.get() == ""
    assert not server.state.ready


async def test_a_shell_command_dies_with_all_that_it_started_elsewhere(stage: Stage) -> None:
    elsewhere = "setsid sleep 1000 & setsid sh -c 'sleep 1001 & sleep 1002' &"
    command = f"{elsewhere} exec {sys.executable} -m http.server --bind 127.0.0.1 $PORT"
    async with stage.running(command=command) as server:
        await until(lambda: server.state.ready)
        await until(lambda: len(list(marked(stage.marker))) >= 4)
    assert not list(marked(stage.marker))


async def test_the_server_does_not_see_the_secrets_of_the_worker(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "ANTHROPIC_API_KEY", "CLAUDECODE", "AI_AGENT"):
        monkeypatch.setenv(name, SECRET)
    write_site(stage.path, headline="Hello")
    async with stage.running() as server:
        await until(lambda: server.state.ready)
    for entry in (*stage.starts, *stage.tools.journal("install")):
        assert SECRET not in entry["env"].values()
        assert entry["env"][MARK] == stage.marker
        assert entry["env"]["ASTRO_TELEMETRY_DISABLED"] == "1"
        assert entry["env"]["PATH"].split(":")[0] == str(stage.root / "state" / "node-bin")


async def test_a_server_that_dies_is_started_again(stage: Stage) -> None:
    write_site(stage.path, headline="Hello")
    async with stage.running() as server:
        await until(lambda: server.state.ready)
        await stage.get("/die")
        await until(lambda: len(stage.announced) == 2)
        assert "Hello" in await stage.get()
    assert len(stage.tools.journal("install")) == 1


async def test_a_server_that_hangs_is_replaced(stage: Stage) -> None:
    write_site(stage.path, headline="Hello")
    async with stage.running() as server:
        await until(lambda: server.state.ready)
        (stage.path / "hang").touch()
        await until(lambda: "did not answer" in (server.state.problem or ""))
        (stage.path / "hang").unlink()
        await until(lambda: len(stage.announced) == 2)
    assert stage.starts[0]["pid"] != stage.starts[-1]["pid"]


async def test_a_site_that_cannot_start_says_why_without_its_secrets_and_recovers(stage: Stage) -> None:
    write_site(stage.path, headline="Hello")
    (stage.path / "crash").write_text(SECRET)
    async with stage.running() as server:
        await until(lambda: "astro.config" in (server.state.problem or ""))
        assert server.state.problem is not None
        assert server.state.problem.endswith("token [redacted]")
        (stage.path / "crash").unlink()
        server.switched()
        await until(lambda: server.state.ready)
    output = (stage.root / "state" / "preview.log").read_text()
    assert "token [redacted]" in output
    assert SECRET not in output


async def test_dependencies_that_may_be_broken_are_installed_afresh_once(stage: Stage) -> None:
    write_site(stage.path, headline="Hello")
    (stage.path / "crash").touch()
    async with stage.running():
        await until(lambda: len(stage.starts) >= 6)
    assert len(stage.tools.journal("install")) == 2


async def test_an_error_page_counts_as_ready(stage: Stage) -> None:
    write_site(stage.path, headline="Hello")
    (stage.path / "error").touch()
    async with stage.running() as server:
        await until(lambda: server.state.ready)
        assert " 500 " in await stage.get()


async def test_a_taken_port_is_said_and_used_once_it_is_free(stage: Stage) -> None:
    write_site(stage.path, headline="Hello")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", stage.port))
        other.listen()
        async with stage.running() as server:
            await until(lambda: f"Port {stage.port} is taken" in (server.state.problem or ""))
            other.close()
            await until(lambda: server.state.ready)


async def test_what_a_killed_worker_left_behind_is_killed_first(stage: Stage) -> None:
    write_site(stage.path, headline="Hello")
    listen = f"s = socket.create_server(('127.0.0.1', {stage.port}))"
    hog = f"import socket, time; {listen}; print(1, flush=True); time.sleep(99)"
    with subprocess.Popen(
        [sys.executable, "-c", hog], env={MARK: stage.marker}, stdout=subprocess.PIPE, start_new_session=True
    ) as left:
        assert left.stdout is not None
        left.stdout.readline()
        async with stage.running() as server:
            await until(lambda: server.state.ready)
            assert left.wait(timeout=10) == -signal.SIGKILL


async def test_a_worker_killed_hard_takes_the_server_with_it(stage: Stage) -> None:
    write_site(stage.path, headline="Hello")
    script = f"""
import asyncio, pathlib
from worker.preview import DevServer
from worker.redact import Redactor
async def ready(state): print("ready", flush=True)
asyncio.run(DevServer(path=pathlib.Path({str(stage.path)!r}), port={stage.port}, marker={stage.marker!r},
    redact=Redactor(), log_dir=pathlib.Path({str(stage.root / "state")!r}), on_ready=ready,
    node=pathlib.Path({str(stage.tools.node)!r})).run())
"""
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        while b"ready" not in await asyncio.to_thread(worker.stdout.readline):
            assert worker.poll() is None
        worker.kill()
        if Path("/usr/bin/setpriv").exists():
            await until(lambda: not list(marked(stage.marker)))
        sweep(stage.marker)


async def test_connections_of_browsers_count_and_our_own_do_not(stage: Stage) -> None:
    write_site(stage.path, headline="Hello")
    async with stage.running() as server:
        await until(lambda: server.state.ready)
        assert await server.connections() == 0
        _, first = await asyncio.open_connection("127.0.0.1", stage.port)
        _, second = await asyncio.open_connection("127.0.0.1", stage.port)
        assert await server.connections() == 2
        await stage.get("/loop")
        assert await server.connections() == 2
        for writer in (first, second):
            writer.close()
            await writer.wait_closed()

        async def gone() -> bool:
            return await server.connections() == 0

        await until(gone)


async def test_file_descriptors_do_not_grow_over_restarts(stage: Stage) -> None:
    write_site(stage.path, headline="Hello")

    def open_files() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    async with stage.running() as server:
        await until(lambda: len(stage.announced) == 1)
        before = open_files()
        for restart in range(2, 12):
            server.switched()
            await stage.get("/die")
            await until(lambda restart=restart: len(stage.announced) == restart)  # type: ignore[misc]
        await until(lambda: open_files() <= before)


async def test_an_announcement_that_fails_does_not_end_the_preview(stage: Stage) -> None:
    async def refuse(state: PreviewState) -> None:
        raise RuntimeError("no")

    write_site(stage.path, headline="Hello")
    async with stage.running(on_ready=refuse) as server:
        await until(lambda: server.state.ready)
        await stage.get("/die")
        await until(lambda: len(stage.starts) == 2)
        await until(lambda: server.state.ready)
