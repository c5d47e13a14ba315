"""F15: the model answers 429 with a time at which its limit is reset, or 529 because it is overloaded.

Expected: after Claude Code's own retries the message is parked, no attempt is counted, the thread is told
until when, other threads are not affected, and the turn is resumed by itself in the same session.
"""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.fakes.engine import wait_until
from tests.integration.agent_lab import Lab as AgentLab
from tests.integration.agent_lab import ask, laboratory
from tests.integration.worker_lab import Lab, git, worker_lab
from worker.ports import Retry

pytestmark = pytest.mark.slow

SUBSCRIPTION = {
    "ANTHROPIC_API_KEY": "",
    "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-x",
    "BRANCHLINE_MAX_RETRIES": "1",
}
"""Claude Code believes a time of reset only from an account that has one."""


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[Lab]:
    with worker_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[AgentLab]:
    async with laboratory(tmp_path) as made:
        yield made


def limit(resets_at: int, *, times: str = "") -> str:
    """The step that answers as the model does when a usage limit is reached."""
    headers = {
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": str(resets_at),
        "anthropic-ratelimit-unified-representative-claim": "five_hour",
        "retry-after": "3600",
    }
    return f"do: error 429 {times} " + " ".join(f"{name}={value}" for name, value in headers.items())


def test_a_limit_parks_the_message_tells_until_when_and_stops_nobody_else(lab: Lab) -> None:
    resets_at = int(time.time()) + 3600
    lab.start(**SUBSCRIPTION)
    lab.post("a", 1, f"do: write a.txt one\n{limit(resets_at)}")
    lab.wait_for("a", "turn.interrupted")
    (told,) = lab.data("a", "turn.interrupted")
    assert (told.reason, told.resumes_at.timestamp()) == ("budget", resets_at)
    assert "goes on by itself" in told.text
    assert lab.found.attempts("a", 1) == 0
    assert lab.marked() == []
    lab.post("b", 1, "do: write b.txt two")
    assert lab.outcome("b", 1) == "completed"
    assert lab.found.outcome("a", 1) is None
    assert len(lab.events("a", "turn.interrupted")) == 1
    assert lab.found.waiting()[0] == 0  # the parked message's delivery is held, not lost and not repeated


@pytest.mark.chaos
def test_a_limited_turn_goes_on_by_itself_when_the_limit_is_reset(lab: Lab) -> None:
    lab.start(**SUBSCRIPTION)
    reset = limit(int(time.time()) + 5, times="times=1")
    lab.post("a", 1, f"My colour is teal\ndo: write a.txt one\n{reset}\ndo: write b.txt two\ndo: say Done.")
    lab.wait_for("a", "turn.interrupted")
    wait_until(lambda: "thread-a" in git(lab.remote, "branch", "--list"))
    assert lab.tree("thread-a")["a.txt"].strip() == "one"
    assert lab.outcome("a", 1, seconds=110) == "completed"
    assert lab.data("a", "turn.resumed")[0].reason == "budget"
    assert lab.data("a", "turn.resumed")[0].attempt == 1
    assert lab.tree("thread-a").keys() >= {"a.txt", "b.txt"}
    assert len({r.request.session_id for r in lab.model.requests}) == 1
    assert "teal" in str(lab.model.requests[-1].request.body["messages"])
    assert len(lab.events("a", "turn.completed")) == 1


def test_an_overload_that_passes_is_borne_by_claude_code_itself(lab: Lab) -> None:
    lab.start(BRANCHLINE_MAX_RETRIES="2")
    lab.post("a", 1, "do: error 529 times=1\ndo: write a.txt one")
    assert lab.outcome("a", 1) == "completed"
    assert '"model_retry"' in lab.logs()
    assert lab.data("a", "turn.interrupted") == []


def test_an_overload_that_lasts_parks_the_message_and_counts_no_attempt(lab: Lab) -> None:
    lab.start(BRANCHLINE_MAX_RETRIES="1")
    lab.post("a", 1, "do: write a.txt one\ndo: error 529")
    lab.wait_for("a", "turn.interrupted", seconds=30)
    (told,) = lab.data("a", "turn.interrupted")
    assert told.reason == "budget"
    assert told.resumes_at is not None
    assert lab.found.attempts("a", 1) == 0
    assert lab.found.outcome("a", 1) is None


async def test_one_failure_of_the_model_is_retried_and_told(agents: AgentLab) -> None:
    events, result = await ask(agents.agent(), agents.turn("do: error 529 times=1\ndo: say Back."))
    assert (result.ended, result.text) == ("completed", "Back.")
    [retry] = [event for event in events if isinstance(event, Retry)]
    assert (retry.attempt, retry.status) == (1, 529)
    assert retry.delay > 0


async def test_a_usage_limit_names_its_end(agents: AgentLab) -> None:
    resets_at = int(time.time()) + 3600
    model_env = {"ANTHROPIC_BASE_URL": agents.model.url, "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-x"}
    _, result = await ask(agents.agent(model_env=model_env), agents.turn(limit(resets_at)))
    assert (result.ended, result.resets_at) == ("limited", resets_at)
    assert result.text.startswith("The model's usage limit is reached until ")
