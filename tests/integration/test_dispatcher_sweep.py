"""The sweep: messages recorded but never sent, and workers marked up but dead, are found and put right."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from contracts import records
from contracts.records import StopRecord
from contracts.words import ThreadId, WorkerId
from dispatcher.endings import Endings
from dispatcher.record import Recorder
from dispatcher.verdicts import LOOKS, WAKES_AT_ONCE
from dispatcher.wake import Wake
from fleet.ports import any_free
from tests.fakes.dispatcher import FakeLauncher, environment, running_dispatcher
from tests.fakes.engine import EngineProcess, aws_client, fresh_account, wait_until
from tests.fakes.fleet_records import TABLE
from tests.integration import dispatcher_lab
from tests.integration.dispatcher_lab import WORKER, lab, table_of
from tests.integration.worker_lab import Lab, worker_lab

QUICK = {"BRANCHLINE_SWEEP_SECONDS": "0.2"}


@pytest.fixture
def house(engine: EngineProcess, tmp_path: Path) -> Iterator[Lab]:
    """Records, a remote and a model for real workers."""
    with worker_lab(engine_url=engine.url, account=fresh_account(), folder=tmp_path / "house") as house:
        yield house


def around(house: Lab, launcher: FakeLauncher, **more: str) -> dict[str, str]:
    """The environment of a dispatcher before these records."""
    return {
        "BRANCHLINE_TABLE": TABLE,
        "BRANCHLINE_REPO": str(house.remote),
        "BRANCHLINE_LAUNCHER_URL": launcher.url,
        "BRANCHLINE_LAUNCHER_TOKEN": launcher.token,
        **more,
    }


@contextmanager
def doomed(house: Lab, launcher: FakeLauncher, *, point: str, cwd: Path) -> Iterator[str]:
    """A dispatcher that dies at a failpoint, in a process group of its own; yields its address."""
    port = str(any_free())
    more = around(house, launcher, BRANCHLINE_FAULT=f"{point}:kill", BRANCHLINE_PORT=port)
    env = environment(engine_url=house.found.url, account=house.found.account, **more)
    argv = [sys.executable, "-m", "dispatcher"]
    process = subprocess.Popen(
        argv, env=env, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(url), seconds=30)
        yield url
        assert process.wait(30) == -signal.SIGKILL
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def post_into_death(house: Lab, launcher: FakeLauncher, *, point: str, cwd: Path) -> None:
    """Record a message by a dispatcher that does not live to answer."""
    with doomed(house, launcher, point=point, cwd=cwd) as url:
        with pytest.raises(httpx.TransportError):
            httpx.post(f"{url}/v1/threads", json={"text": "hello", "thread_id": "a"}, timeout=30)


@pytest.mark.slow
def test_a_running_worker_finds_by_itself_what_was_recorded_and_never_rung(
    house: Lab, launcher: FakeLauncher, tmp_path: Path
) -> None:
    house.start(BRANCHLINE_LOOK_SECONDS="1")
    wait_until(lambda: house.found.row().state == "up", seconds=30)
    launcher.running.add(WORKER)
    post_into_death(house, launcher, point="dispatcher_recorded", cwd=tmp_path)
    assert house.found.waiting() == (0, 0)
    assert house.outcome("a", 1) == "completed"
    assert launcher.asked == []


@pytest.mark.slow
@pytest.mark.parametrize("point", ["dispatcher_recorded", "dispatcher_sent"])
def test_the_next_dispatcher_wakes_the_cold_worker_of_a_dispatcher_that_died(
    house: Lab, launcher: FakeLauncher, tmp_path: Path, point: str
) -> None:
    post_into_death(house, launcher, point=point, cwd=tmp_path)
    assert sum(house.found.waiting()) == (1 if point == "dispatcher_sent" else 0)
    assert launcher.asked == []
    more = around(house, launcher, **QUICK)
    with running_dispatcher(house.found.url, account=house.found.account, cwd=tmp_path, **more):
        wait_until(lambda: launcher.asked == [WORKER])
        house.start()
        assert house.outcome("a", 1) == "completed"
    assert [e.type for e in house.events("a")].count("message.received") == 1


@pytest.mark.slow
def test_a_killed_worker_whose_row_says_up_is_started_again_and_goes_on(
    house: Lab, launcher: FakeLauncher, tmp_path: Path
) -> None:
    more = around(house, launcher, **QUICK)
    with running_dispatcher(house.found.url, account=house.found.account, cwd=tmp_path, **more) as dispatcher:
        process = house.start()
        launcher.running.add(WORKER)
        wait_until(lambda: house.found.row().state == "up", seconds=30)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        httpx.post(f"{dispatcher.url}/v1/threads", json={"text": "hello", "thread_id": "a"}, timeout=30)
        assert (house.found.row().state, launcher.asked) == ("up", [])
        launcher.running.discard(WORKER)  # its launcher has noticed
        wait_until(lambda: launcher.asked == [WORKER])
        house.start()
        assert house.outcome("a", 1) == "completed"


def test_a_worker_that_leaves_its_work_untouched_is_started_less_and_less_and_its_threads_are_told(
    engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path
) -> None:
    account = fresh_account()
    with lab(engine, launcher, tmp_path, account=account, **QUICK) as site:
        site.post("do it", thread_id="a")
        launcher.asked.clear()
        for count in range(1, WAKES_AT_ONCE + 1):
            launcher.running.clear()
            wait_until(lambda count=count: len(launcher.asked) == count)  # type: ignore[misc]
        launcher.running.clear()
        wait_until(lambda: "worker.stopped" in kinds(site))
        (told,) = [e for e in site.events("a") if e["type"] == "worker.stopped"]
        assert "ever more seldom" in told["data"]["reason"]
        assert len(launcher.asked) <= WAKES_AT_ONCE + 1
    with lab(engine, launcher, tmp_path, account=account, **QUICK) as site:
        before = len(launcher.asked)
        launcher.running.clear()
        wait_until(lambda: len(launcher.asked) > before, seconds=30)
        wait_until(lambda: looked(site) > WAKES_AT_ONCE + 1)  # the count has survived the dispatcher
        assert kinds(site).count("worker.stopped") == 1


def test_any_change_of_the_records_makes_the_sweep_hopeful_again(
    engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path
) -> None:
    with lab(engine, launcher, tmp_path, **QUICK) as site:
        site.post("do it", thread_id="a")
        launcher.running.clear()
        wait_until(lambda: looked(site) >= 1 and WORKER in launcher.running)
        set_looks(site, WAKES_AT_ONCE + 4)
        site.post("and this", thread_id="b")
        launcher.asked.clear()
        launcher.running.clear()
        wait_until(lambda: launcher.asked == [WORKER])
        wait_until(lambda: looked(site) == 1)


def test_work_that_nobody_took_up_for_long_ends_as_failed_and_wakes_nobody_any_more(
    engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path
) -> None:
    with lab(engine, launcher, tmp_path, **QUICK) as site:
        site.post("do it", thread_id="a")
        site.post("this too", thread_id="a")
        launcher.running.clear()
        wait_until(lambda: looked(site) >= 1 and WORKER in launcher.running)
        launcher.running.clear()

        def given_up() -> bool:
            if 0 < looked(site) < LOOKS - 1:  # a look that was under way writes its own count over ours
                set_looks(site, LOOKS - 1)
            return [e["type"] for e in site.events("a")][-2:] == ["turn.failed"] * 2

        wait_until(given_up, seconds=30)
        assert site.items(f"worker#{WORKER}", "open#") == []
        shown = site.client.get("/v1/threads/a").json()
        assert (shown["state"], [m["outcome"] for m in shown["messages"]]) == ("idle", ["failed"] * 2)


def kinds(site: dispatcher_lab.Lab) -> list[str]:
    return [e["type"] for e in site.events("a")]


def looked(site: dispatcher_lab.Lab) -> int:
    """The sweep's count of looks without any change."""
    notes = site.items(f"worker#{WORKER}", "note#untouched")
    return int(notes[0]["looks"]["N"]) if notes else 0


