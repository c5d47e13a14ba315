"""``branchline destroy``: what runs and costs goes; what cannot be made again stays, or is asked for."""

import asyncio
import time

from cdk import settings as names
from contracts.names import USER_SECRETS
from fleet.deploy.cloud import Cloud
from fleet.deploy.place import DATA, DISPATCHER, EDGE, WATCH, WORKERS
from fleet.deploy.steps import Say, Step
from fleet.problem import FAILED, Problem

KEPT = (
    f"kept: the stack {DATA} with the table {names.TABLE}, the queues {names.QUEUES}*, the secrets and the"
    " images (about $1.80 a month);",
    "`branchline deploy` goes on with all of it, `branchline destroy --everything` deletes it for good.",
    "Kept in any case: the branches in your repositories, CDK's own stack CDKToolkit, and with"
    ' workspace = "efs" the file system.',
)
_LEAVE_SECONDS = names.STOP_SECONDS + 60.0


class Removal:
    """The steps. ``everything``: the records as well."""

    def __init__(
        self,
        *,
        cloud: Cloud,
        everything: bool,
        leave_seconds: float = _LEAVE_SECONDS,
        look_seconds: float = 2,
    ) -> None:
        self.cloud, self.everything = cloud, everything
        self.leave_seconds, self.look_seconds = leave_seconds, look_seconds
        self._say: Say = _nobody

    def steps(self, say: Say | None = None) -> list[Step]:
        """The dispatcher goes first: it would start workers again. Their roles go before their wall.

        ``say`` hears how a step that takes minutes gets on.
        """
        self._say = say or _nobody
        return [
            self._delete(WATCH),
            self._delete(EDGE),
            self._delete(DISPATCHER),
            Step(says="let workers save their work and leave", do=self._stop),
            Step(says="delete the workers' roles", do=self._roles),
            self._delete(WORKERS),
            *(self._all() if self.everything else ()),
        ]

    async def announce(self, say: Say) -> None:
        """Where it is removed, before anybody says yes. Raises Problem without credentials or region."""
        say(f"account {await self.cloud.account()}, region {self.cloud.region}")
        if not any([await self.cloud.has_stack(stack) for stack in (DATA, WORKERS, DISPATCHER)]):
            say("note: there is no fleet in this region; another one is named with --region")

    def _all(self) -> tuple[Step, ...]:
        return (
            Step(says="delete the images", do=self.cloud.delete_images),
            self._delete(DATA),
            Step(says="delete the keys of users", do=self._keys),
            Step(says="delete the queues", do=self._queues),
            Step(says="delete the records", do=self.cloud.delete_table),
        )

    def _delete(self, stack: str) -> Step:
        async def go() -> str:
            if not await self.cloud.has_stack(stack):
                return "it is not there"
            await self.cloud.delete_stack(stack)
            return "deleted"

        return Step(says=f"delete the stack {stack}", do=go)

    async def _stop(self) -> str:
        tasks = await self.cloud.tasks()
        for task in tasks:
            await self.cloud.stop_task(task, reason="branchline destroy")
        deadline, before = time.monotonic() + self.leave_seconds, 0
        while left := await self.cloud.leaving():
            if time.monotonic() > deadline:
                raise Problem(_stay(left), code=FAILED)
            if len(left) != before:
                self._say(f"      {len(left)} still save{'s' if len(left) == 1 else ''}")
            before = len(left)
            await asyncio.sleep(self.look_seconds)
        return f"{len(tasks)} left" if tasks else "none runs"

    async def _roles(self) -> str:
        other = await self.cloud.fleet_region()
        if other not in (None, self.cloud.region):
            return f"none: those of this account are of its fleet in {other}"
        return f"{await self.cloud.delete_roles()} roles"

    async def _keys(self) -> str:
        gone = [await self.cloud.forget(kept.name) for kept in await self.cloud.kept(USER_SECRETS)]
        return f"{sum(gone)} keys"

    async def _queues(self) -> str:
        return f"{await self.cloud.delete_queues()} queues"


def _stay(left: list[str]) -> str:
    who = "1 worker does" if len(left) == 1 else f"{len(left)} workers do"
    return f"{who} not leave ({left[0]}): look at it in ECS, then destroy again."


def _nobody(_line: str) -> None:
    """Who does not listen."""
