"""Webhooks that nobody took are asked for again."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from dispatcher.github_redeliver import Delivery, undelivered
from fleet.standin.github import GitHubStandin, running_github


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHubStandin]:
    with running_github() as standin:
        monkeypatch.setenv("GITHUB_APP_ID", standin.world.app_id)
        monkeypatch.setenv("GITHUB_APP_PRIVATE_KEY", standin.private_key.replace("\n", "\\n"))
        monkeypatch.setenv("BRANCHLINE_GITHUB_API_URL", standin.url)
        standin.hooks.url, standin.hooks.secret = f"{standin.url}/nothing", "x"
        yield standin


def redeliver(*argv: str) -> "subprocess.CompletedProcess[str]":
    argv = (sys.executable, "-m", "dispatcher.github_redeliver", *argv)
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_what_did_not_arrive_is_asked_for_again_and_a_dry_run_only_lists(github: GitHubStandin) -> None:
    github.hooks.send("issue_comment", {"action": "created"}, guid="lost")
    shown = redeliver("--dry-run")
    assert (shown.returncode, "lost" in shown.stdout) == (0, True), shown.stderr
    assert len(github.hooks.deliveries) == 1
    done = redeliver("--since", "1h")
    assert done.returncode == 0, done.stderr
    assert "asked for 1" in done.stdout
    assert github.hooks.deliveries[1].redelivery
    assert github.hooks.deliveries[1].guid == "lost"


def test_one_that_is_refused_is_told_by_the_exit_code(github: GitHubStandin) -> None:
    github.hooks.send("issue_comment", {"action": "created"}, guid="lost")
    github.fail("POST .*/attempts", status=500)
    assert redeliver().returncode == 1


def test_a_wrong_age_and_a_missing_app_are_said_in_a_sentence(
    github: GitHubStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "90m, 12h or 2d" in redeliver("--since", "soon").stderr
    monkeypatch.delenv("GITHUB_APP_ID")
    told = redeliver()
    assert told.returncode == 2
    assert "GITHUB_APP_ID" in told.stderr


def test_only_the_newest_attempt_of_what_never_arrived_counts() -> None:
    def attempt(number: int, guid: str, status: int) -> Delivery:
        at = f"2026-11-20T10:00:{number:02}Z"
        plain = {"id": number, "guid": guid, "delivered_at": at, "status_code": status, "event": "x"}
        return Delivery.model_validate(plain)

    given = [
        attempt(1, "late", 500),
        attempt(2, "lost", 502),
        attempt(3, "late", 202),
        attempt(4, "lost", 0),
        attempt(5, "fine", 200),
    ]
    assert [d.id for d in undelivered(given)] == [4]
