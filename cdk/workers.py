"""Where workers run: a network without a gateway that costs by the hour, a cluster, the task that every
worker is an instance of, and the wall around the roles that the dispatcher makes for them.

A worker's own role is not here: it is made at first contact, and may do no more than ``boundary`` says.
"""

from aws_cdk import CfnOutput, RemovalPolicy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from cdk import settings as names
from cdk.boundary import boundary_document
from cdk.data import Data
from cdk.disk import Disk
from cdk.task import worker_task

_RETENTION = {
    1: logs.RetentionDays.ONE_DAY,
    3: logs.RetentionDays.THREE_DAYS,
    7: logs.RetentionDays.ONE_WEEK,
    14: logs.RetentionDays.TWO_WEEKS,
    30: logs.RetentionDays.ONE_MONTH,
    60: logs.RetentionDays.TWO_MONTHS,
    90: logs.RetentionDays.THREE_MONTHS,
    180: logs.RetentionDays.SIX_MONTHS,
    365: logs.RetentionDays.ONE_YEAR,
}


class Workers(Stack):
    """``cluster``, ``task``, ``boundary``, ``network`` and ``guard`` (the workers' security group)."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        settings: names.AwsSettings,
        data: Data,
        image_tag: str,
    ) -> None:
        super().__init__(scope, name, description="Branchline: where workers run")
        self.settings = settings
        self.network = self._network()
        self.guard = self._guard()
        self.cluster = ecs.CfnCluster(
            self,
            "Cluster",
            cluster_name=names.CLUSTER,
            cluster_settings=[
                # It costs by the metric; what matters is seen in the logs and in the usage of Fargate.
                ecs.CfnCluster.ClusterSettingsProperty(name="containerInsights", value="disabled")
            ],
        )
        self.logs = logs.LogGroup(
            self,
            "Logs",
            log_group_name=names.WORKER_LOGS,
            retention=self.retention,
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.boundary = iam.ManagedPolicy(
            self,
            "Boundary",
            managed_policy_name=names.BOUNDARY,
            description="The most that a worker of Branchline may ever do",
            document=boundary_document(self, table_arn=data.table.table_arn),
        )
        self.disk = Disk(self, "Disk", network=self.network, clients=self.guard) if self._shared else None
        self.task = worker_task(
            self, settings=settings, data=data, image_tag=image_tag, log_group=self.logs, disk=self.disk
        )
        CfnOutput(self, "ClusterName", value=self.cluster.ref)

    @property
    def retention(self) -> logs.RetentionDays:
        """How long logs are kept."""
        return _RETENTION[self.settings.log_days]

    @property
    def _shared(self) -> bool:
        return self.settings.workspace == "efs"

    @property
    def subnets(self) -> list[str]:
        """Ids of the subnets that workers start in."""
        return [subnet.subnet_id for subnet in self.network.public_subnets]

    def _network(self) -> ec2.Vpc:
        vpc = ec2.Vpc(
            self,
            "Network",
            ip_addresses=ec2.IpAddresses.cidr("10.74.0.0/16"),
            max_azs=2,
            nat_gateways=0,
            subnet_configuration=[
                ec2.SubnetConfiguration(name="Public", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=20)
            ],
            # A Lambda of its own would empty the default group, which nothing uses.
            restrict_default_security_group=False,
        )
        for id_, service in (
            ("S3", ec2.GatewayVpcEndpointAwsService.S3),
            ("DynamoDB", ec2.GatewayVpcEndpointAwsService.DYNAMODB),
        ):
            vpc.add_gateway_endpoint(id_, service=service)
        return vpc

    def _guard(self) -> ec2.SecurityGroup:
        """Lets nothing in, but with a domain the Lambda of ``cdk/previews.py``; out, what the settings name.
        Names are resolved past it, by the network itself."""
        guard = ec2.SecurityGroup(
            self,
            "Guard",
            vpc=self.network,
            description="Workers of Branchline: nothing in",
            allow_all_outbound=False,
        )
        for port in self.settings.egress_ports:
            guard.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(port), f"TCP {port} to anywhere")
        return guard
