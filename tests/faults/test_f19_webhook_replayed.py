"""F19: a webhook is replayed: by an attacker who recorded it, by Slack's retries, by hand on GitHub.

Expected: Slack's signature is good for five minutes, and within them a message stays one; GitHub signs no
time, so the id of the comment decides, however often, under whatever delivery id and whenever it comes.
"""

import asyncio
import json
import time
from pathlib import Path

import pytest

from fleet.standin.github_hooks import signed
from tests.integration import github_lab
from tests.integration.github_lab import SECRET
from tests.integration.github_lab import Lab as GitHubLab
from tests.integration.slack_lab import ADA, CHANNEL, MENTION
from tests.integration.slack_lab import Lab as SlackLab

pytestmark = pytest.mark.slow

EVENT = "issue_comment"


async def test_a_signature_older_or_newer_than_five_minutes_is_refused(slack: SlackLab) -> None:
    _, events = slack.slack.says(channel=CHANNEL, user=ADA, text=f"{MENTION} replayed")
    for late in (-301, -600, 310, -(10**10), 10**12):
        answer = await slack.deliver(events[0], timestamp=time.time() + late)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_signature"
    assert await slack.nothing_recorded()
    assert (await slack.deliver(events[0], timestamp=time.time() - 280)).status_code == 200


async def test_a_hundred_deliveries_of_one_mention_are_one_message(slack: SlackLab) -> None:
    message, events = slack.slack.says(channel=CHANNEL, user=ADA, text=f"{MENTION} once")
    for number in range(100):
        event = {**events[number % 2], "event_id": f"EvAgain{number}"}
        await slack.send(event, retry=number % 4)
    assert [m.text for m in await slack.recorded(message)] == ["once"]


async def test_deliveries_at_the_same_time_are_one_message_in_one_thread(slack: SlackLab) -> None:
    message, events = slack.slack.says(channel=CHANNEL, user=ADA, text=f"{MENTION} once")
    await asyncio.gather(*(slack.send(event) for event in events * 8))
    assert [m.text for m in await slack.recorded(message)] == ["once"]
    workers = await slack.records.table.workers()
    rows = [row for w in workers for row in await slack.records.table.threads(w)]
    assert len(rows) == 1


async def test_the_retry_header_decides_nothing(slack: SlackLab) -> None:
    """Slack sends a retry, too, when the first attempt never arrived."""
    message, events = slack.slack.says(channel=CHANNEL, user=ADA, text=f"{MENTION} hello")
    await slack.send(events[0], retry=3)
    assert [m.text for m in await slack.recorded(message)] == ["hello"]


async def test_a_replay_after_the_answer_asks_for_nothing_again(slack: SlackLab) -> None:
    message, events = slack.slack.says(channel=CHANNEL, user=ADA, text=f"{MENTION} once")
    await slack.send(events[0])
    await slack.start(message)
    await slack.complete(message, "Done once.")
    for _ in range(5):
        await slack.send(events[0])
    assert [m.text for m in await slack.recorded(message)] == ["once"]


async def test_a_hundred_replays_of_a_comment_are_one_message(github: GitHubLab) -> None:
    talk = github.github.world.add_issue(github.repo, login="Ada", title="Blue")
    comment = github.github.world.add_comment(talk, login="Ada", body="@branchline make it blue")
    body = json.dumps(github.github.hooks.commented(github.repo, talk, comment)).encode()
    for number in range(100):
        headers = signed(body, event=EVENT, secret=SECRET, guid=f"guid-{number // 2}")
        assert (await github.post(body, headers)).status_code in (200, 202)
    assert len(github.messages()) == 1
    assert len(comment.reactions) == 1


async def test_replays_of_a_comment_at_the_same_time_are_one_message_in_one_thread(github: GitHubLab) -> None:
    body = comment(github)
    sent = [signed(body, event=EVENT, secret=SECRET, guid=f"guid-{number}") for number in range(8)]
    answers = await asyncio.gather(*(github.post(body, headers) for headers in sent))
    # One that came while another was being taken in may be asked to come again.
    assert {answer.status_code for answer in answers} <= {200, 202, 503}
    assert (await github.post(body, sent[0])).status_code in (200, 202)
    assert len(github.messages()) == 1
    assert len({message["thread_id"] for message in github.messages()}) == 1


async def test_a_replay_to_a_dispatcher_that_started_anew_changes_nothing(
    github: GitHubLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = comment(github)
    headers = signed(body, event=EVENT, secret=SECRET, guid="the first")
    assert (await github.post(body, headers)).status_code == 202
    before, repo = github.messages(), github.repo
    again = github_lab.lab(github.engine_url, github.account, github.github, tmp_path, monkeypatch)
    async with again as other:
        other.github.world.repos["acme/site"] = repo
        headers = signed(body, event=EVENT, secret=SECRET, guid="weeks later")
        assert (await other.post(body, headers)).status_code in (200, 202)
        assert other.messages() == before


def comment(github: GitHubLab) -> bytes:
    """The recorded body of a webhook that calls."""
    talk = github.github.world.add_issue(github.repo, login="Ada", title="Blue")
    said = github.github.world.add_comment(talk, login="Ada", body="@branchline make it blue")
    return json.dumps(github.github.hooks.commented(github.repo, talk, said)).encode()
