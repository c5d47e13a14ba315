"""The most that any worker may ever do, whatever role the dispatcher makes for it.

The role of a worker, which the dispatcher writes, narrows this to the worker's own queue, rows and keys. The
boundary is what holds if that role should be written wrongly, or by somebody who got hold of the dispatcher:
no scan, none of the records about accounts, sessions and tokens, no secret but keys that users have brought.
"""

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam

from cdk import settings as names
from contracts.names import USER_SECRETS

PARTITIONS = ("worker#*", "thread#*", "id#*", "upload#*", "directory#*", "place#*", "unshown")
"""Keys of the table that begin like this hold what workers work on (``docs/decisions/records.md``)."""
LETTERS = "pool#*"
"""Of these a slot of the warm pool reads its own; no worker's role names any."""
RECORDS = (
    "dynamodb:BatchGetItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
)
_DELIVERIES = (
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
)
_DISK = ("elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite")


def boundary_document(stack: Stack, *, table_arn: str) -> iam.PolicyDocument:
    """What a role below ``/branchline/worker/`` can be given at most."""
    return iam.PolicyDocument(
        statements=[
            _records("Records", RECORDS, PARTITIONS, table_arn=table_arn),
            _records("Letters", ("dynamodb:GetItem",), (LETTERS,), table_arn=table_arn),
            iam.PolicyStatement(
                sid="Deliveries",
                actions=list(_DELIVERIES),
                resources=[stack.format_arn(service="sqs", resource=f"{names.QUEUES}*")],
            ),
            iam.PolicyStatement(
                sid="Keys",
                actions=["secretsmanager:GetSecretValue"],
                resources=[_secret(stack, f"{USER_SECRETS}*")],
            ),
            iam.PolicyStatement(
                sid="Disk",
                actions=list(_DISK),
                resources=[stack.format_arn(service="elasticfilesystem", resource="file-system/*")],
                conditions={"StringEquals": {"aws:ResourceTag/branchline": "workspace"}},
            ),
        ]
    )


def worker_roles(stack: Stack) -> str:
    """The ARN pattern of the roles that the dispatcher makes for workers."""
    path = names.WORKER_ROLES.strip("/")
    return stack.format_arn(service="iam", region="", resource="role", resource_name=f"{path}/*")


def _records(
    sid: str, actions: tuple[str, ...], partitions: tuple[str, ...], *, table_arn: str
) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        sid=sid,
        actions=list(actions),
        resources=[table_arn],
        conditions={
            "ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(partitions)},
            # Without it a request that names no key at all would fulfil the condition above.
            "Null": {"dynamodb:LeadingKeys": "false"},
        },
    )


def _secret(stack: Stack, pattern: str) -> str:
    return stack.format_arn(
        service="secretsmanager",
        resource="secret",
        resource_name=pattern,
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )
