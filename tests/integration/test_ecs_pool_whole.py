"""The warm pool as on AWS, without an account: a slot that waits answers the first message in place of a task
that would have to be started, is that worker until it leaves, and another one waits in its stead."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts import names
from contracts.words import WorkerId
from contracts.worker_policy import Account, policy
from tests.fakes.dispatcher import REGION
from tests.fakes.ecs import Refusal
from tests.fakes.engine import aws_client, wait_until
from tests.integration.cloud_lab import SECONDS, Cloud, cloud_of_processes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
WORKER = WorkerId("local-site-local")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with cloud_of_processes(tmp_path, of_function={"BRANCHLINE_WARM_POOL": "1"}, hears=False) as made:
        yield made


def sweep(cloud: Cloud) -> None:
    assert cloud.function.invoke({"branchline": "sweep"}) == {"done": "sweep"}


def waiting(cloud: Cloud, *, count: int) -> None:
    """Until so many slots in all have begun to wait."""
    sweep(cloud)
    wait_until(lambda: cloud.fargate.logs().count('"slot_waits"') == count, seconds=SECONDS)


def started(cloud: Cloud) -> list[str]:
    """What was started, in order: ``slot``, or a worker from the beginning."""
    containers = [asked["overrides"]["containerOverrides"][0] for asked in cloud.ecs.starts]
    return ["slot" if "command" in container else "worker" for container in containers]


def role_of(cloud: Cloud, start: int) -> str:
    return str(cloud.ecs.starts[start]["overrides"]["taskRoleArn"].rpartition("/")[2])


def policies(cloud: Cloud, role: str) -> dict[str, Any]:
    with aws_client("iam", url=cloud.ecs.url, account=cloud.account) as iam:
        found = iam.list_role_policies(RoleName=role)["PolicyNames"]
        return {n: iam.get_role_policy(RoleName=role, PolicyName=n)["PolicyDocument"] for n in found}


def roles(cloud: Cloud) -> set[str]:
    with aws_client("iam", url=cloud.ecs.url, account=cloud.account) as iam:
        return {role["RoleName"] for role in iam.list_roles(PathPrefix="/branchline/worker/")["Roles"]}


def test_a_slot_answers_the_message_leaves_as_its_worker_and_the_next_one_takes_its_place(
    cloud: Cloud,
) -> None:
    waiting(cloud, count=1)
    cloud.post("Write it\ndo: write a.txt one\ndo: say Done.", thread="t1")
    cloud.answered("t1")
    assert cloud.types("t1")[:2] == ["message.received", "worker.starting"]
    assert "a.txt" in cloud.files("thread-t1")
    assert started(cloud) == ["slot"], "no task was started for the worker"
    assert names.short(WORKER) not in roles(cloud)
    here = Account(id=cloud.account, region=REGION, table="branchline", replies="branchline-replies")
    first = role_of(cloud, 0)
    assert policies(cloud, first)["worker"] == policy(WORKER, account=here)

    waiting(cloud, count=2)
    assert policies(cloud, first) == {"worker": policy(WORKER, account=here)}
    assert started(cloud) == ["slot", "slot"]
    assert roles(cloud) == {first, role_of(cloud, 1)}

    wait_until(lambda: list(cloud.fargate.codes.values()) == [0], seconds=SECONDS)
    cloud.post("Go on\ndo: write b.txt two\ndo: say Done.", thread="t1")
    wait_until(lambda: cloud.types("t1").count("turn.completed") == 2, seconds=SECONDS)
    assert {"a.txt", "b.txt"} <= cloud.files("thread-t1")
    assert started(cloud) == ["slot", "slot"], "the second slot is the same worker again"
    sweep(cloud)
    assert first not in roles(cloud)
    assert policies(cloud, role_of(cloud, 1))["worker"] == policy(WORKER, account=here)


def test_a_slot_that_has_died_is_passed_over_and_a_pool_that_fails_hinders_nobody(cloud: Cloud) -> None:
    waiting(cloud, count=1)
    cloud.fargate.lose()
    wait_until(lambda: len(cloud.fargate.codes) == 1, seconds=SECONDS)
    full = Refusal(action="RunTask", code="ClientException", message="Capacity is unavailable", times=1)
    broken = Refusal(action="DeleteRolePolicy", code="ServiceFailure", status=500, times=100)
    cloud.ecs.refusals += [full, broken]
    cloud.post("Write it\ndo: write a.txt one\ndo: say Done.", thread="t1")
    sweep(cloud)
    cloud.answered("t1")
    assert started(cloud)[:2] == ["slot", "worker"]
    assert names.short(WORKER) in roles(cloud)
    assert role_of(cloud, 0) in roles(cloud)
    broken.times = 0
    sweep(cloud)
    assert role_of(cloud, 0) not in roles(cloud)
    cloud.ecs.refusals.append(Refusal(action="DescribeTasks", code="ServerException", status=500, times=100))
    sweep(cloud)
