"""What ``deploy`` and ``destroy`` ask of AWS themselves; the stacks are CloudFormation's business.

Every method raises ``Problem`` with one sentence. Credentials, region and ``AWS_ENDPOINT_URL`` are boto's own
business and are read by it. Shows nothing and decides nothing.
"""

import base64
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import aioboto3
from botocore.exceptions import ClientError

from cdk import settings as names
from fleet.deploy.answers import GONE, NO_REGION
from fleet.deploy.answers import false_if_gone as _false_if_gone
from fleet.deploy.answers import translated as _translated
from fleet.problem import USAGE, Problem

BOOTSTRAP = "/cdk-bootstrap/hnb659fds/version"
FILLED = "branchline:filled"
"""Tag of a secret that holds what a person gave, and not what AWS made up."""
_UNRESERVED = 100
"""Lambda refuses a reservation that leaves fewer to functions without one."""

_LOOKED_AT = 100
"""Most tasks of one ``DescribeTasks``."""
_ENDED = ("STOPPED", "DELETED")
_QUEUES_OF_A_PAGE = 1000
"""The most; without it SQS gives as many and does not say that there are more."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A secret: its name, when it was changed, what it holds."""

    name: str
    changed: str
    value: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image of the worker that the repository has, and when it came."""

    tag: str
    pushed: datetime


class Cloud:
    """One account in one region."""

    def __init__(self, *, region: str | None = None) -> None:
        # The one variable of the two that boto does not read, and CDK reads first.
        with _translated("where it is"):
            self._session = aioboto3.Session(region_name=region or os.environ.get("AWS_REGION") or None)

    @property
    def region(self) -> str:
        """Where everything is. Raises Problem when nobody has said it."""
        if self._session.region_name is None:
            raise Problem(NO_REGION, code=USAGE)
        return str(self._session.region_name)

    async def account(self) -> str:
        """The account's number."""
        async with self._client("sts") as sts:
            with _translated("who you are"):
                return str((await sts.get_caller_identity())["Account"])

    async def fleet_region(self) -> str | None:
        """The region of this account's fleet, as the wall around its workers says it; None without one."""
        async with self._client("sts") as sts, self._client("iam") as iam:
            with _translated("whether there is a fleet"):
                _, partition, _, _, account, _ = (await sts.get_caller_identity())["Arn"].split(":", 5)
                arn = f"arn:{partition}:iam::{account}:policy/{names.BOUNDARY}"
                try:
                    version = (await iam.get_policy(PolicyArn=arn))["Policy"]["DefaultVersionId"]
                    found = await iam.get_policy_version(PolicyArn=arn, VersionId=version)
                except ClientError as error:
                    _false_if_gone(error)
                    return None
        # Its name is the account's, what it lets workers reach is the region's.
        named = re.search(r":dynamodb:([a-z0-9-]+):", json.dumps(found["PolicyVersion"]["Document"]))
        return named[1] if named else None

    async def bootstrapped(self) -> bool:
        """Whether CDK can upload here."""
        async with self._client("ssm") as ssm:
            with _translated("whether CDK was prepared"):
                try:
                    return bool((await ssm.get_parameter(Name=BOOTSTRAP))["Parameter"]["Value"])
                except ClientError as error:
                    return _false_if_gone(error)

    async def output(self, stack: str, key: str) -> str | None:
        """One output of a stack; None without the stack."""
        async with self._client("cloudformation") as formation:
            with _translated(f"about the stack {stack}"):
                try:
                    (found,) = (await formation.describe_stacks(StackName=stack))["Stacks"]
                except ClientError as error:
                    _false_if_gone(error)
                    return None
        outputs = {o["OutputKey"]: o["OutputValue"] for o in found.get("Outputs", [])}
        return outputs.get(key)

    async def has_stack(self, stack: str) -> bool:
        """Whether the stack is there."""
        return await self.stack_status(stack) is not None

    async def stack_status(self, stack: str) -> str | None:
        """CloudFormation's word for how the stack is; None without it."""
        async with self._client("cloudformation") as formation:
            with _translated(f"about the stack {stack}"):
                try:
                    found = (await formation.describe_stacks(StackName=stack))["Stacks"]
                except ClientError as error:
                    _false_if_gone(error)
                    return None
        return next((str(s["StackStatus"]) for s in found if s["StackStatus"] != "DELETE_COMPLETE"), None)

    async def holds_others(self, stack: str) -> bool:
        """Whether the stack imports something, which then nobody may take away or change."""
        async with self._client("cloudformation") as formation:
            with _translated(f"about the stack {stack}"):
                try:
                    found = await formation.get_template(StackName=stack)
                except ClientError as error:
                    return _false_if_gone(error)
        return "Fn::ImportValue" in json.dumps(found["TemplateBody"], default=str)

    async def delete_stack(self, stack: str) -> None:
        """Delete a stack and wait until it is gone."""
        async with self._client("cloudformation") as formation:
            with _translated(f"to delete the stack {stack}"):
                await formation.delete_stack(StackName=stack)
                waiter = formation.get_waiter("stack_delete_complete")
                await waiter.wait(StackName=stack, WaiterConfig={"Delay": 5, "MaxAttempts": 240})

    async def spare_lambdas(self, function: str) -> int | None:
        """How many Lambdas could be kept for this function, with those that are: AWS leaves 100 to all
        others. None for somebody who may not ask."""
        async with self._client("lambda") as functions:
            limit: dict[str, Any] = {}
            try:
                limit = (await functions.get_account_settings())["AccountLimit"]
                ours = await functions.get_function_concurrency(FunctionName=function)
            except ClientError as error:
                if not limit or error.response.get("Error", {}).get("Code") not in GONE:
                    return None
                ours = {}
        unreserved = int(limit["UnreservedConcurrentExecutions"])
        return max(unreserved + int(ours.get("ReservedConcurrentExecutions", 0)) - _UNRESERVED, 0)

    # ------------------------------------------------------------ secrets

    async def secret(self, name: str) -> str:
        """What a secret holds."""
        async with self._client("secretsmanager") as secrets:
            with _translated(f"for the secret {name}"):
                return str((await secrets.get_secret_value(SecretId=name))["SecretString"])

    async def is_filled(self, name: str) -> bool:
        """Whether somebody has put something into a secret."""
        async with self._client("secretsmanager") as secrets:
            with _translated(f"about the secret {name}"):
                try:
                    tags = (await secrets.describe_secret(SecretId=name)).get("Tags", [])
                except ClientError as error:
                    return _false_if_gone(error)
        return any(tag["Key"] == FILLED for tag in tags)

    async def fill(self, name: str, value: str) -> None:
        """Put a value into a secret."""
        async with self._client("secretsmanager") as secrets:
            with _translated(f"to fill the secret {name}"):
                await secrets.put_secret_value(SecretId=name, SecretString=value)
                await secrets.tag_resource(SecretId=name, Tags=[{"Key": FILLED, "Value": "yes"}])

    async def merge(
        self, name: str, values: dict[str, str], *, absent: Mapping[str, str] | None = None
    ) -> list[str]:
        """Put variables into a secret that is a JSON object, those of ``absent`` only if they are not there;
        which of them are new or other than before."""
        before = json.loads(await self.secret(name))
        values = {**{k: v for k, v in (absent or {}).items() if k not in before}, **values}
        changed = sorted(k for k, v in values.items() if before.get(k) != v)
        if changed:
            await self.fill(name, json.dumps({**before, **values}))
        return changed

    async def keep(self, name: str, value: str, *, what: str) -> bool:
        """Put a value into a secret of this name, made now if there is none; whether it was made."""
        async with self._client("secretsmanager") as secrets:
            with _translated(f"to keep the secret {name}"):
                try:
                    await secrets.create_secret(Name=name, Description=what, SecretString=value)
                except secrets.exceptions.ResourceExistsException:
                    await secrets.put_secret_value(SecretId=name, SecretString=value)
                    return False
        return True

    async def kept(self, begins: str) -> list[Kept]:
        """The secrets whose names begin so, with what they hold."""
        async with self._client("secretsmanager") as secrets:
            with _translated("for the secrets"):
                pages = secrets.get_paginator("list_secrets").paginate(
                    Filters=[{"Key": "name", "Values": [begins]}]
                )
                found = {s["Name"]: s async for page in pages for s in page["SecretList"]}
        return [
            Kept(name=name, changed=str(s.get("LastChangedDate", "")), value=await self.secret(name))
            for name, s in found.items()
            if name.startswith(begins)
        ]

    async def forget(self, name: str) -> bool:
        """Delete a secret at once and for good; whether there was one."""
        async with self._client("secretsmanager") as secrets:
            with _translated(f"to delete the secret {name}"):
                try:
                    await secrets.describe_secret(SecretId=name)
                except ClientError as error:
                    return _false_if_gone(error)
                await secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        return True

    # ------------------------------------------------------------ images

    async def newest_image(self, digest: str) -> Image | None:
        """The latest image made of what has this digest: its tag is the digest, or begins with it."""
        async with self._client("ecr") as ecr:
            with _translated("about the images"):
                pages = ecr.get_paginator("describe_images").paginate(repositoryName=names.REPOSITORY)
                try:
                    shown = [image async for page in pages for image in page["imageDetails"]]
                except ClientError as error:
                    _false_if_gone(error)
                    return None
        tags = [(i["imagePushedAt"], tag) for i in shown for tag in i.get("imageTags", ())]
        found = [Image(tag=tag, pushed=at) for at, tag in sorted(tags) if tag.partition("-")[0] == digest]
        return found[-1] if found else None

    async def registry_password(self) -> str:
        """The password of the user ``AWS`` for the next hours."""
        async with self._client("ecr") as ecr:
            with _translated("for a password of the registry"):
                (data,) = (await ecr.get_authorization_token())["authorizationData"]
        return base64.b64decode(data["authorizationToken"]).decode().partition(":")[2]

    async def delete_images(self) -> None:
        """Delete the repository with its images, if there is one."""
        async with self._client("ecr") as ecr:
            with _translated("to delete the images"):
                try:
                    await ecr.delete_repository(repositoryName=names.REPOSITORY, force=True)
                except ClientError as error:
                    _false_if_gone(error)

    # ------------------------------------------------------------ what the dispatcher has made

    async def tasks(self) -> list[str]:
        """The tasks of all workers that run or start."""
        async with self._client("ecs") as ecs:
            with _translated("about the workers"):
                pages = ecs.get_paginator("list_tasks").paginate(cluster=names.CLUSTER, family=names.TASK)
                try:
                    return [str(arn) async for page in pages for arn in page["taskArns"]]
                except ClientError as error:
                    _false_if_gone(error)
        return []

    async def workers(self) -> dict[str, str]:
        """Those tasks, each with the id of its worker."""
        tasks = await self.tasks()
        found: dict[str, str] = {}
        async with self._client("ecs") as ecs:
            with _translated("about the workers"):
                for start in range(0, len(tasks), _LOOKED_AT):
                    shown = await ecs.describe_tasks(
                        cluster=names.CLUSTER, tasks=tasks[start : start + _LOOKED_AT]
                    )
                    found |= {task["taskArn"]: _worker_of(task) for task in shown["tasks"]}
        return {task: worker for task, worker in found.items() if worker}

    async def leaving(self) -> list[str]:
        """The tasks that were told to leave and whose containers are not gone yet.

        A task that was stopped is in no list of those that run, while it still saves its work.
        """
        async with self._client("ecs") as ecs:
            with _translated("about the workers"):
                pages = ecs.get_paginator("list_tasks").paginate(
                    cluster=names.CLUSTER, family=names.TASK, desiredStatus="STOPPED"
                )
                try:
                    told = [str(arn) async for page in pages for arn in page["taskArns"]]
                except ClientError as error:
                    _false_if_gone(error)
                    return []
                looks = [
                    await ecs.describe_tasks(cluster=names.CLUSTER, tasks=told[start : start + _LOOKED_AT])
                    for start in range(0, len(told), _LOOKED_AT)
                ]
        return [t["taskArn"] for look in looks for t in look["tasks"] if t["lastStatus"] not in _ENDED]

    async def stop_task(self, task: str, *, reason: str) -> None:
        """Ask a worker to save its work and leave."""
        async with self._client("ecs") as ecs:
            with _translated("to stop a worker"):
                await ecs.stop_task(cluster=names.CLUSTER, task=task, reason=reason)

    async def delete_roles(self) -> int:
        """Delete the roles of workers; how many there were. The boundary cannot be deleted before them."""
        async with self._client("iam") as iam:
            with _translated("to delete the workers' roles"):
                pages = iam.get_paginator("list_roles").paginate(PathPrefix=names.WORKER_ROLES)
                roles = [role["RoleName"] async for page in pages for role in page["Roles"]]
                for role in roles:
                    for policy in (await iam.list_role_policies(RoleName=role))["PolicyNames"]:
                        await iam.delete_role_policy(RoleName=role, PolicyName=policy)
                    await iam.delete_role(RoleName=role)
        return len(roles)

    async def delete_queues(self) -> int:
        """Delete all queues of the product; how many there were."""
        async with self._client("sqs") as sqs:
            with _translated("to delete the queues"):
                pages = sqs.get_paginator("list_queues").paginate(
                    QueueNamePrefix=names.QUEUES, PaginationConfig={"PageSize": _QUEUES_OF_A_PAGE}
                )
                urls = [url async for page in pages for url in page.get("QueueUrls", [])]
                for url in urls:
                    await sqs.delete_queue(QueueUrl=url)
        return len(urls)

    async def records(self) -> Literal["none", "empty", "some"]:
        """What there is of the table."""
        async with self._client("dynamodb") as dynamodb:
            with _translated("about the table"):
                try:
                    found = await dynamodb.scan(TableName=names.TABLE, Limit=1)
                except ClientError as error:
                    _false_if_gone(error)
                    return "none"
        return "some" if found["Items"] else "empty"

    async def delete_table(self) -> None:
        """Delete the records, for good; the stack only lets go of them."""
        async with self._client("dynamodb") as dynamodb:
            with _translated("to delete the table"):
                try:
                    await dynamodb.update_table(TableName=names.TABLE, DeletionProtectionEnabled=False)
                    await dynamodb.get_waiter("table_exists").wait(TableName=names.TABLE)
                    await dynamodb.delete_table(TableName=names.TABLE)
                    await dynamodb.get_waiter("table_not_exists").wait(TableName=names.TABLE)
                except ClientError as error:
                    _false_if_gone(error)

    @asynccontextmanager
    async def _client(self, name: str) -> AsyncIterator[Any]:
        _ = self.region
        async with AsyncExitStack() as stack:
            with _translated(f"for {name}"):
                client = await stack.enter_async_context(self._session.client(name))  # type: ignore[call-overload]
            yield client


def _worker_of(task: Mapping[str, Any]) -> str:
    """Whose task it is, as it was told at its start."""
    told = [v for c in task["overrides"]["containerOverrides"] for v in c.get("environment", ())]
    return next((str(v["value"]) for v in told if v["name"] == "CONTAINER_ID"), "")
