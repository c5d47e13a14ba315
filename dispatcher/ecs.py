"""Workers as tasks of ECS: started under a role of their own, at most one at a time for a worker id.

Two tasks of one worker do no harm (the lease decides which of them works) but cost money. So none is started
while ECS knows one that is neither stopping nor stopped, and each start has a number, kept beside the
worker's records: the number is the request's ``clientToken``, so dispatchers that ask at the same time start
one task, and so does one that died before it could note what it had started. ECS shows what it was told a
moment late: a task of the last minute counts as there although nobody sees it yet.

Whatever goes wrong is Unavailable with one line in the log: the message is durable, and the sweep asks again.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict

from contracts import names
from contracts.places import REPLIES_QUEUE
from contracts.words import WorkerId
from contracts.worker_policy import Account
from dispatcher import aws
from dispatcher.ecs_settings import EcsSettings
from dispatcher.errors import Unavailable
from dispatcher.table import Table
from dispatcher.worker_roles import WorkerRoles

_log = structlog.get_logger(__name__)
CONTAINER = "worker"
"""Name of the container in the task definition."""
_NOTE = "launch"
_UNSEEN_SECONDS = 60.0
_LONGEST_SECONDS = 20.0
_STARTS = 3
_UNSEEN_ROLE = "unable to assume the role"
_ENDING = {"DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED", "DELETED"}


class Launch(BaseModel):
    """The last start of a worker: its number, the task's ARN, and when (Unix time in seconds)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    number: int = 0
    task: str | None = None
    at: float = 0.0


def token(worker: WorkerId, number: int) -> str:
    """What makes a repeated start harmless; 64 characters, and for 24 hours never the same again."""
    return hashlib.sha256(f"{worker}#{number}".encode()).hexdigest()


def is_alive(task: Mapping[str, Any]) -> bool:
    """Whether a task runs or is about to."""
    return task.get("desiredStatus") != "STOPPED" and task.get("lastStatus") not in _ENDING


class EcsLauncher:
    """``client``: ECS. ``now``: Unix time; ``pauses``: seconds before each further try with a new role."""

    def __init__(
        self,
        client: Any,
        *,
        settings: EcsSettings,
        roles: WorkerRoles,
        table: Table,
        now: Callable[[], float] = time.time,
        pauses: Sequence[float] = (1.0, 2.0, 4.0),
    ) -> None:
        self._client, self._settings, self._roles, self._table = client, settings, roles, table
        self._now, self._pauses = now, pauses

    async def ensure(self, worker_id: WorkerId) -> bool:
        """Make sure that the worker has a task; true if it was just started. Raises Unavailable."""
        async with _translated(worker_id, what="not started"):
            last = await self._last(worker_id)
            if await self._is_there(worker_id, last):
                return False
            await self._start(worker_id, last)
            return True

    async def running(self, worker_id: WorkerId) -> bool:
        """Whether the worker has a task that is neither stopping nor stopped. Raises Unavailable."""
        async with _translated(worker_id, what="not looked at"):
            return await self._is_there(worker_id, await self._last(worker_id))

    # ------------------------------------------------------------ what there is

    async def _last(self, worker: WorkerId) -> Launch:
        return Launch.model_validate(await self._table.note(worker, _NOTE))

    async def _is_there(self, worker: WorkerId, last: Launch) -> bool:
        listed = await self._client.list_tasks(
            cluster=self._settings.ecs_cluster, startedBy=names.short(worker)
        )
        arns = {*listed["taskArns"], *([last.task] if last.task else [])}
        if not arns:
            return False
        shown = await self._client.describe_tasks(
            cluster=self._settings.ecs_cluster, tasks=sorted(arns)[:100]
        )
        tasks = {task["taskArn"]: task for task in shown["tasks"]}
        unseen = last.task is not None and last.task not in tasks
        return any(map(is_alive, tasks.values())) or (unseen and self._now() - last.at < _UNSEEN_SECONDS)

    # ------------------------------------------------------------ a start

    async def _start(self, worker: WorkerId, last: Launch) -> None:
        """A number whose task has ended already was used by a start that nobody noted: then the next one."""
        fresh = await self._roles.ensure(worker)
        for number in range(last.number + 1, last.number + 1 + _STARTS):
            task = await self._run(worker, number=number, patient=fresh)
            await self._table.write_note(worker, _NOTE, number=number, task=task["taskArn"], at=self._now())
            if is_alive(task):
                _log.info("task started", worker_id=worker, task=task["taskArn"], number=number)
                return
        raise Unavailable("The worker's last starts have ended already: it is tried again within a minute.")

    async def _run(self, worker: WorkerId, *, number: int, patient: bool) -> Mapping[str, Any]:
        """One start; ``patient`` with a role that ECS may not see yet."""
        for pause in (*(self._pauses if patient else ()), None):
            try:
                return await self._ask(worker, number=number)
            except ClientError as error:
                if _UNSEEN_ROLE not in str(error):
                    raise
                if pause is None:
                    self._roles.forget(worker)  # it may have been removed by hand
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def _ask(self, worker: WorkerId, *, number: int) -> Mapping[str, Any]:
        try:
            said = await self._client.run_task(**self._request(worker, number=number))
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

    def _request(self, worker: WorkerId, *, number: int) -> dict[str, Any]:
        """The same for the same number: ECS compares."""
        return {
            "cluster": self._settings.ecs_cluster,
            "taskDefinition": self._settings.ecs_task,
            "launchType": "FARGATE",
            "count": 1,
            "clientToken": token(worker, number),
            "startedBy": names.short(worker),
            "networkConfiguration": {
                "awsvpcConfiguration": {
                    "subnets": list(self._settings.ecs_subnets),
                    "securityGroups": [self._settings.ecs_security_group],
                    "assignPublicIp": "ENABLED",
                }
            },
            "overrides": {
                "taskRoleArn": self._roles.arn(worker),
                "containerOverrides": [
                    {"name": CONTAINER, "environment": [{"name": "CONTAINER_ID", "value": worker}]}
                ],
            },
            "tags": [{"key": "branchline:worker", "value": worker}],
        }


async def launching(
    settings: EcsSettings, *, table: Table, replies: str | None, stack: AsyncExitStack, **pace: Any
) -> EcsLauncher:
    """The launcher, connected. ``replies``: URL of the replies queue; ``pace``: as ``EcsLauncher`` takes it.
    Raises Unavailable without a region."""
    client = await stack.enter_async_context(aws.service("ecs"))
    iam = await stack.enter_async_context(aws.service("iam"))
    partition, account = settings.account
    where = Account(
        id=account,
        region=client.meta.region_name,
        table=table.name,
        replies=replies.rsplit("/", 1)[-1] if replies else REPLIES_QUEUE,
        partition=partition,
    )
    roles = WorkerRoles(iam, account=where, path=settings.worker_role_path, boundary=settings.worker_boundary)
    return EcsLauncher(client, settings=settings, roles=roles, table=table, **pace)


@asynccontextmanager
async def _translated(worker: WorkerId, *, what: str) -> AsyncIterator[None]:
    """One line in the log and Unavailable for whatever ECS, IAM or their absence raise; never for long."""
    try:
        async with asyncio.timeout(_LONGEST_SECONDS):
            yield
    except (Unavailable, ClientError, BotoCoreError, OSError, TimeoutError) as error:
        code = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
        problem = str(error) or "it took too long"
        _log.warning(f"worker {what}", worker_id=worker, code=code, problem=problem[:500])
        if isinstance(error, Unavailable):
            raise
        raise Unavailable(
            "ECS did not start the worker, or could not be asked: it is tried again."
        ) from error
