"""``branchline deploy`` and ``destroy`` against the embedded engine's cloud.

Docker and pip are stand-ins that note what they are asked. Everything else is done: the stacks are
synthesized, the pinned command of CDK prepares the account, uploads and deploys, and secrets, stacks, roles,
the page and the account are real requests.
"""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from cdk import settings as names
from dispatcher.signin_records import digest
from fleet.deploy.cloud import BOOTSTRAP, FILLED, Image
from fleet.deploy.cloud import Cloud as Account
from fleet.deploy.deploy import Deployment, Place, make_account
from fleet.deploy.parts import Tools
from tests.aws.assembly import ROOT, SECONDS, STACKS, cdk_command, cdk_python, node_path
from tests.aws.engine_stacks import SERVICES, Cloud
from tests.aws.open_engine import open_engine
from tests.fakes.dispatcher import running_dispatcher
from tests.fakes.engine import REGION, fresh_account, running_engine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]

CONFIG = """
[project.site]
repo = "https://example.invalid/site.git"
[user.mona]
projects = ["site"]
operator = true
"""


class Lab:
    """A folder with stand-ins, and the command run in it."""

    def __init__(self, cloud: Cloud, folder: Path, **real: str) -> None:
        self.cloud, self.folder = cloud, folder
        self.notes = folder / "notes"
        self.proofs: set[str] = set()
        (folder / "branchline.toml").write_text(CONFIG)
        self.env = {
            **{k: os.environ[k] for k in ("HOME", "LANG", "TMPDIR") if k in os.environ},
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "BRANCHLINE_HOME": str(folder / "home"),
            "AWS_ENDPOINT_URL": cloud.url,
            "AWS_ACCESS_KEY_ID": cloud.account,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "BRANCHLINE_DEPLOY_TOOLS": json.dumps(self._tools() | real),
            "ANTHROPIC_API_KEY": "sk-of-mona",
            "SLACK_BOT_TOKEN": "xoxb-of-acme",
        }

    def _tools(self) -> dict[str, str]:
        where = self.folder / "bin"
        where.mkdir()
        found = {}
        for tool in ("cdk", "cdk-python", "python", "engine", "build"):
            line = shlex.join([sys.executable, "-m", "tests.aws.deploy_standin", str(self.notes), tool])
            script = where / f"standin-{tool}"
            script.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {line} "$@"\n')
            script.chmod(0o755)
            found[tool.replace("-", "_")] = str(script)
        return {**found, "path": node_path()}

    def run(self, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        argv = [sys.executable, "-m", "fleet", *arguments]
        whole = {k: v for k, v in {**self.env, **env}.items() if v}
        return subprocess.run(argv, cwd=self.folder, env=whole, capture_output=True, text=True, timeout=500)

    def asked(self, tool: str) -> list[list[str]]:
        return [said["given"] for said in self.noted(tool)]

    def noted(self, tool: str) -> list[dict[str, Any]]:
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [said for said in map(json.loads, lines) if said["tool"] == tool]

    def secret(self, name: str) -> str:
        return str(self.cloud.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    state = tmp_path / "engine"
    state.mkdir()
    with running_engine(state, 0, "--services", SERVICES) as engine:
        yield Lab(Cloud(url=engine.url, account=fresh_account()), tmp_path)


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Lab]:
    """The same with CDK's own command."""
    state = tmp_path / "engine"
    state.mkdir()
    with open_engine(state) as url:
        cloud = Cloud(url=url, account=fresh_account())
        yield Lab(cloud, tmp_path, cdk=cdk_command(), cdk_python=str(cdk_python()))


def prepared(lab: Lab) -> None:
    lab.cloud.client("ssm").put_parameter(Name=BOOTSTRAP, Value="27", Type="String")


def test_a_plan_says_every_step_and_asks_nobody(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "BRANCHLINE_HOME": str(tmp_path / "home")}
    argv = [sys.executable, "-m", "fleet", "deploy", "--plan", "--repo", "https://example.invalid/site.git"]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "--platform linux/arm64" in said
    assert said.index("deploy BranchlineData") < said.index("push") < said.index("deploy BranchlineWorkers")
    assert "make the first account" in said
    assert not (tmp_path / "branchline.toml").exists(), "a plan leaves nothing behind"


def steps(folder: Path, *, has_edge: bool, **settings: str) -> list[str]:
    """What a deployment would do, step by step, without asking anybody."""
    (folder / "branchline.toml").write_text(CONFIG)
    image = Image(tag="t", pushed=datetime.now(UTC))
    deployment = Deployment(
        settings=names.AwsSettings(**settings),
        place=Place(account="1", region=REGION, image=image, has_edge=has_edge),
        tools=Tools.named(),
        cloud=Account(region=REGION),
        config=folder / "branchline.toml",
        home=folder,
        tag="t",
        keys={},
    )
    return [f"{step.says}: {' '.join(step.argv or ())}" for step in deployment.steps()]


def test_a_domain_comes_after_what_it_holds_on_to_and_goes_before_it(tmp_path: Path) -> None:
    certificate = "arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"
    said = steps(tmp_path, has_edge=True, domain="chat.example.com", certificate=certificate)
    (rest,) = [step for step in said if "BranchlineDispatcher" in step]
    assert "BranchlineWorkers BranchlineDispatcher BranchlineEdge BranchlineWatch" in rest
    assert any("look up the domain's addresses" in step for step in said)
    without = steps(tmp_path, has_edge=True)
    gone = next(n for n, step in enumerate(without) if "remove the domain" in step)
    assert "BranchlineWorkers" in without[gone + 1]
    assert not re.search("the domain|BranchlineEdge", "\n".join(steps(tmp_path, has_edge=False)))


def test_what_is_missing_is_said_in_one_sentence(lab: Lab) -> None:
    nobody = lab.run(
        "deploy", "--yes", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="", AWS_EC2_METADATA_DISABLED="true"
    )
    assert (nobody.returncode, nobody.stderr.count("\n")) == (2, 1)
    assert "there are no AWS credentials" in nobody.stderr
    nowhere = lab.run("deploy", "--yes", AWS_REGION="", AWS_DEFAULT_REGION="")
    assert "there is no AWS region" in nowhere.stderr
    for one in ({"AWS_REGION": ""}, {"AWS_DEFAULT_REGION": ""}):
        assert "run this once with --bootstrap" in lab.run("deploy", "--yes", **one).stderr, "one is enough"
    unprepared = lab.run("deploy", "--yes")
    assert (unprepared.returncode, unprepared.stderr.count("\n")) == (2, 1)
    assert "run this once with --bootstrap" in unprepared.stderr
    prepared(lab)
    keyless = lab.run("deploy", "--yes", ANTHROPIC_API_KEY="")
    assert "set ANTHROPIC_API_KEY" in keyless.stderr
    assert 'or set own_keys = "required"' in keyless.stderr
    allowed = lab.run("deploy", "--yes", ANTHROPIC_API_KEY="", BRANCHLINE_AWS_OWN_KEYS="allowed")
    assert "set ANTHROPIC_API_KEY" in allowed.stderr, "those who bring none would have none"
    assert "set GITHUB_TOKEN" in lab.run("deploy", "--yes", BRANCHLINE_AWS_GITHUB_SECRET="true").stderr
    (lab.folder / "branchline.toml").write_text('github_client_secret = "s"\n' + CONFIG)
    assert "holds github_client_secret" in lab.run("deploy", "--yes").stderr
    (lab.folder / "branchline.toml").unlink()
    assert "name the first project with --repo URL" in lab.run("deploy", "--yes").stderr
    assert lab.asked("cdk") == [], "nothing was begun"


def test_a_fleet_whose_users_bring_keys_is_deployed_without_one(lab: Lab) -> None:
    prepared(lab)
    for name in (names.MODEL_SECRET, names.OPERATOR_SECRET):
        lab.cloud.client("secretsmanager").create_secret(Name=name, SecretString="made by AWS")
    lab.cloud.client("secretsmanager").create_secret(Name=names.DISPATCHER_SECRET, SecretString="{}")
    done = lab.run("deploy", "--yes", "--wait", "1", BRANCHLINE_AWS_OWN_KEYS="required")
    assert "the fleet has no key of the model" in done.stdout, done.stderr
    assert "make the rest: network, dispatcher, alarms" in done.stdout
    assert lab.secret(names.MODEL_SECRET) == "made by AWS", "the one in the environment is somebody's own"


def test_the_stacks_are_written_with_the_settings_that_were_read_here(lab: Lab) -> None:
    """CDK runs in the checkout, and the command wherever somebody keeps their file."""
    lab.run("deploy", "--yes", "--bootstrap")
    (said,) = lab.noted("cdk-python")
    assert said["config"] == str(lab.folder / "branchline.toml")


def test_what_is_wrong_with_the_way_to_aws_is_one_sentence(lab: Lab) -> None:
    nowhere = {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}
    for env, code, words in (
        ({"AWS_PROFILE": "nobody"}, 2, "correct AWS_PROFILE, or unset it"),
        ({**nowhere, "AWS_REGION": "eu west"}, 2, "AWS regions are called such as eu-central-1"),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
            1,
            "is the region spelled right, and is there a network",
        ),
        ({**nowhere, "AWS_REGION": REGION}, 2, "run this once with --bootstrap"),
        ({**nowhere, "AWS_DEFAULT_REGION": REGION}, 2, "run this once with --bootstrap"),
    ):
        done = lab.run("deploy", "--yes", **env)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
        assert words in done.stderr
        assert "unexpected" not in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[aws\n", "cannot be read"),
        ("[aws]\ncpuu = 3\n", "the setting aws.cpuu is not known"),
        ('[project.a]\nrepoo = "r"\n', "project.a.repo is wrong: Field required"),
    ],
)
def test_what_is_wrong_in_the_file_is_one_sentence_that_names_it(
    tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "branchline.toml").write_text(text)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "BRANCHLINE_HOME": str(tmp_path / "home")}
    argv = [sys.executable, "-m", "fleet", "deploy", "--plan"]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=110)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert words in done.stderr


