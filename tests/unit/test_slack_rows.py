"""What is streamed of a message: titles, rows and states that may be said again; and where it is streamed."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.events import OutcomeData, TaskEntry, ToolData
from contracts.messages import Author
from contracts.places import PlaceRecord
from contracts.words import Frontend, MessageId, ThreadId, WorkerId
from dispatcher.posting import Wanted
from dispatcher.slack_marks import mark
from dispatcher.slack_render import SlackDialect
from dispatcher.view import WAKING, MessageView, Stage, ThreadView
from fleet.standin.slack_streams import Stream

START = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "living:m1"
TASKS = (
    TaskEntry(id="1", subject="Look <!channel>", status="completed"),
    TaskEntry(id="2", subject="Paint", status="in_progress"),
    TaskEntry(id="3", subject="Test", status="pending"),
)
RUNNING: dict[str, Any] = {"stage": Stage.RUNNING, "started": START}
OVER: dict[str, Any] = {"stage": Stage.COMPLETED, "final": OutcomeData(text="Done.")}


def message(**more: Any) -> MessageView:
    plain: dict[str, Any] = {
        "message_id": MessageId("m1"),
        "sequence": 1,
        "author": Author(id="T1/U1", name="Ada"),
        "frontend": Frontend.SLACK,
        "text": "make it blue",
        "received": START,
    }
    return MessageView(**{**plain, **more})


def living(
    told: MessageView, *, channel: str = "D1", streams: str = "direct", seconds: float = 0, **more: Any
) -> Wanted:
    place = PlaceRecord(
        worker_id=WorkerId("w"),
        thread_id=ThreadId("t"),
        frontend=Frontend.SLACK,
        address=f"T1/{channel}/1.1",
    )
    dialect = SlackDialect(now=lambda: START + timedelta(seconds=seconds), streams=streams)
    view = ThreadView(thread_id=ThreadId("t"), messages=(told,), **more)
    return dialect.wanted(view, place)[0]


def stream(told: MessageView, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = living(told, **more).body["stream"]
    return found


def rows(told: MessageView, **more: Any) -> list[tuple[str, str]]:
    return [(row["title"], row["status"]) for row in stream(told, **more)["rows"][1:]]


def test_work_is_a_row_for_the_step_under_way_and_one_for_each_task() -> None:
    step = ToolData(tool_use_id="1", name="Bash", state="started", input={"command": "npm test"})
    told = message(**RUNNING, tasks=TASKS, step=step)
    assert rows(told, seconds=75) == [
        ("Bash npm test", "in_progress"),
        ("Look ‹!channel›", "complete"),  # noqa: RUF001
        ("Paint", "in_progress"),
        ("Test", "pending"),
    ]
    assert stream(told, seconds=75)["rows"][0]["title"] == "Working · 1 min 15 s"


@pytest.mark.parametrize(
    ("told", "title", "now"),
    [
        ({}, "Received", ("Waiting", "pending")),
        ({"stage": Stage.QUEUED, "ahead": 2}, "Received, queued behind 2", ("Waiting", "pending")),
        (RUNNING, "Working · 0 s", ("Thinking", "in_progress")),
        ({**RUNNING, "note": "Going on."}, "Working · 0 s", ("Going on.", "in_progress")),
        ({"stage": Stage.PAUSED, "note": "For another."}, "Paused", ("For another.", "pending")),
        (OVER, "Done", ("Done", "complete")),
        ({**OVER, "stage": Stage.FAILED}, "Failed", ("Failed", "error")),
        ({**OVER, "stage": Stage.STOPPED}, "Stopped", ("Stopped", "complete")),
        ({**RUNNING, "together_with": MessageId("m0")}, "Working · 0 s", ("Waiting", "pending")),
    ],
)
def test_the_first_row_and_the_title_say_where_the_message_stands(
    told: dict[str, Any], title: str, now: tuple[str, str]
) -> None:
    assert stream(message(**told))["rows"][0] == {"type": "plan_update", "title": title}
    assert rows(message(**told))[0] == now


def test_a_worker_that_is_started_is_said() -> None:
    assert rows(message(), worker=WAKING) == [(WAKING, "pending")]


def test_when_all_is_over_nothing_is_in_progress_that_slack_would_show_as_an_error() -> None:
    assert [state for _, state in rows(message(**OVER, tasks=TASKS))] == [
        "complete",
        "complete",
        "pending",
        "pending",
    ]


def test_rows_keep_their_ids_and_bear_the_mark_so_that_all_may_be_said_again() -> None:
    once = stream(message(**RUNNING, tasks=TASKS))["rows"]
    later = stream(message(**RUNNING, tasks=tuple(reversed(TASKS))), seconds=9)["rows"]
    assert once[1]["id"] == later[1]["id"] == mark(KEY)
    assert {row["id"] for row in once[1:]} == {row["id"] for row in later[1:]}
    shown = Stream(mode="plan", to=None)
    for _ in range(3):
        shown.take({"chunks": once})
    assert len(shown.rows) == 4
    assert "details" not in json.dumps(once)


def test_very_many_and_very_long_tasks_are_within_the_limits() -> None:
    tasks = tuple(TaskEntry(id=str(n), subject="x" * 9000, status="pending") for n in range(500))
    told = stream(message(**RUNNING, tasks=tasks, note="y" * 9000))
    Stream(mode="plan", to=None).take({"chunks": told["rows"]})
    assert len(json.dumps(told["rows"])) < 12_000


@pytest.mark.parametrize(
    ("told", "opens", "begins"),
    [
        ({}, True, True),
        (RUNNING, True, True),
        ({"stage": Stage.QUEUED, "ahead": 0}, True, True),
        ({"stage": Stage.QUEUED, "ahead": 1}, True, False),
        ({"stage": Stage.PAUSED}, True, False),
        ({**RUNNING, "together_with": MessageId("m0")}, False, False),
        (OVER, False, False),
    ],
)
def test_a_stream_begins_where_it_will_not_expire_while_it_waits(
    told: dict[str, Any], opens: bool, begins: bool
) -> None:
    found = stream(message(**told))
    assert (found["open"], found["begin"]) == (opens, begins)


@pytest.mark.parametrize(
    ("channel", "streams", "is_streamed"),
    [
        ("D1", "off", False),
        ("D1", "direct", True),
        ("D1", "all", True),
        ("C1", "off", False),
        ("C1", "direct", False),
        ("C1", "all", True),
    ],
)
def test_a_place_is_streamed_in_as_it_was_chosen(channel: str, streams: str, is_streamed: bool) -> None:
    body = living(message(), channel=channel, streams=streams).body
    assert ("stream" in body) is is_streamed
    assert body["blocks"]


def test_a_message_of_somebody_who_is_not_in_slack_is_not_streamed() -> None:
    told = message(frontend=Frontend.WEB, author=Author(id="ada", name="Ada"))
    assert "stream" not in living(told, streams="all").body


def test_a_long_answer_ends_the_stream_of_its_living_message_and_is_none_itself() -> None:
    told = message(stage=Stage.COMPLETED, final=OutcomeData(text="word " * 1000))
    place = PlaceRecord(
        worker_id=WorkerId("w"), thread_id=ThreadId("t"), frontend=Frontend.SLACK, address="T1/D1/1.1"
    )
    view = ThreadView(thread_id=ThreadId("t"), messages=(told,))
    first, answer = SlackDialect(streams="all").wanted(view, place)
    assert not first.body["stream"]["open"]
    assert "stream" not in answer.body
