"""Texts that join a running turn."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from agent_lab import ENDLESS, Lab, eventually, finish, laboratory

from contracts.words import MessageId
from worker.ports import AgentEvent, Steered, Text, Tool

pytestmark = pytest.mark.slow


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(tmp_path) as lab:
        yield lab


WAIT = "touch began; until [ -e go ]; do nice sleep 0.02; done"


def steered(events: list[AgentEvent]) -> list[str]:
    return [event.message_id for event in events if isinstance(event, Steered)]


@pytest.mark.parametrize("ending", ["exit 0", "exit 1"])
async def test_a_text_comes_in_behind_the_tool_that_runs(lab: Lab, ending: str) -> None:
    run = await lab.agent().start(lab.turn(f"do: bash {WAIT}; {ending}"))
    await eventually((lab.repo / "began").exists)
    run.steer(message_id=MessageId("m1"), text='use "blue", not red')
    run.steer(message_id=MessageId("m2"), text="and be quick")
    (lab.repo / "go").touch()
    events, result = await finish(run)
    assert result.ended == "completed"
    assert len(lab.model.requests) == 2
    assert 'use \\"blue\\", not red' in lab.sent()
    assert lab.sent().index("not red") < lab.sent().index("and be quick")
    assert steered(events) == ["m1", "m2"]
    ended = [isinstance(event, Tool) and event.state != "started" for event in events].index(True)
    assert ended < [isinstance(event, Steered) for event in events].index(True)


async def test_a_text_comes_in_when_the_model_wants_to_stop(lab: Lab) -> None:
    run = await lab.agent().start(lab.turn("do: say I am done."))
    run.steer(message_id=MessageId("m1"), text="one more thing: do: say Now I really am.")
    events, result = await finish(run)
    assert (result.ended, result.text) == ("completed", "Now I really am.")
    assert len(lab.model.requests) == 2
    assert "one more thing" in lab.sent()
    assert steered(events) == ["m1"]


async def test_a_text_for_the_agent_does_not_go_to_its_sub_agent(lab: Lab) -> None:
    part = {"description": "d", "prompt": f"do: bash {WAIT}", "subagent_type": "general-purpose"}
    run = await lab.agent().start(lab.turn(f"do: tool Agent {json.dumps(part)}\ndo: say All done."))
    await eventually((lab.repo / "began").exists)
    run.steer(message_id=MessageId("m1"), text="steering text: do: say Understood.")
    (lab.repo / "go").touch()
    events, result = await finish(run)
    assert result.text.endswith("Understood.")
    assert "steering text" not in lab.sent(2)
    assert "steering text" in lab.sent(3)
    assert steered(events) == ["m1"]
    assert "".join(event.text for event in events if isinstance(event, Text)) == result.text


async def test_a_text_that_was_not_delivered_is_not_called_steered(lab: Lab) -> None:
    run = await lab.agent().start(lab.turn(ENDLESS))
    await lab.model.wait_for_request()
    run.steer(message_id=MessageId("m1"), text="too late")
    await run.stop()
    events, result = await finish(run)
    assert result.ended == "stopped"
    assert steered(events) == []
