"""Small rules of the Slack frontend: when it is on, who may use what, where a commit is shown."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dispatcher.settings import Settings
from dispatcher.slack_admit import projects_of
from dispatcher.slack_lines import elapsed
from dispatcher.slack_settings import SlackSettings
from dispatcher.slack_words import commit_link, no_project, stranger
from fleet.link import app as link_app


@pytest.mark.parametrize(
    ("given", "http", "socket"),
    [
        ({}, False, False),
        ({"SLACK_BOT_TOKEN": "xoxb-1"}, False, False),
        ({"SLACK_SIGNING_SECRET": "s"}, False, False),
        ({"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_SIGNING_SECRET": "s"}, True, False),
        ({"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"}, False, True),
        ({"SLACK_BOT_TOKEN": "", "SLACK_APP_TOKEN": "xapp-1"}, False, False),
    ],
)
def test_slack_is_on_when_it_can_speak_and_hear(
    given: dict[str, str], http: bool, socket: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_APP_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    slack = SlackSettings()
    assert (slack.takes_http, slack.takes_socket) == (http, socket)
    assert "xoxb-1" not in repr(slack)


def test_the_local_user_of_a_fleet_without_a_file_may_use_its_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRANCHLINE_CONFIG", raising=False)
    settings = Settings(repo="/repos/site.git")
    assert projects_of(settings, user="local") == ("site",)
    assert projects_of(settings, user="ada") == ()


def test_a_configured_user_may_use_what_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "b.toml"
    file.write_text('[project.a]\nrepo = "r"\n[project.b]\nrepo = "r"\n[user.ada]\nprojects = ["b"]\n')
    monkeypatch.setenv("BRANCHLINE_CONFIG", str(file))
    assert projects_of(Settings(), user="ada") == ("b",)


@pytest.mark.parametrize(
    "told", [stranger(team="T1", user="U1"), no_project(team="T1", channel="C1")], ids=["person", "channel"]
)
def test_the_command_that_somebody_is_told_to_ask_for_is_one_that_there_is(told: str) -> None:
    (command,) = re.findall(r"`branchline link ([^`]+)`", told)
    result = CliRunner().invoke(link_app, [*command.split(), "--help"])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("repo", "link"),
    [
        ("https://github.com/acme/site.git", "https://github.com/acme/site/commit/abc"),
        ("git@github.com:acme/site.git", "https://github.com/acme/site/commit/abc"),
        ("https://github.com/acme", None),
        ("/srv/site.git", None),
        ("https://gitlab.example/acme/site", None),
    ],
)
def test_a_commit_has_a_page_on_github_only(repo: str, link: str | None) -> None:
    assert commit_link(repo=repo, sha="abc") == link


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-5, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (3600, "1 h 0 min")]
)
def test_a_duration_is_told_for_people(seconds: float, shown: str) -> None:
    assert elapsed(timedelta(seconds=seconds)) == shown
