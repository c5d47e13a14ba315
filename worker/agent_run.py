"""One turn of Claude Code: one CLI process from its start until nothing of it is alive.

The order at the end is what everything else relies on: the CLI says how it ended, then every process that
carries the turn's marker is killed, and only then does ``close`` (or ``stop``) return, so that whoever
commits next commits a tree that nobody writes to any more. Nothing here starts a second turn or retries one.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol, cast

from claude_agent_sdk import (
    ClaudeAgentOptions,
    ClaudeSDKClient,
    Message,
    ProcessError,
    ResultError,
    ResultMessage,
)

from contracts.words import MessageId
from worker import spawning
from worker.agent_events import Story, TaskList
from worker.agent_result import crash_of, hung_of, result_of, spent
from worker.agent_steer import Steering
from worker.errors import AgentError
from worker.launch import TURN_MARKER
from worker.ports import AgentEvent, AgentResult, AgentTurn

_log = logging.getLogger(__name__)

_ABORT_SECONDS = 5.0
"""How long the CLI may take from the confirmed interrupt to its last result."""
_LEAVE_SECONDS = 5.0
"""How long the CLI may take after its result to write its transcript and leave."""
_UNWIND_SECONDS = 10.0
"""How long the SDK may take to notice that its CLI is dead."""


class Session(Protocol):
    """Where the CLI keeps a session, and the options that start it."""

    def transcript(self) -> Path | None:
        """The transcript, if the session exists."""

    def tasks(self) -> Path:
        """The folder of the session's task list."""

    def set_aside(self) -> None:
        """Move a transcript that the CLI cannot read out of the way."""

    def options(
        self, *, resume: bool, steering: Steering, stderr: Callable[[str], None]
    ) -> ClaudeAgentOptions:
        """The options for one start of the CLI."""


