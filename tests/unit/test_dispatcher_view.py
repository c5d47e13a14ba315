"""A view of a log: whatever the pieces in which the events come, and however often, it is the same."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.events import EVENT, Event
from contracts.words import Frontend, Outcome, ThreadId
from dispatcher.view import GONE, Stage, ThreadView

THREAD = ThreadId("t")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
FINALS = [f"turn.{outcome.value}" for outcome in Outcome]
TURN: dict[str, dict[str, Any]] = {
    "turn.started": {"branch": "thread-t", "base": "0", "session_id": "s", "attempt": 1},
    "turn.text": {"text": "a word "},
    "turn.tool": {"tool_use_id": "1", "name": "Bash", "state": "started"},
    "turn.tasks": {"tasks": [{"id": "1", "subject": "do", "status": "pending"}]},
    "turn.interrupted": {"reason": "preempted", "text": "Paused for another thread."},
    "turn.resumed": {"reason": "preempted", "text": "Going on.", "branch": "thread-t", "attempt": 1},
    "turn.committed": {"sha": "1", "branch": "thread-t"},
    "turn.pushed": {"sha": "1", "branch": "thread-t"},
    **{final: {"text": "The end."} for final in FINALS},
}
OTHERS: dict[str, dict[str, Any]] = {
    "preview.ready": {"url": "http://127.0.0.1:4321"},
    "worker.starting": {"worker_id": "w"},
    "worker.ready": {"worker_id": "w"},
    "worker.stopped": {"worker_id": "w"},
}
STEP = st.one_of(
    st.tuples(st.just("message.received"), st.integers(1, 4)),
    st.tuples(st.just("message.queued"), st.integers(1, 4)),
    st.tuples(st.sampled_from([*TURN]), st.integers(1, 4)),
    st.tuples(st.sampled_from([*OTHERS]), st.just(0)),
)


def event(number: int, type_: str, message: int = 0) -> Event:
    """One event of message ``message`` of the thread."""
    plain: dict[str, Any] = {"type": type_, "id": number, "thread_id": THREAD, "time": NOW}
    if type_ == "message.received":
        author = {"id": "u", "name": "Una"}
        more = {"text": "do it", "author": author, "frontend": Frontend.WEB, "mode": "queue"}
        plain["data"] = {**more, "sequence": message}
    elif type_ == "message.queued":
        plain["data"] = {"ahead": 1}
    else:
        plain["data"] = {**TURN, **OTHERS}[type_]
    if type_.startswith(("message.", "turn.")):
        plain["message_id"] = f"m-{message}"
    if type_.startswith("turn."):
        plain["turn_id"] = f"turn-{message}"
    return EVENT.validate_python(plain)


def log(steps: list[tuple[str, int]]) -> list[Event]:
    """A log of these steps; a message is received once."""
    seen: set[int] = set()
    events: list[Event] = []
    for type_, message in steps:
        if type_ == "message.received" and message in seen:
            continue
        if type_ == "message.received":
            seen.add(message)
        events.append(event(len(events) + 1, type_, message))
    return events


def view(*events: Event) -> ThreadView:
    return ThreadView(thread_id=THREAD).add(events)


@given(st.lists(STEP, max_size=40), st.randoms(use_true_random=False))
def test_events_in_parts_doubled_and_late_give_the_same_view(
    steps: list[tuple[str, int]], chance: random.Random
) -> None:
    events = log(steps)
    whole = view(*events)
    pieces = ThreadView(thread_id=THREAD)
    at = 0
    while at < len(events):
        upto = chance.randint(at + 1, len(events))
        pieces = pieces.add(events[chance.randint(0, at) : upto])  # begins with what it has already
        at = upto
    assert pieces == whole
    assert whole.add(events) == whole
    assert whole.last == len(events)


@given(st.lists(STEP, max_size=40))
def test_every_outcome_is_reached_once_and_nothing_changes_a_message_after_it(
    steps: list[tuple[str, int]],
) -> None:
    shown = ThreadView(thread_id=THREAD)
    known: set[str] = set()
    ended: dict[str, str] = {}
    for each in log(steps):
        before = shown
        shown = shown.add([each])
        message_id = str(getattr(each, "message_id", ""))
        if each.type == "message.received":
            known.add(message_id)
        elif each.type in FINALS and message_id in known:
            ended.setdefault(message_id, each.type.removeprefix("turn."))
        for message in before.messages:
            if message.is_over:
                assert shown.message(message.message_id) == message
    assert {m.message_id for m in shown.messages} == known
    assert {m.message_id: m.stage.value for m in shown.messages if m.is_over} == ended


@given(st.lists(STEP, max_size=30))
def test_a_message_that_was_received_is_shown_with_what_a_person_wrote(steps: list[tuple[str, int]]) -> None:
    for message in view(*log(steps)).messages:
        assert (message.text, message.author.name, message.frontend) == ("do it", "Una", Frontend.WEB)


def test_a_message_goes_from_received_over_a_pause_to_its_answer() -> None:
    steps = ["message.received", "message.queued", "turn.started", "turn.text", "turn.tool", "turn.tasks"]
    steps += ["turn.interrupted", "turn.resumed", "turn.text", "turn.completed"]
    shown = ThreadView(thread_id=THREAD)
    stages, notes = [], []
    for number, step in enumerate(steps, start=1):
        shown = shown.add([event(number, step, 1)])
        stages.append(shown.messages[0].stage)
        notes.append(shown.messages[0].note)
    running = [Stage.RUNNING] * 4
    assert stages == [
        *(Stage.RECEIVED, Stage.QUEUED),
        *running,
        *(Stage.PAUSED, Stage.RUNNING, Stage.RUNNING, Stage.COMPLETED),
    ]
    assert notes[6:8] == ["Paused for another thread.", "Going on."]
    (message,) = shown.messages
    assert (message.said, message.final and message.final.text) == ("a word a word ", "The end.")
    assert shown.branch == "thread-t"


def test_what_is_said_about_the_worker_goes_when_it_is_there() -> None:
    steps = ["worker.starting", "worker.ready", "worker.stopped", "preview.ready"]
    views = [view(*log([(step, 0) for step in steps[:n]])) for n in range(1, 5)]
    assert [bool(v.worker) for v in views] == [True, False, True, True]
    assert views[-1].preview_url == "http://127.0.0.1:4321"


@pytest.mark.parametrize(
    ("reason", "said"),
    [(None, GONE), ("drained", GONE), ("idle", GONE), ("The remote is away.", "The remote is away.")],
)
def test_why_a_worker_left_is_told_when_it_is_a_sentence_for_people(reason: str | None, said: str) -> None:
    plain = event(1, "worker.stopped").model_dump()
    plain["data"]["reason"] = reason
    assert view(EVENT.validate_python(plain)).worker == said


@pytest.mark.parametrize("type_", ["turn.started", "turn.resumed", "turn.text", "turn.tool", "turn.tasks"])
def test_a_worker_that_speaks_is_there_although_nobody_said_so(type_: str) -> None:
    steps = [("message.received", 1), ("turn.started", 1), ("worker.starting", 0), (type_, 1)]
    assert view(*log(steps[:-1])).worker
    assert not view(*log(steps)).worker
