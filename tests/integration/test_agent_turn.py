"""What a turn of the real Claude Code looks like through the port."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from agent_lab import Lab, ask, laboratory, text_of

from worker.ports import Agent, Requested, Task, Tasks, Tool

pytestmark = pytest.mark.slow


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(tmp_path) as lab:
        yield lab


async def test_a_first_turn_tells_its_text_and_its_result(lab: Lab) -> None:
    agent: Agent = lab.agent()
    run = await agent.start(lab.turn("hello there\ndo: say Hello.", context="CONTEXT-OF-THE-THREAD"))
    events = [event async for event in run.events()]
    result = await run.close()
    assert text_of(events) == "Hello."
    assert events[0] == Requested(model="claude-opus-5-5")
    assert (result.ended, result.text) == ("completed", "Hello.")
    assert (result.input_tokens, result.output_tokens) == (100, 20)
    assert result.cost_usd > 0
    assert "hello there" in lab.sent()
    assert "CONTEXT-OF-THE-THREAD" in lab.model.requests[0].request.system
    assert await run.close() == result
    assert lab.alive() == []


async def test_the_second_turn_remembers_and_costs_only_itself(lab: Lab) -> None:
    agent, session = lab.agent(), uuid4()
    _, first = await ask(agent, lab.turn("my name is Ada", session=session, context="OLD-CONTEXT"))
    _, second = await ask(agent, lab.turn("what is my name?", session=session, context="NEW-CONTEXT"))
    assert "my name is Ada" in lab.sent()
    assert "NEW-CONTEXT" in lab.model.requests[-1].request.system
    assert "OLD-CONTEXT" not in lab.model.requests[-1].request.system
    assert second.cost_usd == pytest.approx(first.cost_usd)


async def test_two_sessions_in_one_checkout_know_nothing_of_each_other(lab: Lab) -> None:
    agent = lab.agent()
    await ask(agent, lab.turn("the word is swordfish"))
    await ask(agent, lab.turn("which word?"))
    assert "swordfish" not in lab.sent()


async def test_texts_around_a_tool_are_separate_paragraphs(lab: Lab) -> None:
    script = "do: say Looking.\ndo: bash echo seen; exit 3\ndo: say Found it."
    events, result = await ask(lab.agent(), lab.turn(script))
    assert text_of(events) == "Looking.\n\nFound it."
    assert result.text == "Found it."
    started, ended = (event for event in events if isinstance(event, Tool))
    assert (started.state, started.name, started.input["command"]) == ("started", "Bash", "echo seen; exit 3")
    assert (ended.state, ended.tool_use_id) == ("failed", started.tool_use_id)
    assert "seen" in ended.output


async def test_the_output_of_a_tool_is_shortened(lab: Lab) -> None:
    events, _ = await ask(lab.agent(), lab.turn("do: bash head -c 20000 /dev/zero | tr '\\0' x"))
    output = [event.output for event in events if isinstance(event, Tool)][-1]
    assert output.startswith("x" * 4000)
    assert "more characters" in output


@pytest.mark.parametrize("prompt", ["@/etc/hostname", "/clear", "/compact now", "!ls", "#remember"])
async def test_a_prompt_arrives_as_it_was_written(lab: Lab, prompt: str) -> None:
    agent, session = lab.agent(), uuid4()
    await ask(agent, lab.turn("before", session=session))
    _, result = await ask(agent, lab.turn(prompt, session=session))
    assert result.ended == "completed"
    assert lab.model.requests[-1].request.user_texts == ("before", prompt)
    assert Path("/etc/hostname").read_text().strip() not in lab.sent()


async def test_the_task_list_is_told_whole_and_outlives_the_process(lab: Lab) -> None:
    agent, session = lab.agent(), uuid4()
    plan = "do: task create Read\ndo: task create Write\ndo: task start 1"
    events, _ = await ask(agent, lab.turn(plan, session=session))
    lists = [event.tasks for event in events if isinstance(event, Tasks)]
    assert [len(tasks) for tasks in lists] == [1, 2, 2]
    assert lists[-1] == (
        Task(id="1", subject="Read", status="in_progress"),
        Task(id="2", subject="Write", status="pending"),
    )
    events, _ = await ask(agent, lab.turn("do: task done 1", session=session))
    lists = [event.tasks for event in events if isinstance(event, Tasks)]
    assert lists == [
        (Task(id="1", subject="Read", status="completed"), Task(id="2", subject="Write", status="pending"))
    ]


async def test_a_question_to_a_person_cannot_hold_up_a_turn(lab: Lab) -> None:
    question = {"question": "Which?", "header": "Q", "options": [{"label": "a"}, {"label": "b"}]}
    step = f"do: tool AskUserQuestion {json.dumps({'questions': [question]})}"
    events, result = await ask(lab.agent(), lab.turn(step))
    assert result.ended == "completed"
    assert [event.state for event in events if isinstance(event, Tool)][-1] == "failed"
    offered = lab.model.requests[0].request.tools
    assert "AskUserQuestion" not in offered
    assert {"Bash", "Edit", "Read", "Write", "TaskCreate", "TaskUpdate"} <= set(offered)


@pytest.mark.parametrize("content", ["", '{"x":', '{"type":"queue-operation","operation":"enqueue"}\n'])
async def test_a_transcript_the_cli_cannot_read_is_set_aside(lab: Lab, content: str) -> None:
    agent, session = lab.agent(), uuid4()
    folder = lab.folder / "claude/projects/elsewhere"
    folder.mkdir(parents=True)
    (folder / f"{session}.jsonl").write_text(content)
    _, result = await ask(agent, lab.turn("start anew", session=session))
    assert result.ended == "completed"
    _, result = await ask(agent, lab.turn("and again", session=session))
    assert "start anew" in lab.sent()


async def test_claude_commits_under_its_own_name(lab: Lab) -> None:
    step = "do: bash git commit -q --allow-empty -m mine && git log -1 --format='%an|%cn'"
    events, _ = await ask(lab.agent(), lab.turn(step))
    assert [event.output for event in events if isinstance(event, Tool)][-1] == "Claude|Claude"
