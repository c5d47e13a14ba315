"""A role of its own for each worker, made at its first start under the boundary that the stack has made.

Whoever got hold of a worker has its role and no more: the policy is ``contracts.worker_policy``, and the
boundary is the most that any such role can ever be given, by whoever writes it. Starts nothing.
"""

import json
from typing import Any

import structlog

from contracts import names
from contracts.words import WorkerId
from contracts.worker_policy import Account, policy, trust
from dispatcher.errors import Unavailable

_log = structlog.get_logger(__name__)
_POLICY = "worker"


class WorkerRoles:
    """``client``: IAM. What this process has brought up to date once stays as it is."""

    def __init__(self, client: Any, *, account: Account, path: str, boundary: str) -> None:
        self._client, self._account, self._path, self._boundary = client, account, path, boundary
        self._done: set[WorkerId] = set()

    def arn(self, worker: WorkerId) -> str:
        """The role's ARN, whether it is there or not."""
        name = names.short(worker)
        return f"arn:{self._account.partition}:iam::{self._account.id}:role{self._path}{name}"

    async def ensure(self, worker: WorkerId) -> bool:
        """Make the role or bring its policy up to date; whether it was made just now, and so may not be seen
        by ECS yet. Raises Unavailable for an id that is none, and what boto raises."""
        if worker in self._done:
            return False
        try:
            written = json.dumps(policy(worker, account=self._account))
        except ValueError as error:
            raise Unavailable(str(error)) from error
        made = await self._make(worker)
        await self._client.put_role_policy(
            RoleName=names.short(worker), PolicyName=_POLICY, PolicyDocument=written
        )
        self._done.add(worker)
        return made

    async def _make(self, worker: WorkerId) -> bool:
        try:
            await self._client.create_role(
                Path=self._path,
                RoleName=names.short(worker),
                AssumeRolePolicyDocument=json.dumps(trust(self._account)),
                PermissionsBoundary=self._boundary,
                Description="A worker of Branchline",
                Tags=[{"Key": "branchline:worker", "Value": worker}],
            )
        except self._client.exceptions.EntityAlreadyExistsException:
            return False
        _log.info("role made", worker_id=worker)
        return True

    def forget(self, worker: WorkerId) -> None:
        """Look again before the next start: somebody has said that the role is of no use."""
        self._done.discard(worker)
