"""The fake Claude Code of the chaos bench behaves as the worker's agent knows the real one."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from contracts.words import MessageId
from tests.chaos.places import write_wrapper
from tests.integration.agent_lab import Lab, ask, eventually, finish, laboratory, text_of
from worker.agent import ClaudeAgent
from worker.ports import Steered

PAUSED = "You were paused because a message in another thread had to be answered first. Go on."


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(tmp_path) as made:
        yield made


def fake(lab: Lab) -> ClaudeAgent:
    return lab.agent(cli=write_wrapper(lab.folder / "cli"))


async def test_it_does_the_steps_and_says_what_it_is_told_to(lab: Lab) -> None:
    events, result = await ask(fake(lab), lab.turn("Hello.\ndo: write a/b.txt one\\ntwo\ndo: say finished"))
    assert (result.ended, result.text, text_of(events)) == ("completed", "finished", "finished")
    assert (lab.repo / "a" / "b.txt").read_text() == "one\ntwo"


async def test_a_resumed_turn_goes_on_with_the_first_step_that_was_not_finished(lab: Lab) -> None:
    agent, session = fake(lab), uuid4()
    text = "Hello.\ndo: append log one\ndo: stream 400 20\ndo: append log two"
    prompt = uuid4()
    run = await agent.start(replace(lab.turn(text, session=session), prompt_id=prompt))
    await eventually(lambda: (lab.repo / "log").exists())
    await run.stop()
    assert (await finish(run))[1].ended == "stopped"
    assert await agent.remembers(session_id=session, prompt_id=prompt)
    _, result = await ask(agent, lab.turn(PAUSED, session=session))
    assert result.ended == "completed"
    assert (lab.repo / "log").read_text() == "one\ntwo\n"


async def test_a_text_given_to_the_running_turn_is_done_in_it(lab: Lab) -> None:
    run = await fake(lab).start(lab.turn("Hello.\ndo: pause 300\ndo: write a.txt a"))
    run.steer(message_id=MessageId("m"), text="do: write b.txt b")
    events, result = await finish(run)
    assert result.ended == "completed"
    assert [e.message_id for e in events if isinstance(e, Steered)] == ["m"]
    assert (lab.repo / "b.txt").read_text() == "b"


async def test_a_crash_is_a_crash(lab: Lab) -> None:
    _, result = await ask(fake(lab), lab.turn("do: crash 3"))
    assert result.crashed
    assert "exit code 3" in result.text


async def test_a_stop_kills_what_hangs_and_what_it_left_behind(lab: Lab) -> None:
    agent = lab.agent(cli=write_wrapper(lab.folder / "cli"), interrupt_seconds=0.2)
    run = await agent.start(lab.turn("do: bash setsid sleep 600 & true\ndo: write there x\ndo: hang"))
    await eventually(lambda: (lab.repo / "there").exists())
    await run.stop()
    await finish(run)
    assert lab.alive() == []
