"""The warm pool: tasks that wait under roles of their own, each of which becomes one worker and no other.

A slot's role is made before its task and may read the slot's letter alone; at the claim it is allowed what
the worker's own role would be, so no worker is ever given a role, and none is handed on. Order and crash
points of the claim stand in ``docs/decisions/aws.md``. What to do is decided in ``pool_rules``; here it is
done.
"""

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, auto
from typing import Any

import structlog

from contracts import pool
from contracts.words import WorkerId
from dispatcher import aws
from dispatcher.ecs_tasks import Tasks
from dispatcher.errors import DispatcherError
from dispatcher.pool_rows import PoolRows
from dispatcher.pool_rules import Launch, Plan, SlotRecord, candidates, is_alive, plan
from dispatcher.worker_roles import WorkerRoles
from dispatcher.worker_tokens import TokenDoor

_log = structlog.get_logger(__name__)
_COMMAND = ("python", "-m", "worker.slot")
_STARTED_BY = "branchline-pool"
_TRIES = 3


class Taken(Enum):
    """What became of a worker that was to get a slot."""

    SLOT = auto()
    NONE = auto()
    OVERTAKEN = auto()
    """Somebody else was at the same worker or slot: look again."""


class Pool:
    """``wanted``: slots kept free; with 0 none is given away, and those that are there are ended.
    ``tokens``: where workers get theirs, if there is a GitHub App. ``now``: Unix time in seconds. Everything
    raises what boto raises, and Unavailable."""

    def __init__(
        self,
        *,
        rows: PoolRows,
        tasks: Tasks,
        roles: WorkerRoles,
        wanted: int,
        tokens: TokenDoor | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._rows, self._tasks, self._roles = rows, tasks, roles
        self._wanted, self._tokens, self._now = wanted, tokens, now

    # ------------------------------------------------------------ a worker gets a slot

    async def holds(self, worker: WorkerId, last: Launch) -> bool:
        """Whether a start whose task is alive is good for this worker: one without a slot always, one of a
        slot if the slot was told, and has become the worker or still may."""
        if last.slot is None:
            return True
        if not last.told:
            return False
        return last.is_fresh(self._now()) or await self._rows.epoch(worker) > last.epoch

    async def take(self, worker: WorkerId, *, last: Launch, tasks: Mapping[str, Mapping[str, Any]]) -> Taken:
        """Give a worker that does not run a slot, or bring to its end what was begun for it. ``tasks``: those
        of the worker that ECS shows."""
        if last.slot is not None and is_alive(tasks.get(last.task or "", {"lastStatus": "STOPPED"})):
            if not last.told and last.is_fresh(self._now()):
                return await self._tell(worker, last)
            await self._give_up(worker, last)
        if not self._wanted:
            return Taken.NONE
        return await self._claim(worker, last)

    async def _give_up(self, worker: WorkerId, last: Launch) -> None:
        _log.warning("slot has not become its worker", worker_id=worker, slot=last.slot, task=last.task)
        await self._tasks.stop(last.task or "", reason="It has not become its worker in time.")

    async def _claim(self, worker: WorkerId, last: Launch) -> Taken:
        _, slots = await self._rows.look()
        others = [s for s in slots if s.worker == worker and s.state == "claimed" and s.task != last.task]
        if others and await self._rows.last(worker) != last:
            return Taken.OVERTAKEN  # claimed since the note was read
        waiting = [s for s in slots if s.state == "free" and s.task]
        tasks = await self._tasks.shown(s.task for s in waiting if s.task) if waiting else {}
        epoch = await self._rows.epoch(worker) if tasks else 0
        for slot in candidates(waiting, tasks)[:_TRIES]:
            launch = Launch(
                number=last.number, task=slot.task, at=self._now(), slot=slot.slot, told=False, epoch=epoch
            )
            if await self._rows.claim(slot, worker=worker, last=last, launch=launch):
                return await self._tell(worker, launch)
            if await self._rows.last(worker) != last:
                return Taken.OVERTAKEN
        return Taken.NONE

    async def _tell(self, worker: WorkerId, launch: Launch) -> Taken:
        """From the claim on; done again whenever it is not known to have been done."""
        if launch.slot is None:
            return Taken.NONE
        await self._roles.become(launch.slot, worker)
        variables = self._tokens.variables(worker) if self._tokens else {}
        if not await self._rows.tell(worker, launch, variables=variables):
            return Taken.OVERTAKEN
        _log.info("slot claimed", worker_id=worker, slot=launch.slot, task=launch.task)
        return Taken.SLOT

    # ------------------------------------------------------------ what the sweep does

    async def care(self) -> None:
        """Keep as many slots free as are wanted; end and clear away the others. One slot's fault hinders no
        other."""
        number, slots = await self._rows.look()
        if not slots and not self._wanted:
            return
        todo = await self._plan(slots)
        made = await self._rows.add(todo.add, after=number, now=self._now()) if todo.add else []
        for step, chosen in (
            (self._run, (*todo.run, *made)),
            (self._retire, todo.retire),
            (self._stop, todo.stop),
            (self._settle, todo.settle),
            (self._miss, todo.miss),
            (self._remove, todo.remove),
        ):
            for slot in chosen:
                await _guarded(step, slot)

    async def _plan(self, slots: list[SlotRecord]) -> Plan:
        tasks = await self._tasks.shown(s.task for s in slots if s.task)
        claimed = {s.worker for s in slots if s.state == "claimed" and s.worker}
        return plan(
            slots,
            tasks,
            wanted=self._wanted,
            revision=await self._revision(),
            epochs={worker: await self._rows.epoch(worker) for worker in claimed},
            now=self._now(),
        )

    async def _revision(self) -> str | None:
        try:
            return await self._tasks.revision() if self._wanted else None
        except aws.FAULTS as error:
            _log.warning("revision not known", problem=str(error)[:500])
            return None

    async def _run(self, slot: SlotRecord) -> None:
        await self._roles.ensure_slot(slot.slot)
        task = await self._tasks.run(
            token=hashlib.sha256(f"pool#{slot.slot}".encode()).hexdigest(),
            started_by=_STARTED_BY,
            role=self._roles.slot_arn(slot.slot),
            variables={pool.VARIABLE: slot.slot},
            tags={"branchline:slot": slot.slot},
            command=_COMMAND,
        )
        if await self._rows.change(slot, state="free", task=task["taskArn"], since=self._now()):
            _log.info("slot started", slot=slot.slot, task=task["taskArn"])

    async def _retire(self, slot: SlotRecord) -> None:
        retired = await self._rows.change(slot, state="retired", since=self._now())
        if retired is not None:
            _log.info("slot retired", slot=slot.slot, task=slot.task)
            await self._stop(retired)

    async def _stop(self, slot: SlotRecord) -> None:
        if slot.task is not None:
            await self._tasks.stop(slot.task, reason="This slot of the warm pool is not needed any more.")

    async def _settle(self, slot: SlotRecord) -> None:
        await self._roles.settle(slot.slot)
        await self._rows.change(slot, state="worker")

    async def _miss(self, slot: SlotRecord) -> None:
        await self._rows.change(slot, unseen=self._now() if slot.unseen is None else None)

    async def _remove(self, slot: SlotRecord) -> None:
        """The record is retired first: from then on nobody claims what is about to lose its role."""
        gone: SlotRecord | None = slot
        if slot.state in ("made", "free"):
            _log.warning("slot ended before it was claimed", slot=slot.slot, task=slot.task)
            gone = await self._rows.change(slot, state="retired")
        if gone is not None:
            await self._roles.remove_slot(gone.slot)
            await self._rows.remove(gone)


async def _guarded(step: Callable[[SlotRecord], Awaitable[None]], slot: SlotRecord) -> None:
    try:
        await step(slot)
    except (DispatcherError, *aws.FAULTS) as error:
        _log.warning("slot not cared for", slot=slot.slot, problem=str(error)[:500])
