"""What Watch looks at, known by its name alone.

A reference to another stack's resource becomes an export that CloudFormation keeps for as long as somebody
imports it: alarms that were turned off would stop every later deployment of what they looked at.
"""

from dataclasses import dataclass
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs

from cdk import settings as names
from contracts.places import REPLIES_DEAD, REPLIES_QUEUE


@dataclass(frozen=True, kw_only=True)
class Named:
    """The table, the queues, the functions and the logs of a fleet, as CDK's interfaces."""

    table: Any
    replies: Any
    replies_dead: Any
    page: "Function"
    beside: "Function"
    dispatcher_logs: Any
    worker_logs: Any


class Function:
    """What a function tells of itself; CDK's own import would cut the name out of an ARN again."""

    def __init__(self, name: str) -> None:
        self._name = name

    def metric(self, name: str, *, statistic: str = "Sum", **more: Any) -> cloudwatch.Metric:
        """One of ``AWS/Lambda``."""
        return cloudwatch.Metric(
            namespace="AWS/Lambda",
            metric_name=name,
            dimensions_map={"FunctionName": self._name},
            statistic=statistic,
            **more,
        )

    def metric_invocations(self, **more: Any) -> cloudwatch.Metric:
        """How often it was called."""
        return self.metric("Invocations", **more)

    def metric_errors(self, **more: Any) -> cloudwatch.Metric:
        """How often it failed."""
        return self.metric("Errors", **more)

    def metric_throttles(self, **more: Any) -> cloudwatch.Metric:
        """How often it was refused."""
        return self.metric("Throttles", **more)

    def metric_duration(self, **more: Any) -> cloudwatch.Metric:
        """Milliseconds of a call."""
        return self.metric("Duration", **more)


def named(stack: Stack) -> Named:
    """All of it, for one stack that refers to none of it."""
    return Named(
        table=dynamodb.Table.from_table_name(stack, "NamedTable", names.TABLE),
        replies=_queue(stack, "NamedReplies", REPLIES_QUEUE),
        replies_dead=_queue(stack, "NamedRepliesDead", REPLIES_DEAD),
        page=Function(names.PAGE),
        beside=Function(names.BESIDE),
        dispatcher_logs=logs.LogGroup.from_log_group_name(stack, "NamedLogs", names.DISPATCHER_LOGS),
        worker_logs=logs.LogGroup.from_log_group_name(stack, "NamedWorkerLogs", names.WORKER_LOGS),
    )


def _queue(stack: Stack, id_: str, name: str) -> Any:
    arn = stack.format_arn(service="sqs", resource=name)
    return sqs.Queue.from_queue_attributes(stack, id_, queue_arn=arn, queue_name=name)