def set_looks(site: dispatcher_lab.Lab, looks: int) -> None:
    """Let time pass."""
    with aws_client("dynamodb", url=site.engine.url, account=site.account) as client:
        client.update_item(
            TableName=dispatcher_lab.TABLE,
            Key=records.key(records.worker_pk(WORKER), "note#untouched"),
            UpdateExpression="SET looks = :looks",
            ExpressionAttributeValues={":looks": {"N": str(looks)}},
        )


class Nobody:
    """A launcher whose workers never run."""

    async def ensure(self, worker_id: WorkerId) -> bool:
        return False

    async def running(self, worker_id: WorkerId) -> bool:
        return False


async def test_a_turn_record_that_changes_meanwhile_is_left_to_whoever_changed_it(
    engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lab(engine, launcher, tmp_path) as site:
        site.post("do it", thread_id="a")
        async with table_of(site, monkeypatch) as table:
            ((record,), _) = await table.open(worker=WORKER, thread_id=ThreadId("a"))
            wake = Wake(table=table, launcher=Nobody(), recorder=Recorder(table))
            endings = Endings(table=table, wake=wake)
            stale = record.model_copy(update={"attempts": 1})
            assert not await endings.give_up(WORKER, stale, why="x.")
            assert "turn.failed" not in kinds(site)
            assert await endings.give_up(WORKER, record, why="x.")
            assert not await endings.give_up(WORKER, record, why="x.")
        assert kinds(site).count("turn.failed") == 1


def test_a_cold_worker_is_woken_for_a_deletion_alone(
    engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path
) -> None:
    """A dispatcher died when it had marked the thread, and rang for nobody; no message waits."""
    with lab(engine, launcher, tmp_path, **QUICK) as made:
        made.post("hello", thread_id="a").raise_for_status()
        made.finish("a", 1)
        made.update_worker(state="cold")
        launcher.running.clear()
        launcher.asked.clear()
        gone = StopRecord(thread_id=ThreadId("a"), through=1, delete=True)
        with aws_client("dynamodb", url=made.engine.url, account=made.account) as client:
            client.put_item(
                TableName=dispatcher_lab.TABLE, Item=gone.write(records.delete_key(WORKER, ThreadId("a")))
            )
        wait_until(lambda: WORKER in launcher.asked, seconds=30)
        assert made.client.get("/v1/threads/a").status_code == 200  # not marked: the record alone woke it
