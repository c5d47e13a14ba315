"""As on AWS, without an account: a request to the deployed Lambda becomes a task of ECS, whose worker
answers, leaves when it is idle and is started again by the next message; and what the schedule does."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.ecs import Refusal
from tests.fakes.engine import wait_until
from tests.fakes.fargate import ADDRESS
from tests.integration.ecs_lab import SECONDS, Cloud, ecs_cloud

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with ecs_cloud(tmp_path) as made:
        yield made


def test_a_message_starts_a_task_that_answers_leaves_and_is_started_again(cloud: Cloud) -> None:
    cloud.post("Write it\ndo: write a.txt one\ndo: say Done.", thread="t1")
    cloud.answered("t1")
    assert cloud.types("t1")[:2] == ["message.received", "worker.starting"]
    assert "a.txt" in cloud.files("thread-t1")
    assert len(cloud.fargate.ran) == 1
    shown = f"http://{ADDRESS}:{cloud.preview_port}"
    wait_until(lambda: cloud.row().preview_url == shown, seconds=SECONDS)

    wait_until(lambda: list(cloud.fargate.codes.values()) == [0], seconds=SECONDS)
    assert cloud.fargate.running == [], "it was idle, and has left by itself"

    cloud.post("Go on\ndo: write b.txt two\ndo: say Done.", thread="t1")
    wait_until(lambda: cloud.types("t1").count("turn.completed") == 2, seconds=SECONDS)
    assert {"a.txt", "b.txt"} <= cloud.files("thread-t1"), "the work was on the remote, not on the first disk"
    assert len(cloud.fargate.ran) == 2
    assert len(cloud.ecs.starts) == 2


def test_the_schedule_starts_what_could_not_be_started_and_what_died(cloud: Cloud, tmp_path: Path) -> None:
    full = Refusal(action="RunTask", code="ClientException", message="Capacity is unavailable", times=100)
    cloud.ecs.refusals.append(full)
    cloud.post("Write it\ndo: write a.txt one\ndo: say Done.", thread="t1")
    assert cloud.function.invoke({"branchline": "sweep"}) == {"done": "sweep"}
    assert cloud.fargate.ran == []
    full.times = 0
    assert cloud.function.invoke({"branchline": "sweep"}) == {"done": "sweep"}
    cloud.answered("t1")
    assert cloud.types("t1").count("worker.starting") == 1

    go = tmp_path / "go"
    cloud.post(f"Wait\ndo: wait {go}\ndo: write b.txt two\ndo: say Done.", thread="t2")
    wait_until(lambda: "turn.started" in cloud.types("t2"), seconds=SECONDS)
    for process in cloud.fargate.processes():
        os.killpg(process, signal.SIGKILL)
    wait_until(lambda: cloud.fargate.running == [], seconds=SECONDS)
    wait_until(lambda: len(cloud.fargate.codes) == len(cloud.fargate.ran), seconds=SECONDS)
    before = len(cloud.fargate.ran)

    def swept() -> bool:
        cloud.function.invoke({"branchline": "sweep"})
        return len(cloud.fargate.ran) > before

    wait_until(swept, seconds=SECONDS)
    go.touch()
    cloud.answered("t2")
    assert "turn.resumed" in cloud.types("t2")
    assert "b.txt" in cloud.files("thread-t2")
