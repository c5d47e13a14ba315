"""Where workers run when ECS starts them: all of it, or a sentence that names what is missing."""

import pytest
from pydantic import ValidationError

from contracts.words import WorkerId
from dispatcher.ecs_settings import EcsSettings
from dispatcher.ecs_tasks import token
from dispatcher.pool_rules import is_alive

ARN = "arn:aws-cn:iam::123456789012:policy/branchline-worker-boundary"


def settings(**given: str) -> EcsSettings:
    plain = {
        "launcher": "ecs",
        "ecs_cluster": "c",
        "ecs_task": "t",
        "ecs_subnets": " subnet-1 ,subnet-2,",
        "ecs_security_group": "sg",
        "worker_boundary": ARN,
    }
    return EcsSettings.model_validate({**plain, **given})


def test_subnets_are_a_list_with_commas_and_the_account_is_the_boundarys() -> None:
    assert settings().ecs_subnets == ("subnet-1", "subnet-2")
    assert settings().account == ("aws-cn", "123456789012")


@pytest.mark.parametrize("name", ["ecs_cluster", "ecs_task", "ecs_subnets", "ecs_security_group"])
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(ValidationError, match=f"BRANCHLINE_{name.upper()}"):
        settings(**{name: ""})


def test_a_boundary_that_is_none_is_refused() -> None:
    for given in ("boundary", "arn:aws:iam::12:policy/x", "arn:aws:iam::123456789012:role/x"):
        with pytest.raises(ValidationError, match="no ARN of a policy"):
            settings(worker_boundary=given)


def test_without_ecs_nothing_of_it_is_needed() -> None:
    assert EcsSettings.model_validate({}).launcher == "http"


def test_a_start_of_another_number_or_worker_has_another_token() -> None:
    tokens = [token(WorkerId(w), n) for w in ("a-b-c", "a-b-c2") for n in (1, 2)]
    assert len(set(tokens)) == 4
    assert all(len(t) == 64 and t.isalnum() for t in tokens)


@pytest.mark.parametrize(
    ("last", "desired", "alive"),
    [
        ("PROVISIONING", "RUNNING", True),
        ("PENDING", "RUNNING", True),
        ("ACTIVATING", "RUNNING", True),
        ("RUNNING", "RUNNING", True),
        ("RUNNING", "STOPPED", False),
        ("DEACTIVATING", "STOPPED", False),
        ("STOPPING", "STOPPED", False),
        ("DEPROVISIONING", "STOPPED", False),
        ("STOPPED", "STOPPED", False),
        ("STOPPED", "RUNNING", False),
    ],
)
def test_a_task_is_there_until_it_stops(last: str, desired: str, alive: bool) -> None:
    assert is_alive({"lastStatus": last, "desiredStatus": desired}) is alive
