"""A thread's log as AG-UI events: the work on one message is one run. Pure: events in, events out.

Whatever the log says, in whatever order, what comes out keeps the protocol: all that starts ends before the
run does, and the run ends once. Ids come from the log alone, so the same log gives the same run again.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ag_ui.core import (
    PROTOCOL_VERSION,
    BaseEvent,
    CustomEvent,
    RunAgentInput,
    RunErrorEvent,
    RunFinishedCancelledOutcome,
    RunFinishedEvent,
    RunFinishedSuccessOutcome,
    RunStartedEvent,
    StateDeltaEvent,
    StateSnapshotEvent,
    StepFinishedEvent,
    StepStartedEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    TextPart,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
    UserMessage,
)
from ag_ui.core import Event as AnyEvent

from contracts import names
from contracts.events import Event, OutcomeData, ToolData
from contracts.words import MessageId, Mode, ThreadId
from dispatcher.errors import Invalid

__all__ = ["AnyEvent", "Asked", "Run", "RunAgentInput", "dumped"]

Events = list[BaseEvent]

_NO_RESULT = "The turn went on without a result of this."
_CUSTOM = {
    "message.queued": "queued",
    "turn.interrupted": "interrupted",
    "turn.resumed": "resumed",
    "turn.committed": "committed",
    "turn.pushed": "pushed",
    "preview.ready": "preview.ready",
    "worker.starting": "worker.starting",
    "worker.ready": "worker.ready",
    "worker.stopped": "worker.stopped",
}
"""Events without a counterpart in AG-UI, and the names under which they are passed on as they are."""


class Run:
    """The run of one message. Feed it the thread's log in order, from before the message on."""

    def __init__(self, *, thread_id: ThreadId, run_id: str, message_id: MessageId) -> None:
        self._thread_id, self._run_id, self._message_id = thread_id, run_id, message_id
        self._seen = False
        self._text: str | None = None
        self._spoke = False
        self._step: str | None = None
        self._steps = 0
        self._calls: dict[str, str] = {}
        self._uses: dict[str, int] = {}
        self._has_state = False
        self.ended = False

    def begin(self) -> Events:
        """What a run begins with, before anything of the log."""
        return [
            RunStartedEvent(thread_id=self._thread_id, run_id=self._run_id, protocol_version=PROTOCOL_VERSION)
        ]

    def add(self, event: Event) -> Events:
        """What an event of the log adds to the run; nothing after its end, and nothing of other messages."""
        if self.ended or not self._is_about_this(event):
            return []
        made = self._translated(event)
        at = int(event.time.timestamp() * 1000)
        return [each.model_copy(update={"timestamp": at}) for each in made]

    def _is_about_this(self, event: Event) -> bool:
        mine = getattr(event, "message_id", None)
        if mine is not None:
            self._seen = self._seen or mine == self._message_id
            return bool(mine == self._message_id)
        return self._seen

    def _translated(self, event: Event) -> Events:
        match event.type:
            case "turn.started":
                return self._begin_step()
            case "turn.text":
                return self._say(event.data.text, id_=f"{self._message_id}-{event.id}")
            case "turn.tool":
                return self._tool(event.data)
            case "turn.tasks":
                return self._tasks([task.model_dump(mode="json") for task in event.data.tasks])
            case "turn.interrupted":
                return [*self._end_step(), _custom(event)]
            case "turn.resumed":
                return [*self._begin_step(), _custom(event)]
            case "turn.completed" | "turn.stopped" | "turn.failed" | "turn.rejected":
                return self._end(event.type, event.data, id_=f"{self._message_id}-{event.id}")
            case type_ if type_ in _CUSTOM:
                return [_custom(event)]
        return []

    # ------------------------------------------------------------ what goes on

    def _begin_step(self) -> Events:
        ended = self._end_step()
        self._steps += 1
        self._step = "turn" if self._steps == 1 else f"turn {self._steps}"
        return [*ended, StepStartedEvent(step_name=self._step)]

    def _end_step(self) -> Events:
        step, self._step = self._step, None
        steps: Events = [StepFinishedEvent(step_name=step)] if step else []
        return [*self._end_text(), *self._end_calls(), *steps]

    def _say(self, text: str, *, id_: str) -> Events:
        if not text:
            return []
        begun: Events = []
        if self._text is None:
            self._text, self._spoke = id_, True
            begun = [TextMessageStartEvent(message_id=id_, role="assistant")]
        return [*begun, TextMessageContentEvent(message_id=self._text, delta=text)]

    def _end_text(self) -> Events:
        text, self._text = self._text, None
        return [TextMessageEndEvent(message_id=text)] if text else []

    def _tool(self, data: ToolData) -> Events:
        begun = [] if data.tool_use_id in self._calls else self._call(data)
        if data.state == "started":
            return begun
        call = self._calls.pop(data.tool_use_id)
        return [*begun, _result(call, data.output)]

    def _call(self, data: ToolData) -> Events:
        """A tool's use; its arguments are known at once. One that is used again gets an id of its own."""
        times = self._uses[data.tool_use_id] = self._uses.get(data.tool_use_id, 0) + 1
        call = data.tool_use_id if times == 1 else f"{data.tool_use_id}-{times}"
        self._calls[data.tool_use_id] = call
        return [
            *self._end_text(),
            ToolCallStartEvent(tool_call_id=call, tool_call_name=data.name),
            ToolCallArgsEvent(tool_call_id=call, delta=json.dumps(data.input, ensure_ascii=False)),
            ToolCallEndEvent(tool_call_id=call),
        ]

    def _end_calls(self) -> Events:
        """A call without a result would be the application's to answer."""
        calls = list(self._calls.values())
        self._calls.clear()
        return [_result(call, _NO_RESULT) for call in calls]

    def _tasks(self, tasks: list[dict[str, Any]]) -> Events:
        if self._has_state:
            patch = [{"op": "replace", "path": "/tasks", "value": tasks}]
            return [StateDeltaEvent.model_validate({"delta": patch})]
        self._has_state = True
        return [StateSnapshotEvent(snapshot={"tasks": tasks})]

    def _end(self, type_: str, data: OutcomeData, *, id_: str) -> Events:
        self.ended = True
        failed = type_ in ("turn.failed", "turn.rejected")
        told = self._say(data.text, id_=id_) if not self._spoke and not failed else []
        before = [*told, *self._end_step()]
        if failed:
            text = data.text or data.problem or "The turn failed."
            return [*before, RunErrorEvent(message=text, code=type_.partition(".")[2])]
        stopped = type_ == "turn.stopped"
        outcome = RunFinishedCancelledOutcome() if stopped else RunFinishedSuccessOutcome()
        finished = RunFinishedEvent(
            thread_id=self._thread_id,
            run_id=self._run_id,
            result=data.model_dump(mode="json", exclude_none=True),
            outcome=outcome,
        )
        return [*before, finished]


