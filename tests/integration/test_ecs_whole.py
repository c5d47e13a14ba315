"""As on AWS, without an account: a request to the deployed Lambda becomes a task of ECS, whose worker
answers, leaves when it is idle and is started again by the next message; and what the schedule and the event
of a task's end do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.ecs import Refusal
from tests.fakes.engine import wait_until
from tests.integration.cloud_lab import SECONDS, Cloud, cloud_of_processes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with cloud_of_processes(tmp_path) as made:
        yield made


def test_a_message_starts_a_task_that_answers_leaves_and_is_started_again(cloud: Cloud) -> None:
    cloud.post("Write it\ndo: write a.txt one\ndo: say Done.", thread="t1")
    cloud.answered("t1")
    assert cloud.types("t1")[:2] == ["message.received", "worker.starting"]
    assert "a.txt" in cloud.files("thread-t1")
    assert len(cloud.fargate.ran) == 1
    shown = f"http://{cloud.fargate.address(0)}:"
    wait_until(lambda: (cloud.row().preview_url or "").startswith(shown), seconds=SECONDS)

    wait_until(lambda: list(cloud.fargate.codes.values()) == [0], seconds=SECONDS)
    assert cloud.fargate.running == [], "it was idle, and has left by itself"

    cloud.post("Go on\ndo: write b.txt two\ndo: recall", thread="t1")
    cloud.answered("t1", times=2)
    assert {"a.txt", "b.txt"} <= cloud.files("thread-t1"), "the work was on the remote, not on the first disk"
    (*_, last) = [e["data"]["text"] for e in cloud.events("t1") if e["type"] == "turn.completed"]
    assert "Write it" in last, "the conversation was in the records, not on the first disk"
    assert len(cloud.fargate.ran) == 2
    assert len(cloud.ecs.starts) == 2


def test_a_message_to_a_worker_that_leaves_is_answered_when_its_task_has_ended(cloud: Cloud) -> None:
    cloud.fargate.telling.clear()
    cloud.post("Write it\ndo: write a.txt one\ndo: say Done.", thread="t1")
    cloud.answered("t1")
    cloud.until(lambda: cloud.fargate.running == [], thread="t1")

    cloud.post("Go on\ndo: write b.txt two\ndo: say Done.", thread="t1")
    cloud.sweep()
    assert cloud.statuses() == ["RUNNING"], "ECS does not know yet that it has left"
    assert len(cloud.ecs.starts) == 1, "while a task runs no other is started, whoever asks"

    cloud.fargate.telling.set()  # nobody sweeps from here on but who hears of the end
    cloud.answered("t1", times=2)
    assert [event["detail"]["taskArn"] for event in cloud.ended] == cloud.fargate.ran[:1]
    assert cloud.statuses() == ["STOPPED", "RUNNING"]
    assert {"a.txt", "b.txt"} <= cloud.files("thread-t1")


def test_the_schedule_starts_what_could_not_be_started_and_what_died(cloud: Cloud, tmp_path: Path) -> None:
    full = Refusal(action="RunTask", code="ClientException", message="Capacity is unavailable", times=100)
    cloud.ecs.refusals.append(full)
    cloud.post("Write it\ndo: write a.txt one\ndo: say Done.", thread="t1")
    cloud.sweep()
    assert cloud.fargate.ran == []
    full.times = 0
    cloud.sweep()
    cloud.answered("t1")
    assert cloud.types("t1").count("worker.starting") == 1

    go = tmp_path / "go"
    cloud.post(f"Wait\ndo: wait {go}\ndo: write b.txt two\ndo: say Done.", thread="t2")
    cloud.until(lambda: "turn.started" in cloud.types("t2"), thread="t2")
    full.times = 1  # what hears of the end comes in vain
    cloud.fargate.lose()
    wait_until(lambda: len(cloud.ended) == len(cloud.fargate.ran), seconds=SECONDS)
    before = len(cloud.fargate.ran)

    def swept() -> bool:
        cloud.sweep()
        return len(cloud.fargate.ran) > before

    wait_until(swept, seconds=SECONDS)
    go.touch()
    cloud.answered("t2")
    assert "turn.resumed" in cloud.types("t2")
    assert "b.txt" in cloud.files("thread-t2")
