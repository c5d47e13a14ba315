"""The warm pool before an engine's ECS and IAM: who becomes whose worker, under which policy, and what is
left behind, whatever is refused, lost or asked twice in between."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from contracts import names, pool, records
from contracts.records import WorkerRecord
from contracts.words import WorkerId
from contracts.worker_policy import Account, policy, slot_policy
from dispatcher.errors import Unavailable
from dispatcher.pool_rows import PoolRows
from dispatcher.pool_rules import Launch, SlotRecord
from tests.fakes.dispatcher import REGION
from tests.fakes.ecs import CLUSTER, FAMILY, Refusal
from tests.fakes.engine import EngineProcess, aws_client, running_engine
from tests.integration.test_ecs_launcher import SERVICES, WORKER, Site, launcher_of, site_of

OTHER, THIRD = WorkerId("acme-my_2dsite-bob"), WorkerId("acme-my_2dsite-eve")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    with running_engine(tmp_path_factory.mktemp("engine"), 0, "--services", SERVICES) as running:
        yield running


@pytest.fixture
async def site(engine: EngineProcess) -> AsyncIterator[Site]:
    async with site_of(engine, BRANCHLINE_WARM_POOL="2") as made:
        yield made


async def slots_of(site: Site) -> list[SlotRecord]:
    """All slots' records, the oldest first."""
    _, slots = await PoolRows(site.table).look()
    return sorted(slots, key=lambda slot: (slot.since, slot.slot))


async def slot_of(site: Site, worker: WorkerId) -> SlotRecord:
    (found,) = [slot for slot in await slots_of(site) if slot.worker == worker]
    return found


async def filled(site: Site) -> list[SlotRecord]:
    """The slots after a sweep."""
    await site.launcher.pool.care()
    site.clock.tick(1)
    return await slots_of(site)


def policies(site: Site, role: str) -> dict[str, Any]:
    with aws_client("iam", url=site.engine.url, account=site.account) as iam:
        found = iam.list_role_policies(RoleName=role)["PolicyNames"]
        return {n: iam.get_role_policy(RoleName=role, PolicyName=n)["PolicyDocument"] for n in found}


def roles(site: Site) -> set[str]:
    with aws_client("iam", url=site.engine.url, account=site.account) as iam:
        return {role["RoleName"] for role in iam.list_roles()["Roles"]}


def end(site: Site, task: str | None) -> None:
    with aws_client("ecs", url=site.engine.url, account=site.account) as ecs:
        ecs.stop_task(cluster=CLUSTER, task=task)


def running(site: Site) -> set[str]:
    return {task["taskArn"] for task in site.tasks()}


def letter_to(site: Site, slot: SlotRecord) -> str | None:
    with aws_client("dynamodb", url=site.engine.url, account=site.account) as client:
        item = client.get_item(TableName="branchline", Key=pool.letter_key(slot.slot)).get("Item")
        return pool.addressee(item) if item else None


async def owned(site: Site, worker: WorkerId) -> None:
    """The worker's id gets an owner, as when the worker takes its lease."""
    await site.table.introduce(WorkerRecord(worker_id=worker, client="c", project="p", user="u", repo="r"))
    with aws_client("dynamodb", url=site.engine.url, account=site.account) as client:
        client.update_item(
            TableName="branchline",
            Key=records.worker_key(worker),
            UpdateExpression="ADD epoch :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
        )


def own(site: Site) -> Account:
    return Account(id=site.account, region=REGION, table="branchline", replies="branchline-replies")


def plain(document: dict[str, Any]) -> Any:
    return json.loads(json.dumps(document))


def cold(site: Site) -> list[dict[str, Any]]:
    """The starts of tasks that are a worker from the beginning."""
    return [asked for asked in site.wire.starts if "command" not in _container(asked)]


def _container(asked: dict[str, Any]) -> dict[str, Any]:
    (container,) = asked["overrides"]["containerOverrides"]
    return dict(container)


# ---------------------------------------------------------------- before the claim


