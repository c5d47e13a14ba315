"""A thread's log as AG-UI: whatever happened, clients get a run that keeps the protocol."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from ag_ui.core import RunAgentInput
from hypothesis import given
from hypothesis import strategies as st

from contracts.events import EVENT, Event
from contracts.words import MessageId, Mode, StopReason, ThreadId
from dispatcher.agui import Asked, Run, dumped
from dispatcher.errors import Invalid

THREAD, MINE, OTHER = ThreadId("t"), MessageId("m"), MessageId("other")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FINAL = ("turn.completed", "turn.stopped", "turn.failed", "turn.rejected")


def event(number: int, type_: str, *, message: str = MINE, **data: Any) -> Event:
    plain: dict[str, Any] = {"type": type_, "id": number, "thread_id": THREAD, "time": NOW, "data": data}
    if type_.startswith(("message.", "turn.")):
        plain["message_id"] = message
    if type_.startswith("turn."):
        plain["turn_id"] = f"turn-of-{message}"
    return EVENT.validate_python(plain)


def run(log: list[Event]) -> list[dict[str, Any]]:
    made = Run(thread_id=THREAD, run_id="r", message_id=MINE)
    events = made.begin() + [each for event in log for each in made.add(event)]
    return [json.loads(line) for line in dumped(events)]


def tool(state: str, *, id_: str = "use-1", **more: Any) -> dict[str, Any]:
    return {"tool_use_id": id_, "name": "Edit", "state": state, **more}


def received(number: int, message: str = MINE) -> Event:
    author = {"id": "ada", "name": "Ada"}
    data = {"text": "hi", "author": author, "frontend": "api", "mode": "queue", "sequence": 1}
    return event(number, "message.received", message=message, **data)


STARTED = {"branch": "thread-t", "base": "0", "session_id": "s", "attempt": 1}
RESUMED = {"reason": "preempted", "text": "On again.", "branch": "thread-t", "attempt": 1}
INTERRUPTED = {"reason": StopReason.PREEMPTED, "text": "Another thread was first."}


def test_a_turn_is_a_run_with_its_text_tools_tasks_and_result() -> None:
    log = [
        received(1),
        event(2, "turn.started", **STARTED),
        event(3, "turn.text", text="I will "),
        event(4, "turn.text", text="edit."),
        event(5, "turn.tool", **tool("started", input={"file": "a"})),
        event(6, "turn.tool", **tool("succeeded", input={"file": "a"}, output="done")),
        event(7, "turn.tasks", tasks=[{"id": "1", "subject": "Edit", "status": "in_progress"}]),
        event(8, "turn.tasks", tasks=[{"id": "1", "subject": "Edit", "status": "completed"}]),
        event(9, "turn.text", text="Edited."),
        event(10, "turn.committed", sha="abc", branch="thread-t", files=1),
        event(11, "turn.completed", text="Edited.", changed=True, commit="abc"),
    ]
    got = run(log)
    assert [each["type"] for each in got] == [
        "RUN_STARTED",
        "STEP_STARTED",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "TOOL_CALL_START",
        "TOOL_CALL_ARGS",
        "TOOL_CALL_END",
        "TOOL_CALL_RESULT",
        "STATE_SNAPSHOT",
        "STATE_DELTA",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "CUSTOM",
        "TEXT_MESSAGE_END",
        "STEP_FINISHED",
        "RUN_FINISHED",
    ]
    assert json.loads(got[7]["delta"]) == {"file": "a"}
    assert (got[9]["content"], got[9]["toolCallId"]) == ("done", "use-1")
    assert got[10]["snapshot"]["tasks"][0]["status"] == "in_progress"
    assert got[11]["delta"][0]["value"][0]["status"] == "completed"
    assert (got[14]["name"], got[14]["value"]["sha"]) == ("committed", "abc")
    assert got[-1]["outcome"] == {"type": "success"}
    assert (got[-1]["runId"], got[-1]["result"]["commit"]) == ("r", "abc")
    assert got[3]["timestamp"] == int(NOW.timestamp() * 1000)


def test_a_turn_that_is_parked_and_goes_on_is_one_run_with_two_steps() -> None:
    log = [
        received(1),
        event(2, "message.queued", ahead=2),
        event(3, "turn.started", **STARTED),
        event(4, "turn.text", text="half"),
        event(5, "turn.tool", **tool("started")),
        event(6, "turn.interrupted", **INTERRUPTED),
        received(7, OTHER),
        event(8, "turn.text", message=OTHER, text="not for this run"),
        event(9, "turn.completed", message=OTHER, text="not for this run"),
        event(10, "turn.resumed", **RESUMED),
        event(11, "turn.text", text="whole"),
        event(12, "turn.completed", text="whole"),
    ]
    got = run(log)
    assert [each["name"] for each in got if each["type"] == "CUSTOM"] == ["queued", "interrupted", "resumed"]
    assert [each["stepName"] for each in got if each["type"] == "STEP_STARTED"] == ["turn", "turn 2"]
    assert [each["delta"] for each in got if each["type"] == "TEXT_MESSAGE_CONTENT"] == ["half", "whole"]
    assert "not for this run" not in json.dumps(got)
    assert "without a result" in json.dumps(got)


@pytest.mark.parametrize("type_", ["turn.failed", "turn.rejected"])
def test_a_turn_that_fails_ends_its_run_with_an_error(type_: str) -> None:
    got = run([received(1), event(2, "turn.started", **STARTED), event(3, type_, text="It broke.")])
    assert got[-1]["type"] == "RUN_ERROR"
    assert (got[-1]["message"], got[-1]["code"]) == ("It broke.", type_.partition(".")[2])


def test_a_turn_that_is_stopped_is_cancelled_and_says_so() -> None:
    got = run([received(1), event(2, "turn.started", **STARTED), event(3, "turn.stopped", text="Stopped.")])
    assert got[-1]["outcome"] == {"type": "cancelled"}
    assert [each["delta"] for each in got if each["type"] == "TEXT_MESSAGE_CONTENT"] == ["Stopped."]


def test_a_message_that_another_turn_took_in_is_answered_with_that_turns_answer() -> None:
    got = run([received(1), event(2, "turn.completed", text="Both done.", together_with=OTHER)])
    assert [each["delta"] for each in got if each["type"] == "TEXT_MESSAGE_CONTENT"] == ["Both done."]


def test_news_of_the_worker_belong_to_the_run_only_once_its_message_was_taken() -> None:
    news = {"worker_id": "w"}
    got = run([event(1, "worker.ready", **news), received(2), event(3, "worker.starting", **news)])
    assert [each["name"] for each in got if each["type"] == "CUSTOM"] == ["worker.starting"]


def test_a_call_whose_id_comes_again_is_another_call() -> None:
    twice = [("started", "one"), ("succeeded", "one"), ("started", "two"), ("failed", "two")]
    log = [event(n, "turn.tool", **tool(state, output=out)) for n, (state, out) in enumerate(twice, start=1)]
    got = run(log)
    assert [each["toolCallId"] for each in got if each["type"] == "TOOL_CALL_START"] == ["use-1", "use-1-2"]
    assert [each["content"] for each in got if each["type"] == "TOOL_CALL_RESULT"] == ["one", "two"]


# ------------------------------------------------------------ any log

_messages = st.sampled_from([MINE, MINE, MINE, OTHER])
_kinds = st.one_of(
    st.tuples(st.just("turn.text"), st.builds(lambda t: {"text": t}, st.text(max_size=5))),
    st.tuples(
        st.just("turn.tool"),
        st.builds(
            lambda s, i: tool(s, id_=i),
            st.sampled_from(["started", "succeeded", "failed"]),
            st.sampled_from("xyz"),
        ),
    ),
    st.just(("turn.started", STARTED)),
    st.just(("turn.resumed", RESUMED)),
    st.just(("turn.interrupted", INTERRUPTED)),
    st.just(("turn.tasks", {"tasks": [{"id": "1", "subject": "x", "status": "pending"}]})),
    st.just(("turn.committed", {"sha": "a", "branch": "b"})),
    st.just(("turn.pushed", {"sha": "a", "branch": "b"})),
    st.just(("message.queued", {"ahead": 1})),
    st.just(("worker.ready", {"worker_id": "w"})),
    st.just(("preview.ready", {"url": "http://x"})),
    st.tuples(st.sampled_from(FINAL), st.builds(lambda t: {"text": t}, st.text(max_size=5))),
)
_logs = st.lists(st.tuples(_messages, _kinds), max_size=40)


def numbered(log: list[tuple[str, tuple[str, dict[str, Any]]]]) -> list[Event]:
    return [event(n, type_, message=m, **data) for n, (m, (type_, data)) in enumerate(log, start=1)]


def pairs(got: list[dict[str, Any]], *, kind: str, key: str, at_once: int) -> Iterator[str]:
    """What is wrong with things that start and end: twice, more than ``at_once``, open at the end."""
    start, end = ("STARTED", "FINISHED") if kind == "STEP" else ("START", "END")
    now: set[str] = set()
    for each in got:
        if each["type"] == f"{kind}_{start}":
            if each[key] in now or len(now) >= at_once:
                yield f"{kind} starts when it may not"
            now.add(each[key])
        elif each["type"] == f"{kind}_{end}":
            now.remove(each[key])
        elif each["type"].startswith(f"{kind}_CONTENT") and (each[key] not in now or not each["delta"]):
            yield f"a piece of no {kind}"
        elif each["type"] in ("RUN_FINISHED", "RUN_ERROR") and now:
            yield f"{kind} is open at the end"


def calls(got: list[dict[str, Any]]) -> Iterator[str]:
    """What is wrong with tool calls: ids that come twice, results of no call, calls without a result."""
    open_: set[str] = set()
    seen: set[str] = set()
    for each in got:
        if each["type"] == "TOOL_CALL_START":
            if each["toolCallId"] in seen:
                yield "a call twice"
            seen.add(each["toolCallId"])
            open_.add(each["toolCallId"])
        elif each["type"] == "TOOL_CALL_RESULT":
            open_.remove(each["toolCallId"])
        elif each["type"] in ("RUN_FINISHED", "RUN_ERROR") and open_:
            yield "a call has no result"


def checked(got: list[dict[str, Any]]) -> list[str]:
    """What is wrong with a run by the rules of the protocol."""
    types = [each["type"] for each in got]
    wrong = [
        *pairs(got, kind="TEXT_MESSAGE", key="messageId", at_once=1),
        *pairs(got, kind="TOOL_CALL", key="toolCallId", at_once=1),
        *pairs(got, kind="STEP", key="stepName", at_once=1),
        *calls(got),
    ]
    if types.index("RUN_STARTED") != 0 or types.count("RUN_STARTED") != 1:
        wrong.append("a run begins with RUN_STARTED, once")
    if any(type_ in ("RUN_FINISHED", "RUN_ERROR") for type_ in types[:-1]):
        wrong.append("something follows the end")
    return wrong


@given(_logs)
def test_whatever_the_log_says_all_that_starts_ends_and_the_run_ends_once(log: Any) -> None:
    events = numbered(log)
    assert checked(run(events)) == []
    ended = any(m == MINE and type_ in FINAL for m, (type_, _) in log)
    assert (run(events)[-1]["type"] in ("RUN_FINISHED", "RUN_ERROR")) == ended


@given(_logs)
def test_no_text_is_lost_doubled_or_taken_from_another_message(log: Any) -> None:
    said = ""
    for message, (type_, data) in log:
        if message == MINE and type_ == "turn.text":
            said += data["text"]
        if message == MINE and type_ in FINAL:
            said = said or ("" if type_ in ("turn.failed", "turn.rejected") else data["text"])
            break
    got = run(numbered(log))
    assert "".join(each["delta"] for each in got if each["type"] == "TEXT_MESSAGE_CONTENT") == said


@given(_logs)
def test_a_replay_gives_the_same_run_with_the_same_ids(log: Any) -> None:
    assert run(numbered(log)) == run(numbered(log))


# ------------------------------------------------------------ what is asked


def asked(*messages: dict[str, Any], **more: Any) -> Asked:
    given = {"threadId": "t", "runId": "r", "messages": list(messages), **more}
    return Asked(RunAgentInput.model_validate(given))


def user(content: Any, id_: str = "1") -> dict[str, Any]:
    return {"id": id_, "role": "user", "content": content}


def test_the_last_message_of_a_person_is_what_is_asked() -> None:
    answer = {"id": "2", "role": "assistant", "content": "ok"}
    made = asked(user("first"), answer, user("second", "3"), answer)
    assert (made.text, made.mode, made.project) == ("second", Mode.QUEUE, None)
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert asked(user(parts)).text == "a\n\nb"


def test_the_messages_id_comes_from_its_thread_and_its_own_id_alone() -> None:
    assert asked(user("a")).message_id == asked(user("b"), runId="other").message_id
    assert asked(user("a")).message_id != asked(user("a", "2")).message_id
    assert asked(user("a")).message_id != asked(user("a"), threadId="u").message_id


def test_project_and_mode_come_with_the_properties_that_are_passed_on() -> None:
    made = asked(user("a"), forwardedProps={"project": "site", "mode": "steer", "other": 1})
    assert (made.project, made.mode) == ("site", Mode.STEER)
    for wrong in ({"project": 7}, {"mode": "shout"}, {"mode": []}):
        with pytest.raises(Invalid, match="forwardedProps"):
            asked(user("a"), forwardedProps=wrong)


def test_an_image_and_a_conversation_without_a_person_are_refused_in_words() -> None:
    image = {"type": "image", "source": {"type": "data", "value": "aGk=", "mimeType": "image/png"}}
    with pytest.raises(Invalid, match="Only text is taken here"):
        asked(user([{"type": "text", "text": "look"}, image]))
    with pytest.raises(Invalid, match="no message with the role"):
        asked({"id": "2", "role": "assistant", "content": "ok"})
