"""A laboratory for the real CLI: the scripted model, a checkout, an agent.

What the model does stands in the prompts, as ``do:`` lines (see ``tests.fakes.model_steps``). Nothing here
replaces code of ours.
"""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from contracts.words import ThreadId, TurnId
from tests.fakes.model import ScriptedModel, scripted_model
from worker import processes
from worker.agent import ClaudeAgent
from worker.agent_run import ClaudeRun
from worker.launch import TURN_MARKER, WORKER_MARKER
from worker.ports import AgentEvent, AgentResult, AgentTurn, Text, Tool

ENDLESS = "do: stream 10000000 10"
"""A step of text that a test has to stop."""


async def eventually(condition: Callable[[], Any], *, seconds: float = 30.0) -> Any:
    """Wait until ``condition`` holds and hand back what it gave."""
    async with asyncio.timeout(seconds):
        while not (value := condition()):
            await asyncio.sleep(0.01)
    return value


@asynccontextmanager
async def laboratory(folder: Path) -> AsyncIterator["Lab"]:
    """A lab in ``folder`` with a model of its own; everything it started is gone afterwards."""
    async with scripted_model() as model:
        lab = Lab(folder=folder, model=model)
        try:
            yield lab
        finally:
            await lab.close()


class Lab:
    """One worker's worth of folders, one model, and agents made for them."""

    def __init__(self, *, folder: Path, model: ScriptedModel) -> None:
        self.folder = folder
        self.model = model
        self.repo = folder / "repo"
        self.repo.mkdir()
        self.worker_marker = f"lab-{uuid4().hex}"
        self.markers: list[str] = []
        self._agents: list[ClaudeAgent] = []
        subprocess.run(["git", "init", "-q", self.repo], check=True)

    def agent(self, **changes: Any) -> ClaudeAgent:
        """An agent on this lab's folders; ``changes`` go over the constructor's arguments."""
        model_env = {"ANTHROPIC_BASE_URL": self.model.url, "ANTHROPIC_API_KEY": "key-of-the-model"}
        given: dict[str, Any] = {
            "state_dir": self.folder / "state",
            "config_dir": self.folder / "claude",
            "worker_marker": self.worker_marker,
            "model_env": model_env,
            "redact": lambda text: text.replace("key-of-the-model", "***"),
            "max_retries": 1,
            **changes,
        }
        self._agents.append(ClaudeAgent(**given))
        return self._agents[-1]

    def turn(self, prompt: str, *, session: UUID | None = None, context: str = "") -> AgentTurn:
        self.markers.append(f"turn-{uuid4().hex}")
        return AgentTurn(
            thread_id=ThreadId("t"),
            turn_id=TurnId(self.markers[-1]),
            session_id=session or uuid4(),
            prompt=prompt,
            context=context,
            cwd=self.repo,
            marker=self.markers[-1],
        )

    def alive(self) -> list[int]:
        """Every process of any turn of this lab."""
        return processes.marked(name=WORKER_MARKER, value=self.worker_marker)

    def alive_of_last_turn(self) -> list[int]:
        return processes.marked(name=TURN_MARKER, value=self.markers[-1])

    def sent(self, number: int = -1) -> str:
        """The messages of a request as one string, the newest request by default."""
        return json.dumps(self.model.requests[number].request.body["messages"])

    async def close(self) -> None:
        for agent in self._agents:
            await agent.close()
        processes.sweep(name=WORKER_MARKER, value=self.worker_marker)


async def finish(run: ClaudeRun) -> tuple[list[AgentEvent], AgentResult]:
    """Read a run to its end."""
    async with asyncio.timeout(60):
        events = [event async for event in run.events()]
        return events, await run.close()


async def ask(agent: ClaudeAgent, turn: AgentTurn) -> tuple[list[AgentEvent], AgentResult]:
    """One whole turn."""
    return await finish(await agent.start(turn))


def text_of(events: list[AgentEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def outputs_of(events: list[AgentEvent]) -> str:
    return "\n".join(event.output for event in events if isinstance(event, Tool))


def write_executable(path: Path, content: str) -> Path:
    path.write_text(content)
    path.chmod(0o700)
    return path
