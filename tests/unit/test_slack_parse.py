"""What Slack sends becomes what it means: recorded shapes, people's signs, and any bytes at all."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.words import Mode
from dispatcher.slack_parse import (
    Asks,
    Challenge,
    Changed,
    Ignored,
    Pressed,
    Said,
    parse,
    parse_event,
    read_text,
    ts_of,
)

BOT = "U0LAN0Z89"


def envelope(**event: Any) -> dict[str, Any]:
    """A body of the Events API as Slack documents it, around an event."""
    return {
        "token": "z26uFbvR1xHJEdHE1OQiO6t8",
        "team_id": "T061EG9RZ",
        "api_app_id": "A0FFV41KK",
        "event": {
            "type": "app_mention",
            "user": "U061F1EUR",
            "text": f"<@{BOT}> make the headline blue",
            "ts": "1515449522.000016",
            "channel": "C061EG9SL",
            "event_ts": "1515449522000016",
            **event,
        },
        "type": "event_callback",
        "event_id": "Ev0LAN670R",
        "event_time": 1515449522000016,
        "authorizations": [{"team_id": "T061EG9RZ", "user_id": BOT, "is_bot": True}],
    }


def said(**event: Any) -> Said:
    meaning = parse(json.dumps(envelope(**event)).encode())
    assert isinstance(meaning, Said), meaning
    return meaning


def test_a_mention_opens_a_thread_at_its_own_message() -> None:
    meaning = said()
    assert (meaning.text, meaning.asks, meaning.mode) == ("make the headline blue", Asks.WORK, Mode.QUEUE)
    assert meaning.opens
    assert meaning.address == "T061EG9RZ/C061EG9SL/1515449522.000016"
    assert meaning.message_id == "slack:T061EG9RZ:C061EG9SL:1515449522.000016"


def test_the_two_events_of_one_mention_mean_the_same_message_with_the_same_text() -> None:
    mention = said(thread_ts="1515449000.000001")
    plain = said(type="message", channel_type="channel", thread_ts="1515449000.000001")
    assert (mention.message_id, mention.text, mention.address) == (
        plain.message_id,
        plain.text,
        plain.address,
    )
    assert mention.opens
    assert not plain.opens


def test_a_reply_needs_no_mention_and_a_word_in_the_channel_is_not_for_us() -> None:
    reply = said(type="message", channel_type="channel", thread_ts="1515449000.000001", text="and the footer")
    assert (reply.text, reply.root, reply.opens) == ("and the footer", "1515449000.000001", False)
    assert isinstance(parse_event(envelope(type="message", channel_type="channel", text="lunch?")), Ignored)


def test_a_direct_message_opens_and_may_name_its_project() -> None:
    meaning = said(type="message", channel_type="im", channel="D024BE91L", text="[shop] fix the cart")
    assert (meaning.direct, meaning.opens, meaning.project, meaning.text) == (
        True,
        True,
        "shop",
        "fix the cart",
    )
    assert said(text=f"<@{BOT}> [shop] fix").project is None


@pytest.mark.parametrize(
    ("text", "asks", "mode", "shown"),
    [
        ("&gt; use the other blue", Asks.WORK, Mode.STEER, "use the other blue"),
        ("&gt; first line\n&gt; second line", Asks.WORK, Mode.STEER, "first line\nsecond line"),
        ("! drop that", Asks.WORK, Mode.INTERRUPT, "drop that"),
        ("Stop", Asks.STOP, Mode.QUEUE, "Stop"),
        ("stop.", Asks.STOP, Mode.QUEUE, "stop."),
        ("!stop", Asks.STOP, Mode.INTERRUPT, "stop"),
        ("stop the server from crashing", Asks.WORK, Mode.QUEUE, "stop the server from crashing"),
        ("status", Asks.STATUS, Mode.QUEUE, "status"),
        ("HELP!", Asks.HELP, Mode.QUEUE, "HELP!"),
        ("", Asks.NOTHING, Mode.QUEUE, ""),
        ("&gt;", Asks.NOTHING, Mode.STEER, ""),
        ("a &lt; b &amp;&amp; c &gt; d", Asks.WORK, Mode.QUEUE, "a < b && c > d"),
        ("&amp;lt;", Asks.WORK, Mode.QUEUE, "&lt;"),
        ("see <https://a.example/x|a.example/x>", Asks.WORK, Mode.QUEUE, "see a.example/x"),
        ("see <https://a.example/x>", Asks.WORK, Mode.QUEUE, "see https://a.example/x"),
        ("see <https://a.example|the page>", Asks.WORK, Mode.QUEUE, "see the page (https://a.example)"),
        ("ask <@U2|ada> in <#C1|general>", Asks.WORK, Mode.QUEUE, "ask @ada in #general"),
        ("<!here> look", Asks.WORK, Mode.QUEUE, "@here look"),
        (f"tell <@{BOT}> so", Asks.WORK, Mode.QUEUE, "tell @branchline so"),
        (f"stop <@{BOT}>", Asks.STOP, Mode.QUEUE, "stop"),
    ],
)
def test_what_people_type_is_read_as_they_typed_it(text: str, asks: Asks, mode: Mode, shown: str) -> None:
    for whole in (text, f"<@{BOT}> {text}", f"<@{BOT}|branchline>: {text}"):
        found = read_text(whole, own=BOT)
        assert (found["text"], found["asks"], found["mode"]) == (shown, asks, mode)


@pytest.mark.parametrize(
    "event",
    [
        {"bot_id": "B1"},
        {"bot_id": "B1", "subtype": "bot_message"},
        {"bot_profile": {"id": "B1"}},
        {"user": BOT},
        {"user": "USLACKBOT"},
        {"type": "message", "subtype": "channel_join"},
        {"type": "reaction_added"},
        {"channel": "../../etc"},
        {"ts": "now"},
        {"user": None},
        {"type": "message", "subtype": "message_changed", "message": {"bot_id": "B1", "text": "x"}},
    ],
)
def test_bots_joins_and_broken_places_mean_nothing(event: dict[str, Any]) -> None:
    assert isinstance(parse_event(envelope(**event)), Ignored)


def test_edits_and_deletions_name_the_message_and_its_thread() -> None:
    before = {"user": "U1", "text": "blue", "ts": "1515449522.000016", "thread_ts": "1515449000.000001"}
    plain = {"type": "message", "user": None, "text": None, "previous_message": before}
    edited = parse_event(
        envelope(
            **plain, subtype="message_changed", message={**before, "text": "red"}, ts="1515449600.000001"
        )
    )
    deleted = parse_event(envelope(**plain, subtype="message_deleted", deleted_ts=before["ts"]))
    unfurled = parse_event(
        envelope(**plain, subtype="message_changed", message={**before, "attachments": []})
    )
    assert isinstance(edited, Changed)
    assert not edited.deleted
    assert isinstance(deleted, Changed)
    assert deleted.deleted
    assert (deleted.ts, deleted.root) == ("1515449522.000016", "1515449000.000001")
    assert isinstance(unfurled, Ignored)


def test_a_button_says_who_pressed_what_and_where() -> None:
    payload = {
        "type": "block_actions",
        "team": {"id": "T061EG9RZ"},
        "user": {"id": "U061F1EUR"},
        "channel": {"id": "C061EG9SL"},
        "message": {"ts": "1515449600.000001", "thread_ts": "1515449522.000016"},
        "actions": [{"action_id": "branchline_stop", "value": "3"}],
    }
    meaning = parse(urlencode({"payload": json.dumps(payload)}).encode())
    assert isinstance(meaning, Pressed)
    assert (meaning.action, meaning.value, meaning.root) == ("branchline_stop", "3", "1515449522.000016")


def test_the_challenge_is_given_back() -> None:
    meaning = parse(b'{"token": "x", "challenge": "3eZbrw1aB", "type": "url_verification"}')
    assert meaning == Challenge(challenge="3eZbrw1aB")


def test_a_mention_is_understood_without_authorizations() -> None:
    body = {**envelope(), "authorizations": None}
    meaning = parse_event(body)
    assert isinstance(meaning, Said)
    assert meaning.text == "make the headline blue"


def test_the_time_of_a_message_is_read_back_from_its_id() -> None:
    assert ts_of(said().message_id, channel="C061EG9SL") == "1515449522.000016"
    assert ts_of(said().message_id, channel="C1") is None
    assert ts_of("github:comment:1:2", channel="comment") is None


@given(st.binary(max_size=300))
def test_any_bytes_mean_something_and_never_raise(body: bytes) -> None:
    parse(body)
    parse(b"payload=" + body)


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from(["message", "U1", "1.2"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_names = st.sampled_from(
    ["type", "subtype", "user", "text", "ts", "thread_ts", "channel", "message", "previous_message", "files"]
)


@given(st.dictionaries(_names, _json, max_size=6), _json, _json)
def test_any_event_of_the_right_outline_never_raises(event: dict[str, Any], own: Any, team: Any) -> None:
    body = {**envelope(**event), "authorizations": own, "team_id": team}
    parse_event(body)
    parse(json.dumps(body).encode())


@given(st.text())
def test_any_text_is_read_without_a_sign_left_of_slacks_own_escapes(text: str) -> None:
    written = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    found = read_text(written, own=BOT)
    if found["mode"] is Mode.QUEUE:
        assert found["text"] == text.strip()


def test_half_a_surrogate_pair_does_no_harm() -> None:
    assert said(text="a \ud800 b").text == "a ? b"
