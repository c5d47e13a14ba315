"""As on AWS, without an account: a request to the deployed Lambda becomes a task of ECS, whose worker
answers, leaves when it is idle and is started again by the next message; and what the schedule does."""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contracts import records
from contracts.records import WorkerRecord
from contracts.words import WorkerId
from tests.fakes.dispatcher import REGION
from tests.fakes.ecs import EcsWire, Refusal, ecs_environment, ecs_wire, prepare
from tests.fakes.engine import aws_client, fresh_account, running_engine, wait_until
from tests.fakes.fargate import ADDRESS, Fargate, fargate
from tests.fakes.lambda_events import http_event
from tests.fakes.model import serving_model
from tests.fakes.runtime_api import LambdaFunction
from tests.integration.lambda_lab import BEARER, JSON, built, lambda_env, streaming, unpacked
from tests.integration.test_ecs_launcher import SERVICES
from tests.integration.worker_lab import bare_remote, git

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SECONDS = 180.0


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """The Lambda, ECS and what runs its tasks, and the repository."""

    function: LambdaFunction
    ecs: EcsWire
    fargate: Fargate
    remote: Path
    account: str
    preview_port: int

    def post(self, text: str, *, thread: str) -> None:
        body = json.dumps({"text": text, "thread_id": thread})
        answer = self.function.request(
            http_event("POST", "/v1/threads", body=body, headers={**JSON, **BEARER})
        )
        assert answer.status == 202, answer.body

    def events(self, thread: str) -> list[dict[str, Any]]:
        answer = self.function.request(
            http_event("GET", f"/v1/threads/{thread}/events", query="follow=false", headers=BEARER)
        )
        lines = answer.body.decode().splitlines()
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]

    def types(self, thread: str) -> list[str]:
        return [event["type"] for event in self.events(thread)]

    def answered(self, thread: str) -> None:
        try:
            wait_until(lambda: "turn.completed" in self.types(thread), seconds=SECONDS)
        except AssertionError:
            story = f"{self.types(thread)}\n{self.function.logs()[-3000:]}\n{self.fargate.logs()[-3000:]}"
            raise AssertionError(story) from None

    def row(self) -> WorkerRecord:
        """The worker's row, as the table holds it."""
        worker = WorkerId("local-site-local")
        with aws_client("dynamodb", url=self.ecs.url, account=self.account) as client:
            key = records.worker_key(worker)
            return WorkerRecord.read(client.get_item(TableName="branchline", Key=key)["Item"])

    def files(self, branch: str) -> set[str]:
        return set(git(self.remote, "ls-tree", "-r", "--name-only", branch).splitlines())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    account = fresh_account()
    folder = unpacked(built(tmp_path / "asset"), tmp_path / "unpacked")
    remote = bare_remote(tmp_path / "git")
    with (
        running_engine(tmp_path / "engine", 0, "--services", SERVICES) as engine,
        ecs_wire(engine.url) as wire,
        serving_model() as model,
    ):
        boundary = prepare(url=engine.url, account=account)
        of_account = {
            "AWS_ENDPOINT_URL": wire.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": account,
            "AWS_SECRET_ACCESS_KEY": "local",
        }
        of_tasks = {
            **{k: os.environ[k] for k in ("PATH", "HOME", "LANG", "TMPDIR") if k in os.environ},
            **of_account,
            "ANTHROPIC_BASE_URL": model.url,
            "ANTHROPIC_API_KEY": "not-a-key",
            "AUTO_SHUTDOWN_MINUTES": "0.1",
            "BRANCHLINE_LEASE_SECONDS": "6",
            "BRANCHLINE_PREVIEW_PORT": str(port := free_port()),
        }
        config = tmp_path / "branchline.toml"
        command = f"exec {sys.executable} -m http.server $PORT --bind $HOST"
        config.write_text(f'[project.site]\nrepo = "{remote}"\npreview.command = "{command}"\n')
        of_function = {**ecs_environment(boundary), "BRANCHLINE_CONFIG": str(config)}
        of_function["BRANCHLINE_REPO"] = str(remote)
        env = lambda_env(wire.url, account, **of_function)
        with (
            fargate(url=engine.url, account=account, folder=tmp_path / "tasks", env=of_tasks) as tasks,
            streaming(folder, tmp_path=tmp_path, seconds=60, **env) as function,
        ):
            yield Cloud(
                function=function,
                ecs=wire,
                fargate=tasks,
                remote=remote,
                account=account,
                preview_port=port,
            )


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
