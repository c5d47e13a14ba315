"""AG-UI over real HTTP: with AG-UI's own client in Node, which nobody here wrote, and without it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.events import EVENT, Event
from contracts.words import ThreadId
from dispatcher.record import Recorder
from dispatcher.table import Table
from tests.fakes.dispatcher import FakeLauncher, running_launcher
from tests.fakes.engine import EngineProcess
from tests.fakes.preview import until
from tests.integration.dispatcher_lab import WORKER, Lab, lab, table_of
from worker.node import NodeMissing, find_node

CLIENT = Path(__file__).parents[1] / "agui"
SCRIPT = [
    ("turn.started", {"branch": "thread-a", "base": "0", "session_id": "s", "attempt": 1}),
    ("turn.text", {"text": "I will "}),
    ("turn.text", {"text": "edit. ü "}),
    ("turn.tool", {"tool_use_id": "use-1", "name": "Edit", "state": "started", "input": {"file": "a\n"}}),
    ("turn.tool", {"tool_use_id": "use-1", "name": "Edit", "state": "succeeded", "output": "done"}),
    ("turn.tasks", {"tasks": [{"id": "1", "subject": "Edit", "status": "in_progress"}]}),
    ("turn.interrupted", {"reason": "preempted", "text": "Another thread was first."}),
    ("turn.resumed", {"reason": "preempted", "text": "On again.", "branch": "thread-a", "attempt": 1}),
    ("turn.tasks", {"tasks": [{"id": "1", "subject": "Edit", "status": "completed"}]}),
    ("turn.text", {"text": "Edited."}),
    ("turn.committed", {"sha": "abc", "branch": "thread-a", "files": 1}),
    ("turn.pushed", {"sha": "abc", "branch": "thread-a"}),
]
DONE = ("turn.completed", {"text": "Edited.", "changed": True, "commit": "abc"})


@pytest.fixture(scope="module")
def launcher() -> Iterator[FakeLauncher]:
    with running_launcher() as launcher:
        yield launcher


@pytest.fixture
def made(engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path) -> Iterator[Lab]:
    with lab(engine, launcher, tmp_path) as made:
        yield made


@pytest.fixture
async def table(made: Lab, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Table]:
    async with table_of(made, monkeypatch) as table:
        yield table


def given(
    text: str = "Edit the headline.", *, thread: str = "a", id_: str = "u1", **more: Any
) -> dict[str, Any]:
    message = {"id": id_, "role": "user", "content": text}
    return {"threadId": thread, "runId": "run-1", "messages": [message], **more}


async def play(table: Table, thread: str, *events: tuple[str, dict[str, Any]]) -> None:
    """Write what a worker would write about the thread's last message."""
    recorder, thread_id = Recorder(table), ThreadId(thread)
    message = (await table.messages(worker=WORKER, thread_id=thread_id))[-1].id
    for type_, data in events:

        def make(number: int, type_: str = type_, data: dict[str, Any] = data) -> Event:
            plain = {
                "type": type_,
                "id": number,
                "thread_id": thread,
                "time": datetime.now(UTC),
                "data": data,
            }
            return EVENT.validate_python(plain | {"message_id": message, "turn_id": "turn-1"})

        await recorder.append(worker=WORKER, thread_id=thread_id, make=make)


def node(tmp_path: Path) -> Path:
    """The Node.js to run the client with. Without it or the client this is skipped, and fails in CI."""
    missing = "tests/agui/node_modules is missing: run scripts/agui-client"
    try:
        if (CLIENT / "node_modules" / "@ag-ui" / "client").is_dir():
            return find_node(state_dir=tmp_path / "node").node
    except NodeMissing as error:
        missing = str(error)
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


async def client(made: Lab, tmp_path: Path, asked: dict[str, Any]) -> "asyncio.Task[dict[str, Any]]":
    """AG-UI's client with one run, under way; its result is what it made of the run."""
    process = await asyncio.create_subprocess_exec(
        str(node(tmp_path)),
        str(CLIENT / "run.mjs"),
        f"{made.dispatcher.url}/v1/agui",
        json.dumps(asked),
        stdout=asyncio.subprocess.PIPE,
    )

    async def result() -> dict[str, Any]:
        try:
            out, _ = await asyncio.wait_for(process.communicate(), 60)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        found: dict[str, Any] = json.loads(out)
        return found

    return asyncio.create_task(result())


