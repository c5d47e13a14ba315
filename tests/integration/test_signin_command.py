"""`branchline account` and `branchline token` on a real dispatcher, and what will not start open."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyotp
import pytest

from fleet import operator
from fleet.home import Home
from tests.fakes.dispatcher import ROOT, FakeLauncher, environment
from tests.fakes.engine import EngineProcess, fresh_account
from tests.integration.dispatcher_lab import Lab, lab

PASSWORD = "correct horse battery"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.create()
    return home


@pytest.fixture
def site(engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path, home: Home) -> Iterator[Lab]:
    own = operator.for_dispatcher(home, {})
    with lab(engine, launcher, tmp_path, BRANCHLINE_LOGIN="accounts", **own) as site:
        yield site


def branchline(
    site: Lab, home: Home, *arguments: str, typed: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """The command as on this machine: it finds port and home, and is told no token."""
    port = site.dispatcher.url.rpartition(":")[2]
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONUTF8": "1",
        "BRANCHLINE_PORT": port,
        "BRANCHLINE_HOME": str(home.path),
        **more,
    }
    return subprocess.run(
        [sys.executable, "-m", "fleet", *arguments],
        env=env,
        cwd=home.path,
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_from_nothing_to_somebody_who_signs_in_with_a_code(site: Lab, home: Home) -> None:
    added = branchline(site, home, "account", "add", "local", typed=f"{PASSWORD}\n")
    assert (added.returncode, added.stdout) == (0, "added: local can sign in now\n"), added.stderr
    shown = branchline(site, home, "account", "totp", "local")
    totp = pyotp.parse_uri(shown.stdout.strip())
    assert isinstance(totp, pyotp.TOTP)
    given = {"user": "local", "password": PASSWORD, "code": totp.now()}
    assert site.client.post("/auth/login", json=given).status_code == 200
    assert site.client.get("/v1/me").json()["scopes"] == ["operate", "read", "write"]
    listed = json.loads(branchline(site, home, "account", "list", "--json").stdout)
    assert [(x["user"], x["totp"]) for x in listed] == [("local", True)]
    removed = branchline(site, home, "account", "remove", "local")
    assert removed.returncode == 0
    assert "Nobody has an account yet" in branchline(site, home, "account", "list").stdout


def test_a_token_is_made_shown_once_used_and_revoked(site: Lab, home: Home) -> None:
    made = branchline(site, home, "token", "create", "ci", "--scope", "read", "--days", "9")
    token = made.stdout.strip()
    assert token.startswith("blt_"), made.stderr
    table = branchline(site, home, "token", "list").stdout
    assert "ci" in table
    assert token not in table
    elsewhere = {"BRANCHLINE_URL": site.dispatcher.url, "BRANCHLINE_TOKEN": token}
    assert branchline(site, home, "threads", "--json", **elsewhere).returncode == 0
    written = branchline(site, home, "send", "hello", "--no-wait", **elsewhere)
    assert (written.returncode, "scope" in written.stderr) == (2, True)
    assert branchline(site, home, "token", "revoke", "ci").stdout == "revoked: ci of local\n"
    refused = branchline(site, home, "threads", **elsewhere)
    assert (refused.returncode, "BRANCHLINE_TOKEN" in refused.stderr) == (2, True)


def test_the_token_of_this_home_goes_to_the_fleet_of_this_home_alone(site: Lab, home: Home) -> None:
    assert branchline(site, home, "send", "hello", "--no-wait").returncode == 0
    elsewhere = branchline(site, home, "threads", BRANCHLINE_URL=f"{site.dispatcher.url}/")
    assert elsewhere.returncode == 0, "the same address, named"
    other_name = site.dispatcher.url.replace("127.0.0.1", "localhost")
    refused = branchline(site, home, "threads", BRANCHLINE_URL=other_name)
    assert (refused.returncode, "access refused" in refused.stderr) == (2, True)
    kept = home.path / "operator.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert operator.token_of(home) not in site.dispatcher.logs()


def test_a_refusal_of_the_command_says_what_to_do(site: Lab, home: Home) -> None:
    stranger = branchline(site, home, "account", "add", "eve", typed=f"{PASSWORD}\n")
    assert (stranger.returncode, "[user.NAME]" in stranger.stderr) == (2, True)
    nothing = branchline(site, home, "account", "add", "local")
    assert (nothing.returncode, "no password" in nothing.stderr) == (2, True)


def test_the_first_token_of_a_fleet_elsewhere_opens_it(
    engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path, home: Home
) -> None:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    argv = [sys.executable, "-m", "fleet", "token", "operator", "--json"]
    made = json.loads(subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60).stdout)
    token = made.pop("BRANCHLINE_TOKEN")
    with lab(engine, launcher, tmp_path, BRANCHLINE_LOGIN="accounts", **made) as site:
        answer = httpx.get(f"{site.dispatcher.url}/v1/me", headers={"authorization": f"Bearer {token}"})
        assert "operate" in answer.json()["scopes"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"BRANCHLINE_HOST": "0.0.0.0"}, "set BRANCHLINE_LOGIN"),
        ({"BRANCHLINE_LOGIN": "github"}, "BRANCHLINE_GITHUB_CLIENT_ID"),
    ],
)
def test_it_does_not_start_open(tmp_path: Path, given: dict[str, str], says: str) -> None:
    env = environment(engine_url="http://127.0.0.1:1", account=fresh_account(), **given)
    argv = [sys.executable, "-m", "dispatcher"]
    ended = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert says in ended.stderr


def test_up_does_not_begin_open(tmp_path: Path) -> None:
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "BRANCHLINE_HOST": "0.0.0.0",
        "BRANCHLINE_HOME": str(tmp_path / "home"),
    }
    argv = [sys.executable, "-m", "fleet", "up"]
    ended = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert "people have to sign in" in ended.stderr
    assert not (tmp_path / "home").exists()
