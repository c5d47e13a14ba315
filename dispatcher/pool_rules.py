"""The warm pool's decisions: which slot a worker gets, and what the sweep does with each. Pure.

A slot's record goes ``made -> free -> claimed -> worker``, or ``made, free -> retired``, and out of the table
once its task has stopped. Whatever the records and ECS say, no decision here ends a task that has become a
worker.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from contracts.pool import Slot
from contracts.records import decode, encode
from contracts.words import WorkerId

Tasks = Mapping[str, Mapping[str, Any]]
"""Tasks by ARN, as DescribeTasks shows them."""

BECOMES_SECONDS = 60.0
"""From the claim to the lease; a slot that takes longer is given up, and a task started."""
STUCK_SECONDS = 900.0
"""A slot that does not run after that long is replaced."""
UNSEEN_SECONDS = 600.0
"""A task that ECS does not show any more counts as stopped after that long."""
OLDEST_START_SECONDS = 20 * 3600.0
"""A start is repeated for that long: its token is good for 24 hours."""
_ENDING = {"DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED", "DELETED"}


class Launch(BaseModel):
    """The last start of a worker: its number, the task's ARN, and when (Unix time in seconds).

    Of a worker from the pool also the slot, whether the slot was told, and the worker's epoch before."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    number: int = 0
    task: str | None = None
    at: float = 0.0
    slot: Slot | None = None
    told: bool = True
    epoch: int = 0

    def is_fresh(self, now: float) -> bool:
        """Whether a slot may still be on its way to become the worker."""
        return now - self.at < BECOMES_SECONDS


class SlotRecord(BaseModel):
    """One slot. ``since``: when it came into its state; ``unseen``: since when ECS shows no task of it.
    Unix times in seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    v: int = 1
    slot: Slot
    state: Literal["made", "free", "claimed", "worker", "retired"] = "made"
    since: float
    task: str | None = None
    worker: WorkerId | None = None
    epoch: int = 0
    unseen: float | None = None

    @classmethod
    def read(cls, item: Mapping[str, Any]) -> Self:
        """From an item in wire form. Raises pydantic.ValidationError."""
        return cls.model_validate({"slot": item["sk"]["S"], **decode(item)})

    def attributes(self) -> dict[str, Any]:
        """To an item in wire form, without its key."""
        return encode(self.model_dump(exclude_none=True, exclude={"slot"}))


class Plan(BaseModel):
    """What the sweep does: add so many, and what with which."""

    model_config = ConfigDict(frozen=True)

    add: int = 0
    run: tuple[SlotRecord, ...] = ()
    retire: tuple[SlotRecord, ...] = ()
    stop: tuple[SlotRecord, ...] = ()
    settle: tuple[SlotRecord, ...] = ()
    miss: tuple[SlotRecord, ...] = ()
    remove: tuple[SlotRecord, ...] = ()


def is_alive(task: Mapping[str, Any]) -> bool:
    """Whether a task runs or is about to."""
    return task.get("desiredStatus") != "STOPPED" and task.get("lastStatus") not in _ENDING


def is_ready(slot: SlotRecord, tasks: Tasks) -> bool:
    """Whether a slot waits for its letter."""
    task = tasks.get(slot.task or "", {})
    runs = is_alive(task) and task.get("lastStatus") == "RUNNING"
    return slot.state == "free" and runs and task.get("healthStatus") != "UNHEALTHY"


def candidates(slots: Sequence[SlotRecord], tasks: Tasks) -> list[SlotRecord]:
    """The slots that a worker may get, the one to try first in front."""
    return sorted((s for s in slots if is_ready(s, tasks)), key=lambda s: (s.since, s.slot))


def plan(
    slots: Sequence[SlotRecord],
    tasks: Tasks,
    *,
    wanted: int,
    revision: str | None,
    epochs: Mapping[WorkerId, int],
    now: float,
) -> Plan:
    """``wanted``: slots to be kept free. ``revision``: ARN of the task definition that a start would use,
    None when nobody knows. ``epochs``: of workers, as their rows say."""
    ended = [s for s in slots if _has_ended(s, tasks, now=now)]
    there = [s for s in slots if s not in ended]
    waiting = [s for s in there if s.state in ("made", "free")]
    sick = [s for s in waiting if _is_sick(s, tasks, now=now)]
    old = [s for s in waiting if s not in sick and _is_old(s, tasks, revision)]
    good = sorted(
        (s for s in waiting if s not in sick and s not in old),
        key=lambda s: (not is_ready(s, tasks), s.state == "made", s.since, s.slot),
    )
    kept, surplus = good[:wanted], good[wanted:]
    # Old ones serve until as many new ones can.
    replaced = old if sum(is_ready(s, tasks) for s in kept) >= wanted else []
    claimed = [s for s in there if s.state == "claimed"]
    became = [s for s in claimed if s.worker is not None and epochs.get(s.worker, 0) > s.epoch]
    late = [s for s in claimed if s not in became and now - s.since > 2 * BECOMES_SECONDS]
    return Plan(
        add=max(0, wanted - len(good)),
        run=tuple(s for s in kept if s.state == "made"),
        retire=(*sick, *surplus, *replaced),
        stop=(*late, *(s for s in there if s.state == "retired" and _shows(s, tasks))),
        settle=tuple(became),
        miss=tuple(s for s in there if s.task is not None and (s.unseen is None) != _shows(s, tasks)),
        remove=tuple(ended),
    )


def _shows(slot: SlotRecord, tasks: Tasks) -> bool:
    return slot.task in tasks


def _has_ended(slot: SlotRecord, tasks: Tasks, *, now: float) -> bool:
    """Not while it stops: until then it needs its role."""
    if slot.task is None:
        return slot.state == "retired"
    if _shows(slot, tasks):
        return tasks[slot.task].get("lastStatus") in ("STOPPED", "DELETED")
    return slot.unseen is not None and now - slot.unseen > UNSEEN_SECONDS


def _is_sick(slot: SlotRecord, tasks: Tasks, *, now: float) -> bool:
    if slot.state == "made":
        return now - slot.since > OLDEST_START_SECONDS
    if not _shows(slot, tasks):
        return slot.unseen is not None and now - slot.unseen > BECOMES_SECONDS
    task = tasks[slot.task or ""]
    ill = task.get("healthStatus") == "UNHEALTHY"
    stuck = task.get("lastStatus") != "RUNNING" and now - slot.since > STUCK_SECONDS
    return ill or stuck or not is_alive(task)


def _is_old(slot: SlotRecord, tasks: Tasks, revision: str | None) -> bool:
    if slot.state == "made" or revision is None or not _shows(slot, tasks):
        return False
    return tasks[slot.task or ""].get("taskDefinitionArn") != revision
