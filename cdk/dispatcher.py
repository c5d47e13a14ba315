"""The dispatcher: two Lambdas of one asset, their one role, and what calls them.

Two, because SQS refuses a function that may run longer than a message stays hidden (60 s, as the product sets
it), while an answer that streams events runs longer. Streams could use up the account's pool of Lambdas, so
the sweep has some of its own.
"""

from dataclasses import dataclass
from pathlib import Path

from aws_cdk import CfnOutput, Duration, RemovalPolicy, SecretValue, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_logs as logs
from constructs import Construct

from cdk import settings as names
from cdk.data import Data
from cdk.rights import grant_dispatcher
from cdk.workers import Workers

HANDLER = "dispatcher.lambda_entry.handle"
WRAPPER = "/var/task/dispatcher-stream"
"""Starts our loop over the Runtime API in place of the runtime's own, which cannot stream."""
CONFIG = "/opt/branchline.toml"
BESIDE_SECONDS = 55
"""Below ``data.REPLIES_VISIBILITY``; also the longest look of the sweep, which comes every minute."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """What is deployed. ``asset``: the zip of ``scripts/lambda-asset`` or a folder; ``config``: a folder with
    ``branchline.toml`` alone, if there is one."""

    asset: Path
    config: Path | None = None

    def packed(self) -> lambda_.Code:
        """The zip; each stack that runs it has one of its own."""
        return lambda_.Code.from_asset(str(self.asset))

    def layers(self, scope: Construct) -> list[lambda_.ILayerVersion]:
        """The configuration. In each stack anew: a version that another refers to cannot be replaced."""
        if self.config is None:
            return []
        made = lambda_.LayerVersion(
            scope,
            "Config",
            code=lambda_.Code.from_asset(str(self.config)),
            description="branchline.toml",
            compatible_architectures=[lambda_.Architecture.ARM_64],
            removal_policy=RemovalPolicy.DESTROY,
        )
        return [made]


class Dispatcher(Stack):
    """``page`` answers requests, ``beside`` sweeps and posts replies; ``url`` is where people go."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        settings: names.AwsSettings,
        data: Data,
        workers: Workers,
        code: Code,
    ) -> None:
        super().__init__(scope, name, description="Branchline: requests in, replies out, workers woken")
        self.settings = settings
        self._code, self._layers = code.packed(), code.layers(self)
        self._environment = _environment(settings, data=data, workers=workers, config=bool(code.config))
        self.logs = logs.LogGroup(
            self,
            "Logs",
            log_group_name=names.DISPATCHER_LOGS,
            retention=workers.retention,
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.role = self._role(data, workers)
        self.page = self._function(
            "Page",
            name=names.PAGE,
            what="Answers requests",
            seconds=settings.stream_seconds,
            most=settings.reserved_concurrency,
        )
        self.beside = self._function(
            "Beside",
            name=names.BESIDE,
            what="Sweeps and posts replies",
            seconds=BESIDE_SECONDS,
            # Both draw on the account's pool otherwise, and open pages could use it up.
            most=settings.beside_concurrency or None,
        )
        self.url = self.page.add_function_url(
            # Who asks is found out by the application: browsers and chats sign nothing with IAM.
            auth_type=lambda_.FunctionUrlAuthType.NONE,
            invoke_mode=lambda_.InvokeMode.RESPONSE_STREAM,
        )
        self._start_beside()
        self._call_beside(data)
        CfnOutput(self, "Url", value=self.url.url)

    def _role(self, data: Data, workers: Workers) -> iam.Role:
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description="The dispatcher of Branchline",
        )
        self.logs.grant_write(role)
        grant_dispatcher(role, stack=self, data=data, workers=workers)
        return role

    def _function(
        self, id_: str, *, name: str, what: str, seconds: int, most: int | None = None
    ) -> lambda_.Function:
        made = lambda_.Function(
            self,
            id_,
            function_name=name,
            description=f"Branchline: {what.lower()}",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            handler=HANDLER,
            code=self._code,
            layers=self._layers,
            role=self.role.without_policy_updates(),
            memory_size=self.settings.lambda_memory,
            timeout=Duration.seconds(seconds),
            reserved_concurrent_executions=most,
            environment=self._environment,
            log_group=self.logs,
        )
        # CDK names a dependency on the role that CloudFormation would have found by itself.
        made.node.default_child.add_metadata("cfn-lint", {"config": {"ignore_checks": ["W3005"]}})
        return made

    def _start_beside(self) -> None:
        """Workers are started beside, because ``page`` stands still once it has answered; and only there is
        its own address known, which workers ask for tokens."""
        self.page.add_environment("BRANCHLINE_START_FUNCTION", names.BESIDE)
        known = {**named(self.settings), **self.settings.environment}
        public = known.get("BRANCHLINE_PUBLIC_URL")
        base = f"{public.rstrip('/')}/" if public else self.url.url
        self.beside.add_environment("BRANCHLINE_TOKEN_URL", f"{base}internal/token")

    def _call_beside(self, data: Data) -> None:
        """Each minute, when a worker has ended, and for each ring; what is missed comes with the minute."""
        events.Rule(
            self,
            "EachMinute",
            description="Looks for work without a worker",
            schedule=events.Schedule.rate(Duration.minutes(1)),
            targets=[self._swept()],
        )
        cluster = self.format_arn(service="ecs", resource="cluster", resource_name=names.CLUSTER)
        events.Rule(
            self,
            "WorkerEnded",
            description="Somebody may have written to a worker while it left",
            event_pattern=events.EventPattern(
                source=["aws.ecs"],
                detail_type=["ECS Task State Change"],
                detail={"clusterArn": [cluster], "lastStatus": ["STOPPED"]},
            ),
            # Of that worker alone: who has thousands of them has as many ends in a day.
            targets=[self._swept(started_by=events.EventField.from_path("$.detail.startedBy"))],
        )
        self.beside.add_event_source(
            sources.SqsEventSource(
                data.replies, batch_size=10, report_batch_item_failures=True, max_concurrency=5
            )
        )

    def _swept(self, **which: str) -> targets.LambdaFunction:
        return targets.LambdaFunction(
            self.beside,
            event=events.RuleTargetInput.from_object({"branchline": "sweep", **which}),
            retry_attempts=0,
            max_event_age=Duration.minutes(1),
        )


