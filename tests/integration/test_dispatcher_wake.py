"""Whoever has work and no living worker gets one."""

from pathlib import Path

from contracts import records
from tests.fakes.dispatcher import FakeLauncher
from tests.fakes.engine import EngineProcess, fresh_account, wait_until
from tests.integration.dispatcher_lab import WORKER, Lab, lab


def test_a_worker_that_is_up_is_not_woken(site: Lab) -> None:
    site.post("first", thread_id="a")
    site.update_worker(state="up")
    site.post("second", thread_id="a")
    assert site.launcher.asked == [WORKER]
    site.update_worker(state="cold")
    site.post("third", thread_id="a")
    assert site.launcher.asked == [WORKER, WORKER]
    assert [e["type"] for e in site.events("a")].count("worker.starting") == 1


def test_a_launcher_that_fails_delays_no_answer_and_loses_nothing(
    engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path
) -> None:
    launcher.failing = True
    with lab(engine, launcher, tmp_path, BRANCHLINE_SWEEP_SECONDS="0.1") as site:
        assert site.post("hello", thread_id="a").status_code == 202
        assert launcher.asked == []
        launcher.failing = False
        wait_until(lambda: launcher.asked == [WORKER])
        wait_until(lambda: [e["type"] for e in site.events("a")] == ["message.received", "worker.starting"])


def test_the_sweep_wakes_a_worker_whose_row_says_up_but_that_does_not_run(
    engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path
) -> None:
    with lab(engine, launcher, tmp_path, BRANCHLINE_SWEEP_SECONDS="0.1") as site:
        site.post("hello", thread_id="a")
        site.update_worker(state="up")
        launcher.running.clear()  # it was killed
        wait_until(lambda: len(launcher.asked) == 2)
        site.finish("a", 1)
        launcher.running.clear()
        looks = launcher.looks
        assert site.post("x", thread_id="b").status_code == 202
        wait_until(lambda: launcher.looks > looks)


def test_a_dispatcher_that_starts_brings_the_row_up_to_date(
    engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path
) -> None:
    account = fresh_account()
    with lab(engine, launcher, tmp_path, account=account) as site:
        site.post("hello")
        site.update_worker(state="up", epoch=7)
    with lab(
        engine, launcher, tmp_path, account=account, BRANCHLINE_REPO="example.invalid/moved.git"
    ) as site:
        (item,) = site.items(f"worker#{WORKER}", "worker")
        row = records.WorkerRecord.read(item)
        assert (row.repo, row.state, row.epoch) == ("example.invalid/moved.git", "up", 7)