class ClaudeRun:
    """The running turn (``worker.ports.AgentRun``). Made by ``ClaudeAgent.start`` inside the event loop."""

    def __init__(
        self,
        *,
        turn: AgentTurn,
        session: Session,
        host: str,
        redact: Callable[[str], str],
        hang_seconds: float,
        interrupt_seconds: float,
    ) -> None:
        self._turn = turn
        self._session = session
        self._host = host
        self._redact = redact
        self._hang_seconds = hang_seconds
        self._interrupt_seconds = interrupt_seconds
        self._steering = Steering()
        self._story = Story(tasks=TaskList.load(session.tasks()), steering=self._steering, redact=redact)
        self._said: deque[str] = deque(maxlen=20)
        self._queue: asyncio.Queue[AgentEvent | None] = asyncio.Queue()
        self._client: ClaudeSDKClient | None = None
        self._asked: ClaudeSDKClient | None = None
        self._hung = False
        self._result: AgentResult | None = None
        self._settled = asyncio.Event()
        self._stopped = False
        self._stopping: asyncio.Task[None] | None = None
        self._started = self._heard = time.monotonic()
        self._driver = asyncio.create_task(self._drive(), name=f"claude {turn.turn_id}")
        self._driver.add_done_callback(lambda _: self._settle(None))

    async def events(self) -> AsyncIterator[AgentEvent]:
        """The events in order; ends as soon as the CLI has said how the turn ended, or was stopped."""
        while (event := await self._queue.get()) is not None:
            yield event
        self._queue.put_nowait(None)  # a second reader ends at once, too

    def steer(self, *, message_id: MessageId, text: str) -> None:
        """Queue ``text`` for the turn's next step; without a ``Steered`` event it never got there."""
        self._steering.add(message_id=message_id, text=text)

    async def stop(self) -> None:
        """Interrupt, bounded, then kill. Raises ``AgentError`` if a process could not be killed."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(), name=f"stop {self._turn.turn_id}")
        await asyncio.shield(self._stopping)

    async def close(self) -> AgentResult:
        """Wait until the turn ended and nothing of it is alive. Raises ``AgentError`` as ``stop`` does."""
        if self._stopping is not None:
            await asyncio.shield(self._stopping)
        await asyncio.wait({self._driver})
        if not self._driver.cancelled() and (error := self._driver.exception()) is not None:
            raise error
        return self._result or AgentResult(ended="stopped", text="", duration_ms=self._duration_ms())

    # ------------------------------------------------------------ stopping

    async def _stop(self) -> None:
        if self._result is None:
            self._stopped = True
            if self._asked is None:
                # Still starting: there is nothing to interrupt, and nothing may start after the sweep.
                self._driver.cancel()
            else:
                await self._interrupt(self._asked)
        await self._kill()
        self._settle(None)
        if self._asked is None:
            await self._outlive_start()

    async def _interrupt(self, client: ClaudeSDKClient) -> None:
        """Ask nicely, so that the transcript ends with the interruption; bounded, whatever goes wrong."""
        try:
            await asyncio.wait_for(client.interrupt(), self._interrupt_seconds)
            await asyncio.wait_for(self._settled.wait(), _ABORT_SECONDS)
        except Exception as error:  # hung, crashed or leaving by itself: the kill that follows settles it
            _log.info("claude did not confirm the interrupt: %s", self._redact(repr(error)))

    async def _kill(self) -> None:
        swept = await asyncio.to_thread(spawning.sweep, name=TURN_MARKER, value=self._turn.marker)
        if swept.left:
            raise AgentError(f"{swept.named} of the turn could not be killed: restart the worker.")

    async def _outlive_start(self) -> None:
        """A start that was cancelled half-way may still have spawned the CLI: sweep until it has unwound."""
        deadline = time.monotonic() + _UNWIND_SECONDS
        while not self._driver.done() and time.monotonic() < deadline:
            await asyncio.wait({self._driver}, timeout=0.02)
            await self._kill()

    # ------------------------------------------------------------ the turn itself

    async def _drive(self) -> None:
        watch = asyncio.create_task(self._watch(), name=f"watch {self._turn.turn_id}")
        try:
            self._settle(await self._outcome())
        finally:
            watch.cancel()
            await self._leave()

    async def _watch(self) -> None:
        """Kill a CLI that gave no sign of life for too long; its end of stream then ends the turn."""
        while (left := self._heard + self._hang_seconds - time.monotonic()) > 0:
            await asyncio.sleep(left)
        self._hung = True
        await self._kill()

    async def _outcome(self) -> AgentResult:
        try:
            return await self._converse()
        except Exception as error:  # the SDK raises bare Exception, too; a turn never raises
            if self._stopped:  # a CLI that ``stop`` killed did not crash
                return AgentResult(ended="stopped", text="", duration_ms=self._duration_ms())
            if self._hung:
                return hung_of(seconds=self._hang_seconds, duration_ms=self._duration_ms())
            exit_code = error.exit_code if isinstance(error, ProcessError) else None
            said = self._last_words() or ("" if exit_code is not None else self._redact(str(error)))
            return crash_of(exit_code=exit_code, said=said, duration_ms=self._duration_ms())

    def _last_words(self) -> str:
        """The last line of stderr that is not one of the CLI's own remarks."""
        return next((line for line in reversed(self._said) if not line.startswith("[claude-code:")), "")

    def _ended_badly(self, result: AgentResult) -> AgentResult:
        """A CLI that ``stop`` killed did not crash."""
        return (
            AgentResult(ended="stopped", text="", duration_ms=result.duration_ms) if self._stopped else result
        )

    async def _converse(self) -> AgentResult:
        transcript = self._session.transcript()
        before = asyncio.create_task(asyncio.to_thread(spent, transcript))
        try:
            client = await self._connect(resume=transcript is not None)
            await client.query(_said(self._turn))
            self._asked = client
            return self._result_of(await self._listen(client), spent_before=await before)
        finally:
            await before

    async def _listen(self, client: ClaudeSDKClient) -> ResultMessage:
        # The SDK's iterator is a generator: closed here, not whenever it is collected.
        messages = cast(AsyncGenerator[Message, None], client.receive_messages())
        async with aclosing(messages):
            async for message in messages:
                self._heard = time.monotonic()
                for event in self._story.tell(message):
                    self._queue.put_nowait(event)
                if isinstance(message, ResultMessage):
                    return message
        raise ProcessError("Claude Code left without a result", exit_code=0)

    def _result_of(self, message: ResultMessage, *, spent_before: float) -> AgentResult:
        return result_of(
            message,
            host=self._host,
            stopped=self._stopped,
            resets_at=self._story.resets_at,
            spent_before=spent_before,
        )

    async def _connect(self, *, resume: bool) -> ClaudeSDKClient:
        """Start the CLI on the session; when it sees the session's state differently, believe it, once."""
        try:
            return await self._start(resume=resume)
        except ProcessError as error:
            if resume and isinstance(error, ResultError) and "No conversation found" in str(error):
                # A CLI killed in its first moments leaves a transcript it can neither resume nor replace.
                self._session.set_aside()
            elif resume or self._session.transcript() is None:
                raise
            self._said.clear()
            return await self._start(resume=not resume)

    async def _start(self, *, resume: bool) -> ClaudeSDKClient:
        options = self._session.options(resume=resume, steering=self._steering, stderr=self._hear)
        client = ClaudeSDKClient(options)
        await client.connect()
        self._client = client
        return client

    def _hear(self, line: str) -> None:
        clean = self._redact(line)
        self._said.append(clean)
        _log.info("claude: %s", clean)

    def _settle(self, result: AgentResult | None) -> None:
        """The outcome is known: the events end. The first outcome stands."""
        self._result = self._result or result
        if not self._settled.is_set():
            self._settled.set()
            self._queue.put_nowait(None)

    # ------------------------------------------------------------ leaving

    async def _leave(self) -> None:
        """Let the CLI write its transcript and go, unless it is to be killed; then kill what is left."""
        goodbye = asyncio.create_task(self._client.disconnect()) if self._client is not None else None
        if (
            goodbye is not None
            and self._result is not None
            and self._result.ended in ("completed", "limited")
        ):
            await asyncio.wait({goodbye}, timeout=_LEAVE_SECONDS)
        await self._kill()
        if goodbye is not None:
            await asyncio.wait({goodbye}, timeout=_UNWIND_SECONDS)
            if goodbye.done() and not goodbye.cancelled() and (error := goodbye.exception()) is not None:
                _log.info("claude left badly: %s", self._redact(repr(error)))

    def _duration_ms(self) -> int:
        return int((time.monotonic() - self._started) * 1000)


async def _said(turn: AgentTurn) -> AsyncIterator[dict[str, Any]]:
    """The prompt as the CLI takes it on its input; the id is kept in the transcript (measured)."""
    message: dict[str, Any] = {
        "type": "user",
        "message": {"role": "user", "content": turn.prompt},
        "parent_tool_use_id": None,
        "session_id": "default",
    }
    yield message | ({"uuid": str(turn.prompt_id)} if turn.prompt_id else {})
