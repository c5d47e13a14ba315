"""One file system for all workers' checkouts, if ``workspace = "efs"``.

All workers are instances of one task definition, and where a disk is mounted stands in the definition: so
each worker sees the checkouts of all. That is a choice for fleets whose users trust each other, and
``docs/aws.md`` says so. On the task's own disk a worker sees its own and nothing else.
"""

from aws_cdk import Annotations, RemovalPolicy, Tags
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_efs as efs
from constructs import Construct

WORKER_UID, SITE_GID = "1000", "3000"
"""Owner of ``/workspace`` in the image (``docs/decisions/container.md``)."""
_WARNING = "With workspace = efs every worker sees the checkouts of all: only for users who trust each other."


class Disk(Construct):
    """``files`` and the ``entry`` through which workers come in."""

    def __init__(self, scope: Construct, name: str, *, network: ec2.Vpc, clients: ec2.SecurityGroup) -> None:
        super().__init__(scope, name)
        guard = ec2.SecurityGroup(
            self, "Guard", vpc=network, description="NFS from workers alone", allow_all_outbound=False
        )
        guard.add_ingress_rule(clients, ec2.Port.tcp(2049), "NFS from workers")
        clients.add_egress_rule(guard, ec2.Port.tcp(2049), "NFS to the workspace")
        self.files = efs.FileSystem(
            self,
            "Files",
            vpc=network,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PUBLIC),
            security_group=guard,
            encrypted=True,
            throughput_mode=efs.ThroughputMode.ELASTIC,
            lifecycle_policy=efs.LifecyclePolicy.AFTER_30_DAYS,
            enable_automatic_backups=False,
            allow_anonymous_access=False,
            removal_policy=RemovalPolicy.RETAIN,
        )
        Tags.of(self.files).add("branchline", "workspace")
        self.entry = self.files.add_access_point(
            "Entry",
            path="/workspace",
            create_acl=efs.Acl(owner_uid=WORKER_UID, owner_gid=SITE_GID, permissions="2750"),
        )
        Annotations.of(self).add_warning_v2("branchline:shared-disk", _WARNING)
