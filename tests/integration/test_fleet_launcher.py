"""The launcher's API: one process for each worker, and only for who knows the token."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from contracts.words import WorkerId
from fleet.child import Part
from fleet.home import Home
from fleet.kept import BackOff
from fleet.launcher import Launcher, api
from fleet.ports import any_free

A, B = WorkerId("local-a-local"), WorkerId("local-b-local")


@asynccontextmanager
async def launching(
    folder: Path, *program: str, port: int | None = None, previews: range | None = None
) -> AsyncIterator[Launcher]:
    home = Home(folder)
    home.create()
    argv = program or (sys.executable, "-c", "import signal; signal.pause()")

    def make(worker_id: WorkerId, preview_port: int) -> Part:
        env = {"PATH": os.environ["PATH"], "PREVIEW": str(preview_port)}
        return Part(name=f"worker-{worker_id}", argv=argv, env=env, cwd=folder)

    launcher = Launcher(
        home=home,
        make=make,
        preview_port=port or any_free(),
        previews=previews,
        say=lambda text: None,
        back_off=BackOff(first=0.05, most=0.1),
    )
    try:
        yield launcher
    finally:
        hurry = asyncio.Event()
        hurry.set()
        await launcher.stop(hurry=hurry)


async def until_changed(launcher: Launcher, worker: WorkerId, *, pid: int) -> int:
    async with asyncio.timeout(20):
        while launcher.alive().get(worker, pid) == pid:
            await asyncio.sleep(0.02)
    return launcher.alive()[worker]


async def until_gone(launcher: Launcher, worker: WorkerId) -> None:
    async with asyncio.timeout(20):
        while launcher.running(worker):
            await asyncio.sleep(0.02)


def launched(launcher: Launcher, worker: WorkerId) -> int:
    """The port that the worker's last process was told."""
    return int(launcher.part(worker).env["PREVIEW"])


async def test_who_asks_twice_gets_one_process(tmp_path: Path) -> None:
    async with launching(tmp_path) as launcher:
        answers = await asyncio.gather(launcher.ensure(A), launcher.ensure(A))
        assert sorted(answers) == [False, True]
        assert launcher.running(A)
        assert not launcher.running(B)


async def test_every_worker_has_a_preview_port_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    first = any_free()
    async with launching(tmp_path, port=first) as launcher:
        assert launcher.port(A) == first
        assert launcher.port(B) > first
        assert launcher.port(A) == first


async def test_a_worker_whose_port_was_taken_meanwhile_starts_on_another_of_the_range(tmp_path: Path) -> None:
    first = any_free()
    range_ = range(first, first + 50)
    async with launching(tmp_path, sys.executable, "-c", "", port=first, previews=range_) as launcher:
        await launcher.ensure(A)
        assert launcher.port(A) == first
        await until_gone(launcher, A)
        with socket.create_server(("127.0.0.1", first)):  # another fleet's
            await launcher.ensure(A)
            assert launcher.port(A) in range_
            assert launcher.port(A) != first
            assert launched(launcher, A) == launcher.port(A)
            await launcher.ensure(B)
            assert launcher.port(B) not in (first, launcher.port(A))


async def test_without_a_free_port_in_the_range_it_is_said(tmp_path: Path) -> None:
    first = any_free()
    with socket.create_server(("127.0.0.1", first)):
        async with launching(tmp_path, port=first, previews=range(first, first + 1)) as launcher:
            transport = httpx.ASGITransport(app=api(launcher, token="t"))
            async with httpx.AsyncClient(transport=transport, base_url="http://launcher") as client:
                answer = await client.post(f"/workers/{A}", headers={"Authorization": "Bearer t"})
    assert answer.status_code == 503
    assert "is free; stop some containers" in answer.json()["error"]


async def test_a_crashed_worker_comes_back_and_one_that_left_does_not(tmp_path: Path) -> None:
    leaves_on_term = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); print(1, flush=True)\n"
    async with launching(
        tmp_path, sys.executable, "-c", leaves_on_term + "while True: signal.pause()"
    ) as launcher:
        await launcher.ensure(A)
        first = launcher.alive()[A]
        os.kill(first, signal.SIGKILL)
        second = await until_changed(launcher, A, pid=first)
        log = tmp_path / "logs" / f"worker-{A}.log"
        async with asyncio.timeout(20):
            while not log.read_text():
                await asyncio.sleep(0.02)
        os.kill(second, signal.SIGTERM)
        async with asyncio.timeout(20):
            while launcher.running(A):
                await asyncio.sleep(0.02)
        assert await launcher.ensure(A)


async def test_the_api_starts_and_tells_and_refuses_strangers(tmp_path: Path) -> None:
    async with launching(tmp_path) as launcher:
        transport = httpx.ASGITransport(api(launcher, token="secret"))
        async with httpx.AsyncClient(transport=transport, base_url="http://launcher") as client:
            right = {"authorization": "Bearer secret"}
            for headers in ({}, {"authorization": "Bearer wrong"}):
                assert (await client.post(f"/workers/{A}", headers=headers)).status_code == 401
            assert (await client.get(f"/workers/{A}", headers=right)).json() == {"running": False}
            started = await client.post(f"/workers/{A}", headers=right)
            assert started.json() == {"running": True, "started": True}
            again = await client.post(f"/workers/{A}", headers=right)
            assert again.json() == {"running": True, "started": False}


async def test_a_fleet_that_stops_starts_nothing(tmp_path: Path) -> None:
    async with launching(tmp_path) as launcher:
        await launcher.stop(hurry=asyncio.Event())
        transport = httpx.ASGITransport(api(launcher, token="secret"))
        async with httpx.AsyncClient(transport=transport, base_url="http://launcher") as client:
            answer = await client.post(f"/workers/{A}", headers={"authorization": "Bearer secret"})
    assert answer.status_code == 503
    assert not launcher.running(A)


@pytest.mark.parametrize("deaths", [1, 2, 5, 50, 5000])
def test_the_pause_between_starts_grows_and_has_an_end(deaths: int) -> None:
    back_off = BackOff(first=0.5, most=30.0)
    assert 0.4 <= back_off.delay(deaths=deaths) <= 30.0
    assert back_off.delay(deaths=1) <= 0.5
