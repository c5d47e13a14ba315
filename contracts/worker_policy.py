"""What one worker may do in AWS: the policies of its own role, as data.

Every key of its partitions holds its id between two ``#`` or at the end (``contracts.records``), and no id
holds a ``#``, so a pattern on leading keys walls workers off from each other. An id that IAM would read as a
pattern is refused. Transactions are allowed or refused by what they do to each item; whether IAM shows a
condition one item's key or those of all is not documented, so what a worker may do to records of others while
it removes a deleted thread is written so that both readings allow it. It may not read them by that: a
request that wants back what it deletes is refused. What a transaction gives back of an item whose condition
failed has no key of IAM's (``docs/decisions/aws.md`` says what is left). Pure.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from contracts import names
from contracts.places import UNSHOWN
from contracts.pool import Slot, letter_pk
from contracts.records import worker_pk
from contracts.words import WorkerId

Document = dict[str, Any]
"""A policy of IAM, as JSON has it."""

_ID = re.compile(r"[a-z0-9_-]+")
_READ = ("BatchGetItem", "ConditionCheckItem", "GetItem", "Query")
_WRITE = ("DeleteItem", "PutItem", "UpdateItem")
_FORGET = ("ConditionCheckItem", "DeleteItem")
_UPLOADS = ("GetItem", "Query", "UpdateItem")
_DELIVERIES = (
    "ChangeMessageVisibility",
    "DeleteMessage",
    "GetQueueAttributes",
    "ReceiveMessage",
    "SendMessage",
)
_DISK = ("ClientMount", "ClientWrite")
_ANY_SIX = "-" + "?" * 6
"""What AWS appends to a secret's name in its ARN. With ``*`` it would be any longer name as well."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Where the product lives. ``replies``: the name of the replies queue; ``partition``: ``aws`` and its
    likes."""

    id: str
    region: str
    table: str
    replies: str
    partition: str = "aws"

    def arn(self, service: str, resource: str) -> str:
        """The ARN of something of this account in its region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.id}:{resource}"


def own_keys(worker: WorkerId) -> tuple[str, str, str]:
    """Patterns of the partitions that are a worker's alone. Raises ValueError for an id that is none."""
    if not _ID.fullmatch(worker):
        raise ValueError(f"{worker!r} is no worker id: nothing may be allowed by it")
    return worker_pk(worker), f"thread#{worker}#*", f"id#{worker}#*"


def own_secrets(worker: WorkerId, *, account: Account) -> list[str]:
    """Patterns of the ARNs of its user's keys. Raises ValueError for an id that is none.

    Each also without the six characters: no secret has that ARN, but where none is, it is what AWS has to
    go by, and a worker has to tell "there is none" from "refused".
    """
    secrets = [names.worker_secret(worker, kind=kind) for kind in names.KEY_KINDS]
    return [account.arn("secretsmanager", f"secret:{s}{end}") for s in secrets for end in (_ANY_SIX, "")]


def policy(worker: WorkerId, *, account: Account) -> Document:
    """What this worker may do. Raises ValueError for an id that is none."""
    own = own_keys(worker)
    uploads = "upload#*"  # whoever names one of them knows 128 random bits
    others = (*own, uploads, "directory#*", "place#*", UNSHOWN)
    return _document(
        _records("Own", (*_READ, *_WRITE), own, account),
        _records("Uploads", _UPLOADS, (*own, uploads), account),
        _blind(_records("RemovedThreads", _FORGET, others, account)),
        _allow("Deliveries", "sqs", _DELIVERIES, account.arn("sqs", names.queue(worker))),
        _allow("Replies", "sqs", ("SendMessage",), account.arn("sqs", account.replies)),
        _allow("Keys", "secretsmanager", ("GetSecretValue",), own_secrets(worker, account=account)),
        {
            **_allow("Disk", "elasticfilesystem", _DISK, account.arn("elasticfilesystem", "file-system/*")),
            "Condition": {"StringEquals": {"aws:ResourceTag/branchline": "workspace"}},
        },
    )


def slot_policy(slot: Slot, *, account: Account) -> Document:
    """What a slot of the warm pool may do before it is anybody's worker: read its letter. Raises ValueError
    for a name that is none."""
    return _document(_records("Letter", ("GetItem",), (letter_pk(slot),), account))


def trust(account: Account) -> Document:
    """Who may take such a role: tasks of ECS in this account."""
    return _document(
        {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:SourceAccount": account.id}},
        }
    )


def _records(sid: str, actions: Iterable[str], keys: Iterable[str], account: Account) -> Document:
    condition = {
        "ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(keys)},
        # A request that names no key at all would fulfil the condition above.
        "Null": {"dynamodb:LeadingKeys": "false"},
    }
    return {
        **_allow(sid, "dynamodb", actions, account.arn("dynamodb", f"table/{account.table}")),
        "Condition": condition,
    }


def _blind(statement: Document) -> Document:
    """The same for requests that are not given what they remove: that would be reading it."""
    nothing = {"StringEqualsIfExists": {"dynamodb:ReturnValues": "NONE"}}
    return {**statement, "Condition": {**statement["Condition"], **nothing}}


def _allow(sid: str, service: str, actions: Iterable[str], resource: str | list[str]) -> Document:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": [f"{service}:{action}" for action in actions],
        "Resource": resource,
    }


def _document(*statements: Document) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}
