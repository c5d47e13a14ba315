"""Crashes of the dispatcher and outages behind it: nothing that was taken is lost or doubled."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fakes.dispatcher import FakeLauncher, running_dispatcher
from tests.fakes.engine import EngineProcess, aws_client, fresh_account, running_engine, wait_until
from tests.integration.dispatcher_lab import WORKER, Gate, Lab, lab

pytestmark = pytest.mark.slow


@pytest.fixture
def gate(engine: EngineProcess) -> Iterator[Gate]:
    gate = Gate(engine.url)
    yield gate
    gate.close()


def test_a_dispatcher_killed_between_record_and_send_is_made_good_by_the_senders_retry(
    engine: EngineProcess, launcher: FakeLauncher, gate: Gate, tmp_path: Path
) -> None:
    account = fresh_account()
    body = {"text": "do it", "message_id": "m-1", "thread_id": "a"}
    with running_dispatcher(gate.url, account=account, cwd=tmp_path) as doomed:
        gate.closed, gate.shut = "SendMessage", doomed.process.kill
        with pytest.raises(httpx.TransportError):
            httpx.post(f"{doomed.url}/v1/threads", json=body, timeout=30)
    gate.closed = None
    with lab(engine, launcher, tmp_path, account=account) as site:
        wait_until(lambda: launcher.asked == [WORKER])  # the look at start
        assert site.pointers() == []
        answer = site.client.post("/v1/threads", json=body)
        assert (answer.status_code, answer.json()["sequence"]) == (202, 1)
        assert [p["message_id"] for p in site.pointers()] == ["m-1"]
        assert [e["type"] for e in site.events("a")].count("message.received") == 1


def test_a_queue_that_does_not_answer_costs_time_but_no_message(
    engine: EngineProcess, launcher: FakeLauncher, gate: Gate, tmp_path: Path
) -> None:
    with lab(engine, launcher, tmp_path, AWS_ENDPOINT_URL=gate.url) as site:
        site.post("first", thread_id="a")
        gate.closed, gate.shut = "SendMessage", lambda: None
        answer = site.post("second", thread_id="a")
        assert (answer.status_code, answer.json()["sequence"]) == (202, 2)
        assert launcher.asked == [WORKER, WORKER]


def test_a_queue_that_was_deleted_is_made_again(site: Lab) -> None:
    site.post("first", thread_id="a")
    with aws_client("sqs", url=site.engine.url, account=site.account) as client:
        url = client.get_queue_url(QueueName="branchline-local-site-local")["QueueUrl"]
        client.delete_queue(QueueUrl=url)
    assert site.post("second", thread_id="a").status_code == 202
    assert [p["sequence"] for p in site.pointers()] == [2]


def test_storage_out_of_reach_is_a_503_with_the_id_to_repeat_and_heals(
    tmp_path: Path, launcher: FakeLauncher
) -> None:
    with running_engine(tmp_path / "engine") as engine, lab(engine, launcher, tmp_path) as site:
        site.post("first", thread_id="a")
        engine.kill9()
        answer = site.post("second", thread_id="a", message_id="m-2")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert "Traceback" not in answer.text
        assert site.client.get("/healthz").status_code == 503
        assert site.client.get("/v1/threads").status_code == 503
        engine.restart()
        again = site.post("second", thread_id="a", message_id="m-2")
        assert (again.status_code, again.json()["sequence"]) == (202, 2)
        assert site.client.get("/healthz").json()["status"] == "ok"


def test_an_engine_that_moved_to_another_port_still_has_the_queue(
    tmp_path: Path, launcher: FakeLauncher
) -> None:
    account = fresh_account()
    with running_engine(tmp_path / "engine") as engine:
        with lab(engine, launcher, tmp_path, account=account) as site:
            site.post("first", thread_id="a")
        engine.stop()
        engine.restart(port=0)
        with lab(engine, launcher, tmp_path, account=account) as site:
            assert site.post("second", thread_id="a").status_code == 202
            assert 2 in [p["sequence"] for p in site.pointers()]
