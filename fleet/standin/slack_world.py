"""What a Slack workspace remembers, in memory: channels, messages with every edit, files, whispers.

The methods are the API's, with its own words for what is wrong (``Refusal``) and its limits, so that a post
that Slack would not take is not taken here.
"""

import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

TEAM = "T0STANDIN"
BOT_USER = "U0BRANCH"
BOT_ID = "B0BRANCH"
APP = "A0BRANCH"
BLOCKS_LIMIT = 50
SECTION_LIMIT = 3000
ALL_BLOCKS_LIMIT = 13_200
TEXT_LIMIT = 40_000
VALUE_LIMIT = 2000

Json = dict[str, Any]


class Refusal(Exception):
    """The API answers ``{"ok": false, "error": code}``."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Version:
    """How a message looked from ``at`` (monotonic seconds) on."""

    at: float
    text: str
    blocks: list[Json]


@dataclass(kw_only=True)
class Message:
    """A message and all it ever was; ``versions`` begins with how it was posted."""

    ts: str
    user: str
    thread_ts: str | None
    versions: list[Version]
    bot: bool = False
    metadata: Json | None = None
    files: list[Json] = field(default_factory=list)
    reactions: dict[str, list[str]] = field(default_factory=dict)
    locked: str = ""

    @property
    def text(self) -> str:
        """As it reads now."""
        return self.versions[-1].text

    @property
    def blocks(self) -> list[Json]:
        """As they are now."""
        return self.versions[-1].blocks

    def shown(self) -> str:
        """Everything a person reads in it now: its blocks, or its text where it has none."""
        return "\n".join(_letters(self.blocks)) if self.blocks else self.text

    def plain(self) -> Json:
        """The message as the API gives it."""
        told: Json = {"type": "message", "ts": self.ts, "user": self.user, "text": self.text, "team": TEAM}
        told |= {"thread_ts": self.thread_ts} if self.thread_ts else {}
        told |= {"bot_id": BOT_ID, "app_id": APP} if self.bot else {}
        told |= {"blocks": self.blocks} if self.blocks else {}
        told |= {"files": self.files} if self.files else {}
        if self.reactions:
            told["reactions"] = [
                {"name": n, "users": users, "count": len(users)} for n, users in self.reactions.items()
            ]
        return told


@dataclass(frozen=True, kw_only=True)
class Whisper:
    """An ephemeral message."""

    channel: str
    user: str
    text: str
    thread_ts: str | None


@dataclass(kw_only=True)
class Channel:
    """A channel or a direct conversation."""

    id: str
    direct: bool = False
    archived: bool = False
    messages: dict[str, Message] = field(default_factory=dict)


class World:
    """One workspace. ``public`` is where its files are uploaded to."""

    def __init__(self, *, public: Callable[[], str] = lambda: "") -> None:
        self.channels: dict[str, Channel] = {}
        self.whispers: list[Whisper] = []
        self.statuses: list[Json] = []
        self.uploads: dict[str, bytes] = {}
        self._public = public
        self._numbers = itertools.count(1)
        self._files: dict[str, str] = {}

    # ---------------------------------------------------------------- for the people in it

    def open(self, channel: str, *, direct: bool = False) -> Channel:
        """A channel; made when it is not there."""
        return self.channels.setdefault(channel, Channel(id=channel, direct=direct))

    def delete(self, channel: str) -> None:
        """Delete a channel for good."""
        self.channels.pop(channel, None)

    def says(self, *, channel: str, user: str, text: str, thread_ts: str | None = None) -> Message:
        """A person writes."""
        return self._add(channel, user=user, text=text, blocks=[], thread_ts=thread_ts)

    def thread(self, channel: str, root: str) -> list[Message]:
        """The first message of a Slack thread and its replies, in order."""
        found = self.channels[channel].messages.values()
        return [m for m in found if m.ts == root or m.thread_ts == root]

    def posts(self, channel: str, root: str) -> list[Message]:
        """What the bot wrote in a thread."""
        return [m for m in self.thread(channel, root) if m.bot]

    # ---------------------------------------------------------------- the API

    def auth_test(self, _: Json) -> Json:
        return {"team_id": TEAM, "user_id": BOT_USER, "bot_id": BOT_ID, "team": "Stand-in"}

    def chat_postMessage(self, given: Json) -> Json:  # noqa: N802 - Slack's name
        self._open(given)
        text, blocks = _content(given)
        made = self._add(
            given["channel"],
            user=BOT_USER,
            text=text,
            blocks=blocks,
            thread_ts=given.get("thread_ts"),
            bot=True,
            metadata=given.get("metadata"),
        )
        return {"channel": given["channel"], "ts": made.ts, "message": made.plain()}

    def chat_postEphemeral(self, given: Json) -> Json:  # noqa: N802
        self._open(given)
        whisper = Whisper(
            channel=given["channel"],
            user=given["user"],
            text=_content(given)[0],
            thread_ts=given.get("thread_ts"),
        )
        self.whispers.append(whisper)
        return {"message_ts": self._ts()}

    def chat_update(self, given: Json) -> Json:
        message = self._message(given, "ts")
        if not message.bot:
            raise Refusal("cant_update_message")
        if message.locked:
            raise Refusal(message.locked)
        text, blocks = _content(given)
        message.versions.append(Version(at=time.monotonic(), text=text, blocks=blocks))
        message.metadata = given.get("metadata", message.metadata)
        return {"channel": given["channel"], "ts": message.ts, "text": text, "message": message.plain()}

    def conversations_replies(self, given: Json) -> Json:
        self._open(given)
        found = self.thread(given["channel"], given["ts"])
        if not found:
            raise Refusal("thread_not_found")
        start, limit = int(given.get("cursor") or 0), int(given.get("limit") or 1000)
        page, more = found[start : start + limit], len(found) > start + limit
        with_metadata = str(given.get("include_all_metadata", "")).lower() in ("1", "true")
        shown = [m.plain() | ({"metadata": m.metadata} if with_metadata and m.metadata else {}) for m in page]
        cursor = {"response_metadata": {"next_cursor": str(start + limit)}} if more else {}
        return {"messages": shown, "has_more": more, **cursor}

    def reactions_add(self, given: Json) -> Json:
        users = self._message(given, "timestamp").reactions.setdefault(given["name"], [])
        if BOT_USER in users:
            raise Refusal("already_reacted")
        users.append(BOT_USER)
        return {}

    def assistant_threads_setStatus(self, given: Json) -> Json:  # noqa: N802
        self._open({"channel": given["channel_id"]})
        self.statuses.append(given)
        return {}

    def files_getUploadURLExternal(self, given: Json) -> Json:  # noqa: N802
        file = f"F{next(self._numbers):09d}"
        self._files[file] = given["filename"]
        return {"upload_url": f"{self._public()}/upload/{file}", "file_id": file}

    def files_completeUploadExternal(self, given: Json) -> Json:  # noqa: N802
        asked = given["files"] if isinstance(given["files"], list) else json.loads(given["files"])
        self._open({"channel": given["channel_id"]})
        missing = [f for f in asked if f["id"] not in self.uploads]
        if missing:
            raise Refusal("file_not_found")
        files = [
            {"id": f["id"], "name": self._files[f["id"]], "title": f.get("title") or self._files[f["id"]]}
            for f in asked
        ]
        where: Json = {"thread_ts": given.get("thread_ts"), "bot": True, "files": files}
        self._add(given["channel_id"], user=BOT_USER, text="", blocks=[], **where)
        return {"files": files}

    # ---------------------------------------------------------------- within

    def _open(self, given: Json) -> Channel:
        channel = self.channels.get(given["channel"])
        if channel is None:
            raise Refusal("channel_not_found")
        if channel.archived:
            raise Refusal("is_archived")
        return channel

    def _message(self, given: Json, name: str) -> Message:
        message = self._open(given).messages.get(given[name])
        if message is None:
            raise Refusal("message_not_found")
        return message

    def _add(
        self, channel: str, *, user: str, text: str, blocks: list[Json], thread_ts: str | None, **more: Any
    ) -> Message:
        version = Version(at=time.monotonic(), text=text, blocks=blocks)
        made = Message(ts=self._ts(), user=user, thread_ts=thread_ts, versions=[version], **more)
        self.channels[channel].messages[made.ts] = made
        return made

    def _ts(self) -> str:
        return f"{int(time.time())}.{next(self._numbers):06d}"


def _content(given: Json) -> tuple[str, list[Json]]:
    """Text and blocks of a post. Raises Refusal for what Slack does not take."""
    text, blocks = given.get("text") or "", given.get("blocks") or []
    blocks = json.loads(blocks) if isinstance(blocks, str) else blocks
    if not text and not blocks:
        raise Refusal("no_text")
    if len(text) > TEXT_LIMIT:
        raise Refusal("msg_too_long")
    if len(blocks) > BLOCKS_LIMIT or not all(_is_block(block) for block in blocks):
        raise Refusal("invalid_blocks")
    if len(json.dumps(blocks, ensure_ascii=False)) > ALL_BLOCKS_LIMIT:
        raise Refusal("msg_blocks_too_long")
    return text, blocks


def _is_block(block: Json) -> bool:
    match block.get("type"):
        case "section":
            return _is_text(block["text"], limit=SECTION_LIMIT)
        case "context":
            elements = block["elements"]
            return 0 < len(elements) <= 10 and all(_is_text(e, limit=SECTION_LIMIT) for e in elements)
        case "actions":
            return 0 < len(block["elements"]) <= 25 and all(_is_button(e) for e in block["elements"])
        case "rich_text":
            return all(e["type"].startswith("rich_text_") and e["elements"] for e in block["elements"])
        case _:
            return False


def _is_text(text: Json, *, limit: int) -> bool:
    return text["type"] in ("mrkdwn", "plain_text") and 0 < len(text["text"]) <= limit


def _is_button(button: Json) -> bool:
    fits = len(button.get("value", "")) <= VALUE_LIMIT and len(button.get("url", "")) <= SECTION_LIMIT
    return fits and _is_text(button["text"], limit=75) and len(button["action_id"]) <= 255


def _letters(found: Any) -> list[str]:
    if isinstance(found, dict):
        own = [found["text"]] if isinstance(found.get("text"), str) else []
        return own + [line for value in found.values() for line in _letters(value)]
    return [line for each in found for line in _letters(each)] if isinstance(found, list) else []