def test_everything_goes_to_the_one_region_that_was_named(lab: Lab) -> None:
    named = ("--bootstrap", "--region", "eu-west-1")
    lab.run("deploy", "--yes", *named, AWS_REGION="us-west-1", AWS_DEFAULT_REGION="us-west-2")
    asked = [*lab.noted("cdk"), *lab.noted("cdk-python")]
    assert [said["given"][0] for said in asked] == ["bootstrap", "deploy", "-m"]
    for said in asked:
        assert set(said["regions"].values()) == {"eu-west-1"}, said
    (build,) = lab.asked("build")
    assert ".dkr.ecr.eu-west-1." in build[build.index("--tag") + 1]


def test_an_account_has_one_fleet_and_another_region_leaves_its_roles_alone(lab: Lab) -> None:
    iam = lab.cloud.client("iam")
    table = f"arn:aws:dynamodb:eu-west-1:{lab.cloud.account}:table/{names.TABLE}"
    reach = {"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": table}
    wall = json.dumps({"Version": "2012-10-17", "Statement": [reach]})
    iam.create_policy(PolicyName=names.BOUNDARY, PolicyDocument=wall)
    worker_role(lab)
    second = lab.run("deploy", "--yes", "--bootstrap")
    assert (second.returncode, second.stderr.count("\n"), lab.asked("cdk")) == (2, 1, [])
    assert f"account {lab.cloud.account} has its fleet in eu-west-1" in second.stderr
    assert "Use --region eu-west-1" in second.stderr
    elsewhere = lab.run("destroy", "--yes")
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert "none: those of this account are of its fleet in eu-west-1" in elsewhere.stdout
    assert "there is no fleet in this region" in elsewhere.stdout
    assert [r["RoleName"] for r in iam.list_roles(PathPrefix=names.WORKER_ROLES)["Roles"]] == ["w"]


