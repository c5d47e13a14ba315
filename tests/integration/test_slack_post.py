"""Slack's API behind the port: found again, held back, given up, replaced; against the stand-in over HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from contracts.words import MessageId
from dispatcher.posting import Gone, Later, Undeliverable, Wanted
from dispatcher.slack_post import SlackPoster
from fleet.standin.slack import BOT_TOKEN, Fault, SlackStandIn
from fleet.standin.slack_world import BOT_USER, TEAM, Message
from tests.integration.replies_lab import Clock

CHANNEL = "C1"


@pytest.fixture
def slack() -> Iterator[SlackStandIn]:
    with SlackStandIn() as slack:
        yield slack


@pytest.fixture
async def poster(slack: SlackStandIn) -> AsyncIterator[SlackPoster]:
    async with aiohttp.ClientSession() as session:
        yield SlackPoster(token=BOT_TOKEN, base_url=slack.url, session=session)


@pytest.fixture
def root(slack: SlackStandIn) -> Message:
    return slack.says(channel=CHANNEL, user="U1", text="begin")[0]


@pytest.fixture
def place(root: Message) -> str:
    return f"{TEAM}/{CHANNEL}/{root.ts}"


def wanted(key: str = "living:m1", text: str = "Working", **more: Any) -> Wanted:
    block = {"type": "section", "text": {"type": "mrkdwn", "text": text}}
    body = {"text": text, "blocks": [block], **more.pop("body", {})}
    return Wanted(key=key, body=body, **more)


async def test_a_post_is_found_again_by_its_key_among_many(
    slack: SlackStandIn, poster: SlackPoster, place: str, root: Message
) -> None:
    first = await poster.create(place, wanted())
    for number in range(250):
        slack.says(channel=CHANNEL, user="U1", text=f"talk {number}", thread_ts=root.ts)
    last = await poster.create(place, wanted("answer:m1:1"))
    assert await poster.find(place, "living:m1") == first
    assert await poster.find(place, "answer:m1:1") == last
    assert await poster.find(place, "living:m2") is None
    assert slack.count("conversations.replies") >= 4


async def test_an_edit_carries_everything_and_every_version_is_kept(
    slack: SlackStandIn, poster: SlackPoster, place: str, root: Message
) -> None:
    made = await poster.create(place, wanted(text="one"))
    await poster.update(place, made, wanted(text="two"))
    (post,) = slack.world.posts(CHANNEL, root.ts)
    assert [version.text for version in post.versions] == ["one", "two"]
    assert await poster.find(place, "living:m1") == made


async def test_a_post_whose_answer_was_lost_is_made_once_and_found(
    slack: SlackStandIn, poster: SlackPoster, place: str, root: Message
) -> None:
    slack.fail(Fault(method="chat.postMessage", kind="lost"))
    with pytest.raises(Later) as lost:
        await poster.create(place, wanted())
    assert lost.value.seconds is None
    (post,) = slack.world.posts(CHANNEL, root.ts)
    assert await poster.find(place, "living:m1") == post.ts
    assert slack.count("chat.postMessage") == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(method="chat.postMessage", kind="before"),
        Fault(method="chat.postMessage", kind="status", status=500),
        Fault(method="chat.postMessage", kind="status", status=503),
        Fault(method="chat.postMessage", kind="error", code="internal_error"),
        Fault(method="chat.postMessage", kind="error", code="something_new"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.code}-{fault.status}",
)
async def test_what_slack_cannot_do_now_is_for_later_and_nobody_knows_when(
    slack: SlackStandIn, poster: SlackPoster, place: str, fault: Fault
) -> None:
    slack.fail(fault)
    with pytest.raises(Later) as later:
        await poster.create(place, wanted())
    assert later.value.seconds is None
    assert later.value.refused is (fault.code == "something_new")
    assert slack.count("chat.postMessage") == 1


@pytest.mark.parametrize(("method", "everywhere"), [("chat.postMessage", False), ("chat.update", True)])
async def test_a_rate_limit_is_obeyed_for_as_long_as_slack_says(
    slack: SlackStandIn, poster: SlackPoster, place: str, method: str, everywhere: bool
) -> None:
    made = await poster.create(place, wanted())
    slack.fail(Fault(method=method, kind="limited", seconds=17))
    edits = method == "chat.update"
    call = poster.update(place, made, wanted()) if edits else poster.create(place, wanted("answer:m1:1"))
    with pytest.raises(Later) as later:
        await call
    assert (later.value.seconds, later.value.everywhere) == (17.0, everywhere)


async def test_a_deleted_channel_and_a_revoked_token_are_undeliverable_with_a_sentence(
    slack: SlackStandIn, poster: SlackPoster, place: str
) -> None:
    made = await poster.create(place, wanted())
    slack.revoked = True
    with pytest.raises(Undeliverable, match="token was revoked"):
        await poster.update(place, made, wanted(text="two"))
    slack.heal()
    slack.world.channels[CHANNEL].archived = True
    with pytest.raises(Undeliverable, match="archived"):
        await poster.create(place, wanted("answer:m1:1"))
    slack.world.delete(CHANNEL)
    for call in (
        poster.create(place, wanted("answer:m1:1")),
        poster.update(place, made, wanted()),
        poster.find(place, "x"),
    ):
        with pytest.raises(Undeliverable, match="does not exist any more"):
            await call


async def test_a_post_that_somebody_deleted_is_gone_and_the_place_is_well(
    slack: SlackStandIn, poster: SlackPoster, place: str
) -> None:
    made = await poster.create(place, wanted())
    del slack.world.channels[CHANNEL].messages[made]
    with pytest.raises(Gone):
        await poster.update(place, made, wanted(text="two"))


@pytest.mark.parametrize(
    "code",
    ["message_not_in_streaming_state", "edit_window_closed", "cant_update_message", "block_mismatch"],
)
async def test_a_post_that_cannot_be_edited_any_more_is_followed_by_one_new_post(
    slack: SlackStandIn, poster: SlackPoster, place: str, root: Message, code: str
) -> None:
    """A stream that is over can be edited; a post may be locked for all that."""
    made = await poster.create(place, wanted(text="one"))
    slack.world.channels[CHANNEL].messages[made].locked = code
    await poster.update(place, made, wanted(text="two"))
    await poster.update(place, made, wanted(text="three"))
    async with aiohttp.ClientSession() as session:
        another = SlackPoster(token=BOT_TOKEN, base_url=slack.url, session=session)
        await another.update(place, made, wanted(text="four"))
    old, new = slack.world.posts(CHANNEL, root.ts)
    assert old.text == "one"
    assert [version.text for version in new.versions] == ["two", "three", "four"]
    assert await poster.find(place, "living:m1") == made


async def test_a_post_that_slack_finds_malformed_arrives_as_plain_text(
    slack: SlackStandIn, poster: SlackPoster, place: str, root: Message
) -> None:
    body = {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}]}
    await poster.create(place, wanted(body=body))
    (post,) = slack.world.posts(CHANNEL, root.ts)
    assert post.blocks == []
    assert post.text.startswith("xxx")


async def test_a_file_goes_up_once_and_is_found_by_its_key(
    slack: SlackStandIn, poster: SlackPoster, place: str, root: Message
) -> None:
    file = Wanted(key="file:m1", body={"file": {"name": "answer-1.md", "content": "# All\nof it é"}})
    slack.fail(Fault(method="files.completeUploadExternal", kind="lost"))
    with pytest.raises(Later):
        await poster.create(place, file)
    found = await poster.find(place, "file:m1")
    assert found is not None
    assert slack.world.uploads[found].decode() == "# All\nof it é"
    await poster.update(place, found, file)
    (post,) = slack.world.posts(CHANNEL, root.ts)
    assert post.files[0]["title"] == "answer-1.md"


async def test_reactions_stand_on_the_persons_message_and_may_be_lost(
    slack: SlackStandIn, poster: SlackPoster, place: str, root: Message
) -> None:
    message_id = MessageId(f"slack:{TEAM}:{CHANNEL}:{root.ts}")
    slack.fail(Fault(method="reactions.add", kind="status"))
    await poster.create(place, wanted(message_id=message_id, reactions=("eyes",)))
    assert root.reactions == {}
    for key in ("living:b", "living:c"):
        await poster.create(place, wanted(key, message_id=message_id, reactions=("eyes",)))
    assert root.reactions == {"eyes": [BOT_USER]}


async def test_the_thinking_line_is_renewed_in_long_silences_and_taken_away_at_the_end(
    slack: SlackStandIn, place: str, root: Message
) -> None:
    clock = Clock()
    async with aiohttp.ClientSession() as session:
        poster = SlackPoster(token=BOT_TOKEN, base_url=slack.url, session=session, clock=clock)
        made = await poster.create(place, wanted(body={"status": "is working…"}))
        for seconds in (10.0, 20.0, 31.0, 39.0, 15.0):
            clock.tick(seconds)
            await poster.thinking.renew()
        await poster.update(place, made, wanted(text="done", body={"status": ""}))
        clock.tick(300)
        await poster.thinking.renew()
    assert [status["status"] for status in slack.world.statuses] == ["is working…"] * 3 + [""]
    assert all(s["thread_ts"] == root.ts and s["channel_id"] == CHANNEL for s in slack.world.statuses)


async def test_a_slack_that_says_nothing_holds_no_reply_for_longer_than_it_may(
    slack: SlackStandIn, place: str
) -> None:
    slack.fail(Fault(method="chat.postMessage", kind="slow", seconds=1.0))
    async with aiohttp.ClientSession() as session:
        poster = SlackPoster(token=BOT_TOKEN, base_url=slack.url, session=session, bound=0.2)
        with pytest.raises(Later, match="did not answer"):
            await poster.create(place, wanted())


async def test_whispers_reach_one_person_and_never_raise(
    slack: SlackStandIn, poster: SlackPoster, root: Message
) -> None:
    await poster.whisper(channel=CHANNEL, user="U1", text="for you", root=root.ts)
    await poster.whisper(channel="C0GONE", user="U1", text="for nobody", root=None)
    assert [(w.user, w.text, w.thread_ts) for w in slack.world.whispers] == [("U1", "for you", root.ts)]
    assert await poster.who() == {"team_id": TEAM, "user_id": BOT_USER}


async def test_the_stand_in_notes_every_call_and_is_gone_when_it_is_stopped() -> None:
    slack = SlackStandIn().start()
    async with aiohttp.ClientSession() as session:
        await SlackPoster(token=BOT_TOKEN, base_url=slack.url, session=session).who()
        before = time.monotonic()
        assert [(c.method, c.answer) for c in slack.calls] == [("auth.test", "ok")]
        assert slack.calls[0].at <= before
    await asyncio.to_thread(slack.stop)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(Later):
            await SlackPoster(token=BOT_TOKEN, base_url=slack.url, session=session).who()
