"""Tasks of ECS, as the dispatcher asks for them: started, looked at, stopped. Decides nothing.

Raises what boto raises, and Unavailable when ECS gives a reason of its own.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from contracts.words import WorkerId
from dispatcher.ecs_settings import EcsSettings
from dispatcher.errors import Unavailable

CONTAINER = "worker"
"""Name of the container in the task definition."""
_AT_ONCE = 100


def token(worker: WorkerId, number: int) -> str:
    """What makes a repeated start harmless; 64 characters, and for 24 hours never the same again."""
    return hashlib.sha256(f"{worker}#{number}".encode()).hexdigest()


class Tasks:
    """``client``: ECS."""

    def __init__(self, client: Any, *, settings: EcsSettings) -> None:
        self._client, self._settings = client, settings

    async def of(self, started_by: str) -> list[str]:
        """ARNs of the tasks that were started in this name and are not stopping, as far as ECS shows them."""
        listed = await self._client.list_tasks(cluster=self._settings.ecs_cluster, startedBy=started_by)
        return list(listed["taskArns"])

    async def shown(self, arns: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        """Those of the tasks that ECS shows, by ARN."""
        asked, found = sorted(set(arns)), {}
        for first in range(0, len(asked), _AT_ONCE):
            shown = await self._client.describe_tasks(
                cluster=self._settings.ecs_cluster, tasks=asked[first : first + _AT_ONCE]
            )
            found.update({task["taskArn"]: task for task in shown["tasks"]})
        return found

    async def stop(self, arn: str, *, reason: str) -> None:
        """Have a task asked to leave; one that has left already is no error."""
        try:
            await self._client.stop_task(cluster=self._settings.ecs_cluster, task=arn, reason=reason)
        except self._client.exceptions.InvalidParameterException:
            return

    async def revision(self) -> str:
        """ARN of the task definition that a start would use now."""
        said = await self._client.describe_task_definition(taskDefinition=self._settings.ecs_task)
        return str(said["taskDefinition"]["taskDefinitionArn"])

    async def run(
        self,
        *,
        token: str,
        started_by: str,
        role: str,
        variables: Mapping[str, str],
        tags: Mapping[str, str],
        command: tuple[str, ...] = (),
    ) -> Mapping[str, Any]:
        """One start. The same for the same token: ECS compares."""
        container: dict[str, Any] = {
            "name": CONTAINER,
            "environment": [{"name": name, "value": value} for name, value in variables.items()],
        }
        if command:
            container["command"] = list(command)
        try:
            said = await self._client.run_task(
                cluster=self._settings.ecs_cluster,
                taskDefinition=self._settings.ecs_task,
                launchType="FARGATE",
                count=1,
                clientToken=token,
                startedBy=started_by,
                networkConfiguration=self._network,
                overrides={"taskRoleArn": role, "containerOverrides": [container]},
                tags=[{"key": key, "value": value} for key, value in tags.items()],
            )
        except self._client.exceptions.ConflictException as error:
            # Started by a dispatcher with other settings: how it fares is asked the next time.
            arns = error.response.get("resourceIds") or []
            if not arns:
                raise
            return {"taskArn": arns[0]}
        for task in said["tasks"]:
            return dict(task)
        reasons = ", ".join(str(f.get("reason")) for f in said.get("failures", [])) or "no reason given"
        raise Unavailable(f"ECS has started no task: {reasons}.")

    @property
    def _network(self) -> dict[str, Any]:
        return {
            "awsvpcConfiguration": {
                "subnets": list(self._settings.ecs_subnets),
                "securityGroups": [self._settings.ecs_security_group],
                "assignPublicIp": "ENABLED",
            }
        }
