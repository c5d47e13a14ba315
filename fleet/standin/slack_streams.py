"""What was streamed into a message by chunks: rows, text, blocks; until it is stopped or has lived too long.

As the real service was measured by others (`docs/decisions/chat-frontends.md`): a row's title and state are
replaced, its details and output grow with every chunk; a stream keeps to the kind of content that it began
with; a row that is still in progress when the stream ends is shown as an error.
"""

import time
from dataclasses import dataclass, field

from fleet.standin.slack_content import BLOCKS_LIMIT, Json, Refusal, is_block

LIFETIME_SECONDS = 300.0
MARKDOWN_LIMIT = 12_000
ROW_LIMIT = 256
STATES = ("pending", "in_progress", "complete", "error")
BROKEN = "Something went wrong"


@dataclass(kw_only=True)
class Stream:
    """``mode``: ``timeline`` or ``plan``; ``to``: team and user who see it grow (None: everybody)."""

    mode: str
    to: tuple[str, str] | None
    begun: float = field(default_factory=time.monotonic)
    is_open: bool = True
    title: str = ""
    rows: dict[str, Json] = field(default_factory=dict)
    parts: list[Json] = field(default_factory=list)
    _kind: str | None = None

    def take(self, given: Json) -> None:
        """Add what a call brings. Raises Refusal."""
        chunks, text = given.get("chunks"), given.get("markdown_text")
        if chunks is not None and text is not None:
            raise Refusal("cannot_provide_both_markdown_text_and_chunks")
        if chunks is None and text is None:
            return
        kind = "text" if chunks is None else "chunks"
        if self._kind not in (None, kind):
            raise Refusal("streaming_mode_mismatch")
        added = [{"type": "markdown_text", "text": text}] if chunks is None else chunks
        for chunk in added:
            _check(chunk)
        self._kind = kind
        for chunk in added:
            self._add(chunk)

    def end(self) -> None:
        """No more is taken."""
        self.is_open = False
        broken = [row for row in self.rows.values() if row["status"] == "in_progress"]
        for row in broken:
            row["status"] = "error"
        if broken and self.mode == "plan":
            self.title = BROKEN

    def blocks(self) -> list[Json]:
        """As the message is read back."""
        rows = [_card(row) for row in self.rows.values()]
        if rows and self.mode == "plan":
            rows = [{"type": "plan", "title": self.title, "tasks": rows}]
        return [*rows, *self.parts]

    def text(self) -> str:
        """As the message reads without blocks."""
        told = [part["text"] for part in self.parts if part["type"] == "markdown"]
        return " ".join([*told, self.title, *(row["title"] for row in self.rows.values())]).strip()

    def _add(self, chunk: Json) -> None:
        match chunk["type"]:
            case "task_update":
                row = self.rows.setdefault(chunk["id"], {"id": chunk["id"], "details": "", "output": ""})
                row |= {"title": chunk["title"], "status": chunk["status"]}
                for name in ("details", "output"):
                    row[name] += chunk.get(name) or ""
            case "plan_update":
                self.title = chunk["title"]
            case "blocks":
                self.parts += chunk["blocks"]
            case _:
                self.parts.append({"type": "markdown", "text": chunk["text"]})


def begun(given: Json, *, is_direct: bool) -> Stream:
    """The stream that ``chat.startStream`` asks for. Raises Refusal."""
    user, team = given.get("recipient_user_id"), given.get("recipient_team_id")
    if not is_direct and not user:
        raise Refusal("missing_recipient_user_id")
    if not is_direct and not team:
        raise Refusal("missing_recipient_team_id")
    mode = given.get("task_display_mode", "timeline")
    if mode not in ("timeline", "plan") or not given.get("thread_ts"):
        raise Refusal("invalid_arguments")
    made = Stream(mode=mode, to=(str(team), str(user)) if user and team else None)
    made.take(given)
    return made


def _check(chunk: Json) -> None:
    match chunk.get("type"):
        case "markdown_text":
            if len(chunk["text"]) > MARKDOWN_LIMIT:
                raise Refusal("msg_too_long")
            fits = True
        case "task_update":
            words = [chunk["title"], chunk.get("details") or "", chunk.get("output") or ""]
            fits = bool(chunk["id"]) and chunk["status"] in STATES and all(len(w) <= ROW_LIMIT for w in words)
        case "plan_update":
            fits = len(chunk["title"]) <= ROW_LIMIT
        case "blocks":
            fits = 0 < len(chunk["blocks"]) <= BLOCKS_LIMIT and all(map(is_block, chunk["blocks"]))
        case _:
            fits = False
    if not fits:
        raise Refusal("invalid_chunks")


def _card(row: Json) -> Json:
    told = {name: _rich(row[name]) for name in ("details", "output") if row[name]}
    return {
        "type": "task_card",
        "task_id": row["id"],
        "title": row["title"],
        "status": row["status"],
        **told,
    }


def _rich(text: str) -> Json:
    section = {"type": "rich_text_section", "elements": [{"type": "text", "text": text}]}
    return {"type": "rich_text", "elements": [section]}
