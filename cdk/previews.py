"""The Lambda that passes previews on: in the workers' network, and allowed next to nothing.

A security group cannot name a Lambda that is in no network, so the dispatcher's own could be let in to
workers only with everybody else. This one has a group of its own, and of AWS it reaches DynamoDB alone,
through the gateway: it has no public address, so that nothing else answers it, and nothing here costs by
the hour.
"""

from aws_cdk import Duration
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from cdk import settings as names
from cdk.data import Data
from cdk.dispatcher import CONFIG, Code, Dispatcher, named
from cdk.workers import Workers

HANDLER = "dispatcher.lambda_previews.handle"
SECONDS = 50
"""Longest answer of a preview: less than CloudFront waits for one."""
_NETWORK = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)


class Previews(Construct):
    """``url``: what CloudFront asks."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        settings: names.AwsSettings,
        data: Data,
        workers: Workers,
        dispatcher: Dispatcher,
        code: Code,
    ) -> None:
        super().__init__(scope, name)
        function = lambda_.Function(
            self,
            "Function",
            function_name="branchline-previews",
            description="Branchline: passes previews on",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            handler=HANDLER,
            code=code.packed(),
            layers=code.layers(self),
            role=self._role(data, dispatcher).without_policy_updates(),
            memory_size=settings.lambda_memory,
            timeout=Duration.seconds(SECONDS),
            environment=_environment(settings, config=bool(code.config)),
            log_group=dispatcher.logs,
            vpc=workers.network,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PUBLIC),
            # In a public subnet a Lambda gets no public address: it is to reach nothing outside.
            allow_public_subnet=True,
            security_groups=[self._group(workers)],
        )
        # CDK names a dependency on the role that CloudFormation would have found by itself.
        function.node.default_child.add_metadata("cfn-lint", {"config": {"ignore_checks": ["W3005"]}})
        # In one piece: AWS documents that function URLs do not stream for a function in a network.
        self.url = function.add_function_url(auth_type=lambda_.FunctionUrlAuthType.NONE)

    def _group(self, workers: Workers) -> ec2.SecurityGroup:
        """May reach the previews of workers, and port 443 of what answers there: the gateway of DynamoDB."""
        group = ec2.SecurityGroup(
            self,
            "Group",
            vpc=workers.network,
            description="Previews of Branchline: to workers and DynamoDB alone",
            allow_all_outbound=False,
        )
        previews = ec2.Port.tcp(names.PREVIEW_PORT)
        guard = ec2.Peer.security_group_id(workers.guard.security_group_id)
        group.add_egress_rule(guard, previews, "previews of workers")
        group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "DynamoDB, by the gateway")
        ec2.CfnSecurityGroupIngress(
            self,
            "ToWorkers",
            group_id=workers.guard.security_group_id,
            source_security_group_id=group.security_group_id,
            ip_protocol="tcp",
            from_port=names.PREVIEW_PORT,
            to_port=names.PREVIEW_PORT,
            description="previews, from the Lambda that passes them on",
        )
        return group

    def _role(self, data: Data, dispatcher: Dispatcher) -> iam.Role:
        """Its statements are part of it: a function in a network is refused before it has them."""
        statements = [
            *(_records(action, keys, data) for action, keys in names.PREVIEW_RIGHTS.items()),
            iam.PolicyStatement(sid="Network", actions=list(_NETWORK), resources=["*"]),
            iam.PolicyStatement(
                sid="Logs",
                actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                resources=[dispatcher.logs.log_group_arn],
            ),
        ]
        return iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description="Passes previews of Branchline on",
            inline_policies={"Previews": iam.PolicyDocument(statements=statements)},
        )


def _records(action: str, keys: tuple[str, ...], data: Data) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        sid=f"Records{action}",
        actions=[f"dynamodb:{action}"],
        resources=[data.table.table_arn],
        conditions={
            "ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(keys)},
            # Without it a request that names no key at all would fulfil the condition above.
            "Null": {"dynamodb:LeadingKeys": "false"},
        },
    )


def _environment(settings: names.AwsSettings, *, config: bool) -> dict[str, str]:
    return {
        "BRANCHLINE_TABLE": names.TABLE,
        "BRANCHLINE_LOGIN": settings.login,
        "BRANCHLINE_PREVIEW_PORT": str(names.PREVIEW_PORT),
        **({"BRANCHLINE_CONFIG": CONFIG} if config else {}),
        # The gateway is for the region's endpoint; one with the account's number in it is not asked.
        "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
        **named(settings),
        **settings.environment,
    }