def _environment(
    settings: names.AwsSettings, *, data: Data, workers: Workers, config: bool
) -> dict[str, str]:
    return {
        "BRANCHLINE_TABLE": names.TABLE,
        "BRANCHLINE_LOGIN": settings.login,
        **({"BRANCHLINE_CONFIG": CONFIG} if config else {}),
        "BRANCHLINE_SECRET": names.DISPATCHER_SECRET,
        "BRANCHLINE_REPLIES_QUEUE": data.replies.queue_url,
        "BRANCHLINE_LAUNCHER": "ecs",
        "BRANCHLINE_ECS_CLUSTER": names.CLUSTER,
        # The family and not a revision: each upgrade has another, and no stack may hold on to it.
        "BRANCHLINE_ECS_TASK": names.TASK,
        "BRANCHLINE_ECS_SUBNETS": ",".join(workers.subnets),
        "BRANCHLINE_ECS_SECURITY_GROUP": workers.guard.security_group_id,
        "BRANCHLINE_WORKER_BOUNDARY": workers.boundary.managed_policy_arn,
        "BRANCHLINE_WORKER_ROLE_PATH": names.WORKER_ROLES,
        **({"BRANCHLINE_WARM_POOL": str(settings.warm_pool)} if settings.warm_pool else {}),
        "AWS_LAMBDA_EXEC_WRAPPER": WRAPPER,
        **named(settings),
        **settings.environment,
    }


def named(settings: names.AwsSettings) -> dict[str, str]:
    """What a function is told that CloudFront stands before: its name there, and what CloudFront shows. Who
    may read the function's configuration can read that; it opens nothing by itself."""
    if settings.domain is None:
        return {}
    key = SecretValue.secrets_manager(names.EDGE_SECRET).unsafe_unwrap()
    return {"BRANCHLINE_PUBLIC_URL": f"https://{settings.domain}", "BRANCHLINE_EDGE_KEY": key}
