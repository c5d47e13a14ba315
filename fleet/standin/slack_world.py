"""What a Slack workspace remembers, in memory: channels, messages with every edit, files, whispers.

The methods are the API's, with its own words for what is wrong (``Refusal``) and its limits, so that a post
that Slack would not take is not taken here.
"""

import itertools
import json
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from fleet.standin.slack_content import Json, Refusal, content, letters
from fleet.standin.slack_streams import LIFETIME_SECONDS, Stream, begun

__all__ = ["APP", "BOT_ID", "BOT_USER", "TEAM", "Channel", "Json", "Message", "Refusal", "Version", "World"]
TEAM = "T0STANDIN"
BOT_USER = "U0BRANCH"
BOT_ID = "B0BRANCH"
APP = "A0BRANCH"


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
    stream: Stream | None = None

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
        return "\n".join(letters(self.blocks)) if self.blocks else self.text

    def plain(self) -> Json:
        """The message as the API gives it."""
        told: Json = {"type": "message", "ts": self.ts, "user": self.user, "text": self.text, "team": TEAM}
        told |= {"thread_ts": self.thread_ts} if self.thread_ts else {}
        told |= {"bot_id": BOT_ID, "app_id": APP} if self.bot else {}
        told |= {"blocks": self.blocks} if self.blocks else {}
        told |= {"files": self.files} if self.files else {}
        if self.stream is not None:
            told["streaming_state"] = "in_progress" if self.stream.is_open else "completed"
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
    """One workspace. ``public`` is where its files are uploaded to.

    ``stream_seconds``: how long it leaves a stream open."""

    stream_seconds = LIFETIME_SECONDS

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

    def expire(self, channel: str, ts: str) -> None:
        """End a stream as Slack does with one that has been open for too long."""
        message = self.channels[channel].messages[ts]
        if message.stream is not None and message.stream.is_open:
            message.stream.end()
            self._streamed(message, message.stream)

    # ---------------------------------------------------------------- the API

    def auth_test(self, _: Json) -> Json:
        return {"team_id": TEAM, "user_id": BOT_USER, "bot_id": BOT_ID, "team": "Stand-in"}

    def chat_postMessage(self, given: Json) -> Json:  # noqa: N802 - Slack's name
        self._open(given)
        text, blocks = content(given)
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
            text=content(given)[0],
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
        if self._is_streaming(given["channel"], message):
            raise Refusal("streaming_state_conflict")
        text, blocks = content(given)
        message.versions.append(Version(at=time.monotonic(), text=text, blocks=blocks))
        message.metadata = given.get("metadata", message.metadata)
        return {"channel": given["channel"], "ts": message.ts, "text": text, "message": message.plain()}

    def chat_startStream(self, given: Json) -> Json:  # noqa: N802
        room = self._open(given)
        stream = begun(given, is_direct=room.direct)
        where: Json = {"thread_ts": given["thread_ts"], "bot": True, "stream": stream}
        made = self._add(room.id, user=BOT_USER, text=stream.text(), blocks=stream.blocks(), **where)
        return {"channel": room.id, "ts": made.ts}

    def chat_appendStream(self, given: Json) -> Json:  # noqa: N802
        message, stream = self._stream(given)
        stream.take(given)
        self._streamed(message, stream)
        return {"channel": given["channel"], "ts": message.ts}

    def chat_stopStream(self, given: Json) -> Json:  # noqa: N802
        message, stream = self._stream(given)
        stream.take(given)
        stream.parts += content({"text": "-", **given})[1]
        stream.end()
        message.metadata = given.get("metadata", message.metadata)
        self._streamed(message, stream)
        return {"channel": given["channel"], "ts": message.ts, "message": message.plain()}

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

    def _is_streaming(self, channel: str, message: Message) -> bool:
        stream = message.stream
        if stream is not None and time.monotonic() - stream.begun > self.stream_seconds:
            self.expire(channel, message.ts)
        return stream is not None and stream.is_open

    def _stream(self, given: Json) -> tuple[Message, Stream]:
        message = self._message(given, "ts")
        if not self._is_streaming(given["channel"], message) or message.stream is None:
            raise Refusal("message_not_in_streaming_state")
        return message, message.stream

    def _streamed(self, message: Message, stream: Stream) -> None:
        now = Version(at=time.monotonic(), text=stream.text(), blocks=deepcopy(stream.blocks()))
        message.versions.append(now)

    def _add(
        self, channel: str, *, user: str, text: str, blocks: list[Json], thread_ts: str | None, **more: Any
    ) -> Message:
        version = Version(at=time.monotonic(), text=text, blocks=blocks)
        made = Message(ts=self._ts(), user=user, thread_ts=thread_ts, versions=[version], **more)
        self.channels[channel].messages[made.ts] = made
        return made

    def _ts(self) -> str:
        return f"{int(time.time())}.{next(self._numbers):06d}"
