"""What matters about the stacks, asked of the templates that CloudFormation would get."""

import re

import pytest

from cdk import settings as names
from contracts.names import USER_SECRETS
from contracts.pool import Slot, letter_pk
from contracts.records import TTL_ATTRIBUTE
from tests.aws.assembly import SECONDS, Assembly, Resource, Template, text

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]

KEPT = {"SETUID", "SETGID", "KILL"}
GIVEN = {
    *KEPT,
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "NET_BIND_SERVICE"),
    *("NET_RAW", "SETFCAP", "SETPCAP", "SYS_CHROOT"),
}
MOUNTED = {"workspace": "/workspace", "tmp": "/tmp", "run": "/run/branchline"}
INTERFACES = {
    *(f"ec2:{verb}NetworkInterface" for verb in ("Create", "Delete")),
    *(f"ec2:{verb}PrivateIpAddresses" for verb in ("Assign", "Unassign")),
    *("ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"),
}
UNNAMED = {
    *("ecr:GetAuthorizationToken", "sqs:ListQueues", "ecs:ListTasks", "ecs:DescribeTaskDefinition"),
    *INTERFACES,
}
"""Actions for which AWS knows no resource, or wants all of them."""


def container(assembly: Assembly) -> Resource:
    (found,) = assembly["Workers"].one("ECS::TaskDefinition")["ContainerDefinitions"]
    return dict(found)


def statement(template: Template, sid: str) -> Resource:
    (found,) = [s for s in template.statements() if s.get("Sid") == sid]
    return found


# ---------------------------------------------------------------- what it costs


def test_nothing_is_there_that_costs_by_the_hour(either: Assembly) -> None:
    types = {r["Type"] for t in either.templates.values() for r in t.resources.values()}
    assert not [t for t in types if re.search("NatGateway|EIP|LoadBalancer|Instance|ECS::Service|KMS", t)]
    assert {e["VpcEndpointType"] for e in either.of("EC2::VPCEndpoint")} == {"Gateway"}
    assert {text(e["ServiceName"]).rpartition(".")[2] for e in either.of("EC2::VPCEndpoint")} == {
        "s3",
        "dynamodb",
    }


