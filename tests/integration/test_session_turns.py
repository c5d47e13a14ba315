"""Conversations that outlive the disk: the real Claude Code, a worker's disk that is thrown away, another."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from worker_lab import Lab, worker_lab

from contracts import names
from contracts.words import ThreadId
from tests.fakes.engine import wait_until
from tests.fakes.wire import THROTTLED, Answer, Wire

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
RECORDS = {"BRANCHLINE_SESSIONS": "records"}
TEAL = "My favourite colour is teal.\ndo: task create Paint\ndo: say Noted."


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[Lab]:
    with worker_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


def leave(lab: Lab) -> None:
    """The last worker is asked to leave and does, and its disk goes with it."""
    process = lab.processes[-1]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0, lab.logs()[-4000:]
    shutil.rmtree(lab.workspace)


def answers(lab: Lab, thread: str) -> list[Any]:
    return [data.text for data in lab.data(thread, "turn.completed")]


def sessions(lab: Lab) -> set[str | None]:
    """Sessions in which the colour came up."""
    return {
        r.request.session_id for r in lab.model.requests if any("teal" in t for t in r.request.user_texts)
    }


def test_the_second_message_on_another_disk_knows_the_first(lab: Lab) -> None:
    lab.start(**RECORDS)
    lab.post("memory", 1, TEAL)
    assert lab.outcome("memory", 1) == "completed"
    leave(lab)
    lab.start(**RECORDS)
    lab.post("memory", 2, "do: task done 1\ndo: recall")
    assert lab.outcome("memory", 2) == "completed"
    assert "My favourite colour is teal." in answers(lab, "memory")[-1]
    (session,) = sessions(lab)
    assert session == str(names.session(worker=lab.found.worker, thread_id=ThreadId("memory")))
    tasks = [[(t.id, t.status) for t in data.tasks] for data in lab.data("memory", "turn.tasks")]
    assert tasks[-1] == [("1", "completed")]
    lab.found.delete("memory")
    wait_until(lambda: not lab.found.left_of("memory"), seconds=60)


def test_without_the_setting_nothing_is_recorded_and_it_is_forgotten(lab: Lab) -> None:
    lab.start()
    lab.post("memory", 1, TEAL)
    assert lab.outcome("memory", 1) == "completed"
    leave(lab)
    assert not [key for key in lab.found.left_of("memory") if " session#" in key]
    lab.start()
    lab.post("memory", 2, "do: recall")
    assert lab.outcome("memory", 2) == "completed"
    assert "teal" not in answers(lab, "memory")[-1]


def test_a_parked_turn_goes_on_on_another_disk_in_the_same_session(lab: Lab, tmp_path: Path) -> None:
    lab.start(**RECORDS)
    go = tmp_path / "go"
    step = f"{TEAL}\ndo: write one.txt 1\ndo: bash while [ ! -e {go} ]; do nice sleep 0.1; done\n"
    lab.post("long", 1, f"{step}do: write two.txt 2\ndo: recall")
    lab.wait_for("long", "turn.tool", count=5)
    leave(lab)
    go.touch()
    lab.start(**RECORDS)
    assert lab.outcome("long", 1) == "completed"
    tree = lab.tree("thread-long")
    assert (tree["one.txt"], tree["two.txt"]) == ("1", "2")
    assert len(sessions(lab)) == 1
    last = lab.model.requests[-1].request
    assert last.resumed
    assert len([t for t in last.user_texts if "teal" in t]) == 1, "the request was said once"
    assert "You go on on another disk" in str(last.body["messages"])


def test_a_parked_turn_whose_session_is_gone_is_told_what_is_true(lab: Lab, tmp_path: Path) -> None:
    lab.start()
    go = tmp_path / "go"
    lab.post("long", 1, f"do: write one.txt 1\ndo: wait {go}\ndo: say Done.")
    lab.wait_for("long", "turn.tool", count=2)
    leave(lab)
    go.touch()
    lab.start()
    assert lab.outcome("long", 1) == "completed"
    said = str(lab.model.requests[-1].request.body["messages"])
    assert "was begun before and paused because the worker was shut down" in said
    assert "before you saw it" not in said


class NoSessions(Wire):
    """Refuses whatever has to do with sessions. ``code``: as what."""

    refusals = 0

    def _refuse(self, *, service: str, action: str, body: bytes) -> Answer | None:
        if b"session#" in body and action in ("Query", "TransactWriteItems"):
            self.refusals += 1
            return 400, "application/x-amz-json-1.0", self.said
        return super()._refuse(service=service, action=action, body=body)

    said = THROTTLED


class Denied(NoSessions):
    """The same for good."""

    said = THROTTLED.replace(b"ThrottlingException", b"AccessDeniedException")


@pytest.mark.parametrize("kind", [NoSessions, Denied])
def test_a_store_that_refuses_everything_harms_no_turn(
    lab: Lab, engine_url: str, kind: type[NoSessions]
) -> None:
    wire = kind(engine_url)
    try:
        lab.start(**RECORDS, AWS_ENDPOINT_URL=wire.url)
        lab.post("memory", 1, TEAL)
        lab.post("memory", 2, "do: write a.txt a\ndo: recall")
        assert lab.outcome("memory", 2) == "completed"
        assert "teal" in answers(lab, "memory")[-1], "what is on the disk is remembered"
        assert lab.tree("thread-memory")["a.txt"] == "a"
        assert wire.refusals >= 4
        assert "session_not_kept" in lab.logs()
        leave(lab)
    finally:
        wire.close()
