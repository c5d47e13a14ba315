"""Workers as tasks of ECS, before an engine's ECS and IAM: one at a time, whatever gets lost or refused."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from contracts import names
from contracts.words import WorkerId
from contracts.worker_policy import Account, policy
from dispatcher import aws
from dispatcher.ecs import EcsLauncher, launching
from dispatcher.ecs_settings import EcsSettings
from dispatcher.errors import Unavailable
from dispatcher.table import Table
from tests.fakes.dispatcher import REGION
from tests.fakes.ecs import CLUSTER, UNSEEN_ROLE, EcsWire, Refusal, ecs_environment, ecs_wire, prepare
from tests.fakes.engine import EngineProcess, aws_client, fresh_account, running_engine
from tests.integration.replies_lab import Clock

WORKER = WorkerId("acme-my_2dsite-ada")
SERVICES = "sqs,dynamodb,sts,ecs,iam"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    with running_engine(tmp_path_factory.mktemp("engine"), 0, "--services", SERVICES) as running:
        yield running


@dataclass(frozen=True, kw_only=True)
class Site:
    """An account with a cluster, a launcher, and another one for the same."""

    account: str
    engine: EngineProcess
    wire: EcsWire
    clock: Clock
    launcher: EcsLauncher
    other: EcsLauncher
    table: Table

    def tasks(self) -> list[dict[str, Any]]:
        """All tasks that are not stopped, as the engine has them."""
        with aws_client("ecs", url=self.engine.url, account=self.account) as ecs:
            arns = ecs.list_tasks(cluster=CLUSTER)["taskArns"]
            return list(ecs.describe_tasks(cluster=CLUSTER, tasks=arns)["tasks"]) if arns else []

    def stop(self) -> None:
        """Every task ends."""
        with aws_client("ecs", url=self.engine.url, account=self.account) as ecs:
            for task in self.tasks():
                ecs.stop_task(cluster=CLUSTER, task=task["taskArn"])


@pytest.fixture
async def site(engine: EngineProcess) -> AsyncIterator[Site]:
    async with site_of(engine) as made:
        yield made


@asynccontextmanager
async def site_of(engine: EngineProcess, **more: str) -> AsyncIterator[Site]:
    """An account of its own; ``more`` of the dispatcher's variables."""
    account, clock, before = fresh_account(), Clock(), dict(os.environ)
    boundary = prepare(url=engine.url, account=account)
    with ecs_wire(engine.url) as wire:
        os.environ.update(
            ecs_environment(boundary),
            AWS_ENDPOINT_URL=wire.url,
            AWS_DEFAULT_REGION=REGION,
            AWS_ACCESS_KEY_ID=account,
            AWS_SECRET_ACCESS_KEY="local",
            **more,
        )
        try:
            async with AsyncExitStack() as stack:
                clients = await stack.enter_async_context(aws.connect())
                table = Table(clients.dynamodb, name="branchline")
                await table.ensure()
                made = [await launcher_of(stack, clock, table) for _ in range(2)]
                yield Site(
                    account=account,
                    engine=engine,
                    wire=wire,
                    clock=clock,
                    launcher=made[0],
                    other=made[1],
                    table=table,
                )
        finally:
            os.environ.clear()
            os.environ.update(before)


async def launcher_of(stack: AsyncExitStack, clock: Clock, table: Table) -> EcsLauncher:
    """One of the dispatchers, with what the environment says now."""
    return await launching(
        EcsSettings(), table=table, replies=None, stack=stack, now=clock, pauses=(0.0, 0.0)
    )


# ---------------------------------------------------------------- a start


async def test_a_worker_gets_one_task_under_a_role_of_its_own_behind_the_wall(site: Site) -> None:
    assert not await site.launcher.running(WORKER)
    assert await site.launcher.ensure(WORKER)
    assert await site.launcher.running(WORKER)
    assert not await site.launcher.ensure(WORKER)
    (task,) = site.tasks()
    (container,) = task["overrides"]["containerOverrides"]
    assert (container["name"], container["environment"]) == (
        "worker",
        [{"name": "CONTAINER_ID", "value": WORKER}],
    )
    (asked,) = site.wire.starts
    network = asked["networkConfiguration"]["awsvpcConfiguration"]
    assert (network["subnets"], network["securityGroups"]) == (["subnet-1", "subnet-2"], ["sg-1"])
    with aws_client("iam", url=site.engine.url, account=site.account) as iam:
        role = iam.get_role(RoleName=names.short(WORKER))["Role"]
        assert task["overrides"]["taskRoleArn"] == role["Arn"]
        assert role["Path"] == "/branchline/worker/"
        assert role["PermissionsBoundary"]["PermissionsBoundaryArn"].endswith("branchline-worker-boundary")
        written = iam.get_role_policy(RoleName=names.short(WORKER), PolicyName="worker")["PolicyDocument"]
    here = Account(id=site.account, region=REGION, table="branchline", replies="branchline-replies")
    assert written == json.loads(json.dumps(policy(WORKER, account=here)))


