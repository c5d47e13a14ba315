"""The stacks in the embedded engine, and a message that goes through the table and the queues they made."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from cdk import settings as names
from contracts import records
from contracts.names import branch, queue
from contracts.places import REPLIES_QUEUE
from contracts.words import ThreadId, WorkerId
from dispatcher.signin_records import digest
from fleet.standin.keys import new_private_key
from fleet.standin.slack import SECRET
from tests.aws.assembly import EDGE, SECONDS, Assembly, synthesized
from tests.aws.engine_stacks import SERVICES, Cloud, known
from tests.fakes.dispatcher import FakeLauncher, running_dispatcher, running_launcher
from tests.fakes.engine import REGION, fresh_account, running_engine, wait_until
from tests.fakes.model import ScriptedModel, serving_model
from tests.integration.worker_lab import bare_remote, git

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]

TOKEN = "blt_of-the-operator"
CHATS = {
    "SLACK_BOT_TOKEN": "xoxb-1",
    "SLACK_SIGNING_SECRET": SECRET,
    "GITHUB_WEBHOOK_SECRET": "s",
    "GITHUB_APP_ID": "1",
}


@pytest.fixture(scope="module")
def cloud(plain: Assembly, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    state = tmp_path_factory.mktemp("engine")
    with running_engine(state, 0, "--services", SERVICES) as engine:
        cloud = Cloud(url=engine.url, account=fresh_account())
        cloud.made = cloud.deploy(plain)
        yield cloud


def test_everything_is_deployed_as_it_is(cloud: Cloud, plain: Assembly) -> None:
    written = {name: len(template.resources) for name, template in plain.templates.items()}
    assert cloud.made == written


def test_every_other_choice_is_deployed_as_it_is_too(cloud: Cloud) -> None:
    for folder in (p.parent for p in synthesized().glob("*/manifest.json")):
        chosen, other = Assembly(folder), Cloud(url=cloud.url, account=fresh_account())
        # A domain's stack has a test of its own: its zone has to be there.
        templates = {name: t for name, t in chosen.templates.items() if name != EDGE}
        written = {name: len(known(template.resources)) for name, template in templates.items()}
        assert other.deploy(chosen) == written, folder.name


def test_what_the_product_relies_on_is_there(cloud: Cloud) -> None:
    table = cloud.client("dynamodb").describe_table(TableName=names.TABLE)["Table"]
    assert table["KeySchema"] == records.TABLE_SCHEMA["KeySchema"]
    task = cloud.client("ecs").describe_task_definition(taskDefinition=names.TASK)["taskDefinition"]
    (container,) = task["containerDefinitions"]
    assert (container["name"], container["readonlyRootFilesystem"]) == (names.CONTAINER, True)
    secret = cloud.client("secretsmanager").get_secret_value(SecretId=names.DISPATCHER_SECRET)
    assert len(json.loads(secret["SecretString"])["BRANCHLINE_SEAL_KEY"]) == 48


def test_a_worker_of_the_task_definition_can_be_started_with_a_role_of_its_own(
    cloud: Cloud, plain: Assembly
) -> None:
    told = lambda_environment(cloud, plain)
    role = "arn:aws:iam::000000000000:role/branchline/worker/w"
    network = {
        "subnets": told["BRANCHLINE_ECS_SUBNETS"].split(","),
        "securityGroups": [told["BRANCHLINE_ECS_SECURITY_GROUP"]],
        "assignPublicIp": "ENABLED",
    }
    variables = [{"name": "CONTAINER_ID", "value": "local-site-local"}]
    (task,) = cloud.client("ecs").run_task(
        cluster=told["BRANCHLINE_ECS_CLUSTER"],
        taskDefinition=told["BRANCHLINE_ECS_TASK"],
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
        overrides={
            "taskRoleArn": role,
            "containerOverrides": [{"name": names.CONTAINER, "environment": variables}],
        },
    )["tasks"]
    assert task["taskDefinitionArn"].endswith(f"/{names.TASK}:1")
    cloud.client("ecs").stop_task(cluster=told["BRANCHLINE_ECS_CLUSTER"], task=task["taskArn"])


def test_a_message_becomes_a_commit_through_what_the_stacks_made(
    cloud: Cloud, plain: Assembly, tmp_path: Path
) -> None:
    remote = bare_remote(tmp_path)
    before = replies(cloud)
    with running_launcher() as launcher, serving_model() as model:
        told = dispatcher_environment(cloud, plain, launcher=launcher, repo=remote)
        with running_dispatcher(cloud.url, account=cloud.account, cwd=tmp_path, **told) as dispatcher:
            wait_until(lambda: posted(dispatcher.url), seconds=30)
            worker = WorkerId(wait_until(lambda: launcher.asked and launcher.asked[-1]))
            with worker_process(cloud, worker=worker, model=model, folder=tmp_path) as process:
                outcome = wait_until(
                    lambda: last_event(dispatcher.url) if process.poll() is None else "the worker left",
                    seconds=90,
                )
    assert outcome == "turn.completed", (tmp_path / "worker.log").read_text()[-4000:]
    assert git(remote, "show", f"{branch(ThreadId('t1'))}:a.txt") == "one"
    assert cloud.client("sqs").get_queue_url(QueueName=queue(worker))["QueueUrl"]
    row = cloud.client("dynamodb").get_item(TableName=names.TABLE, Key=records.worker_key(worker))["Item"]
    assert row["replies_url"]["S"] == url_of(cloud, REPLIES_QUEUE)
    assert replies(cloud) == before, "the product sets nothing that the stack has set otherwise"


def posted(url: str) -> bool:
    body = {"text": "Write it\ndo: write a.txt one\ndo: say Done.", "thread_id": "t1", "message_id": "m1"}
    return httpx.post(f"{url}/v1/threads", json=body, headers=bearer(), timeout=10).status_code == 202


def last_event(url: str) -> str | None:
    """The type of the event that ends the turn, once it is there."""
    got = httpx.get(f"{url}/v1/threads/t1/events?follow=false", headers=bearer(), timeout=10).text
    types = [json.loads(line[6:])["type"] for line in got.splitlines() if line.startswith("data: ")]
    return next((t for t in types if t in ("turn.completed", "turn.failed", "turn.rejected")), None)


def bearer() -> dict[str, str]:
    return {"authorization": f"Bearer {TOKEN}"}


def url_of(cloud: Cloud, name: str) -> str:
    return str(cloud.client("sqs").get_queue_url(QueueName=name)["QueueUrl"])


def replies(cloud: Cloud) -> dict[str, Any]:
    """What is set on the queue of replies, without what time and use change."""
    got = cloud.client("sqs").get_queue_attributes(
        QueueUrl=url_of(cloud, REPLIES_QUEUE), AttributeNames=["All"]
    )["Attributes"]
    found = {k: v for k, v in got.items() if not k.startswith("Approximate") and "Timestamp" not in k}
    redrive = json.loads(found["RedrivePolicy"])
    return {**found, "RedrivePolicy": {**redrive, "maxReceiveCount": int(redrive["maxReceiveCount"])}}


def lambda_environment(cloud: Cloud, plain: Assembly) -> dict[str, str]:
    """What the stack tells the dispatcher, with the names that this cloud gave."""
    told = plain["Dispatcher"].of("Lambda::Function")[0]["Environment"]["Variables"]
    return {k: cloud.resolved(v) for k, v in told.items()}


def dispatcher_environment(
    cloud: Cloud, plain: Assembly, *, launcher: FakeLauncher, repo: Path
) -> dict[str, str]:
    """The same for a process: the launcher is one that only counts."""
    told = lambda_environment(cloud, plain)
    return {
        **{k: told[k] for k in ("BRANCHLINE_TABLE", "BRANCHLINE_LOGIN", "BRANCHLINE_REPLIES_QUEUE")},
        **CHATS,
        "GITHUB_APP_PRIVATE_KEY": new_private_key(),
        "BRANCHLINE_OPERATOR_TOKEN_HASH": digest(TOKEN),
        "BRANCHLINE_LAUNCHER_URL": launcher.url,
        "BRANCHLINE_LAUNCHER_TOKEN": launcher.token,
        "BRANCHLINE_REPO": str(repo),
    }


@contextmanager
def worker_process(
    cloud: Cloud, *, worker: WorkerId, model: ScriptedModel, folder: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker with what the task definition tells it, and the paths of this machine, for a block."""
    task = cloud.client("ecs").describe_task_definition(taskDefinition=names.TASK)["taskDefinition"]
    told = {e["name"]: e["value"] for e in task["containerDefinitions"][0]["environment"]}
    env = {
        **{k: os.environ[k] for k in ("PATH", "HOME", "LANG", "TMPDIR") if k in os.environ},
        **told,
        "CONTAINER_ID": worker,
        "WORKSPACE_PATH": str(folder / "workspace"),
        "BRANCHLINE_PREVIEW_HOST": "127.0.0.1",
        "BRANCHLINE_PREVIEW_PORT": "4998",
        "ANTHROPIC_BASE_URL": model.url,
        "ANTHROPIC_API_KEY": "not-a-key",
        "AWS_ENDPOINT_URL": cloud.url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": cloud.account,
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    with (folder / "worker.log").open("wb") as log:
        argv = [sys.executable, "-m", "worker"]
        process = subprocess.Popen(
            argv, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)
