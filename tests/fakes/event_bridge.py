"""What a rule of EventBridge does, as far as ours need it: it looks whether an event fits its pattern."""

from collections.abc import Mapping
from typing import Any

from tests.fakes.ecs import CLUSTER


def fits(event: Mapping[str, Any], pattern: Mapping[str, Any]) -> bool:
    """Whether the event holds one of the values that the pattern has for each of its names. Of a field that
    is a list one entry is enough."""
    for name, wanted in pattern.items():
        found = event.get(name)
        if isinstance(wanted, Mapping):
            if not (isinstance(found, Mapping) and fits(found, wanted)):
                return False
        elif not any(value in wanted for value in (found if isinstance(found, list) else [found])):
            return False
    return True


def worker_ended(*, cluster: str) -> dict[str, Any]:
    """The pattern of the rule that has the sweep look when a task of ours has ended. ``cluster``: where it
    is, the part of its ARN in front of the name."""
    return {
        "source": ["aws.ecs"],
        "detail-type": ["ECS Task State Change"],
        "detail": {"clusterArn": [f"{cluster}:cluster/{CLUSTER}"], "lastStatus": ["STOPPED"]},
    }
