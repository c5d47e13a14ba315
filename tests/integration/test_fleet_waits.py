"""A person who follows a thread is told, beside the output, when the fleet is gone and when it is back."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet.client import Outage
from fleet.ports import any_free
from tests.fakes.engine import wait_until
from tests.integration.test_fleet_send import ROOT, Desk, a_turn

GONE = "branchline: the fleet does not answer; waiting for it\n"
BACK = "branchline: it is back\n"


class DeskAt(Desk):
    """The stand-in at a given port, so that another can take its place."""

    allow_reuse_address = True
    port = 0

    def server_bind(self) -> None:
        self.server_address = ("127.0.0.1", self.port)
        super().server_bind()


@contextmanager
def desk_at(port: int) -> Iterator[Desk]:
    made = type("DeskHere", (DeskAt,), {"port": port})()
    a_turn(made)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


def test_send_says_once_that_the_fleet_is_gone_and_once_that_it_is_back(tmp_path: Path) -> None:
    port = any_free()
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "BRANCHLINE_URL": f"http://127.0.0.1:{port}"}
    said = tmp_path / "stderr"
    with said.open("wb") as errors, desk_at(port) as desk:
        desk.drop_after = 4
        process = subprocess.Popen(
            [sys.executable, "-m", "fleet", "send", "hi"], env=env, stdout=subprocess.PIPE, stderr=errors
        )
        wait_until(lambda: desk.drop_after == 0 and desk.asked_after, seconds=30)
        del desk.log[4:]  # nothing more, should it come back before this desk is closed
    wait_until(lambda: said.read_text() == GONE, seconds=30)
    with desk_at(port):
        output, _ = process.communicate(timeout=60)
    assert said.read_text() == GONE + BACK
    assert process.returncode == 0
    assert output.decode().splitlines()[-1] == "completed (1.2 s)"


def test_a_short_gap_is_not_worth_a_word() -> None:
    said: list[str] = []
    outage = Outage(said.append, after=2)
    outage.lost(now=10)
    outage.lost(now=11.9)
    outage.over()
    outage.lost(now=13)
    outage.lost(now=14)
    assert said == []


def test_each_outage_is_told_once() -> None:
    said: list[str] = []
    outage = Outage(said.append, after=2)
    for start in (10, 100):
        for now in range(start, start + 10):
            outage.lost(now=now)
        outage.over()
        outage.over()
    assert said == ["the fleet does not answer; waiting for it", "it is back"] * 2
