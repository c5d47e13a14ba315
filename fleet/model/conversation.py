"""Reads a request of Claude Code as a conversation: who said what, which tools ran, what hooks added.

Claude Code mixes people's words with reminders, hook output and markers of its own; here they are told apart
once, so that scripts decide on facts. It must not decide what to answer.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

_REMINDER = re.compile(r"<system-reminder>(.*?)</system-reminder>", re.DOTALL)
_TOOL_HOOK = re.compile(r"\A\s*(?:Pre|Post)ToolUse\S*(?: \S+)? hook additional context:\s*(.*)\Z", re.DOTALL)
_STOP_HOOK = re.compile(r"\A\s*Stop hook feedback:\s*(.*)\Z", re.DOTALL)
_CWD = re.compile(r"[Ww]orking directory: (.+?)(?: \(was .*\))?$", re.MULTILINE)
_RESUMED = re.compile(
    r"\A\W*(?:you (?:were|have been)|(?:your|this|the) (?:work|turn|last turn|previous turn) was)\s+"
    r"(?:paused|interrupted|stopped|cut off|preempted)\b|\AContinue from where you left off",
    re.IGNORECASE,
)
_REPLAYED = re.compile(r"\n\n\(This request was (?:begun|paused) before [^\n]*\)\Z")
_MARKERS = ("[Request interrupted by user", "This session is being continued from a previous conversation")
_INTERRUPTED = (
    "The user doesn't want to proceed with this tool use",
    "[Tool call interrupted",
    "[Request interrupted by user",
)


@dataclass(frozen=True, kw_only=True)
class Said:
    """A person's text, unchanged."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """The worker's prompt after a pause: go on with what was asked before."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Heard:
    """Text that reached the running turn through a hook. ``source`` is ``stop`` when it held back the end."""

    text: str
    source: Literal["tool", "stop"]


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Anything Claude Code itself put in: environment, reminders, markers."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """Text of an earlier assistant message."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a tool answered. ``interrupted``: it was stopped, so the step has to be done again."""

    text: str
    failed: bool
    interrupted: bool


@dataclass(frozen=True, kw_only=True)
class Call:
    """A tool use of an earlier reply; ``result`` is None when none ever came."""

    id: str
    name: str
    input: Mapping[str, Any]
    result: Result | None


Entry = Said | Resumed | Heard | Notice | Spoken | Call


@dataclass(frozen=True)
class ModelRequest:
    """One ``POST /v1/messages``. ``headers`` have lower-case names."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]

    @property
    def model(self) -> str:
        """Name of the model that was asked for."""
        return str(self.body.get("model", ""))

    @property
    def stream(self) -> bool:
        """Whether the answer is wanted as an event stream."""
        return bool(self.body.get("stream"))

    @property
    def session_id(self) -> str | None:
        """Claude Code's session id."""
        return self.headers.get("x-claude-code-session-id")

    @cached_property
    def system(self) -> str:
        """The system prompt, its blocks joined by newlines."""
        return "\n".join(_texts(self.body.get("system", "")))

    @property
    def tools(self) -> tuple[str, ...]:
        """Names of the tools on offer."""
        return tuple(str(tool.get("name")) for tool in self.body.get("tools", ()))

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The whole conversation in order."""
        results = dict(_results(self._messages))
        return _with_a_person(tuple(entry for message in self._messages for entry in _read(message, results)))

    @cached_property
    def since_last_text(self) -> tuple[Entry, ...]:
        """What happened after the last text of a person, pauses included."""
        last = max((i for i, entry in enumerate(self.entries) if isinstance(entry, Said)), default=-1)
        return self.entries[last + 1 :]

    @property
    def user_texts(self) -> tuple[str, ...]:
        """All texts of people in this session, oldest first."""
        return tuple(entry.text for entry in self.entries if isinstance(entry, Said))

    @property
    def last_text(self) -> str:
        """The person's text that is being worked on; empty when there is none."""
        return self.user_texts[-1] if self.user_texts else ""

    @property
    def calls(self) -> tuple[Call, ...]:
        """Tool uses since the last text, oldest first."""
        return tuple(entry for entry in self.since_last_text if isinstance(entry, Call))

    @property
    def tool_results(self) -> tuple[str, ...]:
        """What the tools answered since the last text."""
        return tuple(call.result.text for call in self.calls if call.result)

    @property
    def heard(self) -> tuple[str, ...]:
        """Texts that hooks brought in since the last text."""
        return tuple(entry.text for entry in self.since_last_text if isinstance(entry, Heard))

    @property
    def resumed(self) -> bool:
        """Whether the turn was paused since the last text and is now going on."""
        return any(isinstance(entry, Resumed) for entry in self.since_last_text)

    @cached_property
    def cwd(self) -> str | None:
        """The working directory Claude Code told the model, when it did."""
        notices = "\n".join(entry.text for entry in self.entries if isinstance(entry, Notice))
        found = _CWD.findall(f"{self.system}\n{notices}")
        return found[-1].strip() if found else None

    @property
    def _messages(self) -> list[Mapping[str, Any]]:
        return list(self.body.get("messages", ()))


def _blocks(content: Any) -> list[Mapping[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())


def _texts(content: Any) -> Iterator[str]:
    for block in _blocks(content):
        if block.get("type") == "text":
            yield str(block.get("text", ""))


def _results(messages: list[Mapping[str, Any]]) -> Iterator[tuple[str, Result]]:
    for message in messages:
        for block in _blocks(message.get("content")):
            if block.get("type") == "tool_result":
                text = "\n".join(_texts(block.get("content")))
                stopped = text.startswith(_INTERRUPTED)
                failed = bool(block.get("is_error"))
                yield str(block.get("tool_use_id")), Result(text=text, failed=failed, interrupted=stopped)


def _read(message: Mapping[str, Any], results: Mapping[str, Result]) -> Iterator[Entry]:
    for block in _blocks(message.get("content")):
        text = str(block.get("text", ""))
        if block.get("type") == "tool_use":
            name, given = str(block["name"]), block.get("input", {})
            yield Call(id=str(block["id"]), name=name, input=given, result=results.get(str(block["id"])))
        elif block.get("type") == "text" and message.get("role") == "assistant":
            yield Spoken(text=text)
        elif block.get("type") == "text" and message.get("role") == "system":
            yield _notice(text)
        elif block.get("type") == "text":
            yield from _user_text(text)


def _notice(text: str) -> Entry:
    hook = _TOOL_HOOK.match(text)
    return Heard(text=hook[1].strip(), source="tool") if hook else Notice(text=text)


def _user_text(text: str) -> Iterator[Entry]:
    for reminder in _REMINDER.findall(text):
        yield _notice(reminder.strip())
    rest = _REMINDER.sub("", text).strip()
    feedback = _STOP_HOOK.match(rest)
    if feedback:
        yield Heard(text=feedback[1].strip(), source="stop")
    elif rest.startswith(_MARKERS):
        yield Notice(text=rest)
    elif _RESUMED.match(rest):
        yield Resumed(text=rest)
    elif rest:
        yield Said(text=_REPLAYED.sub("", rest))


def _with_a_person(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """A pause before anything was recorded leaves only the resuming prompt: it is the person's text then."""
    if any(isinstance(entry, Said) for entry in entries):
        return entries
    return tuple(Said(text=entry.text) if isinstance(entry, Resumed) else entry for entry in entries)
