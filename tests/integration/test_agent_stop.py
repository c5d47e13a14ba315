"""Stopping: whatever the moment and whatever the CLI does, nothing is left and the session goes on."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from agent_lab import ENDLESS, Lab, ask, eventually, finish, laboratory, text_of

from worker.agent_run import ClaudeRun
from worker.errors import AgentError
from worker.ports import Text, Tool

pytestmark = pytest.mark.slow

# A shell that works for long, also when it is asked to end, and a daemon that left its session.
BUSY = "trap '' TERM; while :; do echo x >> busy.txt; nice sleep 0.05; done"
DAEMON = (
    "setsid sh -c 'while :; do echo x >> daemon.txt; nice sleep 0.05; done' >/dev/null 2>&1 & echo started"
)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with laboratory(tmp_path) as lab:
        yield lab


async def until(run: ClaudeRun, kind: type) -> None:
    async for event in run.events():
        if isinstance(event, kind):
            return
    raise AssertionError(f"the turn ended without a {kind.__name__}")


def grows(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 10


async def test_a_stop_while_text_streams_leaves_nothing_and_the_session_remembers(lab: Lab) -> None:
    agent, session = lab.agent(), uuid4()
    run = await agent.start(lab.turn(f"a long story\n{ENDLESS}", session=session))
    await until(run, Text)
    await run.stop()
    assert lab.alive() == []
    assert (await run.close()).ended == "stopped"
    assert all(isinstance(event, Text) for event in [event async for event in run.events()])
    _, result = await ask(agent, lab.turn("go on", session=session))
    assert result.ended == "completed"
    assert "a long story" in lab.sent()
    assert "abcdefg" in lab.sent()


async def test_a_stop_kills_a_shell_that_ignores_sigterm(lab: Lab) -> None:
    agent, session = lab.agent(), uuid4()
    run = await agent.start(lab.turn(f"do: bash {BUSY}", session=session))
    await eventually(lambda: grows(lab.repo / "busy.txt"))
    await run.stop()
    size = (lab.repo / "busy.txt").stat().st_size
    assert lab.alive() == []
    result = await run.close()
    assert result.ended == "stopped"
    assert (lab.repo / "busy.txt").stat().st_size == size
    _, result = await ask(agent, lab.turn("go on", session=session))
    assert result.ended == "completed"


async def test_a_daemon_of_its_own_session_is_dead_after_a_stop(lab: Lab) -> None:
    run = await lab.agent().start(lab.turn(f"do: bash {DAEMON}\n{ENDLESS}"))
    await eventually(lambda: grows(lab.repo / "daemon.txt"))
    await until(run, Text)
    await run.stop()
    assert lab.alive() == []
    await run.close()


async def test_a_daemon_of_its_own_session_is_dead_after_a_natural_end(lab: Lab) -> None:
    events, result = await ask(lab.agent(), lab.turn(f"do: bash {DAEMON}"))
    assert result.ended == "completed"
    assert [event.state for event in events if isinstance(event, Tool)] == ["started", "succeeded"]
    assert lab.alive() == []


@pytest.mark.parametrize("seed", range(12))
async def test_a_stop_at_any_moment_of_the_start_leaves_a_session_that_goes_on(lab: Lab, seed: int) -> None:
    agent, session = lab.agent(), uuid4()
    moment = random.Random(seed).uniform(0.0, 0.3)
    run = await agent.start(lab.turn(ENDLESS, session=session))
    await asyncio.wait({asyncio.ensure_future(finish(run))}, timeout=moment)
    await run.stop()
    assert lab.alive() == []
    assert (await run.close()).ended == "stopped"
    _, result = await ask(agent, lab.turn("second", session=session))
    assert result.ended == "completed"
    assert result.text == "done"


async def test_a_stop_at_once_starts_nothing(lab: Lab) -> None:
    run = await lab.agent().start(lab.turn("never"))
    await run.stop()
    assert lab.alive() == []
    assert (await run.close()).ended == "stopped"
    assert lab.model.requests == []
    assert [event async for event in run.events()] == []


async def test_stops_from_many_sides_are_one_stop(lab: Lab) -> None:
    run = await lab.agent().start(lab.turn(ENDLESS))
    await until(run, Text)
    await asyncio.gather(run.stop(), run.stop(), run.close(), run.stop())
    await run.stop()
    assert (await run.close()).ended == "stopped"
    assert lab.alive() == []


async def test_a_stop_after_the_result_does_not_change_it(lab: Lab) -> None:
    run = await lab.agent().start(lab.turn("quick"))
    assert text_of([event async for event in run.events()]) == "done"
    await run.stop()
    assert lab.alive() == []
    assert (await run.close()).ended == "completed"


@pytest.mark.parametrize("seed", range(6))
async def test_a_stop_that_meets_the_natural_end_has_one_outcome(lab: Lab, seed: int) -> None:
    agent, session = lab.agent(), uuid4()
    run = await agent.start(lab.turn("quick", session=session))
    reader = asyncio.ensure_future(finish(run))
    await eventually(lambda: lab.model.requests)
    await asyncio.wait({reader}, timeout=random.Random(seed).uniform(0.0, 0.06))
    await run.stop()
    assert lab.alive() == []
    assert (await run.close()).ended in ("completed", "stopped")
    await reader
    _, result = await ask(agent, lab.turn("again", session=session))
    assert result.ended == "completed"


# ---------------------------------------------------------------- what is not there


async def test_a_missing_checkout_or_cli_is_refused_in_one_sentence(lab: Lab) -> None:
    with pytest.raises(AgentError, match="install claude-agent-sdk"):
        await lab.agent(cli=lab.folder / "nothing").start(lab.turn("x"))
    turn = lab.turn("x")
    lab.repo.rename(lab.folder / "gone")
    with pytest.raises(AgentError, match="does not exist"):
        await lab.agent().start(turn)


# ---------------------------------------------------------------- a worker that dies

WORKER = """
import asyncio, os, sys
from pathlib import Path
from uuid import uuid4
from worker.agent import ClaudeAgent
from worker.ports import AgentTurn
async def main(folder, url, marker, prompt):
    agent = ClaudeAgent(
        state_dir=folder / "state", config_dir=folder / "claude", worker_marker=marker, redact=str,
        model_env={"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "k"},
    )
    run = await agent.start(AgentTurn(
        thread_id="t", turn_id="u", session_id=uuid4(), prompt=prompt, context="",
        cwd=folder / "repo", marker="m",
    ))
    async for event in run.events():
        pass
asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
"""


@pytest.mark.parametrize("whole_group", [False, True])
async def test_nothing_of_a_turn_outlives_a_killed_worker(lab: Lab, whole_group: bool) -> None:
    arguments = [
        sys.executable,
        "-c",
        WORKER,
        lab.folder,
        lab.model.url,
        lab.worker_marker,
        f"do: bash {DAEMON}; {BUSY}",
    ]
    worker = subprocess.Popen(arguments, cwd=Path(__file__).parents[2], start_new_session=True)
    try:
        await eventually(lambda: grows(lab.repo / "busy.txt") and grows(lab.repo / "daemon.txt"))
        assert len(lab.alive()) >= 3
    finally:
        (os.killpg if whole_group else os.kill)(worker.pid, signal.SIGKILL)
        worker.wait()
    await eventually(lambda: lab.alive() == [])


async def test_a_successor_sweeps_what_a_predecessor_left(lab: Lab) -> None:
    predecessor = await lab.agent().start(lab.turn(f"do: bash {DAEMON}; {BUSY}"))
    reader = asyncio.ensure_future(finish(predecessor))
    await eventually(lambda: grows(lab.repo / "busy.txt") and grows(lab.repo / "daemon.txt"))
    assert await lab.agent().sweep() >= 3
    assert lab.alive() == []
    _, result = await reader
    assert result.ended == "failed"
    assert await lab.agent().sweep() == 0
