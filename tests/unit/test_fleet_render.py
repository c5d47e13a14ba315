"""Events as a person reads them in a terminal."""

from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.events import EVENT, Event
from fleet.render import Transcript, clean, is_final

NAMES = {"thread_id": "t1", "message_id": "m1", "turn_id": "u1"}


def event(kind: str, **data: Any) -> Event:
    time = datetime(2026, 11, 20, tzinfo=UTC).isoformat()
    return EVENT.validate_python({"id": 1, "type": kind, "time": time, "data": data, **NAMES})


def shown(*events: Event, people: bool = False) -> str:
    transcript = Transcript(people=people)
    return "".join(piece.text for one in events for piece in transcript.feed(one))


def outcome(kind: str = "turn.completed", **data: Any) -> Event:
    return event(kind, **{"text": "Done.", **data})


def received(text: str = "hello") -> Event:
    author = {"id": "ada", "name": "Ada"}
    return event("message.received", text=text, author=author, frontend="api", mode="queue", sequence=3)


@pytest.mark.parametrize(
    ("one", "line"),
    [
        (received(), "received (message 3 of thread t1)\n"),
        (event("message.queued", ahead=2), "queued, 2 ahead\n"),
        (event("message.queued", ahead=0), "queued, next\n"),
        (event("worker.starting", worker_id="w"), "worker starting\n"),
        (event("worker.stopped", worker_id="w", reason="idle"), "worker stopped (idle)\n"),
        (
            event("turn.started", branch="thread-t1", base="0", session_id="s", attempt=2),
            "running on thread-t1, attempt 2\n",
        ),
        (event("turn.interrupted", reason="preempted", text="Paused for t2."), "Paused for t2.\n"),
        (
            event("turn.committed", sha="0123456789", branch="thread-t1", files=1, insertions=2, deletions=3),
            "commit 01234567 on thread-t1 (1 file, +2 -3)\n",
        ),
        (event("turn.pushed", sha="0123456789", branch="thread-t1"), "pushed thread-t1 (01234567)\n"),
        (
            event("turn.pushed", sha="0", branch="conflict-1/thread-t1", conflict=True),
            "pushed beside the thread's branch, to conflict-1/thread-t1 (somebody else pushed to it)\n",
        ),
        (event("preview.ready", url="http://127.0.0.1:4321"), "preview: http://127.0.0.1:4321\n"),
    ],
)
def test_every_receipt_is_one_line(one: Event, line: str) -> None:
    assert shown(one) == line


def test_text_streams_as_it_comes_and_a_line_never_begins_in_its_middle() -> None:
    pieces = [
        event("turn.text", text="I am "),
        event("turn.text", text="at it"),
        event("message.queued", ahead=1),
    ]
    assert shown(*pieces) == "I am at it\nqueued, 1 ahead\n"


def test_paragraphs_stay_apart_and_begin_without_empty_lines_after_a_line_of_ours() -> None:
    tool = event("turn.tool", tool_use_id="t", name="Read", state="started", input={"file_path": "a"})
    texts = [event("turn.text", text=t) for t in ("one\n", "\ntwo")]
    assert shown(tool, event("turn.text", text="\n\nthree"), *texts) == "  > Read a\nthreeone\n\ntwo"


def test_an_answer_that_was_streamed_is_not_repeated() -> None:
    assert shown(event("turn.text", text="Done."), outcome()) == "Done.\ncompleted\n"


def test_an_answer_that_was_not_streamed_is_shown_with_the_outcome() -> None:
    assert shown(outcome()) == "Done.\ncompleted\n"


def test_a_failure_always_says_why() -> None:
    text = shown(event("turn.text", text="Hm"), outcome("turn.failed", text="No model.", problem="429"))
    assert text == "Hm\nNo model.\nnote: 429\nfailed\n"


def test_the_outcome_shows_the_evidence_and_the_bill() -> None:
    work = {"changed": True, "branch": "thread-t1", "commit": "0123456789", "files": 2, "pushed": True}
    bill = {"duration_ms": 1500, "cost_usd": 0.01, "interruptions": 1}
    expected = (
        "completed: thread-t1, commit 01234567 (2 files, +0 -0), pushed (1.5 s, $0.0100, interrupted once)\n"
    )
    assert shown(outcome(**work, **bill)).endswith(expected)


def test_a_tool_is_one_line_when_it_starts_and_one_only_if_it_fails() -> None:
    start = {"tool_use_id": "a", "name": "Bash", "state": "started", "input": {"command": "ls\n-l"}}
    assert shown(event("turn.tool", **start)) == "  > Bash ls -l\n"
    assert shown(event("turn.tool", **{**start, "state": "succeeded"})) == ""
    failed = {**start, "state": "failed", "output": "no\nsuch file"}
    assert shown(event("turn.tool", **failed)) == "  ! Bash failed: no such file\n"


def test_a_long_tool_argument_is_cut() -> None:
    long = {"tool_use_id": "a", "name": "Bash", "state": "started", "input": {"command": "x" * 500}}
    assert len(shown(event("turn.tool", **long))) < 120


def test_the_task_list_shows_what_is_done() -> None:
    tasks = [
        {"id": "1", "subject": "look", "status": "completed"},
        {"id": "2", "subject": "do", "status": "pending"},
    ]
    assert shown(event("turn.tasks", tasks=tasks)) == "  [x] look\n  [ ] do\n"


def test_text_from_outside_cannot_act_on_the_terminal() -> None:
    assert clean("a\x1b[31mb\x9bc\x07d\u202ee\tf\ng\r") == "a[31mbcde\tf\ng"
    assert shown(event("turn.text", text="\x1b]0;title\x07x")) == "]0;titlex"


def test_who_reads_along_sees_what_people_wrote() -> None:
    assert shown(received("hi\x1b"), people=True) == "Ada: hi\n"


def test_only_outcomes_are_final() -> None:
    kinds = ["turn.completed", "turn.stopped", "turn.failed", "turn.rejected"]
    assert all(is_final(outcome(kind)) for kind in kinds)
    assert not is_final(event("turn.text", text="x"))
