"""The offline model: what Claude Code talks to on a first run, when no model is configured.

It understands a few plain sentences and carries them out with Claude Code's real tools. It says what it is
whenever it cannot help, and must never pretend to be a model.
"""

import re
from collections.abc import Generator

from fleet.model.conversation import Heard, ModelRequest, Result
from fleet.model.plan import Ended, Plan, Step, next_parts, words
from fleet.model.protocol import Answer, Reply, ToolUse
from fleet.model.site import add_page, list_pages, set_field
from fleet.model.wishes import AddPage, Greet, ListPages, Remember, SetField, Unclear, Wish, understand

WHO = "the offline model: a small script, no AI, so that you can try this out. I can"
ABILITIES = (
    "- change the headline, the tagline or the accent colour: “change the headline to Hello”\n"
    "- add a page: “add a page called about saying We bake at six”\n"
    "- list the pages\n"
    "- tell you what you asked before"
)
CONNECT = "To work with a real model, stop Branchline, set `ANTHROPIC_API_KEY` and start it again."


class OfflineModel:
    """The script behind ``python -m fleet.model``; keeps no state."""

    def reply(self, request: ModelRequest) -> Answer:
        """The next step of what the last person's text asks for."""
        parts = next_parts(_plan(request), calls=request.calls)
        return parts if not isinstance(parts, tuple) else Reply(parts=parts)


def _plan(request: ModelRequest) -> Plan:
    """First the person's text, then whatever reached the running turn through hooks; answers come last."""
    answers = yield from _fulfil(request, text=request.last_text)
    for entry in request.since_last_text:
        if not isinstance(entry, Heard):
            continue
        if entry.source == "stop":  # by then the earlier answers were told
            yield Ended()
            answers = []
        answers += yield from _fulfil(request, text=entry.text)
    yield from words("\n\n".join(answers))


def _fulfil(request: ModelRequest, *, text: str) -> Generator[Step, Result, list[str]]:
    wishes = understand(text)
    answers: list[str] = []
    tasks = yield from _task_list(request, wishes=wishes)
    for number, wish in enumerate(wishes):
        if tasks:
            yield _task(tasks[number], status="in_progress")
        answers.append((yield from _grant(request, wish=wish)))
        if tasks:
            yield _task(tasks[number], status="completed")
    return answers


def _task_list(request: ModelRequest, *, wishes: tuple[Wish, ...]) -> Generator[Step, Result, list[str]]:
    """The ids of one task per wish; none when there is only one wish or no such tool."""
    tasks: list[str] = []
    if len(wishes) < 2 or not {"TaskCreate", "TaskUpdate"} <= set(request.tools):
        return tasks
    for wish in wishes:
        subject = _subject(wish)
        made = yield ToolUse(name="TaskCreate", input={"subject": subject, "description": subject})
        number = re.search(r"#(\d+)", made.text)
        tasks.append(number[1] if number else str(len(tasks) + 1))
    return tasks


def _task(task_id: str, *, status: str) -> ToolUse:
    return ToolUse(name="TaskUpdate", input={"taskId": task_id, "status": status})


def _subject(wish: Wish) -> str:
    match wish:
        case SetField(field=field, value=value):
            return f"Change the {field} to {value}"
        case AddPage(name=name):
            return f"Add the page {name}"
        case _:
            return "Answer"


def _grant(request: ModelRequest, *, wish: Wish) -> Generator[Step, Result, str]:
    match wish:
        case SetField(field=field, value=value):
            return (yield from set_field(cwd=request.cwd, field=field, value=value))
        case AddPage(name=name, text=text):
            return (yield from add_page(cwd=request.cwd, name=name, text=text))
        case ListPages():
            return (yield from list_pages(cwd=request.cwd))
        case Remember(first=first):
            return _memory(request.user_texts[:-1], first=first)
        case Greet():
            return f"Hello! I am {WHO}\n\n{ABILITIES}\n\n{CONNECT}"
        case Unclear():
            return f"Sorry, I did not understand that. I am only {WHO}\n\n{ABILITIES}\n\n{CONNECT}"


def _memory(texts: tuple[str, ...], *, first: bool) -> str:
    if not texts:
        return "This is the first thing you have asked in this thread."
    if first:
        return f"The first thing you asked in this thread was: “{texts[0]}”"
    if len(texts) == 1:
        return f"Before this you asked: “{texts[0]}”"
    return "Before this you asked, oldest first:\n\n" + "\n".join(
        f"{n}. {text}" for n, text in enumerate(texts, 1)
    )
