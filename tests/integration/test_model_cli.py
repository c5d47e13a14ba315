"""The real Claude Code against the offline model and the scripted model, with its real tools."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    HookMatcher,
    ResultMessage,
    ToolUseBlock,
)

from fleet.model.offline import OfflineModel
from tests.fakes.model import ScriptedModel, scripted_model, serving

pytestmark = pytest.mark.slow

SITE = Path(__file__).parents[2] / "examples" / "site"
PAUSED = "You were paused because another thread's message came first. Go on."


class Cli:
    """The real CLI in one checkout and one session, one process per turn."""

    def __init__(self, *, url: str, cwd: Path, home: Path) -> None:
        self.cwd = cwd
        self.used: list[ToolUseBlock] = []
        self.steer: dict[str, str] = {}
        self._session = str(uuid4())
        self._begun = False
        self._env = {
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "offline",
            "CLAUDE_CONFIG_DIR": str(home),
            "HOME": str(home),  # Claude Code's Bash reads the login profile: not the developer's own
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
            "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
            "CLAUDE_CODE_ENABLE_TODO_TOOLS": "1",
            "CLAUDE_CODE_MAX_RETRIES": "2",
            "IS_SANDBOX": "1",
        }

    async def ask(self, text: str, *, stop_when: "asyncio.Future[Any] | None" = None) -> ResultMessage:
        """One turn; with ``stop_when`` it is interrupted as soon as that is done."""
        client = ClaudeSDKClient(self._options())
        await client.connect()
        try:
            await client.query(text)
            reader = asyncio.create_task(self._read(client))
            if stop_when:
                await stop_when
                await client.interrupt()
            return await reader
        finally:
            self._begun = True
            await client.disconnect()

    async def _read(self, client: ClaudeSDKClient) -> ResultMessage:
        result: ResultMessage | None = None
        async for message in client.receive_response():
            if isinstance(message, AssistantMessage):
                self.used += [block for block in message.content if isinstance(block, ToolUseBlock)]
            if isinstance(message, ResultMessage):
                result = message
        assert result is not None
        return result

    def _options(self) -> ClaudeAgentOptions:
        async def after_tool(*_: Any) -> Any:
            said = self.steer.pop("tool", "")
            added = {"hookEventName": "PostToolUse", "additionalContext": said}
            return {"hookSpecificOutput": added} if said else {}

        async def at_end(*_: Any) -> Any:
            said = self.steer.pop("stop", "")
            return {"decision": "block", "reason": said} if said else {}

        return ClaudeAgentOptions(
            cwd=self.cwd,
            env=self._env,
            permission_mode="bypassPermissions",
            setting_sources=[],
            strict_mcp_config=True,
            include_partial_messages=True,
            verbatim_prompts=True,
            system_prompt={"type": "preset", "preset": "claude_code", "append": "", "snapshot": False},
            hooks={"PostToolUse": [HookMatcher(hooks=[after_tool])], "Stop": [HookMatcher(hooks=[at_end])]},
            tools=["Bash", "Read", "Edit", "Write", "Glob", "Grep", "TaskCreate", "TaskUpdate", "TaskList"],
            **({"resume": self._session} if self._begun else {"session_id": self._session}),
        )


def checkout(folder: Path) -> Path:
    """A git copy of the example site."""
    shutil.copytree(SITE, folder, ignore=shutil.ignore_patterns("node_modules", "dist", ".astro"))
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    for line in (["init", "-q", "-b", "main"], ["add", "-A"], [*who, "commit", "-q", "-m", "site"]):
        subprocess.run(["git", *line], cwd=folder, check=True)
    return folder


@pytest.fixture
async def offline(tmp_path: Path) -> AsyncIterator[Cli]:
    with serving(OfflineModel()) as url:
        yield Cli(url=url, cwd=checkout(tmp_path / "site"), home=tmp_path / "claude")


@pytest.fixture
async def model() -> AsyncIterator[ScriptedModel]:
    async with scripted_model() as running:
        yield running


@pytest.fixture
def scripted(model: ScriptedModel, tmp_path: Path) -> Cli:
    (tmp_path / "work").mkdir()
    return Cli(url=model.url, cwd=tmp_path / "work", home=tmp_path / "claude")


def data(cli: Cli) -> dict[str, Any]:
    """The site's data as it stands in the checkout."""
    read: dict[str, Any] = json.loads((cli.cwd / "src/data/site.json").read_text())
    return read


def changed(cli: Cli) -> list[str]:
    """Paths that differ from the commit, new ones included."""
    out = subprocess.check_output(["git", "status", "--porcelain", "-uall"], cwd=cli.cwd, text=True)
    return [line[3:] for line in out.splitlines()]


async def test_the_offline_model_changes_the_headline_with_real_tools(offline: Cli) -> None:
    result = await offline.ask("change the headline to Hello from Branchline")

    assert data(offline)["headline"] == "Hello from Branchline"
    assert changed(offline) == ["src/data/site.json"]
    assert [block.name for block in offline.used] == ["Grep", "Read", "Edit", "Read"]
    assert not result.is_error
    assert "src/data/site.json" in (result.result or "")
    assert result.total_cost_usd == 0


@pytest.mark.parametrize(
    "words", ['Tea & "cake" </h1><script>', "$& $1 ${x} {y} \\n `z`", "Überraschung 🚂 “so”", "a\\"]
)
async def test_any_words_arrive_in_the_data_unchanged(offline: Cli, words: str) -> None:
    await offline.ask(f"change the headline to {words}")

    assert data(offline)["headline"] == words


