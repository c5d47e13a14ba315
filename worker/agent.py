"""Claude Code behind the ``Agent`` port: the real CLI, one process per turn, resumed by session id.

Decides with which options, in which environment and on which session the CLI starts. It must not judge the
outcome of a turn for the engine, commit, or touch git; it holds no credential but the model's.

An untrusted checkout is read, never obeyed: its settings, hooks, MCP servers, agents and skills are not
loaded (a repository's settings could run a script as ``apiKeyHelper`` or send the key elsewhere with
``ANTHROPIC_BASE_URL``; both were tried and both worked with ``setting_sources=["project"]``). Its CLAUDE.md
is read all the same, as that of an additional folder.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from uuid import UUID, uuid4
from weakref import WeakSet

import claude_agent_sdk
from claude_agent_sdk import ClaudeAgentOptions, SessionStore, project_key_for_directory

from worker import agent_memory, spawning
from worker.agent_result import model_host
from worker.agent_run import ClaudeRun
from worker.agent_steer import Steering
from worker.errors import AgentError
from worker.launch import OWNER_MARKER, WORKER_MARKER, Surroundings, fresh_home, write_launcher
from worker.ports import AgentTurn
from worker.session_store import Mirror

# The SDK logs what the CLI printed, unredacted, and as an error when we kill the CLI on purpose. All of it
# reaches this package as exceptions as well.
logging.getLogger("claude_agent_sdk").setLevel(logging.CRITICAL)

_TOOLS = [
    *(
        "Agent",
        "Bash",
        "Edit",
        "Glob",
        "Grep",
        "NotebookEdit",
        "Read",
        "Skill",
        "WebFetch",
        "WebSearch",
        "Write",
    ),
    *("TaskCreate", "TaskGet", "TaskList", "TaskUpdate"),
]
"""None that waits for a person (AskUserQuestion) or for later (schedules), or changes folder (worktrees)."""
_LINE_LIMIT = 64 * 1024 * 1024
"""Bytes of one message of the CLI; a picture or a large file read comes as one line."""
_SETTINGS: dict[str, object] = {"cleanupPeriodDays": 3650, "attribution": {"commit": "", "pr": ""}}


def session_folder(checkout: Path) -> str:
    """The folder below ``projects`` in which Claude Code keeps the sessions of a checkout."""
    return project_key_for_directory(checkout)


class ClaudeAgent:
    """Starts Claude Code (``worker.ports.Agent``).

    ``state_dir``: for the launcher script. ``config_dir``: Claude Code's own (sessions, task lists), to be
    kept as long as the threads. ``worker_marker``: names the worker id in every process of every turn.
    ``model_env``: which model and how to reach it; the only credentials the CLI gets. ``pass_env``: names of
    further variables of the worker to let through. ``trusted``: settings, hooks and MCP servers of the
    checkout run. ``redact`` goes over every line that is logged or quoted. ``hang_seconds`` without a sign
    of life end a turn. ``cli`` replaces the bundled executable. ``node_path`` is put in front of ``PATH``.
    ``home`` is Claude's home folder, one of its own in ``state_dir`` unless given; each turn finds it empty
    but for caches. Call ``close`` at the end.
    """

    def __init__(
        self,
        *,
        state_dir: Path,
        config_dir: Path,
        worker_marker: str,
        model_env: Mapping[str, str],
        pass_env: Collection[str] = (),
        redact: Callable[[str], str],
        trusted: bool = False,
        max_retries: int = 4,
        hang_seconds: float = 600,
        interrupt_seconds: float = 5,
        cli: Path | None = None,
        node_path: Path | None = None,
        home: Path | None = None,
    ) -> None:
        self._state_dir = state_dir.absolute()  # the CLI starts in another folder
        self._cli = cli or Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
        self._pass_env = frozenset(pass_env)
        self._redact = redact
        self._trusted = trusted
        self._interrupt_seconds = interrupt_seconds
        self._surroundings = Surroundings(
            home=(home or state_dir / "home").absolute(),
            config_dir=config_dir.absolute(),
            worker_marker=worker_marker,
            owner_marker=uuid4().hex,
            model_env=dict(model_env),
            node_path=node_path,
            max_retries=max_retries,
            hang_seconds=hang_seconds,
        )
        self._guard = spawning.guard(name=OWNER_MARKER, value=self._surroundings.owner_marker)
        self._runs: WeakSet[ClaudeRun] = WeakSet()

    async def start(self, turn: AgentTurn) -> ClaudeRun:
        """Start the CLI for ``turn`` without waiting until it is up, so that it can be stopped at any moment.

        Raises ``AgentError`` when it cannot be started at all; what goes wrong later is in the result.
        """
        if not turn.cwd.is_dir():
            raise AgentError(f"The checkout {turn.cwd} does not exist: prepare the workspace first.")
        session = self._session(turn)
        self._guard.ensure()
        run = ClaudeRun(
            turn=turn,
            session=session,
            host=model_host(self._surroundings.model_env),
            redact=self._redact,
            hang_seconds=self._surroundings.hang_seconds,
            interrupt_seconds=self._interrupt_seconds,
        )
        self._runs.add(run)
        return run

    async def remembers(self, *, session_id: UUID, prompt_id: UUID) -> bool:
        """Whether the session's transcript holds the prompt that was sent under this id."""
        if spawning.separated():
            await asyncio.to_thread(spawning.open_up, self._surroundings.config_dir)
        path = agent_memory.transcript(self._surroundings.config_dir, session_id)
        return path is not None and await asyncio.to_thread(agent_memory.holds, path, prompt_id)

    async def forget(self, *, session_id: UUID) -> None:
        """Remove what is kept of a session that does not run. Raises ``AgentError``."""
        try:
            folder = self._surroundings.config_dir
            await asyncio.to_thread(spawning.call, agent_memory.forget, folder, session_id)
        except OSError as error:
            raise AgentError(f"The session {session_id} could not be removed: {error.strerror}.") from error

    async def forget_others(self, *, but: Collection[UUID]) -> None:
        """Remove what is kept of every session but these; none may run. Raises ``AgentError``."""
        try:
            folder = self._surroundings.config_dir
            await asyncio.to_thread(spawning.call, agent_memory.forget_others, folder, but=tuple(but))
        except OSError as error:
            raise AgentError(f"Old sessions could not be removed: {error.strerror}.") from error

    async def sweep(self) -> int:
        """Kill what earlier turns of this worker id left over, whoever started them; how many there were.

        Raises ``AgentError`` if some could not be killed.
        """
        marker = self._surroundings.worker_marker
        swept = await asyncio.to_thread(spawning.sweep, name=WORKER_MARKER, value=marker)
        if swept.left:
            raise AgentError(f"{swept.named} of an earlier turn could not be killed: restart the machine.")
        return swept.killed

    async def close(self) -> None:
        """Stop what still runs and let the guard go."""
        for run in list(self._runs):
            await run.stop()
            await run.close()
        await asyncio.to_thread(self._guard.close)

    def _session(self, turn: AgentTurn) -> "_Session":
        if not os.access(self._cli, os.X_OK):
            raise AgentError(
                f"Claude Code is not at {self._cli}: install claude-agent-sdk for this platform."
            )
        variables = self._surroundings.variables(turn_marker=turn.marker)
        try:
            if spawning.separated():
                spawning.fresh_home(self._surroundings.home, config_dir=self._surroundings.config_dir)
            else:
                fresh_home(self._surroundings.home)
            launcher = write_launcher(
                folder=self._state_dir, cli=self._cli, keep=self._pass_env.union(variables)
            )
        except OSError as error:
            raise AgentError(f"The folder {self._state_dir} cannot be written: {error.strerror}.") from error
        return _Session(
            turn=turn,
            config_dir=self._surroundings.config_dir,
            launcher=launcher,
            variables=variables,
            trusted=self._trusted,
        )