def test_destroy_says_what_it_takes_from_where_before_it_is_told_yes(lab: Lab) -> None:
    make_table(lab)
    asked = lab.run("destroy", "--everything")
    assert (asked.returncode, "[1/" in asked.stdout) == (1, False), "nobody has said yes"
    assert asked.stdout.index(f"account {lab.cloud.account}, region {REGION}") < asked.stdout.index("Remove ")
    assert lab.cloud.client("dynamodb").list_tables()["TableNames"] == [names.TABLE]


def test_an_image_that_is_built_again_has_another_tag_and_is_the_one_that_stays(lab: Lab) -> None:
    ecr = lab.cloud.client("ecr")
    ecr.create_repository(repositoryName=names.REPOSITORY, imageTagMutability="IMMUTABLE")
    lab.run("deploy", "--yes", "--bootstrap")
    lab.run("deploy", "--yes", "--bootstrap", "--rebuild")
    first, again = lab.asked("build")
    tags = [build[build.index("--tag") + 1].rpartition(":")[2] for build in (first, again)]
    assert tags[1].startswith(f"{tags[0]}-")
    assert [("--fresh" in build) for build in (first, again)] == [False, True]
    for number, tag in enumerate(tags):
        ecr.put_image(repositoryName=names.REPOSITORY, imageTag=tag, imageManifest=json.dumps({"n": number}))
    lab.run("deploy", "--yes", "--bootstrap")
    assert len(lab.asked("build")) == 2, "there is one already"
    synth = lab.asked("cdk-python")
    assert [argv[argv.index("--image-tag") + 1] for argv in synth] == [*tags, tags[1]]