async def test_after_a_task_has_ended_the_next_ask_starts_another(site: Site) -> None:
    assert await site.launcher.ensure(WORKER)
    site.stop()
    assert not await site.launcher.running(WORKER)
    assert await site.other.ensure(WORKER)
    assert await site.launcher.running(WORKER)
    assert len(site.wire.starts) == 2


async def test_workers_are_told_apart(site: Site) -> None:
    other = WorkerId("acme-my_2dsite-ada2")
    assert await site.launcher.ensure(WORKER)
    assert not await site.launcher.running(other)
    assert await site.launcher.ensure(other)
    assert len({task["overrides"]["taskRoleArn"] for task in site.tasks()}) == 2


async def test_an_id_that_iam_would_read_as_a_pattern_starts_nothing(site: Site) -> None:
    with pytest.raises(Unavailable, match="no worker id"):
        await site.launcher.ensure(WorkerId("acme-*-ada"))
    assert site.tasks() == []


# ---------------------------------------------------------------- one at a time


async def test_dispatchers_that_ask_at_the_same_time_start_one_task(site: Site) -> None:
    asks = [launcher.ensure(WORKER) for launcher in (site.launcher, site.other) for _ in range(4)]
    await asyncio.gather(*asks)
    assert len(site.wire.starts) == 1
    assert len(site.tasks()) == 1


async def test_a_start_whose_answer_got_lost_is_not_made_twice(site: Site) -> None:
    site.wire.lose["RunTask"] = 2
    with pytest.raises(Unavailable):
        await site.launcher.ensure(WORKER)
    site.wire.hidden = 2  # and nobody sees the task yet
    await site.other.ensure(WORKER)
    assert len(site.wire.starts) == 1


async def test_a_start_that_nobody_could_note_is_not_made_twice(site: Site) -> None:
    site.wire.throttle["PutItem"] = 10
    with pytest.raises(Unavailable):
        await site.launcher.ensure(WORKER)
    site.wire.throttle.clear()
    site.wire.hidden = 2
    await site.other.ensure(WORKER)
    assert len(site.wire.starts) == 1


async def test_a_task_that_nobody_sees_yet_is_there_for_a_minute_and_then_is_not(site: Site) -> None:
    assert await site.launcher.ensure(WORKER)
    site.wire.hidden = 100
    assert not await site.launcher.ensure(WORKER)
    site.clock.tick(61)
    assert not await site.launcher.running(WORKER)
    assert await site.launcher.ensure(WORKER)
    assert len(site.wire.starts) == 2


@pytest.mark.parametrize("current", [True, False])
async def test_a_start_that_ended_before_it_was_noted_delays_and_does_not_block(
    site: Site, current: bool
) -> None:
    site.wire.current = current
    site.wire.throttle["PutItem"] = 10
    with pytest.raises(Unavailable):
        await site.launcher.ensure(WORKER)
    site.wire.throttle.clear()
    site.stop()
    await site.launcher.ensure(WORKER)
    if not current:  # the answer was the first one's, so its end shows at the next look
        assert not await site.launcher.running(WORKER)
        await site.launcher.ensure(WORKER)
    assert await site.launcher.running(WORKER)
    assert len(site.wire.starts) == 2


