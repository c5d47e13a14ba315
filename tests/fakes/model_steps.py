r"""The notation that steers the scripted model: ``do:`` lines inside the text that a test sends.

One step per line, in order; whatever else the text says is ignored::

    do: say TEXT                      text, in one delta
    do: stream CHARS MS               CHARS characters, 8 at a time, MS milliseconds apart
    do: wait FILE                     a dot every 50 ms until FILE exists, then go on
    do: write PATH CONTENT            tool Write; \n and \t in CONTENT are a newline and a tab
    do: append PATH CONTENT           tool Bash: adds CONTENT and a newline
    do: edit PATH OLD => NEW          tools Read and Edit; \n and \t as above
    do: read PATH                     tool Read
    do: bash COMMAND                  tool Bash (a bare sleep is refused by Claude Code: use nice sleep)
    do: task create SUBJECT           tool TaskCreate
    do: task start N / task done N    tool TaskUpdate of task number N
    do: tool NAME JSON                any tool with this input
    do: recall                        "recall: " + JSON list of all earlier texts of people in this session
    do: repeat-context                "context: " + JSON list of hook texts and tool results since this text
    do: error STATUS [times=N] [HEADER=VALUE ...]   answer with this HTTP status (N times, else always)
    do: hang                          from here on send nothing and keep the connection open

Paths are relative to Claude Code's working directory. Steps of text that reaches the running turn through a
hook are appended. After a pause the first step without a result is done again; an interrupted result is none.
"""

import asyncio
import json
import re
import shlex
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path

from fleet.model.conversation import Heard, ModelRequest, Result
from fleet.model.plan import Ended, Plan, Step
from fleet.model.protocol import Hang, Live, Refusal, Text, ToolUse

Counter = Callable[[str], int]
"""Counts up under a key and returns how often it was asked before."""

_STEP = re.compile(r"(?<![\w-])do: *(\S+) ?(.*)")
_PIECE = 8
_WAIT = 0.05
_PATTERN = "abcdefg "


def steps_of(text: str) -> Iterator[tuple[str, str]]:
    """(verb, rest) of each ``do:`` line, at most one per line."""
    for line in text.splitlines():
        found = _STEP.search(line)
        if found:
            yield found[1], found[2].strip()


def plan_of(request: ModelRequest, *, count: Counter, text: str | None = None) -> Plan:
    """The steps of the last text (or of ``text`` in its place) and of every hook text since, then a closing
    word."""
    said = yield from _run(request, text=request.last_text if text is None else text, count=count)
    for entry in request.since_last_text:
        if not isinstance(entry, Heard):
            continue
        if entry.source == "stop":
            yield Ended()
            said = False
        if not any(steps_of(entry.text)):
            yield Text(text=f"heard: {entry.text}")
            said = True
        else:
            said = yield from _run(request, text=entry.text, count=count)
    if not said:
        yield Text(text="done")


def _run(request: ModelRequest, *, text: str, count: Counter) -> Generator[Step, Result, bool]:
    """Returns whether the last step was one that speaks."""
    speaks = False
    for number, (verb, rest) in enumerate(steps_of(text)):
        speaks = verb in ("say", "stream", "wait", "recall", "repeat-context")
        if verb == "error":
            times = re.search(r"\btimes=(\d+)", rest)
            key = f"{request.session_id}/{len(request.user_texts)}/{number}/{rest}"
            if times and count(key) >= int(times[1]):
                continue
            yield _refusal(rest)
        else:
            yield from _step(request, verb=verb, rest=rest)
    return speaks


def _step(request: ModelRequest, *, verb: str, rest: str) -> Plan:
    match verb:
        case "say":
            yield Text(text=_unescape(rest))
        case "stream":
            yield Live(deltas=lambda: _stream(rest))
        case "wait":
            yield Live(deltas=lambda: _until(Path(_path(request, rest))))
        case "hang":
            yield Hang()
        case "recall":
            yield Text(text=f"recall: {json.dumps(request.user_texts[:-1], ensure_ascii=False)}")
        case "repeat-context":
            seen = [*request.heard, *request.tool_results]
            yield Text(text=f"context: {json.dumps(seen, ensure_ascii=False)}")
        case _:
            yield from _tool(request, verb=verb, rest=rest)


def _tool(request: ModelRequest, *, verb: str, rest: str) -> Plan:
    first, _, content = rest.partition(" ")
    path, content = _path(request, first), content.strip()
    match verb:
        case "bash":
            yield ToolUse(name="Bash", input={"command": rest, "description": "a step of the script"})
        case "write":
            yield ToolUse(name="Write", input={"file_path": path, "content": _unescape(content)})
        case "append":
            shell = f"printf '%s\\n' {shlex.quote(_unescape(content))} >> {shlex.quote(path)}"
            yield ToolUse(name="Bash", input={"command": shell, "description": "a step of the script"})
        case "read":
            yield ToolUse(name="Read", input={"file_path": path})
        case "edit":
            old, _, new = (_unescape(part.strip()) for part in content.partition("=>"))
            yield ToolUse(name="Read", input={"file_path": path})
            yield ToolUse(name="Edit", input={"file_path": path, "old_string": old, "new_string": new})
        case "task":
            yield _task(first, content)
        case "tool":
            yield ToolUse(name=first, input=json.loads(content or "{}"))
        case _:
            yield Text(text=f"unknown step: {verb} {rest}")


def _task(what: str, rest: str) -> ToolUse:
    if what == "create":
        return ToolUse(name="TaskCreate", input={"subject": rest, "description": rest})
    status = {"start": "in_progress", "done": "completed"}[what]
    return ToolUse(name="TaskUpdate", input={"taskId": rest, "status": status})


async def _stream(rest: str) -> AsyncIterator[Text]:
    size, pace = (int(number) for number in rest.split()[:2])
    text = (_PATTERN * (size // len(_PATTERN) + 1))[:size]
    for start in range(0, size, _PIECE):
        yield Text(text=text[start : start + _PIECE], after=pace / 1000)


async def _until(path: Path) -> AsyncIterator[Text]:
    yield Text(text="waiting ")
    while not path.exists():
        await asyncio.sleep(_WAIT)
        yield Text(text=".")
    yield Text(text=" there")


def _refusal(rest: str) -> Refusal:
    status, *words = rest.split()
    headers = dict(word.split("=", 1) for word in words if not word.startswith("times="))
    return Refusal(status=int(status), message=f"scripted error {status}", headers=headers)


def _path(request: ModelRequest, path: str) -> str:
    return str(Path(request.cwd or "/", path))


def _unescape(text: str) -> str:
    return text.replace("\\n", "\n").replace("\\t", "\t")
