"""What Claude Code says, as the events of ``worker.ports``.

Pure: messages of the SDK go in, events come out. Nothing here decides how a turn ended, waits, or redacts.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from claude_agent_sdk import (
    AssistantMessage,
    Message,
    RateLimitEvent,
    StreamEvent,
    SystemMessage,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)

from worker import below
from worker.agent_steer import Steering
from worker.ports import AgentEvent, Requested, Retry, Task, Tasks, Text, Tool

OUTPUT_LIMIT = 4_000
"""Characters of a tool's input values and output that an event carries."""
_PARAGRAPH = "\n\n"
_STATUSES: dict[str, Literal["pending", "in_progress", "completed"]] = {
    "pending": "pending",
    "in_progress": "in_progress",
    "completed": "completed",
}
# The CLI words its own failures as an assistant message of a model with this name.
_SYNTHETIC = "<synthetic>"


def shortened(text: str, *, limit: int = OUTPUT_LIMIT) -> str:
    """The first ``limit`` characters, and how many were left out."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n… ({len(text) - limit} more characters)"


class TaskList:
    """Claude's own task list, followed through the tools that change it."""

    def __init__(self, tasks: Iterable[Task] = ()) -> None:
        self._tasks = {task.id: task for task in tasks}

    @classmethod
    def load(cls, folder: Path) -> "TaskList":
        """The list Claude Code keeps in ``folder`` (one JSON file per task); empty when there is none."""
        found = []
        for path in folder.glob("*.json"):
            try:
                if (content := below.read(folder, path.name)) is not None:
                    found.append(_task(json.loads(content)))
            except (OSError, ValueError, KeyError, TypeError):  # half-written by a killed CLI
                continue
        return cls(sorted(found, key=lambda task: (len(task.id), task.id)))

    @property
    def snapshot(self) -> Tasks:
        """The whole list now."""
        return Tasks(tasks=tuple(self._tasks.values()))

    def apply(self, *, name: str, given: dict[str, Any], result: Any) -> bool:
        """Take in one finished tool use; whether it changed the list."""
        before = dict(self._tasks)
        if name == "TodoWrite":
            self._replace(given.get("todos"))
        elif name == "TaskCreate" and isinstance(result, dict) and isinstance(result.get("task"), dict):
            task = _task({**given, **result["task"]})
            self._tasks[task.id] = task
        elif name == "TaskUpdate":
            self._update(given)
        return self._tasks != before

    def _replace(self, todos: Any) -> None:
        entries = [entry for entry in todos if isinstance(entry, dict)] if isinstance(todos, list) else []
        tasks = [
            _task({"subject": e.get("content", ""), **e, "id": str(n)}) for n, e in enumerate(entries, 1)
        ]
        self._tasks = {task.id: task for task in tasks}

    def _update(self, given: dict[str, Any]) -> None:
        task_id = str(given.get("taskId", ""))
        if given.get("status") == "deleted":
            self._tasks.pop(task_id, None)
        elif known := self._tasks.get(task_id):
            changes = {key: given[key] for key in ("subject", "status") if given.get(key)}
            self._tasks[task_id] = _task({**vars(known), **changes})


def _task(fields: dict[str, Any]) -> Task:
    status = _STATUSES.get(str(fields.get("status")), "pending")
    return Task(id=str(fields["id"]), subject=str(fields.get("subject", "")), status=status)


