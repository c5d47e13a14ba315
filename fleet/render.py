"""Events as pieces of terminal text. Pure: what is written where, and with which colours, is ``fleet.cli``'s.

Text that a model or a person wrote may hold control characters; they are taken out here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from contracts.events import (
    FINAL,
    CommittedData,
    Event,
    MessageQueued,
    MessageReceived,
    OutcomeData,
    PreviewReady,
    TasksData,
    ToolData,
    TurnCommitted,
    TurnCompleted,
    TurnFailed,
    TurnInterrupted,
    TurnPushed,
    TurnRejected,
    TurnResumed,
    TurnStarted,
    TurnStopped,
    TurnTasks,
    TurnText,
    TurnTool,
    WorkerReady,
    WorkerStarting,
    WorkerStopped,
)

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")
_TOOL_WIDTH = 100
_TOOL_FIELDS = ("command", "file_path", "path", "pattern", "query", "url", "description", "subject", "prompt")
_MARKS = {"pending": "[ ]", "in_progress": "[>]", "completed": "[x]"}


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some text and how it should look (a rich style, or nothing)."""

    text: str
    style: str = ""


class Transcript:
    """Events in, pieces out; knows only whether the cursor is in the middle of a line.

    ``people`` shows what people wrote, for readers who did not write it themselves.
    """

    def __init__(self, *, people: bool = False) -> None:
        self._people = people
        self._open = False
        self._fresh = True
        self._wrote: set[str] = set()

    def feed(self, event: Event) -> list[Piece]:
        """The pieces to write for one event, in order."""
        if isinstance(event, TurnText):
            self._wrote.add(event.turn_id)
            return self._text(clean(event.data.text))
        return self._lines(self._describe(event))

    def _text(self, text: str) -> list[Piece]:
        if self._fresh:
            text = text.lstrip("\n")  # a line of ours stands between the paragraphs already
        if not text:
            return []
        self._fresh = False
        self._open = not text.endswith("\n")
        return [Piece(text=text)]

    def _lines(self, lines: list[Piece]) -> list[Piece]:
        if not lines:
            return []
        start = [Piece(text="\n")] if self._open else []
        self._open, self._fresh = False, True
        return start + [Piece(text=f"{line.text}\n", style=line.style) for line in lines]

    def _describe(self, event: Event) -> list[Piece]:
        match event:
            case MessageReceived() if self._people:
                data = event.data
                return [Piece(text=f"{clean(data.author.name)}: {clean(data.text)}", style="bold cyan")]
            case TurnCompleted() | TurnStopped() | TurnFailed() | TurnRejected():
                told = event.turn_id in self._wrote
                return list(_outcome(event.type, event.data, told=told))
            case TurnTool():
                return _tool(event.data)
            case TurnTasks():
                return _tasks(event.data)
            case _:
                line = _receipt(event)
                return [Piece(text=line, style="dim")] if line else []


def clean(text: str) -> str:
    """Text without control characters that could act on the terminal; newlines and tabs stay."""
    return _CONTROL.sub("", text)


def is_final(event: Event) -> bool:
    """Whether this event tells a message's outcome."""
    return event.type in FINAL.values()


def _receipt(event: Event) -> str:
    match event:
        case MessageReceived():
            return f"received (message {event.data.sequence} of thread {event.thread_id})"
        case MessageQueued():
            ahead = event.data.ahead
            return f"queued, {ahead} ahead" if ahead else "queued, next"
        case WorkerStarting():
            return "worker starting"
        case WorkerReady():
            return "worker ready"
        case WorkerStopped():
            reason = event.data.reason
            return f"worker stopped ({clean(reason)})" if reason else "worker stopped"
        case PreviewReady():
            return f"preview: {clean(event.data.url)}"
        case _:
            return _progress(event)


def _progress(event: Event) -> str:
    match event:
        case TurnStarted():
            data = event.data
            beside = ", in the turn that already runs" if data.together_with else ""
            again = f", attempt {data.attempt}" if data.attempt > 1 else ""
            return f"running on {data.branch}{again}{beside}"
        case TurnInterrupted() | TurnResumed():
            return clean(event.data.text)
        case TurnCommitted():
            kind = "checkpoint" if event.data.checkpoint else "commit"
            return f"{kind} {event.data.sha[:8]} on {event.data.branch}{_size(event.data)}"
        case TurnPushed() if event.data.conflict:
            return f"pushed beside the thread's branch, to {event.data.branch} (somebody else pushed to it)"
        case TurnPushed():
            rebased = " after a rebase" if event.data.rebased else ""
            return f"pushed {event.data.branch} ({event.data.sha[:8]}){rebased}"
        case _:
            return ""


def _tool(data: ToolData) -> list[Piece]:
    if data.state == "succeeded":
        return []
    what = f"{clean(data.name)}{_argument(data)}"
    if data.state == "started":
        return [Piece(text=f"  > {what}", style="cyan")]
    reason = _one_line(data.output)
    return [Piece(text=f"  ! {clean(data.name)} failed{': ' + reason if reason else ''}", style="red")]


def _argument(data: ToolData) -> str:
    for field in _TOOL_FIELDS:
        value = data.input.get(field)
        if isinstance(value, str) and value:
            return f" {_one_line(value)}"
    return ""


def _one_line(text: str) -> str:
    line = " ".join(clean(text).split())
    return line if len(line) <= _TOOL_WIDTH else f"{line[: _TOOL_WIDTH - 1]}…"


def _tasks(data: TasksData) -> list[Piece]:
    return [
        Piece(text=f"  {_MARKS[task.status]} {_one_line(task.subject)}", style="magenta")
        for task in data.tasks
    ]


def _outcome(kind: str, data: OutcomeData, *, told: bool) -> Iterator[Piece]:
    word = kind.removeprefix("turn.")
    good = word == "completed"
    if data.text and (not told or not good):
        yield Piece(text=clean(data.text), style="" if good else "red")
    if data.note:
        yield Piece(text=clean(data.note), style="dim")
    if data.problem:
        yield Piece(text=f"note: {clean(data.problem)}", style="yellow")
    yield Piece(text=f"{word}{_evidence(data)}{_bill(data)}", style="bold green" if good else "bold red")


def _evidence(data: OutcomeData) -> str:
    if not data.changed or data.branch is None:
        return ""
    commit = f", commit {data.commit[:8]}" if data.commit else ""
    pushed = "pushed" if data.pushed else "not pushed"
    return f": {data.branch}{commit}{_size(data)}, {pushed}"


def _bill(data: OutcomeData) -> str:
    parts = []
    if data.duration_ms:
        parts.append(f"{data.duration_ms / 1000:.1f} s")
    if data.cost_usd:
        parts.append(f"${data.cost_usd:.4f}")
    if data.interruptions:
        parts.append(
            f"interrupted {data.interruptions} times" if data.interruptions > 1 else "interrupted once"
        )
    return f" ({', '.join(parts)})" if parts else ""


def _size(data: OutcomeData | CommittedData) -> str:
    if not data.files:
        return ""
    word = "file" if data.files == 1 else "files"
    return f" ({data.files} {word}, +{data.insertions} -{data.deletions})"
