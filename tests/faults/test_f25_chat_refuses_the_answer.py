"""F25: the chat does not take the answer: a post edited no more, a rate limit, a place that is gone.

Expected: the final text arrives once, by an edit or by one new post; what is refused for now is tried again
when the chat says so; a place that is gone is told to operators and holds up nobody else.
"""

import asyncio

import pytest

from fleet.standin.github_world import Talk
from fleet.standin.slack import Fault
from tests.integration.github_lab import Lab as GitHubLab
from tests.integration.github_lab import answer
from tests.integration.slack_lab import CHANNEL, MENTION, OTHER, quiet, until
from tests.integration.slack_lab import Lab as SlackLab

pytestmark = pytest.mark.slow


def reads(slack: SlackLab, first, number: int = 0, *, channel: str = CHANNEL) -> str:  # type: ignore[no-untyped-def]
    posts = slack.posts(first, channel=channel)
    return posts[number].shown() if len(posts) > number else ""


async def test_a_rate_limit_is_waited_out_and_the_last_state_arrives(slack: SlackLab) -> None:
    slack.slack.fail(Fault(method="chat.postMessage", kind="limited", seconds=2))
    first = await slack.says(f"{MENTION} make it blue")
    await slack.start(first)
    await slack.complete(first, "Blue now.")
    await quiet(slack)
    (post,) = slack.posts(first)
    assert "Blue now." in post.shown()
    calls = [c for c in slack.slack.calls if c.method == "chat.postMessage"]
    assert [c.answer for c in calls] == ["limited", "ok"]
    assert calls[1].at - calls[0].at >= 2


async def test_a_deleted_channel_is_undeliverable_and_holds_up_nobody_else(slack: SlackLab) -> None:
    first = await slack.says(f"{MENTION} here")
    other = await slack.says(f"{MENTION} there", channel=OTHER)
    await until(lambda: slack.posts(first) and slack.posts(other, channel=OTHER))
    slack.slack.world.delete(CHANNEL)
    await slack.start(first)
    await slack.complete(first, "Nobody reads this.")
    await slack.start(other, channel=OTHER)
    await slack.complete(other, "Somebody reads this.", channel=OTHER)
    await until(lambda: "Somebody reads this." in reads(slack, other, channel=OTHER))
    worker, _ = await slack.thread(first)
    async with asyncio.timeout(30):
        while not (gone := await slack.records.places.undeliverable_of(worker)):
            await asyncio.sleep(0.05)
    assert "does not exist any more" in str(gone[0].undeliverable)


async def test_a_post_that_expired_is_followed_by_one_with_the_answer(slack: SlackLab) -> None:
    first = await slack.says(f"{MENTION} make it blue")
    await until(lambda: slack.posts(first))
    slack.posts(first)[0].locked = "message_not_in_streaming_state"
    await slack.start(first)
    await slack.complete(first, "Blue now.")
    await quiet(slack)
    assert [("Blue now." in post.shown()) for post in slack.posts(first)] == [False, True]


async def called(github: GitHubLab, title: str) -> Talk:
    """An issue whose author called, and whose comment of ours stands."""
    talk = github.github.world.add_issue(github.repo, login="Ada", title=title)
    await github.call(github.github.hooks.say, github.repo, talk, login="Ada", body="@branchline go")
    await until(lambda: len(talk.comments) == 2)
    return talk


async def test_githubs_rate_limit_is_waited_out_and_the_answer_stands_once(github: GitHubLab) -> None:
    talk = await called(github, "Blue")
    github.github.fail(r"PATCH .*/issues/comments/\d+", status=429, message="slow down", retry_after="2")
    await answer(github, "Blue now.")
    await until(lambda: "Blue now." in talk.comments[1].body)
    assert len([c for c in talk.comments if c.app]) == 1
    assert sum("Blue now." in edit for edit in talk.comments[1].edits) == 1


async def test_an_edit_whose_answer_got_lost_stands_once(github: GitHubLab) -> None:
    talk = await called(github, "Blue")
    github.github.lose(r"PATCH .*/issues/comments/\d+")
    await answer(github, "Blue now.")
    await until(lambda: "Blue now." in talk.comments[1].body)
    assert len([c for c in talk.comments if c.app]) == 1


async def test_a_locked_issue_is_told_to_operators_and_holds_up_nobody_else(github: GitHubLab) -> None:
    locked = github.github.world.add_issue(github.repo, login="Ada", title="Locked")
    locked.locked = True
    await github.call(github.github.hooks.say, github.repo, locked, login="Ada", body="@branchline go")
    other = await called(github, "Open")
    await answer(github, "Nobody reads this.", issue=1)
    await answer(github, "Somebody reads this.", issue=2)
    await until(lambda: "Somebody reads this." in other.comments[1].body)
    gone = await undeliverable(github)
    assert [place["address"] for place in gone] == ["acme/site#1"]
    assert "locked" in gone[0]["problem"]
    assert [c for c in locked.comments if c.app] == []


async def undeliverable(github: GitHubLab) -> list[dict[str, str]]:
    """What operators are told, as soon as they are told anything."""
    async with asyncio.timeout(30):
        while not (
            told := (await github.client.get(f"{github.url}/v1/undeliverable")).json()["undeliverable"]
        ):
            await asyncio.sleep(0.05)
    return list(told)
