"""F14: Claude Code says nothing more and heeds neither the interrupt nor SIGTERM.

Expected: it and all it started are killed within bounds; left alone too long, its turn ends as failed and
says that it hung; stopped or preempted, its turn ends or is parked as any other. No process is left.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.fakes.engine import wait_until
from tests.faults.lab2 import bad_cli, either, wire_cli
from tests.integration.agent_lab import Lab as AgentLab
from tests.integration.agent_lab import ask, eventually, laboratory
from tests.integration.worker_lab import Lab, worker_lab

pytestmark = pytest.mark.slow


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[Lab]:
    with worker_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[AgentLab]:
    async with laboratory(tmp_path) as made:
        yield made


@pytest.fixture
def healthy(lab: Lab) -> Path:
    """Claude Code hangs until this file exists."""
    return lab.folder / "healthy"


@pytest.fixture
def cli(lab: Lab, healthy: Path) -> str:
    hangs, works = bad_cli(lab.folder, "hang"), wire_cli(lab.folder)
    return str(either(lab.folder, first=hangs, once=healthy, then=works))


def hangs_now(lab: Lab) -> bool:
    """Whether the CLI that hangs and its grandchild are there."""
    return any(b"sleep\x001000" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in lab.marked())


def test_a_turn_that_hangs_fails_with_its_reason_and_the_next_message_is_done(
    lab: Lab, cli: str, healthy: Path
) -> None:
    worker = lab.start(BRANCHLINE_CLI_PATH=cli, BRANCHLINE_HANG_SECONDS="1")
    lab.post("a", 1, "do: write a.txt one")
    assert lab.outcome("a", 1) == "failed"
    (final,) = lab.data("a", "turn.failed")
    assert final.text == "Claude Code hung: nothing came from it for 1 s, so it was ended."
    assert lab.marked() == []
    assert worker.poll() is None
    healthy.touch()
    lab.post("a", 2, "do: write b.txt two")
    assert lab.outcome("a", 2) == "completed"
    assert lab.tree("thread-a")["b.txt"] == "two"


def test_a_turn_that_hangs_can_be_stopped(lab: Lab, cli: str) -> None:
    lab.start(BRANCHLINE_CLI_PATH=cli)
    lab.post("a", 1, "do: write a.txt one")
    wait_until(lambda: hangs_now(lab), seconds=30)
    lab.found.stop("a", through=1)
    assert lab.outcome("a", 1, seconds=30) == "stopped"
    assert lab.marked() == []


def test_a_turn_that_hangs_is_preempted_and_done_afterwards(lab: Lab, cli: str, healthy: Path) -> None:
    lab.start(BRANCHLINE_CLI_PATH=cli)
    lab.post("a", 1, "do: write a.txt one")
    wait_until(lambda: hangs_now(lab), seconds=30)
    healthy.touch()
    lab.post("b", 1, "do: write b.txt two")
    assert lab.outcome("b", 1, seconds=30) == "completed"
    assert lab.outcome("a", 1) == "completed"
    assert lab.data("a", "turn.interrupted")[0].reason == "preempted"
    assert (lab.tree("thread-a")["a.txt"], lab.tree("thread-b")["b.txt"]) == ("one", "two")
    assert lab.marked() == []


@pytest.mark.parametrize("mode", ["hang", "mute"])
async def test_a_cli_that_says_nothing_for_too_long_is_ended_as_hung(agents: AgentLab, mode: str) -> None:
    _, result = await ask(agents.agent(cli=bad_cli(agents.folder, mode), hang_seconds=1), agents.turn("x"))
    assert result.ended == "failed"
    assert result.text == "Claude Code hung: nothing came from it for 1 s, so it was ended."
    assert not result.crashed
    assert agents.alive() == []


async def test_a_cli_that_ignores_the_interrupt_is_killed_in_bounded_time(agents: AgentLab) -> None:
    hangs = bad_cli(agents.folder, "hang")
    run = await agents.agent(cli=hangs, interrupt_seconds=0.3).start(agents.turn("x"))
    await eventually(lambda: len(agents.alive_of_last_turn()) >= 2)
    await run.stop()
    assert agents.alive() == []
    assert (await run.close()).ended == "stopped"


async def test_a_cli_that_never_comes_up_can_be_stopped(agents: AgentLab) -> None:
    run = await agents.agent(cli=bad_cli(agents.folder, "mute")).start(agents.turn("x"))
    await eventually(lambda: len(agents.alive_of_last_turn()) >= 2)
    await run.stop()
    assert agents.alive() == []
    assert (await run.close()).ended == "stopped"
