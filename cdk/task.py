"""The task definition of workers: one container, hardened as far as Fargate goes.

Fargate adds no capability but SYS_PTRACE and takes any away, so "three and no others" is written as the names
of all the others. It knows no ``no-new-privileges`` either; the image holds nothing that is setuid.
"""

from aws_cdk import Duration, Stack
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs

from cdk import settings as names
from cdk.data import Data
from cdk.disk import Disk

KEPT = frozenset({ecs.Capability.SETUID, ecs.Capability.SETGID, ecs.Capability.KILL})
"""What PID 1 needs to start and end processes of other uids; worker and Claude Code hold none of them."""
GIVEN = (
    ecs.Capability.AUDIT_WRITE,
    ecs.Capability.CHOWN,
    ecs.Capability.DAC_OVERRIDE,
    ecs.Capability.FOWNER,
    ecs.Capability.FSETID,
    ecs.Capability.KILL,
    ecs.Capability.MKNOD,
    ecs.Capability.NET_BIND_SERVICE,
    ecs.Capability.NET_RAW,
    ecs.Capability.SETFCAP,
    ecs.Capability.SETGID,
    ecs.Capability.SETPCAP,
    ecs.Capability.SETUID,
    ecs.Capability.SYS_CHROOT,
)
"""What a container holds unless it is taken away."""
MOUNTS = {"workspace": "/workspace", "tmp": "/tmp", "run": "/run/branchline"}  # noqa: S108 - in the container
"""All that can be written to; everything else is read-only."""
HEALTH = ("CMD-SHELL", """test -n "$(find /run/branchline/alive -newermt '-30 seconds')" """.strip())
"""As in ``container/Containerfile``: the worker touches the file with each renewal of its lease."""


def worker_task(
    stack: Stack,
    *,
    settings: names.AwsSettings,
    data: Data,
    image_tag: str,
    log_group: logs.ILogGroup,
    disk: Disk | None,
) -> ecs.FargateTaskDefinition:
    """The definition that each ``RunTask`` gives a role and the variables of one worker to."""
    task = ecs.FargateTaskDefinition(
        stack,
        "Task",
        family=names.TASK,
        cpu=settings.cpu,
        memory_limit_mib=settings.memory,
        ephemeral_storage_gib=settings.disk_gb if settings.disk_gb > 20 else None,
        runtime_platform=ecs.RuntimePlatform(
            cpu_architecture=ecs.CpuArchitecture.ARM64,
            operating_system_family=ecs.OperatingSystemFamily.LINUX,
        ),
        execution_role=_execution_role(stack),
        volumes=[_volume(name, disk) for name in MOUNTS],
    )
    container = task.add_container(
        names.CONTAINER,
        container_name=names.CONTAINER,
        image=ecs.ContainerImage.from_ecr_repository(data.images, image_tag),
        essential=True,
        # For engines that count memory by the container; the task's limit is the one that counts here.
        memory_reservation_mib=settings.memory // 2,
        user="0",
        readonly_root_filesystem=True,
        linux_parameters=_hardened(stack),
        stop_timeout=Duration.seconds(names.STOP_SECONDS),
        health_check=ecs.HealthCheck(
            command=list(HEALTH),
            interval=Duration.seconds(30),
            timeout=Duration.seconds(5),
            retries=3,
            start_period=Duration.seconds(60),
        ),
        logging=ecs.LogDrivers.aws_logs(log_group=log_group, stream_prefix="worker"),
        port_mappings=[ecs.PortMapping(container_port=names.PREVIEW_PORT)],
        environment=_environment(settings) | _own_keys(stack, settings),
        secrets=_secrets(settings, data),
    )
    container.add_mount_points(
        *(
            ecs.MountPoint(source_volume=name, container_path=path, read_only=False)
            for name, path in MOUNTS.items()
        )
    )
    return task


def _environment(settings: names.AwsSettings) -> dict[str, str]:
    """What is the same for all workers; ``CONTAINER_ID`` and the rest of one come with its start."""
    return {
        # The task's disk ends with the task, and Claude Code's sessions would with it.
        "BRANCHLINE_SESSIONS": "records" if settings.workspace == "ephemeral" else "disk",
        "BRANCHLINE_TABLE": names.TABLE,
        "BRANCHLINE_PREVIEW_HOST": "0.0.0.0",  # noqa: S104 - the security group decides who gets there
        "BRANCHLINE_PREVIEW_PORT": str(names.PREVIEW_PORT),
        "WORKSPACE_PATH": MOUNTS["workspace"],
        "AUTO_SHUTDOWN_MINUTES": str(settings.idle_minutes),
        # So that a dev server answers to the name that its preview has.
        **({"BRANCHLINE_PUBLIC_HOST": settings.domain} if settings.domain else {}),
        **settings.worker_environment,
    }


def _own_keys(stack: Stack, settings: names.AwsSettings) -> dict[str, str]:
    """Where a worker finds the keys of its user: what the ARNs of secrets begin with here. By name alone AWS
    would answer a worker that asks for a secret that is not there as one that may not."""
    if settings.own_keys == "off":
        return {}
    begins = f"arn:{stack.partition}:secretsmanager:{stack.region}:{stack.account}:secret:"
    return {"BRANCHLINE_OWN_KEYS": begins, "BRANCHLINE_OWN_MODEL_KEY": settings.model_key}


def _secrets(settings: names.AwsSettings, data: Data) -> dict[str, ecs.Secret]:
    found: dict[str, ecs.Secret] = {}
    if settings.own_keys != "required":
        found[settings.model_key] = ecs.Secret.from_secrets_manager(data.model)
    if settings.github_secret:
        found["GITHUB_TOKEN"] = ecs.Secret.from_secrets_manager(data.github)
    return found


def _hardened(stack: Stack) -> ecs.LinuxParameters:
    linux = ecs.LinuxParameters(stack, "Linux", init_process_enabled=False)
    linux.drop_capabilities(*(c for c in GIVEN if c not in KEPT))
    return linux


def _volume(name: str, disk: Disk | None) -> ecs.Volume:
    if disk is None or name != "workspace":
        return ecs.Volume(name=name)
    return ecs.Volume(
        name=name,
        efs_volume_configuration=ecs.EfsVolumeConfiguration(
            file_system_id=disk.files.file_system_id,
            transit_encryption="ENABLED",
            authorization_config=ecs.AuthorizationConfig(
                access_point_id=disk.entry.access_point_id, iam="ENABLED"
            ),
        ),
    )


def _execution_role(stack: Stack) -> iam.Role:
    """What ECS itself uses to start a container; the container never sees it. Filled by what refers to it."""
    return iam.Role(
        stack,
        "Execution",
        assumed_by=iam.ServicePrincipal(
            "ecs-tasks.amazonaws.com",
            conditions={"StringEquals": {"aws:SourceAccount": stack.account}},
        ),
        description="Pulls the worker's image, writes its log, reads its keys",
    )
