"""F13: Claude Code ends unexpectedly in mid-turn.

Expected: one retry by itself that resumes the session; a second crash ends the turn as failed with one reply
that says why, its edits committed, nothing left running, and the next message is done.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.faults.lab2 import bad_cli, starts, wire_cli
from tests.integration.agent_lab import Lab as AgentLab
from tests.integration.agent_lab import ask, eventually, finish, laboratory
from tests.integration.worker_lab import Lab, worker_lab

pytestmark = pytest.mark.slow

BUSY = "trap '' TERM; while :; do echo x >> busy.txt; nice sleep 0.05; done"


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[Lab]:
    with worker_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[AgentLab]:
    async with laboratory(tmp_path) as made:
        yield made


def test_one_crash_is_retried_in_the_same_session_and_nobody_need_care(lab: Lab) -> None:
    lab.start(BRANCHLINE_CLI_PATH=str(wire_cli(lab.folder)))
    once = lab.folder / "crashed"
    crash = f"do: bash [ -e {once} ] || {{ touch {once}; kill -s KILL $PPID; }}"
    lab.post(
        "a", 1, f"Do it\ndo: say Half.\ndo: append a.txt one\n{crash}\ndo: append a.txt two\ndo: say All."
    )
    assert lab.outcome("a", 1) == "completed"
    first, second = starts(lab.folder)
    session = str(lab.data("a", "turn.started")[0].session_id)
    assert f"--session-id={session}" in first
    assert f"--resume={session}" in second
    assert lab.tree("thread-a")["a.txt"] == "one\ntwo"
    assert len(lab.log("thread-a")) == 1
    assert len(lab.events("a", "turn.completed")) == 1
    assert "exit code 1" in lab.logs()
    assert lab.marked() == []


def test_a_second_crash_ends_the_turn_as_failed_with_its_reason(lab: Lab) -> None:
    lab.start(BRANCHLINE_CLI_PATH=str(wire_cli(lab.folder)))
    lab.post("a", 1, "do: write a.txt one\ndo: crash 1")
    assert lab.outcome("a", 1) == "failed"
    assert len(starts(lab.folder)) == 2
    (final,) = lab.data("a", "turn.failed")
    assert final.text == "Claude Code ended unexpectedly (exit code 1)."
    assert (final.changed, final.pushed) == (True, True)
    assert lab.tree("thread-a")["a.txt"] == "one"
    assert lab.marked() == []
    lab.post("a", 2, "do: write b.txt two")
    assert lab.outcome("a", 2) == "completed"
    assert lab.tree("thread-a").keys() >= {"a.txt", "b.txt"}


def test_the_real_claude_code_killed_in_mid_turn_is_retried_and_remembers(lab: Lab) -> None:
    lab.start()
    once = lab.folder / "crashed"
    kill = f"do: bash [ -e {once} ] || {{ touch {once}; kill -s KILL $PPID; nice sleep 100; }}"
    lab.post(
        "a", 1, f"My colour is teal\ndo: write a.txt one\n{kill}\ndo: write b.txt two\ndo: say All done."
    )
    assert lab.outcome("a", 1) == "completed"
    assert "exit code -9" in lab.logs()
    assert lab.tree("thread-a").keys() >= {"a.txt", "b.txt"}
    assert len({r.request.session_id for r in lab.model.requests}) == 1
    assert "teal" in str(lab.model.requests[-1].request.body["messages"])
    assert len(lab.events("a", "turn.completed")) == 1
    assert lab.marked() == []


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("crash", "Claude Code ended unexpectedly (exit code -11): Segmentation fault of ***"),
        ("leaves", "Claude Code ended unexpectedly (exit code 0)."),
        ("refuses to start", "Claude Code ended unexpectedly (exit code 64): no such option: --x ***"),
    ],
)
async def test_a_crash_is_told_with_its_exit_code(agents: AgentLab, mode: str, text: str) -> None:
    _, result = await ask(agents.agent(cli=bad_cli(agents.folder, mode)), agents.turn("x"))
    assert (result.ended, result.crashed, result.text) == ("failed", True, text)
    assert agents.alive() == []


async def test_a_cli_that_talks_nonsense_is_a_crash(agents: AgentLab) -> None:
    _, result = await ask(agents.agent(cli=bad_cli(agents.folder, "nonsense")), agents.turn("x"))
    assert (result.ended, result.crashed) == ("failed", True)
    assert agents.alive() == []


async def test_the_real_cli_killed_in_mid_turn_is_a_crash_and_can_be_resumed(agents: AgentLab) -> None:
    agent, session = agents.agent(), uuid4()
    run = await agent.start(agents.turn(f"remember me\ndo: bash {BUSY}", session=session))
    reader = asyncio.ensure_future(finish(run))
    await eventually((agents.repo / "busy.txt").exists)
    cli = next(pid for pid in agents.alive() if "_bundled/claude" in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(cli, signal.SIGKILL)
    _, result = await reader
    assert (result.ended, result.crashed) == ("failed", True)
    assert "exit code -9" in result.text
    assert agents.alive() == []
    _, result = await ask(agent, agents.turn("go on", session=session))
    assert result.ended == "completed"
    assert "remember me" in agents.sent()
