"""What is done about a dead letter, given the records; and how often an idle worker is started."""

import json
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from contracts.messages import Author, Pointer
from contracts.records import MessageRecord, OpenRecord, StopRecord
from contracts.words import MessageId, Outcome, ThreadId
from dispatcher.verdicts import (
    LOOKS,
    REDRIVES,
    WAKES_AT_ONCE,
    Letter,
    Standing,
    Verdict,
    by_hand,
    counts,
    excerpt,
    next_looks,
    place,
    standing,
    verdict,
    wakes,
)

NOW = datetime(2026, 11, 20, tzinfo=UTC)
IDS = st.sampled_from([MessageId("m-1"), MessageId("m-2")])
POINTERS = st.builds(
    Pointer,
    kind=st.sampled_from(["message", "stop", "wake"]),
    thread_id=st.none() | st.sampled_from([ThreadId("a"), ThreadId("../b")]),
    sequence=st.none() | st.integers(-2, 10**13),
    message_id=st.none() | IDS,
)
TURNS = st.builds(
    OpenRecord, thread_id=st.just(ThreadId("a")), sequence=st.just(1), message_id=IDS, received=st.just(NOW)
)
MESSAGES = st.builds(
    MessageRecord,
    id=IDS,
    thread_id=st.just(ThreadId("a")),
    sequence=st.just(1),
    text=st.just("x"),
    author=st.just(Author(id="p", name="P")),
    received=st.just(NOW),
    outcome=st.none() | st.sampled_from(Outcome),
)
STOPS = st.just(StopRecord(thread_id=ThreadId("a"), through=1))


@given(
    pointer=st.none() | POINTERS,
    turn=st.none() | TURNS,
    message=st.none() | MESSAGES,
    stop=st.none() | STOPS,
    redrives=st.integers(0, 10),
)
def test_a_letter_is_deleted_rung_again_or_given_up_only_for_what_the_records_say(
    pointer: Pointer | None,
    turn: OpenRecord | None,
    message: MessageRecord | None,
    stop: StopRecord | None,
    redrives: int,
) -> None:
    found = standing(pointer, turn=turn, message=message, stop=stop)
    is_message = pointer is not None and pointer.kind == "message"
    done = verdict(found, redrives=redrives, is_message=is_message)
    answered = message is not None and message.outcome is not None
    named = message is not None and pointer is not None and pointer.message_id in (None, message.id)
    if pointer is None:
        assert done is Verdict.KEEP  # what nobody can read is never lost
    elif is_message:
        assert (done is Verdict.DELETE) == (answered and named)
        is_open = named and not answered and turn is not None
        assert (done in (Verdict.REDRIVE, Verdict.GIVE_UP)) == is_open
    if done is Verdict.REDRIVE:
        assert redrives < REDRIVES
    if done is Verdict.GIVE_UP:
        assert redrives >= REDRIVES
        assert is_message


@given(found=st.sampled_from(Standing), redrives=st.integers(0, 10), is_message=st.booleans())
def test_by_hand_differs_only_in_not_counting(found: Standing, redrives: int, is_message: bool) -> None:
    swept = verdict(found, redrives=redrives, is_message=is_message)
    assert by_hand(found) is (Verdict.REDRIVE if found is Standing.OPEN else swept)


@given(pointer=POINTERS)
def test_only_what_can_be_a_key_of_a_record_is_looked_up(pointer: Pointer) -> None:
    where = place(pointer)
    if where is not None:
        assert where[0] == "a"
        assert 0 <= where[1] < 10**12


def letter(body: str) -> Letter:
    return Letter(letter_id="l", receipt="r", body=body, sent=NOW, receives=1)


@given(body=st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_any_body_is_a_pointer_or_none_and_can_be_shown(body: str) -> None:
    found: Any = letter(body).pointer
    assert found is None or isinstance(found, Pointer)
    assert excerpt(body).isprintable()
    assert len(excerpt(body)) <= 120


@given(
    before=st.text(max_size=50),
    secret=st.from_regex(r"(sk-ant-|ghp_|AKIA|xoxb-)[A-Za-z0-9]{16,60}", fullmatch=True),
    after=st.text(max_size=50),
)
def test_an_excerpt_holds_no_secret(before: str, secret: str, after: str) -> None:
    assert secret[:12] not in excerpt(f"{before} {secret} {after}")


def test_an_excerpt_holds_no_short_password() -> None:
    assert "hunter2" not in excerpt('{"password": "hunter2"}')


def test_a_worker_is_started_often_at_first_then_seldom_and_at_last_not_at_all() -> None:
    looks, started = 0, []
    for _ in range(3 * LOOKS):
        looks = next_looks(before=looks, untouched=True)
        if wakes(looks):
            started.append(looks)
    assert started[: WAKES_AT_ONCE + 3] == [1, 2, 3, 4, 5, 8, 16, 32]
    assert len(started) < 40
    assert max(started) < LOOKS
    assert max(b - a for a, b in pairwise(started)) <= 60
    assert next_looks(before=looks, untouched=False) == 1


def test_a_look_that_comes_too_soon_counts_only_when_something_has_changed() -> None:
    assert not counts(untouched=True, seconds=10, pace=60)
    assert counts(untouched=False, seconds=10, pace=60)
    assert counts(untouched=True, seconds=59, pace=60), "a schedule is not exact"
    assert counts(untouched=True, seconds=-10, pace=60), "a clock that was put back stops nothing"
