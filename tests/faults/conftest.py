"""Fixtures of the faults at the doors: a dispatcher before the simulated Slack, and one before GitHub."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fleet.standin.github import GitHubStandin, running_github
from tests.integration import github_lab, slack_lab


@pytest.fixture
async def slack(
    engine_url: str, account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[slack_lab.Lab]:
    """A Slack workspace and a dispatcher that is its app."""
    async with slack_lab.lab(
        engine_url=engine_url, account=account, tmp_path=tmp_path, monkeypatch=monkeypatch
    ) as made:
        yield made


@pytest.fixture
def github_standin() -> Iterator[GitHubStandin]:
    """A GitHub alone."""
    with running_github() as standin:
        yield standin


@pytest.fixture
async def github(
    engine_url: str,
    account: str,
    github_standin: GitHubStandin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[github_lab.Lab]:
    """A GitHub and a dispatcher that is its App."""
    async with github_lab.lab(engine_url, account, github_standin, tmp_path, monkeypatch) as made:
        yield made