def _result(call: str, content: str) -> BaseEvent:
    return ToolCallResultEvent(message_id=f"{call}-result", tool_call_id=call, content=content, role="tool")


def _custom(event: Event) -> BaseEvent:
    value = event.data.model_dump(mode="json", exclude_none=True)
    return CustomEvent(name=_CUSTOM[event.type], value=value)


def dumped(events: Sequence[BaseEvent]) -> list[str]:
    """Each event's JSON on one line."""
    return [event.model_dump_json(by_alias=True) for event in events]


# ---------------------------------------------------------------- what is asked


class Asked:
    """What a ``RunAgentInput`` asks for: the last message of a person, for a thread. Raises Invalid."""

    def __init__(self, given: RunAgentInput) -> None:
        said = [message for message in given.messages if isinstance(message, UserMessage)]
        if not said:
            raise Invalid('There is no message with the role "user": add one.', code="message_missing")
        props = given.forwarded_props if isinstance(given.forwarded_props, dict) else {}
        self.thread_id = ThreadId(given.thread_id)
        self.run_id = given.run_id
        self.text = _text(said[-1])
        self.project = _prop(props, "project", read=str)
        self.mode = _prop(props, "mode", read=Mode) or Mode.QUEUE
        # The same id in another thread is another message.
        self.message_id = MessageId(f"agui-{names.digest(f'{given.thread_id}/{said[-1].id}')}")


def _text(message: UserMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    if not all(isinstance(part, TextPart) for part in message.content):
        raise Invalid(
            "Only text is taken here: leave images and files out, or send them with POST /v1/uploads.",
            code="unsupported_content",
        )
    return "\n\n".join(part.text for part in message.content if isinstance(part, TextPart))


_P = TypeVar("_P")


def _prop(props: dict[str, Any], name: str, *, read: Callable[[Any], _P]) -> _P | None:
    given = props.get(name)
    if given is None:
        return None
    try:
        if isinstance(given, str):
            return read(given)
    except ValueError:
        pass
    raise Invalid(f'The property "{name}" in forwardedProps is not usable.', code="invalid_body")