async def test_a_token_that_another_version_has_used_is_that_versions_task(site: Site) -> None:
    site.wire.throttle["PutItem"] = 10
    with pytest.raises(Unavailable):
        await site.launcher.ensure(WORKER)
    site.wire.throttle.clear()
    site.wire.starts[0]["launchType"] = "EC2"  # it had asked for something else
    site.wire.hidden = 2
    await site.launcher.ensure(WORKER)
    assert await site.launcher.running(WORKER)
    assert len(site.tasks()) == 1


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(action="RunTask", code="AccessDeniedException", message="iam:PassRole"),
        Refusal(action="RunTask", code="ClientException", message="Capacity is unavailable at this time."),
        Refusal(action="RunTask", code="InvalidParameterException", message="No such subnet"),
        Refusal(action="RunTask", code="ThrottlingException", times=2),
        Refusal(action="RunTask", code="ServerException", status=500, times=2),
        Refusal(action="ListTasks", code="ClusterNotFoundException"),
        Refusal(action="CreateRole", code="AccessDenied", status=403),
        Refusal(action="CreateRole", code="LimitExceeded", status=409),
        Refusal(action="PutRolePolicy", code="MalformedPolicyDocument"),
        Refusal(action="RunTask", code="InvalidParameterException", message=UNSEEN_ROLE, times=9),
    ],
    ids=lambda refusal: f"{refusal.action}-{refusal.code}-{refusal.message[:12]}",
)
async def test_whatever_is_refused_is_tried_again_later(site: Site, refusal: Refusal) -> None:
    site.wire.refusals.append(refusal)
    with pytest.raises(Unavailable):
        await site.launcher.ensure(WORKER)
    assert site.tasks() == []
    refusal.times = 0
    assert await site.launcher.ensure(WORKER)
    assert len(site.tasks()) == 1


async def test_no_room_is_tried_again_later(site: Site) -> None:
    site.wire.unplaced = 1
    with pytest.raises(Unavailable, match="Capacity is unavailable"):
        await site.launcher.ensure(WORKER)
    assert await site.launcher.ensure(WORKER)


async def test_a_role_that_ecs_does_not_see_yet_is_waited_for(site: Site) -> None:
    site.wire.refusals.append(
        Refusal(action="RunTask", code="InvalidParameterException", message=UNSEEN_ROLE, times=2)
    )
    assert await site.launcher.ensure(WORKER)
    assert len(site.tasks()) == 1


async def test_a_role_that_was_removed_by_hand_is_made_again(site: Site) -> None:
    assert await site.launcher.ensure(WORKER)
    site.stop()
    with aws_client("iam", url=site.engine.url, account=site.account) as iam:
        iam.delete_role_policy(RoleName=names.short(WORKER), PolicyName="worker")
        iam.delete_role(RoleName=names.short(WORKER))
        site.wire.refusals.append(
            Refusal(action="RunTask", code="InvalidParameterException", message=UNSEEN_ROLE)
        )
        with pytest.raises(Unavailable):
            await site.launcher.ensure(WORKER)
        assert await site.launcher.ensure(WORKER)
        assert iam.get_role(RoleName=names.short(WORKER))["Role"]


async def test_roles_of_workers_that_have_not_run_for_a_month_are_removed_and_made_again(site: Site) -> None:
    other = WorkerId("acme-my_2dsite-bob")
    site.clock.seconds = time.time()
    assert await site.launcher.ensure(WORKER)
    site.stop()
    assert await site.launcher.ensure(other)
    everybody = [WORKER, other, WorkerId("acme-my_2dsite-nobody")]
    for days, left in ((29, {WORKER, other}), (2, {other})):
        site.clock.tick(days * 24 * 3600)
        for _ in range(2):
            await site.other.tidy(everybody)
        assert roles(site) == {names.short(worker) for worker in left}, "a role that is in use stays"
    assert await site.other.ensure(WORKER)
    assert roles(site) == {names.short(WORKER), names.short(other)}


async def test_a_role_whose_start_has_been_refused_ever_since_stays(site: Site) -> None:
    site.clock.seconds = time.time()
    site.wire.unplaced = 1
    with pytest.raises(Unavailable):
        await site.launcher.ensure(WORKER)
    await site.launcher.tidy([WORKER])
    assert roles(site) == {names.short(WORKER)}


def roles(site: Site) -> set[str]:
    with aws_client("iam", url=site.engine.url, account=site.account) as iam:
        return {role["RoleName"] for role in iam.list_roles(PathPrefix="/branchline/worker/")["Roles"]}


async def test_an_engine_that_is_away_is_unavailable(site: Site) -> None:
    site.wire.lose["ListTasks"] = 10
    for ask in (site.launcher.running, site.launcher.ensure):
        with pytest.raises(Unavailable):
            await ask(WORKER)