async def test_each_slot_waits_under_a_role_of_its_own_that_may_read_its_letter_alone(site: Site) -> None:
    slots = await filled(site)
    assert [slot.state for slot in slots] == ["free", "free"]
    assert {slot.task for slot in slots} == running(site)
    for slot, asked in zip(slots, sorted(site.wire.starts, key=_slot_named), strict=True):
        with aws_client("iam", url=site.engine.url, account=site.account) as iam:
            role = iam.get_role(RoleName=slot.slot)["Role"]
        assert role["Path"] == "/branchline/worker/"
        assert role["PermissionsBoundary"]["PermissionsBoundaryArn"].endswith("branchline-worker-boundary")
        assert policies(site, slot.slot) == {"slot": plain(slot_policy(slot.slot, account=own(site)))}
        assert letter_to(site, slot) is None
        assert asked["overrides"]["taskRoleArn"] == role["Arn"]
        container = _container(asked)
        assert container["command"] == ["python", "-m", "worker.slot"]
        assert container["environment"] == [{"name": "BRANCHLINE_SLOT", "value": slot.slot}]
    assert await filled(site) == slots, "and no more are started"
    assert not await site.launcher.running(WORKER)


def _slot_named(asked: dict[str, Any]) -> str:
    return str(_container(asked)["environment"][0]["value"])


async def test_sweeps_at_the_same_time_start_as_many_as_one(site: Site) -> None:
    await asyncio.gather(*(launcher.pool.care() for launcher in (site.launcher, site.other) * 3))
    assert len(await slots_of(site)) == len(site.tasks()) == len(site.wire.starts) == 2


async def test_a_start_of_a_slot_that_nobody_could_note_is_not_made_twice(site: Site) -> None:
    late = Refusal(action="TransactWriteItems", code="ThrottlingException", times=99, spare=1)
    site.wire.refusals.append(late)
    await site.launcher.pool.care()
    assert [slot.state for slot in await slots_of(site)] == ["made", "made"]
    late.times = 0
    await site.other.pool.care()
    assert [slot.state for slot in await slots_of(site)] == ["free", "free"]
    assert len(site.wire.starts) == 2


async def test_one_slot_that_cannot_start_hinders_no_other_and_is_tried_again(site: Site) -> None:
    site.wire.refusals.append(Refusal(action="CreateRole", code="AccessDenied", status=403))
    assert sorted(slot.state for slot in await filled(site)) == ["free", "made"]
    assert [slot.state for slot in await filled(site)] == ["free", "free"]


# ---------------------------------------------------------------- the claim


async def test_the_oldest_slot_becomes_the_worker_and_its_policy_exactly_the_workers(site: Site) -> None:
    site.wire.refusals.append(Refusal(action="CreateRole", code="AccessDenied", status=403))
    (oldest,) = [slot for slot in await filled(site) if slot.state == "free"]
    await filled(site)
    before = len(site.wire.starts)
    assert await site.launcher.ensure(WORKER)
    assert await site.launcher.running(WORKER)
    assert not await site.other.ensure(WORKER)
    claimed = await slot_of(site, WORKER)
    assert claimed.task == oldest.task
    assert letter_to(site, claimed) == WORKER
    assert policies(site, claimed.slot)["worker"] == plain(policy(WORKER, account=own(site)))
    assert len(site.wire.starts) == before, "no task was started for it"
    assert names.short(WORKER) not in roles(site)
    (waits,) = [slot for slot in await slots_of(site) if slot.state == "free"]
    assert letter_to(site, waits) is None
    assert set(policies(site, waits.slot)) == {"slot"}


async def test_once_its_worker_has_come_the_role_holds_nothing_but_the_workers_policy(site: Site) -> None:
    await filled(site)
    await site.launcher.ensure(WORKER)
    await site.launcher.pool.care()
    claimed = await slot_of(site, WORKER)
    assert set(policies(site, claimed.slot)) == {"slot", "worker"}, "it may not have read its letter yet"
    await owned(site, WORKER)
    await site.launcher.pool.care()
    assert policies(site, claimed.slot) == {"worker": plain(policy(WORKER, account=own(site)))}
    assert (await slot_of(site, WORKER)).state == "worker"
    assert await site.launcher.running(WORKER)
    assert sum(slot.state == "free" for slot in await slots_of(site)) == 2, "and the pool is full again"


