"""A thread as one comment on GitHub: a view becomes the one post that should stand in a place. Pure.

The comment is edited, never repeated: state, check boxes of the tasks, the answers of all messages (newest
last), the evidence, the way to the thread page. It always fits into GitHub's 65,536 characters: older answers
are shortened first.
"""

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from markdown_it import MarkdownIt

from contracts.places import PlaceRecord
from contracts.words import ThreadId
from dispatcher.github_clean import one_line
from dispatcher.github_handed import own_words
from dispatcher.github_html import even
from dispatcher.posting import Wanted
from dispatcher.view import MessageView, Stage, ThreadView

LIMIT = 65_536
STICKY = "sticky"
MARKER = "<!-- branchline:{key} -->"
"""First line of every comment of ours; the key is how it is found again."""
_ROOM = LIMIT - 2_000
"""Characters for the text; the rest is for the line about the pull request and the marker."""
_PULL_LIMIT = 20_000
_OLD_ANSWER = 600
_TASKS = 50
_RESTS = ((timedelta(seconds=10), 1.0), (timedelta(minutes=1), 3.0), (timedelta(minutes=10), 10.0))
_LATE_REST = 30.0
_HEADS = {
    Stage.RECEIVED: "⏳ Received",
    Stage.QUEUED: "⏳ Waiting",
    Stage.RUNNING: "▶️ Working",
    Stage.PAUSED: "⏸️ Paused",
    Stage.COMPLETED: "✅ Done",
    Stage.STOPPED: "⏹️ Stopped",
    Stage.FAILED: "❌ Failed",
    Stage.REJECTED: "🚫 Rejected",
}
_CONCLUSIONS = {
    Stage.COMPLETED: "success",
    Stage.STOPPED: "cancelled",
    Stage.FAILED: "failure",
    Stage.REJECTED: "neutral",
}
_MENTION = re.compile(r"(?<![\w`/.@])@(?=[A-Za-z0-9])")
_IMAGE = re.compile(r"!(?=\[)")
_HTML_IMAGE = re.compile(r"<(?=/?(?:img|picture|source|video|audio)\b)", re.I)
_CLOSING = re.compile(
    r"(?<![^\W_])(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?)(?![^\W_])"
    r"(?=(?:</?[A-Za-z][^<>#:]{0,80}>|&#?\w{1,8};|[^\w#]|_){0,16}+"
    r"(?:[\w.-]*(?:/[\w.-]+)?#|GH-|https?://[^\s#]+/)\d)",
    re.I,
)
"""Words behind which GitHub closes an issue when the work is merged; what stands between may be markup."""
_SPELLED = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|num|commat|sol|colon|lowbar);")
_MARKDOWN = MarkdownIt("commonmark")
_OPENING = re.compile(r"<!--")


def utc_now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


class GitHubDialect:
    """``page`` gives the address of a thread's page, or None when it has none that others can open. ``now``
    tells the time; it is used for how often a comment is edited, and for nothing else."""

    def __init__(
        self, *, page: Callable[[ThreadId], str | None], now: Callable[[], datetime] = utc_now
    ) -> None:
        self._page = page
        self._now = now

    def wanted(self, view: ThreadView, place: PlaceRecord) -> list[Wanted]:
        """One post: the sticky comment. It is the final post of every message that is over."""
        if not view.messages:
            return []
        body = _body(view, page=self._page(view.thread_id))
        over = [
            m for m in view.messages if m.is_over and not place.is_done(m.message_id, sequence=m.sequence)
        ]
        newest = over[-1].message_id if over else None
        rest = 0.0 if over else _rest(view, self._now())
        is_end = bool(over)
        return [Wanted(key=STICKY, body=body, message_id=newest, final=is_end, at_once=is_end, rest=rest)]


def _rest(view: ThreadView, now: datetime) -> float:
    """Seconds between two edits while there is work: many long turns together must stay within the hourly
    limits of an installation."""
    begun = max((m.started or m.received for m in view.messages if not m.is_over), default=now)
    return next((rest for young, rest in _RESTS if now - begun < young), _LATE_REST)


def marker(key: str) -> str:
    """The line by which a comment of ours is found."""
    return MARKER.format(key=key)


