"""What ``branchline destroy`` waits for and takes away, against what AWS says of ECS and SQS."""

from collections.abc import Iterator

import pytest

from fleet.deploy.cloud import Cloud
from fleet.deploy.destroy import Removal
from fleet.deploy.steps import walk
from fleet.problem import Problem
from fleet.settings import ROOT
from tests.fakes.leaving import Leaving, leaving

LEAVE, QUEUES = "let workers save", "delete the queues"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Leaving]:
    with leaving() as cloud:
        monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "1")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
        yield cloud


def removal(**more: float) -> Removal:
    return Removal(cloud=Cloud(region="eu-west-1"), everything=True, look_seconds=0, **more)


async def do(wanted: str, removal: Removal) -> list[str]:
    """One step; what was said."""
    said: list[str] = []
    (step,) = [s for s in removal.steps(said.append) if s.says.startswith(wanted)]
    await walk([step], cwd=ROOT, say=said.append)
    return said[1:]


async def test_it_waits_until_the_containers_have_left(aws: Leaving) -> None:
    aws.tasks = {"arn:a": 2, "arn:b": 4}
    said = await do(LEAVE, removal())
    assert aws.there == set(), "ListTasks is empty long before"
    assert [line.strip() for line in said] == ["2 still save", "1 still saves", "2 left"]


async def test_it_waits_for_those_that_somebody_else_has_stopped(aws: Leaving) -> None:
    aws.tasks, aws.stopped = {"arn:a": 3}, {"arn:a"}
    await do(LEAVE, removal())
    assert aws.there == set()


async def test_hundreds_are_looked_at_in_parts(aws: Leaving) -> None:
    aws.tasks = {f"arn:{n}": 2 for n in range(250)}
    aws.stopped = set(aws.tasks)
    await do(LEAVE, removal())
    assert (aws.there, aws.looked) == (set(), 6)


async def test_nobody_there_is_nobody_to_wait_for(aws: Leaving) -> None:
    aws.tasks, aws.stopped = {"arn:old": 0}, {"arn:old"}
    assert [line.strip() for line in await do(LEAVE, removal())] == ["none runs"]


async def test_who_does_not_leave_ends_it_before_a_role_is_gone(aws: Leaving) -> None:
    aws.tasks = {"arn:a": 10**9}
    with pytest.raises(Problem, match=r"1 worker does not leave .*arn:a.* destroy again"):
        await do(LEAVE, removal(leave_seconds=0))


async def test_more_queues_than_a_page_holds_are_all_deleted(aws: Leaving) -> None:
    aws.queues = [f"branchline-{n}" for n in range(1001)]
    said = await do(QUEUES, removal())
    assert (aws.queues, said[-1].strip()) == ([], "1001 queues")
