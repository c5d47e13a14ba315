"""The stand-in's streams do what was seen of Slack's: states, kinds of content, readers, limits, expiry."""

from typing import Any

import pytest

from fleet.standin.slack_streams import BROKEN, MARKDOWN_LIMIT, ROW_LIMIT
from fleet.standin.slack_world import TEAM, Message, Refusal, World

TO = {"recipient_team_id": TEAM, "recipient_user_id": "U1"}


@pytest.fixture
def world() -> World:
    world = World()
    world.open("C1")
    world.open("D1", direct=True)
    return world


def row(title: str = "Paint", status: str = "in_progress", **more: Any) -> dict[str, Any]:
    return {"type": "task_update", "id": "1", "title": title, "status": status, **more}


def begun(world: World, *, channel: str = "C1", **more: Any) -> dict[str, Any]:
    """What a stream is named by."""
    given = {"channel": channel, "thread_ts": "1.1", "task_display_mode": "plan", **TO, **more}
    return {"channel": channel, "ts": world.chat_startStream(given)["ts"]}


def message(world: World, named: dict[str, Any]) -> Message:
    return world.channels[named["channel"]].messages[named["ts"]]


def refused(call: Any, given: dict[str, Any]) -> str:
    with pytest.raises(Refusal) as refusal:
        call(given)
    return refusal.value.code


def test_a_stream_is_added_to_then_ended_and_edited_only_then(world: World) -> None:
    named = begun(world, chunks=[row()])
    assert refused(world.chat_update, {**named, "text": "x"}) == "streaming_state_conflict"
    assert message(world, named).plain()["streaming_state"] == "in_progress"
    world.chat_appendStream({**named, "chunks": [row(status="complete")]})
    world.chat_stopStream({**named, "metadata": {"event_type": "x"}})
    assert message(world, named).plain()["streaming_state"] == "completed"
    assert message(world, named).metadata == {"event_type": "x"}
    for call in (world.chat_appendStream, world.chat_stopStream):
        assert refused(call, {**named, "chunks": [row()]}) == "message_not_in_streaming_state"
    world.chat_update({**named, "text": "x"})
    assert message(world, named).text == "x"


def test_a_stream_that_is_open_for_too_long_ends_as_an_error(world: World) -> None:
    named = begun(world, chunks=[row()])
    world.stream_seconds = -1
    assert refused(world.chat_appendStream, {**named, "chunks": [row()]}) == "message_not_in_streaming_state"
    assert "Something went wrong" in message(world, named).shown()
    world.chat_update({**named, "text": "x"})


def test_titles_and_states_are_replaced_and_details_grow(world: World) -> None:
    named = begun(world, chunks=[row(details="a")])
    world.chat_appendStream({**named, "chunks": [row("Painted", "complete", details="b")]})
    (plan,) = message(world, named).blocks
    (card,) = plan["tasks"]
    assert (card["task_id"], card["title"], card["status"]) == ("1", "Painted", "complete")
    assert card["details"]["elements"][0]["elements"][0]["text"] == "ab"


def test_a_row_left_in_progress_is_an_error_when_the_stream_ends(world: World) -> None:
    named = begun(world, chunks=[{"type": "plan_update", "title": "Working"}, row()])
    world.chat_stopStream(named)
    (plan,) = message(world, named).blocks
    assert (plan["title"], plan["tasks"][0]["status"]) == (BROKEN, "error")


def test_every_look_of_a_stream_is_kept(world: World) -> None:
    named = begun(world, chunks=[row()])
    world.chat_appendStream({**named, "chunks": [row(status="complete")]})
    looks = [version.blocks[0]["tasks"][0]["status"] for version in message(world, named).versions]
    assert looks == ["in_progress", "complete"]


def test_a_timeline_has_its_rows_and_texts_as_blocks_of_their_own(world: World) -> None:
    text = {"type": "markdown_text", "text": "**Hello**"}
    named = begun(world, task_display_mode="timeline", chunks=[row(), text])
    assert [block["type"] for block in message(world, named).blocks] == ["task_card", "markdown"]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"recipient_user_id": None}, "missing_recipient_user_id"),
        ({"recipient_team_id": None}, "missing_recipient_team_id"),
        ({"thread_ts": None}, "invalid_arguments"),
        ({"task_display_mode": "dense"}, "invalid_arguments"),
        ({"markdown_text": "x", "chunks": [row()]}, "cannot_provide_both_markdown_text_and_chunks"),
        ({"markdown_text": "x" * (MARKDOWN_LIMIT + 1)}, "msg_too_long"),
        ({"chunks": [row("x" * (ROW_LIMIT + 1))]}, "invalid_chunks"),
        ({"chunks": [row(status="done")]}, "invalid_chunks"),
        ({"chunks": [{"type": "blocks", "blocks": [{"type": "nothing"}]}]}, "invalid_chunks"),
        ({"chunks": [{"type": "nothing"}]}, "invalid_chunks"),
    ],
)
def test_what_slack_would_not_begin_is_not_begun(world: World, more: dict[str, Any], code: str) -> None:
    given = {"channel": "C1", "thread_ts": "1.1", **TO, **more}
    assert refused(world.chat_startStream, given) == code
    assert world.channels["C1"].messages == {}


def test_a_direct_conversation_needs_nobody_named(world: World) -> None:
    begun(world, channel="D1", recipient_user_id=None, recipient_team_id=None)


def test_a_stream_keeps_to_the_kind_of_content_it_began_with(world: World) -> None:
    words = begun(world, markdown_text="x")
    assert refused(world.chat_appendStream, {**words, "chunks": [row()]}) == "streaming_mode_mismatch"
    rows = begun(world, chunks=[row()])
    assert refused(world.chat_appendStream, {**rows, "markdown_text": "x"}) == "streaming_mode_mismatch"