def _body(view: ThreadView, *, page: str | None) -> dict[str, Any]:
    last = next((m for m in reversed(view.messages) if m.final is not None and m.final.pushed), None)
    return {
        "text": text(view, page=page),
        "pull": _pull(view, last, page=page) if last else None,
        "check": _check(view, page=page),
    }


def text(view: ThreadView, *, page: str | None) -> str:
    """The comment without its marker and without the line about the pull request."""
    foot = _foot(view, page=page)
    room = _ROOM - len(foot)
    parts: list[str] = []
    for place, message in enumerate(reversed(view.messages)):
        whole = _section(message, limit=None)
        short = _section(message, limit=_OLD_ANSWER)
        piece = (
            whole if len(whole) <= room - 4 * _OLD_ANSWER or (place == 0 and len(whole) <= room) else short
        )
        if place == 0 and len(whole) > room:
            piece = _section(message, limit=room - len(_section(message, limit=0)) - 200)
        if len(piece) + 8 > room - 200:
            parts.append(f"_{len(view.messages) - place} earlier messages are on the thread page._")
            break
        parts.append(piece)
        room -= len(piece) + 8
    return "\n\n---\n\n".join(reversed(parts)) + foot


def _section(message: MessageView, *, limit: int | None) -> str:
    asked = _line(own_words(message.text), limit=140)
    lines = [f"**{_HEADS[message.stage]}**{_ahead(message)} · {_author(message)}: {asked}"]
    if message.note and not message.is_over:
        lines.append(f"> {_line(message.note, limit=400)}")
    lines += [block for block in (_tasks(message), _step(message)) if block]
    lines += [block for block in (_answer(message, limit=limit), _evidence(message)) if block]
    return "\n\n".join(lines)


def _ahead(message: MessageView) -> str:
    if message.stage is not Stage.QUEUED or not message.ahead:
        return ""
    return f" ({message.ahead} ahead)"


def _author(message: MessageView) -> str:
    return _line(message.author.name or message.author.id, limit=60)


def _tasks(message: MessageView) -> str:
    boxes = []
    for task in message.tasks[:_TASKS]:
        subject = _line(task.subject, limit=160)
        done = "x" if task.status == "completed" else " "
        boxes.append(f"- [{done}] " + (f"**{subject}**" if task.status == "in_progress" else subject))
    if len(message.tasks) > _TASKS:
        boxes.append(f"- … and {len(message.tasks) - _TASKS} more")
    return "\n".join(boxes)


def _step(message: MessageView) -> str:
    if message.stage is not Stage.RUNNING or message.step is None:
        return ""
    return f"_{one_line(message.step.name, limit=60)} …_"


def _answer(message: MessageView, *, limit: int | None) -> str:
    final = message.final
    if final is None:
        return ""
    told = [closed(quiet(final.text).strip())]
    told += [f"⚠️ {_line(final.problem, limit=600)}"] if final.problem else []
    told += [f"_{_line(final.note, limit=400)}_"] if final.note else []
    return shortened("\n\n".join(part for part in told if part), limit=limit)


def shortened(words: str, *, limit: int | None) -> str:
    """At most ``limit`` characters, cut at a line, with a fence closed that the cut left open."""
    if limit is None or len(words) <= limit:
        return words
    kept = words[: max(limit - 60, 0)]
    kept = kept[: kept.rfind("\n")] if kept.rfind("\n") > len(kept) // 2 else kept
    kept = closed(kept.rstrip())
    if len(kept) > limit - 50:  # markup that the cut left open takes more room as text
        kept = closed(re.sub("&lt;|<", "\u2039", kept))
    return f"{kept}\n\n_… shortened; all of it is on the thread page._"


@lru_cache(maxsize=256)
def closed(words: str) -> str:
    """With nothing open at the end, neither a code block nor markup: it would swallow all that follows."""
    words = even(words)
    if "```" not in words and "~~~" not in words:
        return words
    last = _MARKDOWN.parse(words)[-1]
    if last.type != "fence" or last.level or last.map is None:  # within a list or quotation it ends with that
        return words
    lines = re.split(r"\r\n?|\n", words)[last.map[0] : last.map[1]]
    mark = re.escape(last.markup)
    if len(lines) > 1 and re.fullmatch(rf" {{0,3}}{mark}{re.escape(last.markup[0])}*[ \t]*", lines[-1]):
        return words
    return f"{words}\n{last.markup}"


