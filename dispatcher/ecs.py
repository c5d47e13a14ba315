"""Workers as tasks of ECS: started under a role of their own, at most one at a time for a worker id.

Two tasks of one worker do no harm (the lease decides which of them works) but cost money. So none is started
while ECS knows one that is neither stopping nor stopped, and each start has a number, kept beside the
worker's records: the number is the request's ``clientToken``, so dispatchers that ask at the same time start
one task, and so does one that died before it could note what it had started. ECS shows what it was told a
moment late: a task of the last minute counts as there although nobody sees it yet.

With a warm pool a waiting slot becomes the worker before a task is started; the note then names the slot's
task.

Whatever goes wrong is Unavailable with one line in the log: the message is durable, and the sweep asks again.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from contracts import names
from contracts.places import REPLIES_QUEUE
from contracts.words import WorkerId
from contracts.worker_policy import Account
from dispatcher import aws
from dispatcher.ecs_settings import EcsSettings
from dispatcher.ecs_tasks import Tasks, token
from dispatcher.errors import Unavailable
from dispatcher.pool import Pool, Taken
from dispatcher.pool_rows import NOTE, PoolRows
from dispatcher.pool_rules import Launch, is_alive
from dispatcher.table import Table
from dispatcher.worker_roles import WorkerRoles
from dispatcher.worker_tokens import TokenDoor

_log = structlog.get_logger(__name__)
_UNSEEN_SECONDS = 60.0
_LONGEST_SECONDS = 20.0
_STARTS = 3
_LOOKS = 3
_ROLE_SECONDS = 30 * 24 * 3600.0
_TIDIED = 3
"""Workers whose role is asked about in one sweep: each day some 4,000."""
_UNSEEN_ROLE = "unable to assume the role"


class EcsLauncher:
    """``tokens``: where workers get theirs, if there is a GitHub App. ``now``: Unix time; ``pauses``: seconds
    before each further try with a new role."""

    def __init__(
        self,
        *,
        tasks: Tasks,
        roles: WorkerRoles,
        table: Table,
        pool: Pool,
        tokens: TokenDoor | None = None,
        now: Callable[[], float] = time.time,
        pauses: Sequence[float] = (1.0, 2.0, 4.0),
    ) -> None:
        self._tasks, self._roles, self._table, self.pool = tasks, roles, table, pool
        self._tokens, self._now, self._pauses = tokens, now, pauses

    async def ensure(self, worker_id: WorkerId) -> bool:
        """Make sure that the worker has a task; true if it was just started. Raises Unavailable."""
        async with _translated(worker_id, what="not started"):
            for _ in range(_LOOKS):
                last, tasks = await self._look(worker_id)
                if await self._is_there(worker_id, last, tasks):
                    return False
                taken = await self.pool.take(worker_id, last=last, tasks=tasks)
                if taken is Taken.SLOT:
                    return True
                if taken is Taken.NONE:
                    await self._start(worker_id, last)
                    return True
            raise Unavailable("Others are starting this worker: it is looked at again within a minute.")

    async def running(self, worker_id: WorkerId) -> bool:
        """Whether the worker has a task that is neither stopping nor stopped. Raises Unavailable."""
        async with _translated(worker_id, what="not looked at"):
            return await self._is_there(worker_id, *await self._look(worker_id))

    async def tidy(self, workers: Sequence[WorkerId]) -> None:
        """Look at a few of all workers, by chance, and remove the roles of those that have not run for a
        month: IAM has room for 1,000 in an account. The next start makes them again. Raises Unavailable."""
        long_ago = self._now() - _ROLE_SECONDS
        for worker in random.sample(workers, min(len(workers), _TIDIED)):
            async with _translated(worker, what="not tidied up"):
                last, tasks = await self._look(worker)  # the note goes after a month as well
                if last.at < long_ago and not await self._is_there(worker, last, tasks):
                    await self._roles.remove(worker, before=long_ago)

    # ------------------------------------------------------------ what there is

    async def _look(self, worker: WorkerId) -> tuple[Launch, dict[str, Mapping[str, Any]]]:
        """The worker's last start, and its tasks that ECS shows, the last one among them."""
        last = Launch.model_validate(await self._table.note(worker, NOTE))
        arns = {*await self._tasks.of(names.short(worker)), *([last.task] if last.task else [])}
        return last, await self._tasks.shown(arns)

    async def _is_there(self, worker: WorkerId, last: Launch, tasks: Mapping[str, Mapping[str, Any]]) -> bool:
        if any(is_alive(task) for arn, task in tasks.items() if arn != last.task):
            return True
        if last.task is None:
            return False
        if last.task not in tasks:
            alive = self._now() - last.at < _UNSEEN_SECONDS
        else:
            alive = is_alive(tasks[last.task])
        return alive and await self.pool.holds(worker, last)

    # ------------------------------------------------------------ a start

    async def _start(self, worker: WorkerId, last: Launch) -> None:
        """A number whose task has ended already was used by a start that nobody noted: then the next one."""
        fresh = await self._roles.ensure(worker)
        for number in range(last.number + 1, last.number + 1 + _STARTS):
            task = await self._run(worker, number=number, patient=fresh)
            await self._table.write_note(worker, NOTE, number=number, task=task["taskArn"], at=self._now())
            if is_alive(task):
                _log.info("task started", worker_id=worker, task=task["taskArn"], number=number)
                return
        raise Unavailable("The worker's last starts have ended already: it is tried again within a minute.")

    async def _run(self, worker: WorkerId, *, number: int, patient: bool) -> Mapping[str, Any]:
        """One start; ``patient`` with a role that ECS may not see yet."""
        told = self._tokens.variables(worker) if self._tokens else {}
        for pause in (*(self._pauses if patient else ()), None):
            try:
                return await self._tasks.run(
                    token=token(worker, number),
                    started_by=names.short(worker),
                    role=self._roles.arn(worker),
                    variables={"CONTAINER_ID": worker, **told},
                    tags={"branchline:worker": worker},
                )
            except ClientError as error:
                if _UNSEEN_ROLE not in str(error):
                    raise
                if pause is None:
                    self._roles.forget(worker)  # it may have been removed by hand
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")


async def launching(
    settings: EcsSettings,
    *,
    table: Table,
    replies: str | None,
    stack: AsyncExitStack,
    tokens: TokenDoor | None = None,
    now: Callable[[], float] = time.time,
    **pace: Any,
) -> EcsLauncher:
    """The launcher, connected. ``replies``: URL of the replies queue; ``tokens``, ``now``,
    ``pace``: as ``EcsLauncher`` takes them.
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
    tasks = Tasks(client, settings=settings)
    pool = Pool(
        rows=PoolRows(table), tasks=tasks, roles=roles, wanted=settings.warm_pool, tokens=tokens, now=now
    )
    return EcsLauncher(tasks=tasks, roles=roles, table=table, pool=pool, tokens=tokens, now=now, **pace)


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