@dataclass(frozen=True, kw_only=True)
class _Session:
    """One turn's session (``worker.agent_run.Session``)."""

    turn: AgentTurn
    config_dir: Path
    launcher: Path
    variables: Mapping[str, str]
    trusted: bool

    def transcript(self) -> Path | None:
        return agent_memory.transcript(self.config_dir, self.turn.session_id)

    def tasks(self) -> Path:
        return self.config_dir / "tasks" / str(self.turn.session_id)

    def _settings(self) -> dict[str, object]:
        settings = _SETTINGS if self.trusted else {**_SETTINGS, "disableAllHooks": True}
        if self.turn.readable is None:
            return settings
        # Denied whatever the mode of permissions is; "//" begins an absolute path. The folder is none of
        # ``add_dirs``: what people send would be read as instructions there.
        inside = f"/{self.turn.readable}/**"
        return {**settings, "permissions": {"allow": [f"Read({inside})"], "deny": [f"Edit({inside})"]}}

    def set_aside(self) -> None:
        while (path := self.transcript()) is not None:
            with suppress(FileNotFoundError):
                path.replace(path.with_name(f"{path.name}.unreadable-{uuid4().hex[:8]}"))

    def options(
        self, *, resume: bool, steering: Steering, stderr: Callable[[str], None]
    ) -> ClaudeAgentOptions:
        session_id = str(self.turn.session_id)
        return ClaudeAgentOptions(
            cwd=self.turn.cwd,
            cli_path=self.launcher,
            env=dict(self.variables),
            resume=session_id if resume else None,
            session_id=None if resume else session_id,
            system_prompt={
                "type": "preset",
                "preset": "claude_code",
                "append": self.turn.context,
                # Recorded otherwise: the context of the first turn would stay for ever.
                "snapshot": False,
            },
            tools=_TOOLS,
            permission_mode="bypassPermissions",
            verbatim_prompts=True,
            include_partial_messages=True,
            setting_sources=["project"] if self.trusted else [],
            settings=json.dumps(self._settings()),
            strict_mcp_config=not self.trusted,
            add_dirs=[] if self.trusted else [self.turn.cwd],
            hooks=steering.hooks(),
            max_buffer_size=_LINE_LIMIT,
            stderr=stderr,
            # A double that says when there is something to write; the files are laid and read by others.
            session_store=cast(SessionStore, Mirror(self.turn.grown)) if self.turn.grown else None,
            session_store_flush="eager",
        )