def test_alarms_that_nobody_wants_go_before_what_they_look_at(lab: Lab) -> None:
    prepared(lab)
    held = {"Fn::ImportValue": "BranchlineData:Name"}
    make_stack(lab, "BranchlineData", value="old", export="BranchlineData:Name")
    make_stack(lab, "BranchlineWatch", value=held)
    for env in ({"BRANCHLINE_AWS_WATCH": "false"}, {}):
        said = lab.run("deploy", "--yes", **env).stdout
        assert ("remove the alarms of before" in said) == bool(env), "gone after the first time"
        assert "BranchlineWatch" not in stacks(lab)
    make_stack(lab, "BranchlineWatch", value=held)
    assert "remove the alarms of before" in lab.run("deploy", "--yes").stdout, "they hold on to others"
    make_stack(lab, "BranchlineWatch", value="nobody's")
    assert "remove the alarms of before" not in lab.run("deploy", "--yes").stdout


def test_a_table_that_a_failed_deployment_left_is_not_in_the_way(lab: Lab) -> None:
    prepared(lab)
    dynamodb = lab.cloud.client("dynamodb")
    make_table(lab)
    dynamodb.put_item(TableName=names.TABLE, Item={"pk": {"S": "thread#1"}})
    refused = lab.run("deploy", "--yes")
    assert (refused.returncode, refused.stderr.count("\n"), lab.asked("cdk")) == (2, 1, [])
    assert "destroy --everything" in refused.stderr
    dynamodb.delete_item(TableName=names.TABLE, Key={"pk": {"S": "thread#1"}})
    said = lab.run("deploy", "--yes").stdout
    assert said.index("remove the empty table") < said.index("make what is kept")
    assert dynamodb.list_tables()["TableNames"] == []


def test_a_step_that_fails_ends_it_with_what_to_do(lab: Lab) -> None:
    prepared(lab)
    (lab.folder / "fail").touch()
    done = lab.run("deploy", "--yes")
    assert done.returncode == 1
    assert "build the worker's image for arm64" in done.stderr
    assert "binfmt" in done.stderr
    assert lab.asked("cdk") == []


def test_from_nothing_to_a_page_with_an_account_and_back(whole: Lab) -> None:
    nobody = {"BRANCHLINE_AWS_ENVIRONMENT": json.dumps({"BRANCHLINE_PUBLIC_URL": "http://127.0.0.1:1"})}
    first = whole.run("deploy", "--yes", "--bootstrap", "--wait", "1", **nobody)
    assert "http://127.0.0.1:1/healthz does not answer" in first.stderr, first.stdout + first.stderr
    assert "workers cannot push to GitHub yet" in first.stdout
    assert_deployed(whole, said=first.stdout)
    # A dispatcher stands where the Lambda would be; it has to know the operator's token.
    told = {"BRANCHLINE_LOGIN": "accounts", "BRANCHLINE_CONFIG": str(whole.folder / "branchline.toml")}
    told |= {"BRANCHLINE_OPERATOR_TOKEN_HASH": digest(whole.secret(names.OPERATOR_SECRET))}
    told |= {"BRANCHLINE_REPO": "", "BRANCHLINE_PROJECT": ""}
    cloud = whole.cloud
    with running_dispatcher(cloud.url, account=cloud.account, cwd=whole.folder, **told) as page:
        public = {"BRANCHLINE_AWS_ENVIRONMENT": json.dumps({"BRANCHLINE_PUBLIC_URL": page.url})}
        done = whole.run("deploy", "--yes", ANTHROPIC_API_KEY="", **public)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"Branchline is on {page.url}" in done.stdout
        kept = json.loads(whole.secret(names.DISPATCHER_SECRET))["BRANCHLINE_LAUNCHER_TOKEN"]
        assert whole.proofs == {kept}, "workers that run hold proofs of it"
        (line,) = [x for x in done.stdout.splitlines() if "signs in with the password" in x]
        user, password = line.split()[0], line.split()[-1]
        signed_in = httpx.post(
            f"{page.url}/auth/login", json={"user": user, "password": password}, timeout=60
        )
        assert (user, signed_in.status_code) == ("mona", 200)
        token = whole.secret(names.OPERATOR_SECRET)
        assert asyncio.run(make_account(page.url, user="mona", token=token)) is None, "there is one already"
    assert_removed(whole)


