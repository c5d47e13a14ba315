"""What the dispatcher may do: its table, the product's queues, starting workers, and roles for those under
the boundary. Each statement says what it is for; no resource is wider than AWS makes it.
"""

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam

from cdk import settings as names
from cdk.boundary import RECORDS, worker_roles
from cdk.data import Data
from cdk.workers import Workers

_SEND = (
    "sqs:CreateQueue",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:SendMessage",
    "sqs:SetQueueAttributes",
)
_RECEIVE = ("sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage")


def grant_dispatcher(role: iam.Role, *, stack: Stack, data: Data, workers: Workers) -> None:
    """Give the dispatcher's role all that it needs."""
    for statement in (
        *_records(data),
        *_queues(stack, data),
        *_tasks(stack),
        *_roles(stack, workers),
        _starts(stack),
        _secret(data),
    ):
        role.add_to_policy(statement)


def _records(data: Data) -> list[iam.PolicyStatement]:
    actions = [*RECORDS, "dynamodb:DescribeTable"]
    return [iam.PolicyStatement(sid="Records", actions=actions, resources=[data.table.table_arn])]


def _queues(stack: Stack, data: Data) -> list[iam.PolicyStatement]:
    ours = stack.format_arn(service="sqs", resource=f"{names.QUEUES}*")
    dead = stack.format_arn(service="sqs", resource=f"{names.QUEUES}*-dead")
    return [
        # Each worker has a queue, made at first contact: their names are not known here.
        iam.PolicyStatement(sid="QueuesOfWorkers", actions=list(_SEND), resources=[ours]),
        iam.PolicyStatement(
            sid="RepliesAndDeadLetters", actions=list(_RECEIVE), resources=[data.replies.queue_arn, dead]
        ),
        # Is SQS there? AWS knows no resource for this question.
        iam.PolicyStatement(sid="Health", actions=["sqs:ListQueues"], resources=["*"]),
    ]


def _tasks(stack: Stack) -> list[iam.PolicyStatement]:
    cluster = stack.format_arn(service="ecs", resource="cluster", resource_name=names.CLUSTER)
    task = stack.format_arn(service="ecs", resource="task", resource_name=f"{names.CLUSTER}/*")
    in_cluster = {"ArnEquals": {"ecs:cluster": cluster}}
    return [
        iam.PolicyStatement(
            sid="StartWorkers",
            actions=["ecs:RunTask"],
            resources=[
                stack.format_arn(service="ecs", resource="task-definition", resource_name=f"{names.TASK}:*")
            ],
            conditions=in_cluster,
        ),
        iam.PolicyStatement(
            sid="LookAtWorkers", actions=["ecs:DescribeTasks", "ecs:StopTask"], resources=[task]
        ),
        # Which revision would be started now? AWS knows no resource for this question either.
        iam.PolicyStatement(sid="LookAtRevisions", actions=["ecs:DescribeTaskDefinition"], resources=["*"]),
        # AWS knows no resource for the tasks of Fargate here; the condition holds it to the cluster.
        iam.PolicyStatement(
            sid="FindWorkers", actions=["ecs:ListTasks"], resources=["*"], conditions=in_cluster
        ),
        iam.PolicyStatement(
            sid="TagWorkers",
            actions=["ecs:TagResource"],
            resources=[task],
            conditions={"StringEquals": {"ecs:CreateAction": "RunTask"}},
        ),
    ]


def _roles(stack: Stack, workers: Workers) -> list[iam.PolicyStatement]:
    ours = worker_roles(stack)
    execution = workers.task.obtain_execution_role().role_arn
    walled = {"StringEquals": {"iam:PermissionsBoundary": workers.boundary.managed_policy_arn}}
    to_ecs = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    return [
        iam.PolicyStatement(
            sid="MakeRolesBehindTheWall",
            actions=["iam:CreateRole", "iam:PutRolePolicy"],
            resources=[ours],
            conditions=walled,
        ),
        iam.PolicyStatement(
            sid="RemoveRolesThatNobodyUses",
            actions=["iam:DeleteRole", "iam:DeleteRolePolicy"],
            resources=[ours],
        ),
        iam.PolicyStatement(sid="LookAtRoles", actions=["iam:GetRole", "iam:TagRole"], resources=[ours]),
        iam.PolicyStatement(
            sid="GiveRolesToTasks", actions=["iam:PassRole"], resources=[ours, execution], conditions=to_ecs
        ),
    ]


def _starts(stack: Stack) -> iam.PolicyStatement:
    """The function that answers asks the one beside it to start workers."""
    beside = stack.format_arn(
        service="lambda",
        resource="function",
        resource_name=names.BESIDE,
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )
    return iam.PolicyStatement(sid="StartBeside", actions=["lambda:InvokeFunction"], resources=[beside])


def _secret(data: Data) -> iam.PolicyStatement:
    arn = data.dispatcher.secret_arn
    return iam.PolicyStatement(sid="Secrets", actions=["secretsmanager:GetSecretValue"], resources=[arn])