def _evidence(message: MessageView) -> str:
    final = message.final
    if final is None:
        return ""
    proof = []
    if final.commit:
        files = "1 file" if final.files == 1 else f"{final.files} files"
        proof.append(f"{files}, +{final.insertions} -{final.deletions} in {final.commit[:12]}")
        proof.append(f"`{final.onto or final.branch}`" + ("" if final.pushed else " (not pushed yet)"))
    elif not final.changed:
        proof.append("no files changed")
    proof += [f"{final.duration_ms / 1000:.0f} s"] if final.duration_ms else []
    proof += [f"${final.cost_usd:.2f}"] if final.cost_usd else []
    proof += [f"interrupted {final.interruptions} times"] if final.interruptions else []
    return f"<sub>{' · '.join(proof)}</sub>"


def _foot(view: ThreadView, *, page: str | None) -> str:
    parts = [f"[Thread page]({page})"] if page else []
    if view.preview_url and not re.match(r"https?://(localhost|127\.|\[::1\])", view.preview_url):
        parts.append(f"[Preview]({view.preview_url})")
    parts += [one_line(view.worker, limit=200)] if view.worker and not _all_over(view) else []
    return f"\n\n<sub>{' · '.join(parts)}</sub>" if parts else ""


def _all_over(view: ThreadView) -> bool:
    return all(m.is_over for m in view.messages)


def _pull(view: ThreadView, last: MessageView, *, page: str | None) -> dict[str, Any] | None:
    """What a pull request with the work says; which issue it closes is known where it is posted."""
    final = last.final
    if final is None or final.branch is None or final.branch.startswith("conflict-"):
        return None
    answers = [
        shortened(closed(quiet(m.final.text).strip()), limit=4_000)
        for m in view.messages
        if m.final is not None and m.final.changed
    ]
    proof = [_evidence(last), f"[Thread page]({page})" if page else ""]
    body = "\n\n".join(part for part in (*answers, *proof) if part)
    title = _line(last.text.splitlines()[0] if last.text.strip() else "Work", limit=72)
    work = {"head": final.branch, "commit": final.commit, "title": title}
    landed = {"onto": final.onto} if final.onto else {}
    return work | {"body": shortened(body, limit=_PULL_LIMIT)} | landed


def _check(view: ThreadView, *, page: str | None) -> dict[str, Any] | None:
    """A check run for the newest commit that was pushed."""
    last = next((m for m in reversed(view.messages) if m.final and m.final.commit and m.final.pushed), None)
    if last is None or last.final is None:
        return None
    summary = shortened(quiet(last.final.text).strip() or "No words.", limit=10_000)
    plain = {
        "name": "Branchline",
        "head_sha": last.final.commit,
        "external_id": str(last.message_id),
        "status": "completed",
        "conclusion": _CONCLUSIONS[last.stage],
        "output": {"title": _HEADS[last.stage], "summary": summary},
    }
    return plain | ({"details_url": page} if page else {})


def quiet(words: str) -> str:
    """Words of a model or a person as they may stand in a comment of ours: they call nobody, close no issue,
    load nothing from elsewhere and hide nothing."""
    words = _SPELLED.sub(_plain, words)
    words = _OPENING.sub("&lt;!--", words)
    words = _HTML_IMAGE.sub("&lt;", _IMAGE.sub("", words))
    words = _CLOSING.sub(lambda m: f"{m[0][0]}\u2060{m[0][1:]}", words)
    return _MENTION.sub("@\u2060", words)


def _line(words: str, *, limit: int) -> str:
    """The same as one line; after the cleaning, which spells characters out."""
    return even(quiet(one_line(words, limit=limit)))


def _plain(spelled: re.Match[str]) -> str:
    """A letter, digit or sign of a name that was spelled as a number: GitHub reads it as that character."""
    char = html.unescape(spelled[0])
    return char if char.isalnum() or char in "#@/:-_" else spelled[0]