class Story:
    """The events of one turn, in the order of the messages it is told."""

    def __init__(self, *, tasks: TaskList, steering: Steering, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self._tasks = tasks
        self._steering = steering
        self._tools: dict[str, tuple[str, dict[str, Any]]] = {}
        self._requested = False
        self._wrote = False
        self._new_block = True
        self._streamed = False
        self.resets_at: float | None = None
        """Unix time at which the usage limit ends that the model named last, if it refused a request."""

    def tell(self, message: Message) -> Iterator[AgentEvent]:
        """The events of one message. Never raises for a message it does not know."""
        if isinstance(message, StreamEvent):
            yield from self._stream(message)
        elif isinstance(message, AssistantMessage):
            yield from self._assistant(message)
        elif isinstance(message, UserMessage):
            yield from self._tool_results(message)
        elif isinstance(message, SystemMessage):
            yield from _retries(message)
        elif isinstance(message, RateLimitEvent) and message.rate_limit_info.status == "rejected":
            self.resets_at = message.rate_limit_info.resets_at

    def _stream(self, message: StreamEvent) -> Iterator[AgentEvent]:
        if message.parent_tool_use_id is not None:  # a sub-agent talks to the agent, not to the person
            return
        event = message.event
        if event.get("type") == "message_start":
            if not self._requested:
                yield Requested(model=str(event.get("message", {}).get("model", "")))
            self._requested = True
            yield from self._steering.answered()
        elif event.get("type") == "content_block_start":
            self._new_block = True
        elif event.get("type") == "content_block_delta" and event["delta"].get("type") == "text_delta":
            self._streamed = True
            yield from self._text(event["delta"].get("text", ""))

    def _text(self, text: str) -> Iterator[AgentEvent]:
        if not text:
            return
        gap = _PARAGRAPH if self._new_block and self._wrote else ""
        self._new_block, self._wrote = False, True
        yield Text(text=gap + text)

    def _assistant(self, message: AssistantMessage) -> Iterator[AgentEvent]:
        for block in message.content:
            if isinstance(block, ToolUseBlock):
                self._tools[block.id] = (block.name, block.input)
                given = self._shortened_input(block.input)
                yield Tool(tool_use_id=block.id, name=block.name, state="started", input=given)
            elif isinstance(block, TextBlock) and message.parent_tool_use_id is None:
                yield from self._whole_text(block, spoken=message.model != _SYNTHETIC)

    def _whole_text(self, block: TextBlock, *, spoken: bool) -> Iterator[AgentEvent]:
        """A finished text block: told already if it was streamed, else (a fallback of the CLI) told now."""
        if spoken and not self._streamed:
            self._new_block = True
            yield from self._text(block.text)
        self._streamed = False

    def _tool_results(self, message: UserMessage) -> Iterator[AgentEvent]:
        blocks = message.content if isinstance(message.content, list) else []
        for block in blocks:
            if isinstance(block, ToolResultBlock) and block.tool_use_id in self._tools:
                name, given = self._tools.pop(block.tool_use_id)
                yield Tool(
                    tool_use_id=block.tool_use_id,
                    name=name,
                    state="failed" if block.is_error else "succeeded",
                    input=self._shortened_input(given),
                    output=self._shortened(_told(_plain(block.content))),
                )
                result = message.tool_use_result
                if not block.is_error and self._tasks.apply(name=name, given=given, result=result):
                    yield self._tasks.snapshot

    def _shortened(self, text: str) -> str:
        return shortened(self._redact(text))  # first: half a secret looks like none

    def _shortened_input(self, given: dict[str, Any]) -> dict[str, Any]:
        return {key: self._shortened(v) if isinstance(v, str) else v for key, v in given.items()}


_REJECTED = "The user doesn't want to proceed with this tool use."
"""How Claude Code words the end of a tool that was interrupted (CLI 2.1.327); nobody refused anything."""


def _told(output: str) -> str:
    return "interrupted" if output.startswith(_REJECTED) else output


def _retries(message: SystemMessage) -> Iterator[AgentEvent]:
    if message.subtype == "api_retry":
        data = message.data
        delay = float(data.get("retry_delay_ms") or 0) / 1000
        yield Retry(attempt=int(data.get("attempt") or 0), delay=delay, status=data.get("error_status"))


def _plain(content: str | list[dict[str, Any]] | None) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", f"[{part.get('type')}]")) for part in content or ())
