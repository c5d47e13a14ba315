"""A living message as Slack streams it: a plan with a row for what happens now and one for each task. Pure.

Only what may be said twice is said: a row has an id, and its title and state replace those before. Details
would be added to those before, so the step under way stands in a title. The first row's id is the mark by
which a stream whose answer was lost is found again: ``chat.startStream`` takes no metadata.
"""

from datetime import datetime
from typing import Any

from contracts.events import TaskEntry
from contracts.names import digest
from contracts.places import PlaceRecord
from contracts.words import Frontend
from dispatcher.slack_lines import elapsed, short, step_line
from dispatcher.slack_marks import mark
from dispatcher.view import MessageView, Stage

Json = dict[str, Any]
_ROWS = 40
_ENDED = {
    Stage.COMPLETED: "Done",
    Stage.STOPPED: "Stopped",
    Stage.FAILED: "Failed",
    Stage.REJECTED: "Not done",
}
_STATES = {"pending": "pending", "in_progress": "in_progress", "completed": "complete"}
_ANGLES = str.maketrans("<>", "\u2039\u203a")
"""Titles are not said to be escaped or not; without angles nothing in them can mention anybody."""


def fits(message: MessageView, *, place: PlaceRecord, streams: str) -> bool:
    """Whether a message may be streamed in a place, with ``streams`` off, in ``direct`` ones, or in ``all``.

    A stream is for one person, who sees it grow; in a channel the others see its beginning, and then its end.
    """
    is_direct = place.address.split("/")[1].startswith("D")
    return bool(_reader(message)) and (streams == "all" or (streams == "direct" and is_direct))


def streamed(message: MessageView, *, key: str, worker: str, buttons: list[Json], now: datetime) -> Json:
    """The living message as a stream.

    ``open``: it goes on. ``begin``: it is worth one, if it is not posted yet. ``rows``: chunks that may be
    repeated; ``blocks``: what stands below them from the beginning. ``to``: who sees it grow.
    """
    is_open = message.final is None and message.together_with is None
    rows = [_now(message, key=key, worker=worker), *map(_task, _shown(message, is_open=is_open))]
    return {
        "open": is_open,
        "begin": is_open and not message.ahead and message.stage is not Stage.PAUSED,
        "rows": [{"type": "plan_update", "title": _title(message, now)}, *rows],
        "blocks": buttons,
        "to": _reader(message),
    }


def _reader(message: MessageView) -> Json:
    team, _, user = message.author.id.partition("/")
    if message.frontend is not Frontend.SLACK or not user:
        return {}
    return {"recipient_team_id": team, "recipient_user_id": user}


def _title(message: MessageView, now: datetime) -> str:
    match message.stage:
        case Stage.RUNNING:
            return f"Working · {elapsed(now - message.started)}" if message.started else "Working"
        case Stage.PAUSED:
            return "Paused"
        case Stage.QUEUED if message.ahead:
            return f"Received, queued behind {message.ahead}"
        case stage:
            return _ENDED.get(stage, "Received")


def _now(message: MessageView, *, key: str, worker: str) -> Json:
    """The row that is always there: what happens now."""
    waiting = message.note if message.stage is Stage.PAUSED else worker
    match message.stage:
        case Stage.RUNNING if message.together_with is None:
            words = step_line(message.step) if message.step else message.note or "Thinking"
            return _row(mark(key), words, "in_progress")
        case Stage.FAILED | Stage.REJECTED:
            return _row(mark(key), _ENDED[message.stage], "error")
        case Stage.COMPLETED | Stage.STOPPED:
            return _row(mark(key), _ENDED[message.stage], "complete")
        case _:
            return _row(mark(key), waiting or "Waiting", "pending")


def _shown(message: MessageView, *, is_open: bool) -> list[TaskEntry]:
    """The tasks, the last ones of very many; when all is over none is in progress any more."""
    tasks = message.tasks[-_ROWS:]
    if is_open:
        return list(tasks)
    left = {"in_progress": "pending"}
    return [task.model_copy(update={"status": left.get(task.status, task.status)}) for task in tasks]


def _task(task: TaskEntry) -> Json:
    return _row(f"task-{digest(task.id)}", task.subject, _STATES[task.status])


def _row(row: str, title: str, status: str) -> Json:
    words = short(title).translate(_ANGLES) or "…"
    return {"type": "task_update", "id": row, "title": words, "status": status}
