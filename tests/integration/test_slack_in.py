"""Slack to thread, over real HTTP with real signatures: who is taken in, once, and what becomes of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts import records
from contracts.words import Frontend, Mode, Outcome, ThreadId, WorkerId
from fleet.standin.slack_world import BOT_USER, TEAM
from tests.integration.slack_lab import (
    ADA,
    BOB,
    CHANNEL,
    EVE,
    MENTION,
    Lab,
    lab,
    until,
)

pytestmark = pytest.mark.slow


@pytest.fixture
async def site(
    engine_url: str, account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lab]:
    async with lab(
        engine_url=engine_url, account=account, tmp_path=tmp_path, monkeypatch=monkeypatch
    ) as site:
        yield site


async def test_a_mention_begins_a_thread_and_replies_of_several_people_need_none(site: Lab) -> None:
    first = await site.says(f"{MENTION} make the headline blue")
    await site.says("and the footer", user=BOB, root=first.ts)
    await site.says(f"{MENTION} and the logo", user=BOB, root=first.ts)
    recorded = await site.recorded(first)
    assert [(m.text, m.author.name, m.author.id) for m in recorded] == [
        ("make the headline blue", "ada", f"{TEAM}/{ADA}"),
        ("and the footer", "bob", f"{TEAM}/{BOB}"),
        ("and the logo", "bob", f"{TEAM}/{BOB}"),
    ]
    assert all(m.frontend is Frontend.SLACK for m in recorded)
    worker, _ = await site.thread(first)
    assert worker == "local-site-ada"
    await until(lambda: first.reactions == {"eyes": [BOT_USER]})


async def test_signs_at_the_beginning_choose_the_mode(site: Lab) -> None:
    first = await site.says(f"{MENTION} begin")
    await site.says("&gt; use the other blue", root=first.ts)
    await site.says("! do this instead", root=first.ts)
    assert [(m.text, m.mode) for m in await site.recorded(first)] == [
        ("begin", Mode.QUEUE),
        ("use the other blue", Mode.STEER),
        ("do this instead", Mode.INTERRUPT),
    ]


async def test_a_first_message_and_another_persons_reply_at_the_same_time_share_the_thread(site: Lab) -> None:
    first, opening = site.slack.says(channel=CHANNEL, user=ADA, text=f"{MENTION} begin")
    _, following = site.slack.says(channel=CHANNEL, user=BOB, text=f"{MENTION} me, too", thread_ts=first.ts)
    await asyncio.gather(site.send(opening[0]), site.send(following[0]))
    assert sorted(m.text for m in await site.recorded(first)) == ["begin", "me, too"]


async def test_bots_ourselves_joins_and_talk_among_people_record_nothing(site: Lab) -> None:
    event = site.slack.event
    base = {"type": "message", "channel": CHANNEL, "channel_type": "channel", "ts": "1700000000.000001"}
    for more in (
        {"user": ADA, "text": "lunch?"},
        {"user": ADA, "text": "yes", "thread_ts": "1600000000.000001"},
        {"type": "app_mention", "user": "U0OTHERBOT", "bot_id": "B1", "text": f"{MENTION} hi"},
        {"type": "app_mention", "user": BOT_USER, "text": f"{MENTION} hi"},
        {"subtype": "bot_message", "bot_id": "B1", "text": f"{MENTION} hi"},
        {"subtype": "channel_join", "user": ADA, "text": "joined"},
    ):
        await site.send(event({**base, **more}))
    assert await site.nothing_recorded()
    assert site.slack.world.whispers == []


async def test_help_and_status_are_whispered_and_recorded_nowhere(site: Lab) -> None:
    await site.says(f"{MENTION} help")
    await site.says(f"{MENTION}")
    assert await site.nothing_recorded()
    await until(lambda: len(site.whispers()) == 2)
    assert "steers" in site.whispers()[0]
    first = await site.says(f"{MENTION} make it blue")
    await site.says("status", user=BOB, root=first.ts)
    await until(lambda: site.whispers(to=BOB) != [])
    assert "“make it blue” by ada: received" in site.whispers(to=BOB)[0]
    assert len(await site.recorded(first)) == 1


async def test_a_word_with_a_mention_in_a_thread_is_answered_once_although_two_events_tell_of_it(
    site: Lab,
) -> None:
    first = await site.says(f"{MENTION} make it blue")
    for word in ("status", "help"):
        _, events = site.slack.says(channel=CHANNEL, user=BOB, text=f"{MENTION} {word}", thread_ts=first.ts)
        assert [event["event"]["type"] for event in events] == ["app_mention", "message"]
        for event in events:
            await site.send(event)
            await site.send(event, retry=1)
    await site.says(f"{MENTION} status", user=BOB, root=first.ts)
    await until(lambda: len(site.whispers(to=BOB)) >= 3)
    assert ["received" in told for told in site.whispers(to=BOB)] == [True, False, True]


async def test_stop_ends_what_was_written_before_it_however_often_it_is_sent(site: Lab) -> None:
    first = await site.says(f"{MENTION} one")
    await site.says("two", root=first.ts)
    _, (stop,) = site.slack.says(channel=CHANNEL, user=ADA, text="stop", thread_ts=first.ts)
    await site.says("three", root=first.ts)
    await site.send(stop)
    await site.send(stop, retry=1)
    worker, thread_id = await site.thread(first)
    _, stops = await site.records.table.open(worker=worker, thread_id=thread_id)
    assert [s.through for s in stops] == [2]
    assert [m.text for m in await site.recorded(first)] == ["one", "two", "three"]


async def test_stop_and_status_outside_a_thread_are_answered(site: Lab) -> None:
    await site.says(f"{MENTION} stop")
    await site.says(f"{MENTION} status")
    await until(lambda: len(site.whispers()) == 2)
    assert "nothing of mine here" in site.whispers()[0]
    assert await site.nothing_recorded()


async def test_an_edited_or_deleted_message_stays_as_it_was_sent_and_its_author_is_told(site: Lab) -> None:
    first = await site.says(f"{MENTION} make it blue")
    edited = site.slack.edits(first, channel=CHANNEL, text=f"{MENTION} make it red")
    await site.send(edited)
    await site.send(edited, retry=1)
    await site.send(site.slack.deletes(first, channel=CHANNEL))
    assert [m.text for m in await site.recorded(first)] == ["make it blue"]
    await until(lambda: len(site.whispers()) == 2)
    assert "as you first sent it" in site.whispers()[0]
    assert "write `stop`" in site.whispers()[1]


async def test_a_mention_that_comes_again_with_another_text_changes_nothing_and_says_nothing(
    site: Lab,
) -> None:
    """Slack tells of a mention again when its message was edited, with the text as it is then."""
    first = await site.says(f"{MENTION} make it blue")
    again = {**first.plain(), "channel": CHANNEL, "type": "app_mention", "text": f"{MENTION} make it red"}
    await site.send(site.slack.event(again))
    assert [m.text for m in await site.recorded(first)] == ["make it blue"]
    assert site.whispers() == []


async def test_an_edit_of_what_was_never_ours_says_nothing(site: Lab) -> None:
    talk, _ = site.slack.says(channel=CHANNEL, user=ADA, text="lunch?")
    await site.send(site.slack.edits(talk, channel=CHANNEL, text="dinner?"))
    assert site.slack.world.whispers == []


async def test_an_attached_file_without_words_is_answered(site: Lab) -> None:
    first = await site.says(f"{MENTION} begin")
    await site.send(
        site.slack.event(
            {
                "type": "message",
                "subtype": "file_share",
                "channel": CHANNEL,
                "user": ADA,
                "text": "",
                "ts": "1700000000.000009",
                "thread_ts": first.ts,
                "files": [{"id": "F1"}],
            }
        )
    )
    await until(lambda: site.whispers() != [])
    assert "cannot read attached files" in site.whispers()[0]


async def test_a_file_beside_words_is_said_to_be_left_out_and_the_words_are_worked_on(site: Lab) -> None:
    _, events = site.slack.says(channel=CHANNEL, user=ADA, text=f"{MENTION} make it look like this")
    for event in events:
        event["event"] |= {"subtype": "file_share", "files": [{"id": "F1"}]}
        await site.send(event)
    await until(lambda: site.whispers() != [])
    assert "attached file is left out" in site.whispers()[0]
    assert not await site.nothing_recorded()


async def test_a_text_that_is_too_long_is_refused_with_a_sentence(site: Lab) -> None:
    await site.says(f"{MENTION} " + "x" * 270_000)
    await until(lambda: site.whispers() != [])
    assert "shorten it" in site.whispers()[0]
    assert await site.nothing_recorded()


async def test_the_stop_button_ends_what_its_post_shows_and_diff_shows_the_commit(site: Lab) -> None:
    first = await site.says(f"{MENTION} one")
    await until(lambda: site.posts(first))
    stop = site.slack.presses(site.posts(first)[0], channel=CHANNEL, user=BOB, action="branchline_stop")
    await site.says("two", root=first.ts)
    stranger = {**stop, "user": {"id": EVE}}
    await site.send(stranger)
    await until(lambda: site.whispers(to=EVE) != [])
    worker, thread_id = await site.thread(first)
    assert (await site.records.table.open(worker=worker, thread_id=thread_id))[1] == []
    await site.send(stop)
    assert [s.through for s in (await site.records.table.open(worker=worker, thread_id=thread_id))[1]] == [1]
    await site.start(first)
    await site.complete(first, "Blue now.")
    await until(lambda: "Show diff" in site.posts(first)[0].shown())
    diff = site.slack.presses(site.posts(first)[0], channel=CHANNEL, user=ADA, action="branchline_diff")
    await site.send(diff)
    await until(lambda: site.whispers() != [])
    assert "<https://github.com/acme/site/commit/abcdef1234567890|abcdef12>" in site.whispers()[0]


async def test_an_answered_message_says_nothing_about_a_later_edit(site: Lab) -> None:
    first = await site.says(f"{MENTION} make it blue")
    await site.start(first)
    await site.complete(first, "Blue.")
    worker, thread_id = await site.thread(first)
    (record,) = await site.recorded(first)
    await _finish(site, worker, thread_id, record.sequence)
    await site.send(site.slack.edits(first, channel=CHANNEL, text="typo"))
    assert site.whispers() == []


async def _finish(site: Lab, worker: WorkerId, thread_id: ThreadId, sequence: int) -> None:
    await site.records.clients.dynamodb.update_item(
        TableName="branchline",
        Key=records.message_key(worker, thread_id, sequence),
        UpdateExpression="SET outcome = :o",
        ExpressionAttributeValues={":o": {"S": Outcome.COMPLETED.value}},
    )