def posted(made: Lab, thread: str) -> list[dict[str, Any]]:
    answer = made.client.get(f"/v1/threads/{thread}")
    return answer.json()["messages"] if answer.status_code == 200 else []


async def test_ag_uis_own_client_sees_a_whole_turn(made: Lab, table: Table, tmp_path: Path) -> None:
    running = await client(made, tmp_path, given())
    await until(lambda: len(posted(made, "a")) == 1, within=60)
    await play(table, "a", *SCRIPT, DONE)
    seen = await running
    assert (seen["error"], seen["outcome"]) == (None, "success")
    assert seen["result"]["commit"] == "abc"
    assert seen["custom"] == ["worker.starting", "interrupted", "resumed", "committed", "pushed"]
    assert seen["steps"] == ["turn", "turn 2"]
    assert seen["state"] == {"tasks": [{"id": "1", "subject": "Edit", "status": "completed"}]}
    said = [m for m in seen["messages"] if m["role"] == "assistant"]
    assert [m["content"] for m in said if m.get("content")] == ["I will edit. ü ", "Edited."]
    (call,) = [call for m in said for call in m.get("toolCalls", [])]
    assert json.loads(call["function"]["arguments"]) == {"file": "a\n"}
    (result,) = [m for m in seen["messages"] if m["role"] == "tool"]
    assert (result["toolCallId"], result["content"]) == (call["id"], "done")


async def test_who_leaves_stops_nothing_and_the_same_run_again_shows_all_of_it_once(
    made: Lab, table: Table, tmp_path: Path
) -> None:
    left = await client(made, tmp_path, given(leaveAfter=3))
    await until(lambda: len(posted(made, "a")) == 1, within=60)
    await play(table, "a", *SCRIPT)
    await left
    again = await client(made, tmp_path, given())
    await play(table, "a", DONE)
    seen = await again
    assert (seen["error"], seen["outcome"]) == (None, "success")
    assert seen["types"].count("TEXT_MESSAGE_CONTENT") == 3
    assert [m["text"] for m in posted(made, "a")] == ["Edit the headline."]
    assert (await (await client(made, tmp_path, given()))) == seen


async def test_a_turn_that_fails_is_an_error_for_the_client(made: Lab, table: Table, tmp_path: Path) -> None:
    running = await client(made, tmp_path, given())
    await until(lambda: len(posted(made, "a")) == 1, within=60)
    await play(table, "a", SCRIPT[0], ("turn.failed", {"text": "The model refused."}))
    assert (await running)["error"] == "The model refused."


async def test_the_second_message_of_a_conversation_is_a_run_of_its_own(made: Lab, table: Table) -> None:
    first = given()
    async with httpx.AsyncClient(base_url=made.dispatcher.url, timeout=60) as api:
        await play_and_read(api, first, table)
        answer = {"id": "x", "role": "assistant", "content": "Edited."}
        messages = [*first["messages"], answer, {"id": "u2", "role": "user", "content": "And now?"}]
        types = await play_and_read(api, first | {"messages": messages, "runId": "run-2"}, table)
    assert types[0] == "RUN_STARTED"
    assert types.count("RUN_FINISHED") == 1
    assert [m["text"] for m in posted(made, "a")] == ["Edit the headline.", "And now?"]


async def play_and_read(api: httpx.AsyncClient, asked: dict[str, Any], table: Table) -> list[str]:
    types: list[str] = []
    async with api.stream("POST", "/v1/agui", json=asked) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                types.append(json.loads(line.removeprefix("data: "))["type"])
                if types == ["RUN_STARTED"]:
                    await play(table, asked["threadId"], SCRIPT[0], DONE)
    return types


async def test_what_cannot_be_taken_is_refused_before_anything_is_posted(made: Lab) -> None:
    image = {"type": "image", "source": {"type": "data", "value": "aGk=", "mimeType": "image/png"}}
    wrong = [
        (given(thread="a b"), 400, "invalid_thread_id"),
        (given(text=""), 400, "empty_text"),
        (given(forwardedProps={"project": "nowhere"}), 404, "unknown_project"),
        (given() | {"messages": []}, 400, "message_missing"),
        (
            given() | {"messages": [{"id": "1", "role": "user", "content": [image]}]},
            400,
            "unsupported_content",
        ),
        ({"threadId": "a"}, 400, "invalid_body"),
    ]
    for asked, status, code in wrong:
        answer = made.client.post("/v1/agui", json=asked)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert made.client.get("/v1/threads").json() == {"threads": []}
