"""A living message as a stream: rows while it is worked on, an edit at the end, and edits if that fails."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from contracts.messages import Author
from contracts.places import PlaceRecord
from contracts.words import Frontend, MessageId, Mode, ThreadId
from dispatcher.pace import EDIT_SECONDS
from dispatcher.parts import Draft
from dispatcher.places import Places
from dispatcher.posting import Later, Undeliverable, Wanted
from dispatcher.replies import Replies
from dispatcher.slack_marks import mark
from dispatcher.slack_post import SlackPoster
from dispatcher.slack_render import SlackDialect
from dispatcher.slack_stream import LONGEST_SECONDS, REST_SECONDS
from fleet.standin.slack import BOT_TOKEN, Fault, SlackStandIn
from fleet.standin.slack_world import TEAM, Json, Message
from tests.integration import replies_lab
from tests.integration.replies_lab import TABLE, WORKER, Clock, look_until_done, pointer
from tests.integration.slack_lab import ADA, CHANNEL, DIRECT, MENTION, Lab, lab, quiet, until

KEY = "living:m1"
ANY_REFUSAL = (
    "unknown_method",
    "method_not_supported_for_channel_type",
    "channel_type_not_supported",
    "missing_recipient_user_id",
    "missing_recipient_team_id",
    "invalid_arguments",
    "not_allowed_token_type",
    "access_denied",
)


@pytest.fixture
async def site(
    engine_url: str, account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Lab]:
    async with lab(
        engine_url=engine_url, account=account, tmp_path=tmp_path, monkeypatch=monkeypatch
    ) as site:
        yield site


@pytest.fixture
def slack() -> Iterator[SlackStandIn]:
    with SlackStandIn() as slack:
        yield slack


@pytest.fixture
def root(slack: SlackStandIn) -> Message:
    return slack.says(channel=DIRECT, user=ADA, text="begin")[0]


@pytest.fixture
def place(root: Message) -> str:
    return f"{TEAM}/{DIRECT}/{root.ts}"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def poster(slack: SlackStandIn, session: aiohttp.ClientSession, clock: Clock) -> SlackPoster:
    return SlackPoster(token=BOT_TOKEN, base_url=slack.url, session=session, clock=clock)


def row(title: str, state: str = "in_progress", *, name: str = mark(KEY)) -> Json:
    return {"type": "task_update", "id": name, "title": title, "status": state}


def wanted(text: str, *, key: str = KEY, is_open: bool = True, streamed: bool = True) -> Wanted:
    """A living post that says ``text`` both ways."""
    button = {"type": "button", "text": {"type": "plain_text", "text": "Stop"}, "action_id": "stop"}
    actions = [{"type": "actions", "elements": [button]}] if is_open else []
    stream = {
        "open": is_open,
        "begin": is_open,
        "rows": [row(text, "in_progress" if is_open else "complete", name=mark(key))],
        "blocks": actions,
        "to": {"recipient_team_id": TEAM, "recipient_user_id": ADA},
    }
    section = {"type": "section", "text": {"type": "mrkdwn", "text": f"Edited: {text}"}}
    body: Json = {"text": text, "blocks": [section, *actions]}
    return Wanted(key=key, body=body | ({"stream": stream} if streamed else {}))


def methods(slack: SlackStandIn) -> list[str]:
    """What was called to post and to edit, in order."""
    return [call.method for call in slack.calls if call.method.startswith("chat.")]


def rows_of(version: Any) -> list[tuple[str, str]]:
    """Titles and states of the rows that a message showed."""
    plans = [block for block in version.blocks if block["type"] == "plan"]
    return [(task["title"], task["status"]) for plan in plans for task in plan["tasks"]]


async def in_direct(site: Lab, text: str) -> Message:
    """A message to the bot alone, and its stream."""
    said = await site.says(f"[site] {text}", channel=DIRECT)
    await until(lambda: site.posts(said, channel=DIRECT))
    return said


async def show(site: Lab, said: Message, words: str) -> Message:
    """The one post of a message, once it says something."""
    await until(lambda: words in site.posts(said, channel=DIRECT)[0].shown())
    (post,) = site.posts(said, channel=DIRECT)
    return post


# -------------------------------------------------------------------- through the whole dispatcher


@pytest.mark.slow
async def test_a_turn_is_a_stream_of_its_tasks_with_their_states_and_ends_with_the_answer(site: Lab) -> None:
    said = await in_direct(site, "make it blue")
    await site.start(said, channel=DIRECT)
    await show(site, said, "Working")
    for states in (("in_progress", "pending"), ("completed", "in_progress"), ("completed", "completed")):
        tasks = [
            {"id": "1", "subject": "Paint it", "status": states[0]},
            {"id": "2", "subject": "Test it", "status": states[1]},
        ]
        await site.tell(said, "turn.tasks", channel=DIRECT, tasks=tasks)
        shown = [state.replace("completed", "complete") for state in states]
        await until(
            lambda shown=shown: (
                [s for _, s in rows_of(site.posts(said, channel=DIRECT)[0].versions[-1])][1:] == shown
            )
        )
    step = {"tool_use_id": "1", "name": "Edit", "state": "started", "input": {"file_path": "a.css"}}
    await site.tell(said, "turn.tool", channel=DIRECT, **step)
    post = await show(site, said, "Edit a.css")
    assert post.stream is not None
    assert post.stream.is_open
    assert "Stop" in post.shown()
    payload = site.slack.presses(post, channel=DIRECT, user=ADA, action="branchline_stop")
    assert payload["actions"][0]["value"] == "1"
    await site.complete(said, "It is **blue** now.", channel=DIRECT)
    await quiet(site)
    post = await show(site, said, "It is *blue* now.")
    assert not post.stream or not post.stream.is_open
    assert "Show diff" in post.shown()
    assert "`thread-x` · commit `abcdef12`" in post.shown()
    told = methods(site.slack)
    assert told[0] == "chat.startStream"
    assert told[-2:] == ["chat.stopStream", "chat.update"]
    assert set(told[1:-2]) == {"chat.appendStream"}
    began = next(call.given for call in site.slack.calls if call.method == "chat.startStream")
    assert (began["task_display_mode"], began["thread_ts"]) == ("plan", said.ts)
    assert (began["recipient_team_id"], began["recipient_user_id"]) == (TEAM, ADA)


@pytest.mark.slow
async def test_a_stream_that_expires_in_mid_turn_goes_on_as_the_same_message_by_edits(site: Lab) -> None:
    said = await in_direct(site, "make it blue")
    await site.start(said, channel=DIRECT)
    await show(site, said, "Working")
    site.slack.fail(Fault(method="chat.appendStream", kind="expired"))
    task = {"id": "1", "subject": "Paint it", "status": "in_progress"}
    await site.tell(said, "turn.tasks", channel=DIRECT, tasks=[task])
    post = await show(site, said, "▸ Paint it")
    assert "Stop" in post.shown()
    appended = site.slack.count("chat.appendStream")
    await site.complete(said, "It is blue now.", channel=DIRECT)
    await quiet(site)
    post = await show(site, said, "It is blue now.")
    assert post.shown().count("It is blue now.") == 1
    assert site.slack.count("chat.appendStream") == appended
    assert site.slack.count("chat.stopStream") == 0
    assert site.slack.count("chat.postMessage") == 0
    assert "Something went wrong" not in post.shown()


@pytest.mark.slow
async def test_a_workspace_without_streams_gets_posts_and_edits_as_ever(site: Lab) -> None:
    site.slack.fail(Fault(method="chat.startStream", kind="error", code="unknown_method", times=9))
    said = await in_direct(site, "make it blue")
    await site.start(said, channel=DIRECT)
    await show(site, said, "Working")
    await site.complete(said, "It is blue now.", channel=DIRECT)
    await quiet(site)
    await show(site, said, "It is blue now.")
    assert methods(site.slack)[:2] == ["chat.startStream", "chat.postMessage"]
    assert set(methods(site.slack)[2:]) == {"chat.update"}


@pytest.mark.slow
async def test_the_answers_of_appending_and_stopping_may_be_lost(site: Lab) -> None:
    said = await in_direct(site, "make it blue")
    site.slack.fail(Fault(method="chat.appendStream", kind="lost"))
    await site.start(said, channel=DIRECT)
    await show(site, said, "Working")
    site.slack.fail(Fault(method="chat.stopStream", kind="lost"))
    await site.complete(said, "It is blue now.", channel=DIRECT)
    await quiet(site)
    post = await show(site, said, "It is blue now.")
    assert post.shown().count("It is blue now.") == 1
    assert site.slack.count("chat.startStream") == 1
    assert site.slack.count("chat.postMessage") == 0


@pytest.mark.slow
async def test_in_a_channel_everybody_is_to_see_the_work_so_it_is_edited(site: Lab) -> None:
    said = await site.says(f"{MENTION} make it blue")
    await until(lambda: site.posts(said))
    await site.start(said)
    await site.complete(said, "It is blue now.")
    await quiet(site)
    assert set(methods(site.slack)) == {"chat.postMessage", "chat.update"}


@pytest.mark.slow
async def test_streams_in_all_places_name_their_reader_and_off_means_off(
    engine_url: str, account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = {}
    for chosen in ("all", "off"):
        monkeypatch.setenv("BRANCHLINE_SLACK_STREAMS", chosen)
        async with lab(
            engine_url=engine_url,
            account=f"{account[:-1]}{len(called)}",
            tmp_path=tmp_path,
            monkeypatch=monkeypatch,
        ) as site:
            said = await site.says(f"{MENTION} make it blue")
            direct = await site.says("[site] and this", channel=DIRECT)
            await until(lambda: site.posts(said) and site.posts(direct, channel=DIRECT))  # noqa: B023
            for message, channel in ((said, CHANNEL), (direct, DIRECT)):
                await site.start(message, channel=channel)
                await site.complete(message, "Blue now.", channel=channel)
            await quiet(site)
            assert len(site.posts(said)) == len(site.posts(direct, channel=DIRECT)) == 1
            called[chosen] = methods(site.slack)
    assert called["all"].count("chat.startStream") == 2
    assert "chat.postMessage" not in called["all"]
    assert set(called["off"]) == {"chat.postMessage", "chat.update"}


# -------------------------------------------------------------------- crashes


class Dying(Places):
    """Records that take no id of a post: the process is gone when it has one."""

    async def save(self, before: PlaceRecord, after: PlaceRecord) -> PlaceRecord:
        if len(after.posts) > len(before.posts):
            await asyncio.Event().wait()
        return await super().save(before, after)


@pytest.fixture
async def records(engine_url: str, account: str) -> AsyncIterator[replies_lab.Lab]:
    async with replies_lab.lab(url=engine_url, account=account) as records:
        yield records


async def recorded(records: replies_lab.Lab, *, place: str) -> MessageId:
    """A message that somebody wrote in a direct conversation."""
    message_id = MessageId("m1")
    await records.recorder.record(
        Draft(
            worker_id=WORKER,
            project="site",
            asked_project=None,
            thread_id=ThreadId("t"),
            thread_is_given=True,
            message_id=message_id,
            text="make it blue",
            mode=Mode.QUEUE,
            frontend=Frontend.SLACK,
            author=Author(id=f"{TEAM}/{ADA}", name="Ada"),
        )
    )
    await records.show("t", place)
    return message_id


def consumer(
    records: replies_lab.Lab, poster: SlackPoster, clock: Clock, *, places: Places | None = None
) -> Replies:
    frontends = {Frontend.SLACK: (SlackDialect(streams="direct"), poster)}
    return Replies(table=records.table, places=places or records.places, frontends=frontends, now=clock)


async def killed_after_the_start(
    records: replies_lab.Lab, slack: SlackStandIn, poster: SlackPoster, clock: Clock, *, place: str
) -> MessageId:
    """A consumer begins a stream and dies before it has stored its id."""
    message_id = await recorded(records, place=place)
    dying = consumer(records, poster, clock, places=Dying(records.clients.dynamodb, table=TABLE))
    look = asyncio.create_task(dying.look(pointer("t")))
    await until(lambda: slack.count("chat.startStream"))
    look.cancel()
    await asyncio.wait([look])
    return message_id


@pytest.mark.slow
async def test_a_stream_of_a_consumer_that_was_killed_before_it_stored_the_id_is_found_again(
    records: replies_lab.Lab,
    slack: SlackStandIn,
    session: aiohttp.ClientSession,
    poster: SlackPoster,
    clock: Clock,
    root: Message,
    place: str,
) -> None:
    message_id = await killed_after_the_start(records, slack, poster, clock, place=place)
    after = SlackPoster(token=BOT_TOKEN, base_url=slack.url, session=session, clock=clock)
    replies = consumer(records, after, clock)
    await look_until_done(replies, "t", clock=clock)
    await records.start("t", message_id)
    clock.tick(EDIT_SECONDS)
    await replies.look(pointer("t"))  # the elapsed time goes on, so that there is always more to do
    (post,) = slack.world.posts(DIRECT, root.ts)
    assert rows_of(post.versions[-1]) == [("Thinking", "in_progress")]
    clock.tick(EDIT_SECONDS)
    await records.answer("t", message_id, "It is blue now.")
    await look_until_done(replies, "t", clock=clock)
    (post,) = slack.world.posts(DIRECT, root.ts)
    assert "It is blue now." in post.shown()
    assert slack.count("chat.startStream") == 1
    assert slack.count("chat.postMessage") == 0
    assert await records.unshown() == []


# -------------------------------------------------------------------- the poster alone


async def test_a_lost_start_is_found_by_the_id_of_its_first_row(
    slack: SlackStandIn, poster: SlackPoster, place: str, root: Message
) -> None:
    slack.fail(Fault(method="chat.startStream", kind="lost"))
    with pytest.raises(Later) as lost:
        await poster.create(place, wanted("Thinking"))
    assert lost.value.seconds is None
    (post,) = slack.world.posts(DIRECT, root.ts)
    assert await poster.find(place, KEY) == post.ts
    assert await poster.find(place, "living:m2") is None
    assert await poster.find(place, "answer:m1:1") is None


async def test_a_slack_that_keeps_no_ids_of_rows_hides_no_stream(
    slack: SlackStandIn, poster: SlackPoster, place: str, root: Message
) -> None:
    """One intent at a time: the stream of ours that nobody knows is the one that was lost."""
    first = await poster.create(place, wanted("First", key="living:m0"))
    slack.fail(Fault(method="chat.startStream", kind="lost"))
    with pytest.raises(Later):
        await poster.create(place, wanted("Second"))
    posts = slack.world.posts(DIRECT, root.ts)
    for post in posts:
        post.versions[-1].blocks[0]["tasks"][0]["task_id"] = "1"
    assert await poster.find(place, KEY, known=[first]) == posts[1].ts
    posts[1].user = "U0ANOTHERBOT"
    assert await poster.find(place, KEY, known=[first]) is None


async def test_after_a_start_whose_answer_was_lost_nothing_is_streamed_there_for_a_while(
    slack: SlackStandIn, poster: SlackPoster, clock: Clock, place: str
) -> None:
    """Otherwise a Slack that never answers it would keep every message from being posted."""
    slack.fail(Fault(method="chat.startStream", kind="error", code="internal_error"))
    with pytest.raises(Later):
        await poster.create(place, wanted("Thinking"))
    assert await poster.find(place, KEY) is None
    await poster.create(place, wanted("Thinking"))
    assert methods(slack) == ["chat.startStream", "chat.postMessage"]
    clock.tick(REST_SECONDS + 1)
    await poster.create(place, wanted("Thinking", key="living:m2"))
    assert methods(slack)[2:] == ["chat.startStream"]


@pytest.mark.parametrize("code", ANY_REFUSAL)
async def test_a_refused_stream_is_a_post_that_is_edited_and_not_tried_again(
    slack: SlackStandIn, poster: SlackPoster, place: str, root: Message, code: str
) -> None:
    slack.fail(Fault(method="chat.startStream", kind="error", code=code))
    made = await poster.create(place, wanted("one"))
    await poster.update(place, made, wanted("two"))
    await poster.update(place, made, wanted("three", is_open=False))
    await poster.create(place, wanted("one", key="living:m2"))
    first, second = slack.world.posts(DIRECT, root.ts)
    assert (first.text, second.text) == ("three", "one")
    assert methods(slack) == [
        "chat.startStream",
        "chat.postMessage",
        "chat.update",
        "chat.update",
        "chat.postMessage",
    ]


@pytest.mark.parametrize(
    "code",
    [
        "message_not_in_streaming_state",
        "stopped_by_user",
        "streaming_mode_mismatch",
        "streaming_state_conflict",
        "invalid_chunks",
    ],
)
async def test_a_stream_that_takes_no_more_is_edited_from_then_on(
    slack: SlackStandIn, poster: SlackPoster, place: str, root: Message, code: str
) -> None:
    """Whatever Slack says, and whether or not it thinks that the stream is over."""
    made = await poster.create(place, wanted("one"))
    slack.fail(Fault(method="chat.appendStream", kind="error", code=code))
    for text in ("two", "three"):
        await poster.update(place, made, wanted(text))
    await poster.update(place, made, wanted("four", is_open=False))
    (post,) = slack.world.posts(DIRECT, root.ts)
    assert (post.ts, post.text) == (made, "four")
    assert slack.count("chat.appendStream") == 1
    assert slack.count("chat.stopStream") == 1
    assert await poster.find(place, KEY) == made


async def test_an_expired_stream_is_not_tried_again(
    slack: SlackStandIn, poster: SlackPoster, place: str, root: Message
) -> None:
    made = await poster.create(place, wanted("one"))
    slack.world.expire(DIRECT, made)
    for text in ("two", "three"):
        await poster.update(place, made, wanted(text))
    await poster.update(place, made, wanted("four", is_open=False))
    assert methods(slack)[1:] == ["chat.appendStream", "chat.update", "chat.update", "chat.update"]
    (post,) = slack.world.posts(DIRECT, root.ts)
    assert (post.ts, post.shown()) == (made, "Edited: four")
    assert await poster.find(place, KEY) == made


async def test_a_process_that_knows_nothing_of_a_stream_ends_it_before_it_edits(
    slack: SlackStandIn, session: aiohttp.ClientSession, poster: SlackPoster, place: str, root: Message
) -> None:
    made = await poster.create(place, wanted("one"))
    for text, streamed in (("two", False), ("three", True)):
        another = SlackPoster(token=BOT_TOKEN, base_url=slack.url, session=session)
        await another.update(place, made, wanted(text, is_open=False, streamed=streamed))
    (post,) = slack.world.posts(DIRECT, root.ts)
    assert post.text == "three"
    assert methods(slack) == [
        "chat.startStream",
        "chat.update",
        "chat.stopStream",
        "chat.update",
        "chat.update",
    ]


async def test_a_repeated_append_changes_nothing_and_a_repeated_end_neither(
    slack: SlackStandIn, poster: SlackPoster, place: str, root: Message
) -> None:
    made = await poster.create(place, wanted("one"))
    for method, is_open in (("chat.appendStream", True), ("chat.stopStream", False)):
        slack.fail(Fault(method=method, kind="lost"))
        with pytest.raises(Later):
            await poster.update(place, made, wanted("two", is_open=is_open))
        await poster.update(place, made, wanted("two", is_open=is_open))
        (post,) = slack.world.posts(DIRECT, root.ts)
        assert post.shown().count("two") == 1
    assert rows_of(post.versions[-4]) == [("two", "in_progress")]
    assert post.shown() == "Edited: two"
    assert post.reactions == {}


async def test_a_stream_is_ended_before_slack_would_end_it_as_an_error(
    slack: SlackStandIn, poster: SlackPoster, clock: Clock, place: str, root: Message
) -> None:
    made = await poster.create(place, wanted("one"))
    clock.tick(LONGEST_SECONDS - 1)
    await poster.update(place, made, wanted("two"))
    clock.tick(1)
    await poster.update(place, made, wanted("three"))
    await poster.update(place, made, wanted("four"))
    assert methods(slack)[1:] == ["chat.appendStream", "chat.stopStream", "chat.update", "chat.update"]
    (post,) = slack.world.posts(DIRECT, root.ts)
    assert post.text == "four"


async def test_each_methods_rate_limit_is_obeyed_for_itself(
    slack: SlackStandIn, poster: SlackPoster, clock: Clock, place: str, root: Message
) -> None:
    made = await poster.create(place, wanted("one"))
    for method, is_open in (("chat.appendStream", True), ("chat.stopStream", False)):
        slack.fail(Fault(method=method, kind="limited", seconds=17))
        with pytest.raises(Later) as later:
            await poster.update(place, made, wanted("two", is_open=is_open))
        assert later.value.seconds == 17.0
    assert methods(slack) == ["chat.startStream", "chat.appendStream", "chat.stopStream"]
    slack.fail(Fault(method="chat.startStream", kind="limited", seconds=17))
    for number, seconds in enumerate((0, 16, 2)):
        clock.tick(seconds)
        await poster.create(place, wanted("one", key=f"living:n{number}"))
    assert methods(slack)[3:] == [
        "chat.startStream",
        "chat.postMessage",
        "chat.postMessage",
        "chat.startStream",
    ]


async def test_a_channel_that_is_gone_is_undeliverable_for_a_stream_as_well(
    slack: SlackStandIn, poster: SlackPoster, place: str
) -> None:
    made = await poster.create(place, wanted("one"))
    slack.world.delete(DIRECT)
    for call in (
        poster.update(place, made, wanted("two")),
        poster.create(place, wanted("x", key="living:2")),
    ):
        with pytest.raises(Undeliverable):
            await call
