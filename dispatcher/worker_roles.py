"""A role of its own for each worker, made at its first start under the boundary that the stack has made.

Whoever got hold of a worker has its role and no more: the policy is ``contracts.worker_policy``, and the
boundary is the most that any such role can ever be given, by whoever writes it. A slot of the warm pool has a
role of its own as well, which becomes one worker's and never another's. Starts nothing.
"""

import json
from contextlib import suppress
from typing import Any

import structlog

from contracts import names
from contracts.pool import Slot
from contracts.words import WorkerId
from contracts.worker_policy import Account, policy, slot_policy, trust
from dispatcher.errors import Unavailable

_log = structlog.get_logger(__name__)
_POLICY, _OF_SLOT = "worker", "slot"


class WorkerRoles:
    """``client``: IAM. What this process has brought up to date once stays as it is."""

    def __init__(self, client: Any, *, account: Account, path: str, boundary: str) -> None:
        self._client, self._account, self._path, self._boundary = client, account, path, boundary
        self._done: set[WorkerId] = set()

    def arn(self, worker: WorkerId) -> str:
        """The role's ARN, whether it is there or not."""
        return self._arn(names.short(worker))

    def slot_arn(self, slot: Slot) -> str:
        """The ARN of a slot's role, whether it is there or not."""
        return self._arn(slot)

    def _arn(self, name: str) -> str:
        return f"arn:{self._account.partition}:iam::{self._account.id}:role{self._path}{name}"

    async def ensure(self, worker: WorkerId) -> bool:
        """Make the role or bring its policy up to date; whether it was made just now, and so may not be seen
        by ECS yet. Raises Unavailable for an id that is none, and what boto raises."""
        if worker in self._done:
            return False
        written = self._written(worker)
        made = await self._make(names.short(worker), tag=("branchline:worker", worker))
        await self._put(names.short(worker), _POLICY, written)
        self._done.add(worker)
        return made

    async def ensure_slot(self, slot: Slot) -> None:
        """Make a slot's role, which may read the slot's letter and nothing else."""
        await self._make(slot, tag=("branchline:slot", slot))
        await self._put(slot, _OF_SLOT, json.dumps(slot_policy(slot, account=self._account)))

    async def become(self, slot: Slot, worker: WorkerId) -> None:
        """Let the slot's role do what the worker's own would, from now on."""
        await self._put(slot, _POLICY, self._written(worker))

    async def settle(self, slot: Slot) -> None:
        """Leave the slot's role with what it may as a worker."""
        await self._drop(slot, _OF_SLOT)

    async def remove_slot(self, slot: Slot) -> None:
        """Delete a slot's role, or what is left of it."""
        for name in (_POLICY, _OF_SLOT):
            await self._drop(slot, name)
        with suppress(self._client.exceptions.NoSuchEntityException):
            await self._client.delete_role(RoleName=slot)

    def _written(self, worker: WorkerId) -> str:
        """What this worker's role says, whichever role that is."""
        try:
            return json.dumps(policy(worker, account=self._account))
        except ValueError as error:
            raise Unavailable(str(error)) from error

    async def _put(self, role: str, name: str, written: str) -> None:
        await self._client.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=written)

    async def _drop(self, role: str, name: str) -> None:
        with suppress(self._client.exceptions.NoSuchEntityException):
            await self._client.delete_role_policy(RoleName=role, PolicyName=name)

    async def _make(self, role: str, *, tag: tuple[str, str]) -> bool:
        try:
            await self._client.create_role(
                Path=self._path,
                RoleName=role,
                AssumeRolePolicyDocument=json.dumps(trust(self._account)),
                PermissionsBoundary=self._boundary,
                Description="A worker of Branchline",
                Tags=[{"Key": tag[0], "Value": tag[1]}],
            )
        except self._client.exceptions.EntityAlreadyExistsException:
            return False
        _log.info("role made", role=role)
        return True

    async def remove(self, worker: WorkerId, *, before: float) -> bool:
        """Remove the role if there is one that was made before then (Unix time); whether that was done. It is
        made again when it is needed. Raises what boto raises."""
        name, missing = names.short(worker), self._client.exceptions.NoSuchEntityException
        try:
            role = (await self._client.get_role(RoleName=name))["Role"]
            if role["CreateDate"].timestamp() >= before:
                return False
            self.forget(worker)
            with suppress(missing):
                await self._client.delete_role_policy(RoleName=name, PolicyName=_POLICY)
            await self._client.delete_role(RoleName=name)
        except missing:
            return False
        _log.info("role removed", worker_id=worker)
        return True

    def forget(self, worker: WorkerId) -> None:
        """Look again before the next start: somebody has said that the role is of no use."""
        self._done.discard(worker)