def assert_deployed(lab: Lab, *, said: str) -> None:
    token = lab.secret(names.OPERATOR_SECRET)
    assert lab.secret(names.MODEL_SECRET) == "sk-of-mona"
    told = json.loads(lab.secret(names.DISPATCHER_SECRET))
    assert told["SLACK_BOT_TOKEN"] == "xoxb-of-acme"
    assert told["BRANCHLINE_OPERATOR_TOKEN_HASH"] == digest(token)
    assert len(told["BRANCHLINE_SEAL_KEY"]) == 48, "what was there stays"
    assert len(told["BRANCHLINE_LAUNCHER_TOKEN"]) == 64
    lab.proofs.add(told["BRANCHLINE_LAUNCHER_TOKEN"])
    tags = lab.cloud.client("secretsmanager").describe_secret(SecretId=names.MODEL_SECRET)["Tags"]
    assert FILLED in {t["Key"] for t in tags}
    for value in ("sk-of-mona", "xoxb-of-acme", token):
        assert value not in said
    (build,), (login, push) = lab.asked("build"), lab.asked("engine")
    registry = f"{lab.cloud.account}.dkr.ecr.{REGION}.amazonaws.com"
    assert push[1] == build[build.index("--tag") + 1]
    assert push[1].startswith(f"{registry}/{names.REPOSITORY}:")
    assert (login[0], login[-1]) == ("login", registry)
    assert stacks(lab) == {"CDKToolkit", *STACKS}


def assert_removed(lab: Lab) -> None:
    worker_role(lab)
    lab.cloud.client("secretsmanager").create_secret(Name="branchline/user/mona/model", SecretString="k" * 8)
    kept = lab.run("destroy", "--yes")
    assert kept.returncode == 0, kept.stdout + kept.stderr
    assert "kept: the stack BranchlineData with the table branchline" in kept.stdout
    assert lab.secret("branchline/user/mona/model")
    roles = lab.cloud.client("iam").list_roles(PathPrefix=names.WORKER_ROLES)["Roles"]
    assert roles == [], "the wall cannot be deleted while a role has it"
    assert lab.cloud.client("dynamodb").describe_table(TableName=names.TABLE)["Table"]["ItemCount"] >= 0
    assert stacks(lab) == {"CDKToolkit", "BranchlineData"}
    gone = lab.run("destroy", "--yes", "--everything")
    assert gone.returncode == 0, gone.stdout + gone.stderr
    assert stacks(lab) == {"CDKToolkit"}
    assert names.TABLE not in lab.cloud.client("dynamodb").list_tables()["TableNames"]
    assert lab.cloud.client("sqs").list_queues().get("QueueUrls", []) == []
    left = lab.cloud.client("secretsmanager").list_secrets()["SecretList"]
    assert not [s["Name"] for s in left if s["Name"].startswith("branchline/user/")]


def worker_role(lab: Lab) -> None:
    """One as the dispatcher makes it."""
    iam = lab.cloud.client("iam")
    statement = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.create_role(Path=names.WORKER_ROLES, RoleName="w", AssumeRolePolicyDocument=policy)
    iam.put_role_policy(RoleName="w", PolicyName="worker", PolicyDocument=policy)


def make_table(lab: Lab) -> None:
    """One that belongs to no stack, protected as the stack's."""
    lab.cloud.client("dynamodb").create_table(
        TableName=names.TABLE,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        DeletionProtectionEnabled=True,
    )


def make_stack(lab: Lab, name: str, *, value: Any, export: str | None = None) -> None:
    """A stack with a topic whose display name is a value."""
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": value}}
    outputs = {"O": {"Value": value, "Export": {"Name": export}}} if export else {}
    template = {"Resources": {"T": topic}, **({"Outputs": outputs} if outputs else {})}
    formation = lab.cloud.client("cloudformation")
    formation.create_stack(StackName=name, TemplateBody=json.dumps(template))
    formation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})


def stacks(lab: Lab) -> set[str]:
    found = lab.cloud.client("cloudformation").describe_stacks()["Stacks"]
    return {s["StackName"] for s in found if s["StackStatus"] != "DELETE_COMPLETE"}
