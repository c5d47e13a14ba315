"""From a comment to its answer: webhook, record, ring, one comment on GitHub that is edited to the end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from contracts.events import OutcomeData, TurnCompleted
from contracts.words import ThreadId, TurnId
from dispatcher import aws
from dispatcher.record import Recorder
from dispatcher.rings import Rings
from dispatcher.table import Table
from fleet.standin.github import GitHubStandin, running_github
from tests.integration.github_lab import WORKER, Lab, lab


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


async def until(true: Callable[[], object]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.02)


async def answer(there: Lab, text: str) -> None:
    """End the message as a worker would, and ring."""
    (message,) = there.messages()
    final = {"changed": True, "commit": "a" * 40, "branch": f"thread-{message['thread_id']}", "pushed": True}

    def ended(number: int) -> TurnCompleted:
        return TurnCompleted(
            id=number,
            thread_id=ThreadId(message["thread_id"]),
            message_id=message["id"],
            turn_id=TurnId("t"),
            time=datetime.now(UTC),
            data=OutcomeData(text=text, **final),
        )

    async with aws.connect() as clients:
        recorder = Recorder(Table(clients.dynamodb, name="branchline"), Rings(clients.sqs))
        await recorder.append(worker=WORKER, thread_id=ThreadId(message["thread_id"]), make=ended)


async def test_one_comment_tells_everything_from_received_to_the_pull_request(there: Lab) -> None:
    talk = there.github.world.add_issue(there.repo, login="Ada", title="It should be blue")
    await there.call(there.github.hooks.say, there.repo, talk, login="Ada", body="@branchline make it blue")
    await until(lambda: len(talk.comments) == 2)
    assert "make it blue" in talk.comments[1].body
    await answer(there, "I made it blue.")
    await until(lambda: "I made it blue." in talk.comments[1].body)
    assert "Done" in talk.comments[1].body
    assert "Pull request: #2" in talk.comments[1].body
    assert there.repo.talks[2].body.endswith("Closes #1")
    await until(lambda: there.repo.checks)
    assert len(talk.comments) == 2
    assert there.repo.checks[0]["conclusion"] == "success"
