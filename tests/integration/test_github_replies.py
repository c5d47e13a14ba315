"""From a comment to its answer: webhook, record, ring, one comment on GitHub that is edited to the end."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from fleet.standin.github import GitHubStandin, running_github
from tests.integration.github_lab import Lab, answer, lab, until


@pytest.fixture
def github() -> Iterator[GitHubStandin]:
    with running_github() as standin:
        yield standin


@pytest_asyncio.fixture
async def there(
    engine_url: str, account: str, github: GitHubStandin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lab]:
    async with lab(engine_url, account, github, tmp_path, monkeypatch) as made:
        yield made


async def test_one_comment_tells_everything_from_received_to_the_pull_request(there: Lab) -> None:
    talk = there.github.world.add_issue(there.repo, login="Ada", title="It should be blue")
    await there.call(there.github.hooks.say, there.repo, talk, login="Ada", body="@branchline make it blue")
    await until(lambda: len(talk.comments) == 2)
    assert "make it blue" in talk.comments[1].body
    await answer(there, "I made it blue.")
    await until(lambda: "I made it blue." in talk.comments[1].body)
    assert "Done" in talk.comments[1].body
    assert "Pull request: #2" in talk.comments[1].body
    assert there.repo.talks[2].body.endswith("Closes #1\n<!-- branchline:end -->")
    await until(lambda: there.repo.checks)
    assert len(talk.comments) == 2
    assert there.repo.checks[0]["conclusion"] == "success"


async def test_forty_thousand_characters_arrive_whole_in_the_one_comment(there: Lab) -> None:
    talk = there.github.world.add_issue(there.repo, login="Ada", title="Tell me everything")
    await there.call(there.github.hooks.say, there.repo, talk, login="Ada", body="@branchline explain it")
    await until(lambda: len(talk.comments) == 2)
    lines = [f"Line {number} of a long story. " + "word " * 14 for number in range(400)]
    text = "\n\n".join(lines)[:40_000]
    await answer(there, text)
    await until(lambda: text.rstrip() in talk.comments[1].body)
    assert len(talk.comments) == 2
    assert len(talk.comments[1].body) <= 65_536
