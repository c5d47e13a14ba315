"""As on AWS, without an account: a deployed Lambda, ECS, and what runs its tasks; and a model."""

import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts import records
from contracts.records import WorkerRecord
from contracts.words import WorkerId
from tests.fakes.dispatcher import REGION
from tests.fakes.ecs import EcsWire, ecs_environment, ecs_wire, prepare
from tests.fakes.engine import aws_client, fresh_account, running_engine, wait_until
from tests.fakes.fargate import Fargate, fargate
from tests.fakes.lambda_events import http_event
from tests.fakes.model import ScriptedModel, serving_model
from tests.fakes.runtime_api import LambdaFunction
from tests.integration.lambda_lab import BEARER, JSON, built, lambda_env, streaming, unpacked
from tests.integration.test_ecs_launcher import SERVICES
from tests.integration.worker_lab import bare_remote, git

SECONDS = 180.0


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """The Lambda, ECS and what runs its tasks, the model, and the repository."""

    function: LambdaFunction
    ecs: EcsWire
    fargate: Fargate
    model: ScriptedModel
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


@contextmanager
def ecs_cloud(
    tmp_path: Path,
    *,
    services: str = SERVICES,
    account: str | None = None,
    repo: str | None = None,
    of_tasks: Mapping[str, str | None] | None = None,
) -> Iterator[Cloud]:
    """All of it for the length of a block. ``repo``: the repository's address, if that is not its folder;
    ``of_tasks``: what the task definition gives besides, None for what it does not give."""
    account = account or fresh_account()
    folder = unpacked(built(tmp_path / "asset"), tmp_path / "unpacked")
    remote = tmp_path / "git" / "remote.git"
    if not remote.exists():
        bare_remote(tmp_path / "git")
    with (
        running_engine(tmp_path / "engine", 0, "--services", services) as engine,
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
        told = {
            **{k: os.environ[k] for k in ("PATH", "HOME", "LANG", "TMPDIR") if k in os.environ},
            **of_account,
            "ANTHROPIC_BASE_URL": model.url,
            "ANTHROPIC_API_KEY": "not-a-key",
            "AUTO_SHUTDOWN_MINUTES": "0.1",
            "BRANCHLINE_LEASE_SECONDS": "6",
            "BRANCHLINE_PREVIEW_PORT": str(port := free_port()),
            **(of_tasks or {}),
        }
        config = tmp_path / "branchline.toml"
        command = f"exec {sys.executable} -m http.server $PORT --bind $HOST"
        config.write_text(f'[project.site]\nrepo = "{repo or remote}"\npreview.command = "{command}"\n')
        of_function = {**ecs_environment(boundary), "BRANCHLINE_CONFIG": str(config)}
        of_function["BRANCHLINE_REPO"] = repo or str(remote)
        env = lambda_env(wire.url, account, **of_function)
        env_of_tasks = {k: v for k, v in told.items() if v is not None}
        with (
            fargate(url=engine.url, account=account, folder=tmp_path / "tasks", env=env_of_tasks) as tasks,
            streaming(folder, tmp_path=tmp_path, seconds=60, **env) as function,
        ):
            yield Cloud(
                function=function,
                ecs=wire,
                fargate=tasks,
                model=model,
                remote=remote,
                account=account,
                preview_port=port,
            )
