"""As on AWS, without an account: the deployed Lambda, ECS and what runs its tasks, a repository, a model."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts import records
from contracts.records import WorkerRecord
from contracts.words import WorkerId
from tests.fakes.dispatcher import REGION
from tests.fakes.ecs import EcsWire, ecs_environment, ecs_wire, prepare
from tests.fakes.engine import aws_client, fresh_account, running_engine, wait_until
from tests.fakes.event_bridge import fits, worker_ended
from tests.fakes.fargate import Event, Fargate, Processes
from tests.fakes.lambda_events import http_event
from tests.fakes.model import ScriptedModel, serving_model
from tests.fakes.preview import free_port
from tests.fakes.runtime_api import LambdaFunction
from tests.integration.lambda_lab import BEARER, JSON, built, lambda_env, streaming, unpacked
from tests.integration.test_ecs_launcher import SERVICES
from tests.integration.worker_lab import bare_remote, git

SECONDS = 180.0
SWEEP = {"branchline": "sweep"}


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """The Lambda, ECS and what runs its tasks, the model, the repository. ``ended``: events of tasks' ends so
    far."""

    function: LambdaFunction
    ecs: EcsWire
    fargate: Fargate
    model: ScriptedModel
    remote: Path
    account: str
    ended: list[Event] = field(default_factory=list)

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

    def sweep(self) -> None:
        """What the schedule does each minute."""
        assert self.function.invoke(SWEEP) == {"done": "sweep"}

    def answered(self, thread: str, *, times: int = 1) -> None:
        """Wait until so many messages of a thread are answered."""
        self.until(lambda: self.types(thread).count("turn.completed") == times, thread=thread)

    def until(self, condition: Callable[[], object], *, thread: str) -> None:
        """Wait; a failure tells the thread's story."""
        try:
            wait_until(condition, seconds=SECONDS)
        except AssertionError:
            story = f"{self.types(thread)}\n{self.function.logs()[-3000:]}\n{self.fargate.logs()[-3000:]}"
            raise AssertionError(story) from None

    def row(self) -> WorkerRecord:
        """The worker's row, as the table holds it."""
        worker = WorkerId("local-site-local")
        with aws_client("dynamodb", url=self.ecs.url, account=self.account) as client:
            key = records.worker_key(worker)
            return WorkerRecord.read(client.get_item(TableName="branchline", Key=key)["Item"])

    def statuses(self) -> list[str]:
        """How ECS says the tasks are, in the order in which they were started."""
        with aws_client("ecs", url=self.ecs.url, account=self.account) as client:
            shown = client.describe_tasks(cluster="branchline", tasks=self.fargate.ran)["tasks"]
        found = {task["taskArn"]: str(task["lastStatus"]) for task in shown}
        return [found[arn] for arn in self.fargate.ran]

    def files(self, branch: str) -> set[str]:
        return set(git(self.remote, "ls-tree", "-r", "--name-only", branch).splitlines())


@contextmanager
def cloud_of(
    start: Callable[..., Fargate],
    *,
    folder: Path,
    remote: Path,
    preview: str,
    image: str,
    account: str | None = None,
    services: str = SERVICES,
    repo: str | None = None,
    of_function: Mapping[str, str] | None = None,
    hears: bool = True,
    **of_tasks: str | None,
) -> Iterator[Cloud]:
    """A whole one for the length of a block. ``start`` makes what runs the tasks, ``preview`` is the
    project's command, ``image`` and ``of_tasks`` go into the task definition (None: what it does not give).
    ``repo``: the repository's address, if that is not its folder; ``of_function``: more of the function's
    variables; ``hears``: whether the function hears of tasks' ends. No schedule: a test sweeps."""
    account, ended = account or fresh_account(), list[Event]()
    address = repo or str(remote)
    unzipped = unpacked(built(folder / "asset"), folder / "unpacked")
    config = folder / "branchline.toml"
    config.write_text(f'[project.site]\nrepo = "{address}"\npreview.command = {json.dumps(preview)}\n')
    with (
        running_engine(folder / "engine", 0, "--services", services) as engine,
        ecs_wire(engine.url) as wire,
        serving_model() as model,
    ):
        told = {**_of_tasks(wire.url, account=account, model_url=model.url), **of_tasks}
        given = {name: value for name, value in told.items() if value is not None}
        boundary = prepare(url=engine.url, account=account, image=image, environment=given)
        own = {**ecs_environment(boundary), "BRANCHLINE_CONFIG": str(config), "BRANCHLINE_REPO": address}
        own |= of_function or {}
        with streaming(
            unzipped, tmp_path=folder, seconds=60, **lambda_env(wire.url, account, **own)
        ) as function:

            def heard(event: Event) -> None:
                ended.append(event)
                if hears and fits(event, worker_ended(cluster=f"arn:aws:ecs:{REGION}:{account}")):
                    function.invoke(SWEEP)

            with closing(
                start(url=engine.url, account=account, folder=folder / "tasks", heard=heard)
            ) as fargate:
                yield Cloud(
                    function=function,
                    ecs=wire,
                    fargate=fargate,
                    model=model,
                    remote=remote,
                    account=account,
                    ended=ended,
                )


def cloud_of_processes(
    folder: Path, *, remote: Path | None = None, **more: Any
) -> AbstractContextManager[Cloud]:
    """One whose workers are processes of this machine, with a small preview. ``more``: as ``cloud_of``."""
    told = {"BRANCHLINE_PREVIEW_PORT": str(free_port()), **more}
    return cloud_of(
        Processes,
        folder=folder,
        remote=remote or bare_remote(folder / "git"),
        preview=f"exec {sys.executable} -m http.server $PORT --bind $HOST",
        image="branchline-worker",
        **told,
    )


def _of_tasks(url: str, *, account: str, model_url: str) -> Mapping[str, str]:
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": account,
        "AWS_SECRET_ACCESS_KEY": "local",
        "ANTHROPIC_BASE_URL": model_url,
        "ANTHROPIC_API_KEY": "not-a-key",
        "AUTO_SHUTDOWN_MINUTES": "0.1",
        "BRANCHLINE_LEASE_SECONDS": "6",
        "BRANCHLINE_SESSIONS": "records",
    }
