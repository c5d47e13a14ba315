"""``branchline keys`` against the Secrets Manager and the ECS of the embedded engine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.deploy.cloud import Kept
from tests.aws.assembly import ROOT, SECONDS
from tests.aws.engine_stacks import Cloud
from tests.fakes.ecs import prepare
from tests.fakes.engine import REGION, fresh_account, running_engine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]

CONFIG = """
[project.site]
repo = "https://example.invalid/site.git"
[user.mona]
projects = ["site"]
[user."Zoë K"]
projects = ["site"]
"""
KEY = "sk-ant-of-mona-0123456789-9876"


class Lab:
    """A folder with a configuration, and the command run in it."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self.cloud, self.folder = cloud, folder
        (folder / "branchline.toml").write_text(CONFIG)
        self.env = {
            **{k: os.environ[k] for k in ("PATH", "HOME", "LANG") if k in os.environ},
            "PYTHONPATH": str(ROOT),
            "BRANCHLINE_HOME": str(folder / "home"),
            "AWS_ENDPOINT_URL": cloud.url,
            "AWS_ACCESS_KEY_ID": cloud.account,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": REGION,
        }

    def run(self, *arguments: str, key: str = "", **env: str) -> "subprocess.CompletedProcess[str]":
        argv = [sys.executable, "-m", "fleet", "keys", *arguments]
        whole = {k: v for k, v in {**self.env, **env}.items() if v}
        return subprocess.run(
            argv, cwd=self.folder, env=whole, input=key, capture_output=True, text=True, timeout=120
        )

    def secrets(self) -> dict[str, str]:
        client = self.cloud.client("secretsmanager")
        listed = [s["Name"] for s in client.list_secrets()["SecretList"]]
        return {name: client.get_secret_value(SecretId=name)["SecretString"] for name in listed}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    state = tmp_path / "engine"
    state.mkdir()
    with running_engine(state, 0, "--services", "secretsmanager,ecs,iam,sts") as engine:
        yield Lab(Cloud(url=engine.url, account=fresh_account()), tmp_path)


def test_a_key_is_set_changed_listed_by_its_end_and_removed(lab: Lab) -> None:
    first = lab.run("set", "model", "--user", "mona", key=f"{KEY}\n")
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("set: the model key of mona, in branchline/user/mona/model\n")
    assert "workers read it when they start" in first.stdout
    assert 'set own_keys = "allowed"' in first.stdout, "nobody would read it"
    told = lab.run("set", "model", "--user", "mona", key=KEY.replace("9876", "5432"))
    assert "changed: the model key of mona" in told.stdout
    lab.run("set", "github", "--user", "Zoë K", key="ghp_short")
    lab.cloud.client("secretsmanager").create_secret(Name="branchline/model", SecretString="of the fleet")

    listed = lab.run("list", "--json").stdout
    rows = {(row["user"], row["key"]): row["ends"] for row in json.loads(listed)}
    assert rows == {("mona", "model"): "...5432", ("Zoë K", "github"): "..."}, "a short one shows nothing"
    table = lab.run("list", "--user", "mona").stdout
    assert "mona" in table
    assert "Zoë" not in table
    for said in (first.stdout, told.stdout, listed, table):
        assert KEY[:-4] not in said

    gone = lab.run("remove", "model", "--user", "mona")
    assert "removed: the model key of mona" in gone.stdout
    assert set(lab.secrets()) == {"branchline/model", "branchline/user/_5ao_c3_ab_20_4b/github"}
    again = lab.run("remove", "model", "--user", "mona")
    assert (again.returncode, "mona has no model key" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "key", "said"),
    [
        (("set", "model"), KEY, "say whose key it is: --user Zoë K | mona"),
        (("set", "model", "--user", "Mona"), KEY, "Mona is none of the users (Zoë K, mona)"),
        (("set", "model", "--user", "mona"), "", "there is no key"),
        (("set", "model", "--user", "mona"), "short", "there is no key"),
        (("set", "model", "--user", "mona"), "two words-0123", "there is no key"),
        (("set", "model", "--user", "mona"), "ghp_0123456789", "looks like a key for github"),
        (("set", "github", "--user", "mona"), KEY, "looks like a key for model"),
        (("set", "slack", "--user", "mona"), KEY, "slack"),
        (("set", "model", KEY, "--user", "mona"), "", "unexpected extra argument"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_one_sentence(
    lab: Lab, arguments: tuple[str, ...], key: str, said: str
) -> None:
    done = lab.run(*arguments, key=key)
    assert done.returncode == 2
    assert said in done.stderr
    assert lab.secrets() == {}


def test_only_the_users_own_workers_are_asked_to_leave(lab: Lab) -> None:
    prepare(url=lab.cloud.url, account=lab.cloud.account)
    ecs = lab.cloud.client("ecs")
    for worker in ("local-site-mona", "acme-other-mona", "local-site-mona2", "mona-mona-zoe"):
        ecs.run_task(
            cluster="branchline",
            taskDefinition="branchline-worker",
            overrides={
                "containerOverrides": [
                    {"name": "worker", "environment": [{"name": "CONTAINER_ID", "value": worker}]}
                ]
            },
        )
    done = lab.run("set", "model", "--user", "mona", "--now", key=KEY, BRANCHLINE_AWS_OWN_KEYS="allowed")
    assert done.stdout.endswith("asked 2 workers to leave; work goes on in new ones\n"), done.stderr
    arns = ecs.list_tasks(cluster="branchline")["taskArns"]
    running = ecs.describe_tasks(cluster="branchline", tasks=arns)["tasks"]
    left = {t["overrides"]["containerOverrides"][0]["environment"][0]["value"] for t in running}
    assert left == {"local-site-mona2", "mona-mona-zoe"}


def test_a_key_is_not_in_what_errors_show() -> None:
    assert KEY not in repr(Kept(name="n", changed="", value=KEY))