async def test_a_new_page_is_written_and_linked_in_the_navigation(offline: Cli) -> None:
    result = await offline.ask('add a page called about saying "We bake at six."')

    page = (offline.cwd / "src/pages/about.astro").read_text()
    assert 'const text = "We bake at six.";' in page
    assert data(offline)["nav"][-1] == {"label": "About", "href": "/about"}
    assert "src/pages/about.astro" in (result.result or "")


async def test_several_wishes_are_kept_in_claudes_task_list(offline: Cli) -> None:
    await offline.ask("change the accent colour to teal and the tagline to Open late")

    assert (data(offline)["accent"], data(offline)["tagline"]) == ("teal", "Open late")
    names = [block.name for block in offline.used]
    assert (names.count("TaskCreate"), names.count("TaskUpdate")) == (2, 4)


async def test_the_pages_are_listed_by_looking(offline: Cli) -> None:
    result = await offline.ask("list the pages")

    assert "/visit (`src/pages/visit.astro`)" in (result.result or "")


async def test_the_offline_model_remembers_the_session_on_resume(offline: Cli) -> None:
    await offline.ask("hello")
    await offline.ask("change the headline to A")

    assert "“hello”" in ((await offline.ask("what did I ask first?")).result or "")
    assert "2. change the headline to A" in ((await offline.ask("what did I ask before?")).result or "")


async def test_what_it_cannot_do_it_says_and_how_to_connect_a_model(offline: Cli) -> None:
    result = await offline.ask("rewrite everything in Rust")

    assert "ANTHROPIC_API_KEY" in (result.result or "")
    assert changed(offline) == []


async def test_steps_run_in_order_one_tool_per_reply(scripted: Cli, model: ScriptedModel) -> None:
    result = await scripted.ask(
        "please\n"
        "do: write a.txt one\\ntwo\n"
        "do: append a.txt it's three\n"
        "do: edit a.txt two => 2\n"
        "do: write a.txt four\\n\n"
        "do: append b.txt five\n"
        "do: bash cat b.txt && exit 3\n"
        "do: task create Look\n"
        "do: task done 1\n"
        "do: say finished"
    )

    assert (result.result, result.is_error) == ("finished", False)
    names = ["Write", "Bash", "Read", "Edit", "Write", "Bash", "Bash", "TaskCreate", "TaskUpdate"]
    assert [block.name for block in scripted.used] == names
    assert (scripted.cwd / "a.txt").read_text() == "four\n"
    assert (scripted.cwd / "b.txt").read_text() == "five\n"
    assert len(model.requests) == len(names) + 1


async def test_recall_tells_the_earlier_texts_of_the_session(scripted: Cli) -> None:
    await scripted.ask("do: say a")
    await scripted.ask("two\nlines")
    result = await scripted.ask("do: recall")

    assert result.result == 'recall: ["do: say a", "two\\nlines"]'


async def test_a_waiting_turn_goes_on_when_the_file_is_there(scripted: Cli, model: ScriptedModel) -> None:
    turn = asyncio.create_task(scripted.ask("do: wait go.txt\ndo: say went"))
    await model.wait_for_request(lambda received: "wait go.txt" in received.text)
    assert not turn.done()
    (scripted.cwd / "go.txt").touch()

    assert ((await turn).result or "").endswith("went")


async def test_an_interrupted_tool_is_done_again_after_the_pause(scripted: Cli, model: ScriptedModel) -> None:
    async def second_step_runs() -> None:
        while not (scripted.cwd / "running").exists():
            await asyncio.sleep(0.01)

    text = "do: append log one\n"
    text += "do: bash touch running; until [ -f go ]; do nice sleep 0.1; done; echo two >> log"
    stopped = await scripted.ask(f"{text}\ndo: say end", stop_when=asyncio.ensure_future(second_step_runs()))
    assert stopped.terminal_reason == "aborted_tools"
    (scripted.cwd / "go").touch()
    result = await scripted.ask(PAUSED)

    assert result.result == "end"
    assert (scripted.cwd / "log").read_text() == "one\ntwo\n"
    assert model.requests[-1].request.resumed
    assert model.requests[-1].request.user_texts == (f"{text}\ndo: say end",)


async def test_an_interrupted_stream_is_told_again_after_the_pause(
    scripted: Cli, model: ScriptedModel
) -> None:
    seen = asyncio.ensure_future(model.wait_for_request())
    stopped = await scripted.ask("do: append log one\ndo: wait go\ndo: append log two", stop_when=seen)
    assert (stopped.terminal_reason or "").startswith("aborted")
    (scripted.cwd / "go").touch()
    await scripted.ask(PAUSED)

    assert (scripted.cwd / "log").read_text() == "one\ntwo\n"


@pytest.mark.parametrize("way", ["tool", "stop"])
async def test_text_that_a_hook_brings_adds_steps(scripted: Cli, model: ScriptedModel, way: str) -> None:
    scripted.steer[way] = "A new message: do: append log steered\ndo: repeat-context"
    result = await scripted.ask("do: append log first\ndo: say one")

    assert (scripted.cwd / "log").read_text() == "first\nsteered\n"
    assert "A new message" in (result.result or "")
    assert model.requests[-1].request.user_texts == ("do: append log first\ndo: say one",)


async def test_an_error_is_retried_and_then_told(scripted: Cli, model: ScriptedModel) -> None:
    passing = await scripted.ask("do: error 529 times=1\ndo: say fine")
    failing = await scripted.ask("do: error 400")

    assert passing.result == "fine"
    assert (failing.is_error, failing.api_error_status) == (True, 400)


async def test_a_hanging_model_can_be_interrupted(scripted: Cli, model: ScriptedModel) -> None:
    seen = asyncio.ensure_future(model.wait_for_request())
    result = await scripted.ask("do: hang", stop_when=seen)

    assert result.terminal_reason == "aborted_streaming"