async def test_slots_that_have_died_are_passed_over_and_without_one_a_task_is_started(site: Site) -> None:
    first, second = await filled(site)
    end(site, first.task)
    assert await site.launcher.ensure(WORKER)
    assert (await slot_of(site, WORKER)).task == second.task
    assert await site.launcher.ensure(OTHER)
    (start,) = cold(site)
    assert _container(start)["environment"] == [{"name": "CONTAINER_ID", "value": OTHER}]
    await filled(site)
    assert first.slot not in roles(site)
    assert first.slot not in {slot.slot for slot in await slots_of(site)}


async def test_dispatchers_that_ask_at_the_same_time_take_one_slot_for_a_worker(site: Site) -> None:
    await filled(site)
    asks = [launcher.ensure(WORKER) for launcher in (site.launcher, site.other) for _ in range(4)]
    await asyncio.gather(*asks, return_exceptions=True)
    assert await site.launcher.running(WORKER)
    claimed = await slot_of(site, WORKER)
    assert letter_to(site, claimed) == WORKER
    assert cold(site) == []


async def test_what_was_read_before_another_has_claimed_claims_nothing(site: Site) -> None:
    """Two dispatchers have seen the same: that no start is noted, and that both slots are free."""
    first, second = await filled(site)
    rows = PoolRows(site.table)

    async def claims(slot: SlotRecord, worker: WorkerId) -> bool:
        launch = Launch(task=slot.task, at=site.clock(), slot=slot.slot, told=False)
        return await rows.claim(slot, worker=worker, last=Launch(), launch=launch)

    assert await claims(first, WORKER)
    assert not await claims(second, WORKER), "the worker has a slot"
    assert not await claims(first, OTHER), "the slot has a worker"
    assert (await rows.last(WORKER)).task == first.task
    assert (await rows.last(OTHER)).task is None
    assert [slot.state for slot in await slots_of(site) if slot.slot == second.slot] == ["free"]
    stale = Launch(task=second.task, at=site.clock(), slot=second.slot, told=False)
    assert not await rows.tell(WORKER, stale, variables={}), "its note names another task"
    assert letter_to(site, second) is None


async def test_workers_that_ask_at_the_same_time_get_different_slots_or_a_task(site: Site) -> None:
    await filled(site)
    workers = (WORKER, OTHER, THIRD)
    for _ in range(3):
        await asyncio.gather(
            *(launcher.ensure(w) for launcher in (site.launcher, site.other) for w in workers),
            return_exceptions=True,
        )
    for worker in workers:
        assert await site.launcher.running(worker)
    taken = [slot for slot in await slots_of(site) if slot.worker]
    assert len({slot.task for slot in taken}) == len({slot.worker for slot in taken}) == len(taken) == 2
    for slot in taken:
        assert slot.worker is not None
        assert letter_to(site, slot) == slot.worker
        assert policies(site, slot.slot)["worker"] == plain(policy(slot.worker, account=own(site)))
    assert len(cold(site)) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Refusal(action="PutRolePolicy", code="ServiceFailure", status=500, times=99),
        Refusal(action="TransactWriteItems", code="ThrottlingException", times=99, spare=1),
    ],
    ids=["before the policy", "before the letter"],
)
async def test_a_claim_that_was_broken_off_is_brought_to_its_end_by_the_next_who_asks(
    site: Site, fault: Refusal
) -> None:
    await filled(site)
    broken = Refusal(**vars(fault))
    site.wire.refusals.append(broken)
    with pytest.raises(Unavailable):
        await site.launcher.ensure(WORKER)
    claimed = await slot_of(site, WORKER)
    assert letter_to(site, claimed) is None
    assert not await site.other.running(WORKER), "or nobody would ask again"
    broken.times = 0
    assert await site.other.ensure(WORKER)
    assert await slot_of(site, WORKER) == claimed
    assert letter_to(site, claimed) == WORKER
    assert policies(site, claimed.slot)["worker"] == plain(policy(WORKER, account=own(site)))
    assert await site.launcher.running(WORKER)
    assert cold(site) == []


async def test_answers_that_get_lost_at_the_claim_take_no_second_slot(site: Site) -> None:
    await filled(site)
    site.wire.lose["TransactWriteItems"] = 3
    with pytest.raises(Unavailable):
        await site.launcher.ensure(WORKER)
    await site.other.ensure(WORKER)
    assert await site.other.running(WORKER)
    assert letter_to(site, await slot_of(site, WORKER)) == WORKER
    assert cold(site) == []


