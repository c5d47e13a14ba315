"""A thread as Slack shows it: one living message for each message of a person, and at the end its answer.

Pure but for the clock that tells the elapsed time. Every word of ours that stands in a Slack thread is here
or, for the time in which a message is streamed, in ``slack_rows``. A short answer goes into the living
message; a long one becomes a post of its own, and what is too long for a post goes up as a file.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.events import OutcomeData, TaskEntry, ToolData
from contracts.places import PlaceRecord
from contracts.words import Frontend
from dispatcher.github_handed import own_words
from dispatcher.posting import Wanted
from dispatcher.slack_lines import elapsed, short, step_line
from dispatcher.slack_mrkdwn import MESSAGE_LIMIT, Block, answer, context, escape, section
from dispatcher.slack_parse import ts_of
from dispatcher.slack_rows import fits, streamed
from dispatcher.view import MessageView, Stage, ThreadView

EYES = "eyes"
STOPPING = "octagonal_sign"
STOP = "branchline_stop"
DIFF = "branchline_diff"
PREVIEW = "branchline_preview"
SHORT = 1800
"""Characters of blocks, as JSON, up to which an answer goes into the living message."""
_TASKS_SHOWN = 20
_ASIDE = 300
_NOTICE = 150
_TICK_SECONDS, _LATE_TICK_SECONDS = 20.0, 60.0
_YOUNG = timedelta(minutes=10)
_MARKS = {"pending": "☐", "in_progress": "▸", "completed": "☑"}
_HEADLINES = {
    Stage.COMPLETED: ":white_check_mark: Done",
    Stage.STOPPED: ":octagonal_sign: Stopped",
    Stage.FAILED: ":x: Failed",
    Stage.REJECTED: ":no_entry: Not done",
}


def utc_now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


class SlackDialect:
    """``now`` tells the time; it is used for the elapsed time that people see, and for nothing else.
    ``streams``: where a message is streamed while it is worked on (``off``, ``direct``, ``all``)."""

    def __init__(self, *, now: Callable[[], datetime] = utc_now, streams: str = "off") -> None:
        self._now = now
        self._streams = streams

    def wanted(self, view: ThreadView, place: PlaceRecord) -> list[Wanted]:
        """Every post of the place, in the order of the messages."""
        open_here = (m for m in view.messages if not place.is_done(m.message_id, sequence=m.sequence))
        return [
            self._streamed(post, message, view=view, place=place)
            for message in open_here
            for post in self._posts(message, view=view, place=place)
        ]

    def _streamed(
        self, post: Wanted, message: MessageView, *, view: ThreadView, place: PlaceRecord
    ) -> Wanted:
        """A living post with what is streamed of it, where that fits."""
        if not post.key.startswith("living:") or not fits(message, place=place, streams=self._streams):
            return post
        buttons = _buttons(message, view)
        more = streamed(message, key=post.key, worker=view.worker, buttons=buttons, now=self._now())
        return replace(post, body={**post.body, "stream": more})

    def _posts(self, message: MessageView, *, view: ThreadView, place: PlaceRecord) -> Iterable[Wanted]:
        channel = place.address.split("/")[1]
        eyes = (EYES,) if ts_of(message.message_id, channel=channel) else ()
        if message.final is None or message.together_with:
            unfinished = _living(
                message, _unfinished(message, view, self._now()), eyes, final=message.is_over
            )
            yield replace(unfinished, fresh=_fresh(message, self._now()))
            return
        blocks, whole = answer(_answer_text(message), limit=MESSAGE_LIMIT)
        head = [_headline(message), *_elsewhere(message), *_tasks(message.tasks)]
        end = [*_asides(message.final), context(_proof(message.final, view)), *_buttons(message, view)]
        if whole and len(str(blocks)) <= SHORT:
            told = [*head, *blocks, *end]
            yield _living(message, told, eyes, final=True, said=_answer_text(message))
            return
        below = "The answer is below." if blocks else "The answer is in the file below."
        yield _living(message, [*head, context(below)], eyes)
        yield from _long(message, blocks=blocks, whole=whole, end=end)


def _long(message: MessageView, *, blocks: list[Block], whole: bool, end: list[Block]) -> Iterable[Wanted]:
    rest = [] if whole else [context("The whole answer is in the file below.")]
    body = {"text": _notice(_answer_text(message)), "blocks": [*blocks, *rest, *end]}
    yield Wanted(
        key=f"answer:{message.message_id}:1",
        body=body,
        message_id=message.message_id,
        final=whole,
        at_once=True,
    )
    if not whole:
        file = {"name": f"answer-{message.sequence}.md", "content": _answer_text(message)}
        yield Wanted(
            key=f"file:{message.message_id}",
            body={"file": file},
            message_id=message.message_id,
            final=True,
            at_once=True,
        )


def _fresh(message: MessageView, now: datetime) -> float | None:
    """For how long the elapsed time may stand in silence: edits for a mere clock must stay few."""
    if message.stage is not Stage.RUNNING or message.started is None or message.together_with:
        return None
    return _TICK_SECONDS if now - message.started < _YOUNG else _LATE_TICK_SECONDS


def _living(
    message: MessageView,
    blocks: list[Block],
    reactions: tuple[str, ...],
    *,
    final: bool = False,
    said: str = "",
) -> Wanted:
    working = message.stage is Stage.RUNNING
    return Wanted(
        key=f"living:{message.message_id}",
        body={
            "text": _notice(said or blocks[0]["text"]["text"]),
            "blocks": blocks,
            "status": "is working…" if working else "",
        },
        message_id=message.message_id,
        final=final,
        reactions=reactions,
    )


def _unfinished(message: MessageView, view: ThreadView, now: datetime) -> list[Block]:
    if message.together_with:
        return [section(_together(message, view)), *_elsewhere(message)]
    told = [section(_stage(message, view, now)), *_elsewhere(message)]
    if message.step is not None:
        told.append(context(f"▸ {_step(message.step)}"))
    return [*told, *_tasks(message.tasks), *_buttons(message, view)]


def _elsewhere(message: MessageView) -> list[Block]:
    """Who asked what, of a message that does not stand in this Slack thread."""
    if message.frontend is Frontend.SLACK:
        return []
    return [context(f"{escape(message.author.name)}, elsewhere: {escape(short(own_words(message.text)))}")]


def _together(message: MessageView, view: ThreadView) -> str:
    beside = view.message(message.together_with) if message.together_with else None
    which = f"“{escape(short(own_words(beside.text)))}”" if beside else "the message before"
    return f"Answered together with {which}." if message.is_over else f"Passed on to the work on {which}."


def _stage(message: MessageView, view: ThreadView, now: datetime) -> str:
    lines = [escape(short(line, _ASIDE)) for line in (message.note, view.worker) if line]
    note = "".join(f"\n{line}" for line in lines)
    match message.stage:
        case Stage.RUNNING:
            since = elapsed(now - message.started) if message.started else ""
            return f":hourglass_flowing_sand: Working{f' · {since}' if since else ''}{note}"
        case Stage.PAUSED:
            return f":double_vertical_bar: Paused{note}"
        case Stage.QUEUED:
            place = f"queued behind {message.ahead}" if message.ahead else "next in line"
            return _waiting(f":eyes: Received, {place}.", view)
        case _:
            return _waiting(":eyes: Received.", view)


def _waiting(text: str, view: ThreadView) -> str:
    return f"{text} {escape(view.worker)}" if view.worker else text


def _headline(message: MessageView) -> Block:
    return section(_HEADLINES[message.stage])


def _answer_text(message: MessageView) -> str:
    return (message.final.text if message.final else "") or message.said


def _tasks(tasks: tuple[TaskEntry, ...]) -> list[Block]:
    if not tasks:
        return []
    # The ones that are done give way first, because what is being done must be seen.
    left_out = max(0, len(tasks) - _TASKS_SHOWN)
    lines = [f"{_MARKS[task.status]} {escape(short(task.subject))}" for task in tasks[left_out:]]
    before = [f"… {left_out} before"] if left_out else []
    return [section("\n".join([*before, *lines])[:2900])]


def _step(step: ToolData) -> str:
    return escape(step_line(step))


def _asides(final: OutcomeData) -> list[Block]:
    """What went wrong beside the answer, and what else is worth saying."""
    told = [f":warning: {escape(short(final.problem, _ASIDE))}"] if final.problem else []
    told += [escape(short(final.note, _ASIDE))] if final.note else []
    return [context("\n".join(told))] if told else []


def _proof(final: OutcomeData, view: ThreadView) -> str:
    """What was done, in a line: branch, commit, size, pushed or why not, time, tokens, cost, preview."""
    told = [f"`{escape(final.branch)}`"] if final.branch else []
    if final.changed:
        told += [f"commit `{final.commit[:8]}`"] if final.commit else ["no commit"]
        files = "1 file" if final.files == 1 else f"{final.files} files"
        told += [f"{files}, +{final.insertions} -{final.deletions}", _pushed(final)]
    elif not final.note:
        told.append("nothing changed")
    told.append(elapsed(timedelta(milliseconds=final.duration_ms)))
    told.append(f"{_count(final.input_tokens + final.output_tokens)} tokens")
    told.append(f"${final.cost_usd:.2f}" if final.cost_usd >= 0.01 else f"${final.cost_usd:.4f}")
    if view.preview_url and _is_link(view.preview_url):
        told.append(f"<{escape(view.preview_url)}|preview>")
    return " · ".join(told)


def _pushed(final: OutcomeData) -> str:
    if final.pushed:
        return "pushed"
    return f"not pushed: {escape(short(final.problem))}" if final.problem else "not pushed"


def _buttons(message: MessageView, view: ThreadView) -> list[Block]:
    found: list[dict[str, Any]] = []
    if message.final is None:
        found.append({**_button("Stop", STOP, value=str(message.sequence)), "style": "danger"})
    elif message.final.changed and message.final.commit:
        found.append(_button("Show diff", DIFF, value=str(message.sequence)))
    if view.preview_url and _is_link(view.preview_url):
        found.append({**_button("Open preview", PREVIEW), "url": view.preview_url})
    return [{"type": "actions", "elements": found}] if found else []


def _button(label: str, action: str, **more: str) -> dict[str, Any]:
    return {"type": "button", "text": {"type": "plain_text", "text": label}, "action_id": action, **more}


def _is_link(url: str) -> bool:
    return url.startswith(("http://", "https://")) and len(url) <= 1500


def _notice(text: str) -> str:
    """The line that a notification shows."""
    return escape(short(text, _NOTICE)) if text.strip() else "Done"


def _count(number: int) -> str:
    return f"{number / 1000:.1f}k" if number >= 1000 else str(number)