def test_the_table_is_kept_and_pays_by_the_request(plain: Assembly) -> None:
    (resource,) = [r for r in plain["Data"].resources.values() if "DynamoDB" in r["Type"]]
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    table = resource["Properties"]
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["TimeToLiveSpecification"] == {"AttributeName": TTL_ATTRIBUTE, "Enabled": True}
    (replica,) = table["Replicas"]
    assert replica["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert replica["DeletionProtectionEnabled"] is True
    assert [(k["AttributeName"], k["KeyType"]) for k in table["KeySchema"]] == [
        ("pk", "HASH"),
        ("sk", "RANGE"),
    ]


def test_logs_end_after_the_days_that_were_set(either: Assembly) -> None:
    assert {group["RetentionInDays"] for group in either.of("Logs::LogGroup")} == {30}


# ---------------------------------------------------------------- what may be reached


def test_nothing_comes_in_to_a_worker_and_only_https_goes_out(plain: Assembly) -> None:
    group = plain["Workers"].one("EC2::SecurityGroup")
    assert "SecurityGroupIngress" not in group
    assert plain.of("EC2::SecurityGroupIngress") == []
    (out,) = group["SecurityGroupEgress"]
    assert (out["IpProtocol"], out["FromPort"], out["ToPort"]) == ("tcp", 443, 443)


def test_the_shared_disk_is_reached_by_workers_alone_and_over_tls(full: Assembly) -> None:
    (way_in,) = full["Workers"].of("EC2::SecurityGroupIngress")
    assert (way_in["FromPort"], way_in["ToPort"]) == (2049, 2049)
    assert "Guard" in text(way_in["SourceSecurityGroupId"])
    assert full["Workers"].one("EFS::FileSystem")["Encrypted"] is True
    task = full["Workers"].one("ECS::TaskDefinition")
    (disk,) = [v["EFSVolumeConfiguration"] for v in task["Volumes"] if "EFSVolumeConfiguration" in v]
    assert disk["TransitEncryption"] == "ENABLED"
    assert disk["AuthorizationConfig"]["IAM"] == "ENABLED"


def test_queues_take_nothing_in_clear(plain: Assembly) -> None:
    assert len(plain.of("SQS::QueuePolicy")) == len(plain.of("SQS::Queue")) == 2
    for policy in plain.of("SQS::QueuePolicy"):
        (refusal,) = policy["PolicyDocument"]["Statement"]
        assert refusal["Effect"] == "Deny"
        assert refusal["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


# ---------------------------------------------------------------- who may do what


def test_no_statement_is_wider_than_aws_makes_it(either: Assembly) -> None:
    for template in either.templates.values():
        for found in template.statements():
            assert (
                not [a for a in found["Action"] if a == "*" or a.endswith(":*")] or found["Effect"] == "Deny"
            )
            if "*" in found["Resource"] and "Principal" not in found:
                assert set(found["Action"]) <= UNNAMED, found


def test_a_role_of_a_worker_can_only_be_made_behind_the_wall(plain: Assembly) -> None:
    made = statement(plain["Dispatcher"], "MakeRolesBehindTheWall")
    assert set(made["Action"]) == {"iam:CreateRole", "iam:PutRolePolicy"}
    (wall,) = made["Condition"]["StringEquals"].values()
    assert "Boundary" in text(wall)
    assert list(made["Condition"]["StringEquals"]) == ["iam:PermissionsBoundary"]
    for found in plain["Dispatcher"].statements():
        for resource in found["Resource"] if any(a.startswith("iam:") for a in found["Action"]) else ():
            roles = ("role/branchline/worker/*", "role/branchline/worker/slot_*", "Execution")
            assert any(role in resource for role in roles)
    everything = {a for found in plain["Dispatcher"].statements() for a in found["Action"]}
    assert not {a for a in everything if re.search("Boundary|AttachRole|UpdateAssume|Version", a)}


def test_roles_are_removed_below_the_workers_path_alone(plain: Assembly) -> None:
    gone = statement(plain["Dispatcher"], "RemoveRolesThatNobodyUses")
    assert [r.rpartition(":role/")[2] for r in gone["Resource"]] == ["branchline/worker/*"]


def test_behind_the_wall_a_letter_can_be_read_and_nothing_else_of_the_pool(plain: Assembly) -> None:
    letters = statement(plain["Workers"], "Letters")
    assert letters["Action"] == ["dynamodb:GetItem"]
    assert letters["Condition"] == {
        "ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["pool#*"]},
        "Null": {"dynamodb:LeadingKeys": "false"},
    }
    assert letter_pk(Slot("slot_0123456789abcdef")).startswith("pool#")
    keys = statement(plain["Workers"], "Records")["Condition"]["ForAllValues:StringLike"]
    assert not [k for k in keys["dynamodb:LeadingKeys"] if k.startswith("pool")]


def test_the_pool_is_told_to_the_dispatcher_and_counted_by_the_alarm(plain: Assembly, pool: Assembly) -> None:
    for assembly, told, most in ((plain, None, 20), (pool, "2", 22)):
        for function in assembly["Dispatcher"].of("Lambda::Function"):
            assert function["Environment"]["Variables"].get("BRANCHLINE_WARM_POOL") == told
        alarms = {a.get("Threshold") for a in assembly["Watch"].of("CloudWatch::Alarm")}
        assert most in alarms


def test_roles_are_given_to_tasks_of_ecs_alone(plain: Assembly) -> None:
    (given,) = [s for s in plain["Dispatcher"].statements() if "iam:PassRole" in s["Action"]]
    assert given["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    assert len(given["Resource"]) == 2


def test_tasks_are_started_in_this_cluster_and_of_this_family_alone(plain: Assembly) -> None:
    started = statement(plain["Dispatcher"], "StartWorkers")
    assert [r.rpartition("/")[2] for r in started["Resource"]] == [f"{names.TASK}:*"]
    (where,) = started["Condition"]["ArnEquals"].values()
    assert text(where).endswith(f":cluster/{names.CLUSTER}")


def test_the_wall_leaves_out_accounts_sessions_and_scans(plain: Assembly) -> None:
    records = statement(plain["Workers"], "Records")
    assert "dynamodb:Scan" not in records["Action"]
    assert not [a for a in records["Action"] if "PartiQL" in a or "*" in a]
    keys = records["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
    assert records["Condition"]["Null"] == {"dynamodb:LeadingKeys": "false"}
    reached = [re.compile(key.replace("*", ".*")) for key in keys]
    for pk in (
        "accounts",
        "tokens",
        "token#1",
        "refresh#1",
        "family#1",
        "signin-keys",
        "audit#2026-11",
        "links",
        "workers",
    ):
        assert not [r for r in reached if r.fullmatch(pk)], pk
    for pk in (
        "worker#a-b-c",
        "thread#a-b-c#t",
        "id#a-b-c#api#1",
        "upload#1",
        "directory#t",
        "place#slack#1",
        "unshown",
    ):
        assert [r for r in reached if r.fullmatch(pk)], pk
    secrets = statement(plain["Workers"], "Keys")["Resource"]
    assert [s.rpartition(":secret:")[2] for s in secrets] == [f"{USER_SECRETS}*"]
    assert not names.MODEL_SECRET.startswith(USER_SECRETS)
    assert not names.GITHUB_SECRET.startswith(USER_SECRETS)
    assert not names.DISPATCHER_SECRET.startswith(USER_SECRETS)
    assert not names.OPERATOR_SECRET.startswith(USER_SECRETS)


def test_a_task_that_is_given_no_role_may_do_nothing(plain: Assembly) -> None:
    workers = plain["Workers"]
    task = workers.one("ECS::TaskDefinition")
    own = text(task["TaskRoleArn"]).removeprefix("${").split(".")[0].removesuffix("}")
    for policy in workers.of("IAM::Policy"):
        assert own not in [text(role).strip("${}") for role in policy["Roles"]]


def test_the_dispatcher_reads_one_secret_and_the_container_is_given_its_keys_by_ecs(full: Assembly) -> None:
    (secret,) = statement(full["Dispatcher"], "Secrets")["Resource"]
    assert "Dispatcher" in secret
    assert {s["Name"] for s in container(full)["Secrets"]} == {"ANTHROPIC_API_KEY", "GITHUB_TOKEN"}


def variables(assembly: Assembly) -> dict[str, str]:
    return {v["Name"]: text(v["Value"]) for v in container(assembly)["Environment"]}


def test_workers_look_for_keys_of_users_only_when_they_are_told_to(plain: Assembly, full: Assembly) -> None:
    assert not [name for name in variables(plain) if "_OWN_" in name]
    told = variables(full)
    assert told["BRANCHLINE_OWN_KEYS"].endswith(":secret:")
    (allowed,) = statement(full["Workers"], "Keys")["Resource"]
    assert text(allowed) == f"{told['BRANCHLINE_OWN_KEYS']}{USER_SECRETS}*"
    assert told["BRANCHLINE_OWN_MODEL_KEY"] == "ANTHROPIC_API_KEY"


def test_where_all_users_bring_keys_the_containers_are_given_none(keyless: Assembly) -> None:
    assert "Secrets" not in container(keyless)
    assert "BRANCHLINE_OWN_KEYS" in variables(keyless)


# ---------------------------------------------------------------- the task


def test_the_container_is_hardened_as_far_as_fargate_goes(either: Assembly) -> None:
    found = container(either)
    assert found["ReadonlyRootFilesystem"] is True
    assert found["User"] == "0", "only uid 0 has capabilities on Fargate; it is the spawner"
    capabilities = found["LinuxParameters"]["Capabilities"]
    assert set(capabilities["Drop"]) == GIVEN - KEPT
    assert "Add" not in capabilities, "Fargate refuses it"
    assert found["LinuxParameters"]["InitProcessEnabled"] is False
    assert found["StopTimeout"] == 110
    assert found["HealthCheck"]["Retries"] == 3
    assert MOUNTED["run"] in found["HealthCheck"]["Command"][1]
    assert {m["SourceVolume"]: m["ContainerPath"] for m in found["MountPoints"]} == MOUNTED
    assert "Privileged" not in found


def test_workers_are_arm64_and_have_the_disk_that_was_set(plain: Assembly, full: Assembly) -> None:
    task = plain["Workers"].one("ECS::TaskDefinition")
    assert task["RuntimePlatform"] == {"CpuArchitecture": "ARM64", "OperatingSystemFamily": "LINUX"}
    assert (task["Family"], task["NetworkMode"]) == (names.TASK, "awsvpc")
    assert "EphemeralStorage" not in task, "20 GiB are free"
    assert full["Workers"].one("ECS::TaskDefinition")["EphemeralStorage"] == {"SizeInGiB": 50}
    assert container(plain)["Name"] == names.CONTAINER