async def test_a_slot_that_does_not_become_its_worker_in_time_is_stopped_and_another_one_taken(
    site: Site,
) -> None:
    first, second = await filled(site)
    await site.launcher.ensure(WORKER)
    given = await slot_of(site, WORKER)
    site.clock.tick(59)
    assert await site.launcher.running(WORKER)
    site.clock.tick(2)
    assert not await site.launcher.running(WORKER)
    assert await site.launcher.ensure(WORKER)
    assert given.task not in running(site)
    (left,) = {first.task, second.task} - {given.task}
    assert left in running(site)
    assert await site.launcher.running(WORKER)
    assert cold(site) == []
    site.clock.tick(61)
    assert await site.launcher.ensure(WORKER)
    assert len(cold(site)) == 1
    assert len(site.tasks()) == 1


async def test_one_that_has_become_its_worker_is_left_alone_however_long_it_lives(site: Site) -> None:
    await filled(site)
    await site.launcher.ensure(WORKER)
    await owned(site, WORKER)
    claimed = await slot_of(site, WORKER)
    site.clock.tick(3600)
    for _ in range(2):
        await site.launcher.pool.care()
        assert await site.launcher.running(WORKER)
        assert not await site.other.ensure(WORKER)
    assert claimed.task in running(site)


async def test_a_worker_from_the_pool_that_has_left_is_started_again_and_leaves_no_role(site: Site) -> None:
    await filled(site)
    await site.launcher.ensure(WORKER)
    await owned(site, WORKER)
    claimed = await slot_of(site, WORKER)
    end(site, claimed.task)
    assert not await site.launcher.running(WORKER)
    assert await site.launcher.ensure(WORKER)
    assert letter_to(site, claimed) == WORKER, "one slot, one worker"
    await site.launcher.pool.care()
    assert claimed.slot not in roles(site)
    assert claimed.slot not in {slot.slot for slot in await slots_of(site)}
    assert letter_to(site, claimed) is None
    assert await site.launcher.running(WORKER)


# ---------------------------------------------------------------- what the sweep keeps


async def test_with_fewer_or_none_wanted_the_others_end_and_workers_stay(site: Site) -> None:
    await filled(site)
    await site.launcher.ensure(WORKER)
    await owned(site, WORKER)
    await filled(site)
    claimed = await slot_of(site, WORKER)
    async with AsyncExitStack() as stack:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("BRANCHLINE_WARM_POOL", "0")
            off = await launcher_of(stack, site.clock, site.table)
        for _ in range(2):
            await off.pool.care()
        assert running(site) == {claimed.task}
        assert await slots_of(site) == [await slot_of(site, WORKER)]
        assert {role for role in roles(site) if role.startswith("slot_")} == {claimed.slot}
        await off.ensure(OTHER)
    assert len(cold(site)) == 1


async def test_an_upgrade_replaces_those_that_wait_and_no_worker(site: Site) -> None:
    await filled(site)
    await site.launcher.ensure(WORKER)
    await owned(site, WORKER)
    before = await filled(site)
    with aws_client("ecs", url=site.engine.url, account=site.account) as ecs:
        container = {"name": "worker", "image": "branchline-worker:2", "essential": True}
        made = ecs.register_task_definition(
            family=FAMILY,
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="1024",
            memory="4096",
            containerDefinitions=[container],
        )["taskDefinition"]["taskDefinitionArn"]
    await filled(site)
    assert running(site) > {slot.task for slot in before}, "the old ones serve until new ones run"
    await filled(site)
    waiting = [slot for slot in await slots_of(site) if slot.state == "free"]
    revisions = {t["taskArn"]: t["taskDefinitionArn"] for t in site.tasks()}
    assert [revisions[slot.task or ""] for slot in waiting] == [made, made]
    assert (await slot_of(site, WORKER)).task in running(site)
    assert len(site.tasks()) == 3


async def test_a_role_that_cannot_be_removed_now_is_removed_later(site: Site) -> None:
    first, second = await filled(site)
    for slot in (first, second):
        end(site, slot.task)
    site.wire.refusals.append(Refusal(action="DeleteRole", code="ServiceFailure", status=500, times=2))
    await filled(site)
    assert len(roles(site) & {first.slot, second.slot}) == 1, "the other one's was removed all the same"
    await filled(site)
    assert not roles(site) & {first.slot, second.slot}
    assert len(site.tasks()) == 2
