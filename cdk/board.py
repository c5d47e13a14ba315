"""The dashboard: what is wrong, what waits, what runs, what it does. Four rows, read from top to bottom."""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from cdk import settings as names
from cdk.named import Named

_WIDTH = 8
_FIVE = Duration.minutes(5)


def dashboard(
    scope: Construct,
    *,
    alarms: Sequence[cloudwatch.Alarm],
    seen: Mapping[str, cloudwatch.Metric],
    its: Named,
) -> cloudwatch.Dashboard:
    """The dashboard ``Branchline``."""
    board = cloudwatch.Dashboard(scope, "Board", dashboard_name="Branchline")
    board.add_widgets(cloudwatch.AlarmStatusWidget(title="Alarms", alarms=list(alarms), width=24, height=4))
    board.add_widgets(
        _graph("Waiting in workers' queues", _of_queues("ApproximateNumberOfMessagesVisible")),
        _graph("Seconds the oldest waits or is worked on", _of_queues("ApproximateAgeOfOldestMessage")),
        _graph(
            "Replies waiting",
            its.replies.metric_approximate_number_of_messages_visible(period=_FIVE),
            its.replies_dead.metric_approximate_number_of_messages_visible(period=_FIVE),
        ),
    )
    board.add_widgets(
        _graph("vCPUs of Fargate in this account", fargate()),
        _graph(
            "Reads and writes of the table",
            its.table.metric_consumed_read_capacity_units(statistic="Sum", period=_FIVE),
            its.table.metric_consumed_write_capacity_units(statistic="Sum", period=_FIVE),
        ),
        _graph("What went wrong", *seen.values()),
    )
    board.add_widgets(
        _graph("Requests", its.page.metric_invocations(), its.page.metric_errors()),
        _graph(
            "Milliseconds of a request (streams of events are long on purpose)",
            its.page.metric_duration(statistic="p50"),
            its.page.metric_duration(statistic="p99"),
        ),
        _graph("Sweep and replies", its.beside.metric_invocations(), its.beside.metric_errors()),
    )
    return board


def _graph(title: str, *metrics: cloudwatch.IMetric) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=_WIDTH)


def _of_queues(name: str) -> cloudwatch.MathExpression:
    """All queues of the product, also those that are made later."""
    word = names.QUEUES.rstrip("-")
    search = f"SEARCH('{{AWS/SQS,QueueName}} MetricName=\"{name}\" {word}', 'Maximum', 300)"
    return cloudwatch.MathExpression(expression=search, label="", period=_FIVE, using_metrics={})


def fargate() -> cloudwatch.Metric:
    """The vCPUs that tasks use now, in the whole account and region."""
    return cloudwatch.Metric(
        namespace="AWS/Usage",
        metric_name="ResourceCount",
        dimensions_map={
            "Service": "Fargate",
            "Type": "Resource",
            "Resource": "vCPU",
            "Class": "Standard/OnDemand",
        },
        statistic="Maximum",
        period=_FIVE,
    )
