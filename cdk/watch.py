"""Who looks when nobody looks: alarms, a dashboard, a budget if chosen.

What only the product knows (work that nobody takes up, dead letters of workers, whose queues have names that
are not known here) is counted from its log lines; which those are stands in ``words``.
"""

from collections.abc import Mapping

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from constructs import Construct

from cdk import settings as names
from cdk import words
from cdk.board import dashboard, fargate
from cdk.dispatcher import Dispatcher
from cdk.named import Named, named

_SPACE = "Branchline"
_FIVE = Duration.minutes(5)
OLD_SECONDS = 3600
"""How long somebody may wait for a worker to begin before an operator is told."""


class Watch(Stack):
    """``topic`` tells ``alarm_email``, or whoever subscribes to it."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        settings: names.AwsSettings,
        dispatcher: Dispatcher,
    ) -> None:
        super().__init__(scope, name, description="Branchline: alarms, dashboard, budget")
        # What is looked at has to be there first; nothing of it is referred to.
        self.add_dependency(dispatcher)
        self.settings, its = settings, named(self)
        self.topic = self._topic()
        seen = {
            **self._counted(its.dispatcher_logs, words.OF_DISPATCHER),
            **self._counted(its.worker_logs, words.OF_WORKERS),
        }
        self.alarms = [
            *self._of_replies(its),
            *self._of_words(seen),
            *self._of_sweep(seen),
            *self._of_dispatcher(its),
            self._of_cost(),
        ]
        for alarm in self.alarms:
            alarm.add_alarm_action(actions.SnsAction(self.topic))
        usual = (words.SWEEPS, words.OLDEST)
        wrong = {name: metric for name, metric in seen.items() if name not in usual}
        dashboard(self, alarms=self.alarms, seen=wrong, its=its)
        if settings.budget_dollars is not None:
            self._budget(settings.budget_dollars)
        CfnOutput(self, "Topic", value=self.topic.topic_arn)

    def _topic(self) -> sns.Topic:
        topic = sns.Topic(self, "Alarms", display_name="Branchline", enforce_ssl=True)
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsAndBudgets",
                actions=["sns:Publish"],
                principals=[
                    iam.ServicePrincipal("cloudwatch.amazonaws.com"),
                    iam.ServicePrincipal("budgets.amazonaws.com"),
                ],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        if self.settings.alarm_email is not None:
            sns.Subscription(
                self,
                "Email",
                topic=topic,
                protocol=sns.SubscriptionProtocol.EMAIL,
                endpoint=self.settings.alarm_email,
            )
        return topic

    def _counted(
        self, group: logs.LogGroup, counted: Mapping[str, words.Counted]
    ) -> dict[str, cloudwatch.Metric]:
        found = {}
        for name, lines in counted.items():
            made = logs.MetricFilter(
                self,
                name,
                log_group=group,
                metric_namespace=_SPACE,
                metric_name=name,
                metric_value=lines.value,
                filter_pattern=logs.FilterPattern.literal(lines.pattern),
            )
            statistic = "Sum" if lines.value == "1" else "Maximum"
            found[name] = made.metric(statistic=statistic, period=_FIVE)
        return found

    def _of_replies(self, its: Named) -> list[cloudwatch.Alarm]:
        dead = its.replies_dead.metric_approximate_number_of_messages_visible(
            statistic="Maximum", period=_FIVE
        )
        old = its.replies.metric_approximate_age_of_oldest_message(statistic="Maximum", period=_FIVE)
        return [
            self._alarm("DeadReplies", dead, over=0, says="Replies that could not be posted: docs/aws.md"),
            self._alarm(
                "OldReplies", old, over=900, says="Nobody has posted the oldest reply for 15 minutes"
            ),
        ]

    def _of_words(self, seen: dict[str, cloudwatch.Metric]) -> list[cloudwatch.Alarm]:
        counted = {**words.OF_DISPATCHER, **words.OF_WORKERS}
        return [
            self._alarm(f"{name}Seen", seen[name], over=0, says=lines.says)
            for name, lines in counted.items()
            if lines.says is not None
        ]

    def _of_sweep(self, seen: dict[str, cloudwatch.Metric]) -> list[cloudwatch.Alarm]:
        """What the sweep says of itself: it logs a fault and goes on, so no error of the Lambda's shows it,
        and replies are calls of the same function."""
        return [
            self._alarm(
                "SweepFails", seen[words.SWEEP_BROKEN], over=2, says="The sweep finds faults", periods=2
            ),
            self._alarm(
                "SweepStands",
                seen[words.SWEEPS],
                over=1,
                says="The sweep has not come to its end for ten minutes",
                periods=2,
                below=True,
            ),
            self._alarm(
                "OldMessages",
                seen[words.OLDEST],
                over=OLD_SECONDS,
                says="Somebody has waited for an hour for a worker to begin",
            ),
            self._alarm(
                "RepliesFail", seen[words.REPLIES_LATE], over=5, says="Replies cannot be made", periods=2
            ),
        ]

    def _of_dispatcher(self, its: Named) -> list[cloudwatch.Alarm]:
        page, beside = its.page, its.beside
        failed = page.metric("Url5xxCount", statistic="Sum", period=_FIVE)
        return [
            self._alarm(
                "ErrorRate", failed, over=5, says="More than 5 requests in 5 minutes failed", periods=2
            ),
            self._alarm(
                "BesideFails",
                beside.metric_errors(period=_FIVE),
                over=2,
                says="Sweep, starts or replies break off or take too long",
            ),
            self._alarm(
                "Throttled", page.metric_throttles(period=_FIVE), over=0, says="Requests are refused"
            ),
            self._alarm(
                "BesideThrottled",
                beside.metric_throttles(period=_FIVE),
                over=0,
                says="Sweep, starts or replies are refused",
            ),
        ]

    def _of_cost(self) -> cloudwatch.Alarm:
        """The bill is hours of vCPUs, and it is seen at once, while a budget is told hours later."""
        most = (self.settings.most_workers + self.settings.warm_pool) * self.settings.cpu / 1024
        says = f"More than {self.settings.most_workers} workers' vCPUs are in use in this account"
        return self._alarm("Cost", fargate(), over=most, says=says, periods=3)

    def _alarm(
        self,
        id_: str,
        metric: cloudwatch.IMetric,
        *,
        over: float,
        says: str,
        periods: int = 1,
        below: bool = False,
    ) -> cloudwatch.Alarm:
        operator = cloudwatch.ComparisonOperator
        missing = cloudwatch.TreatMissingData
        return cloudwatch.Alarm(
            self,
            id_,
            alarm_name=f"branchline-{id_}",
            alarm_description=says,
            metric=metric,
            threshold=over,
            evaluation_periods=periods,
            comparison_operator=operator.LESS_THAN_THRESHOLD if below else operator.GREATER_THAN_THRESHOLD,
            treat_missing_data=missing.BREACHING if below else missing.NOT_BREACHING,
        )

    def _budget(self, dollars: float) -> None:
        spend = budgets.CfnBudget.SpendProperty(amount=dollars, unit="USD")
        teller = budgets.CfnBudget.SubscriberProperty(
            subscription_type="EMAIL", address=str(self.settings.alarm_email)
        )
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name="branchline",
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=spend,
                # Of the whole account: by a tag it would say nothing until somebody activates the tag.
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        comparison_operator="GREATER_THAN",
                        notification_type=kind,
                        threshold=percent,
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=[teller],
                )
                for kind, percent in (("ACTUAL", 80), ("FORECASTED", 100))
            ],
        )
