"""People in the stand-in's Slack: they write, edit, delete and press, and Slack's events of it are sent.

Shapes and signatures are Slack's; nothing here answers a request.
"""

import hashlib
import hmac
import json
import threading
import time
from typing import Any
from urllib.parse import urlencode

import httpx

from fleet.standin.slack_world import APP, BOT_USER, TEAM, Json, Message, World

SECRET = "standin-signing-secret"  # noqa: S105 - protects nothing


def signed(body: bytes | str, *, secret: str = SECRET, timestamp: float | None = None) -> dict[str, str]:
    """The two headers with which Slack signs a body, now or at ``timestamp`` (Unix seconds)."""
    raw = body.encode() if isinstance(body, str) else body
    at = str(int(time.time() if timestamp is None else timestamp))
    digest = hmac.new(secret.encode(), b"v0:" + at.encode() + b":" + raw, hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": f"v0={digest}"}


class SlackPeople:
    """What people do in a workspace, and how a dispatcher hears of it, signed with ``secret``."""

    def __init__(self, world: World, *, lock: threading.RLock, secret: str = SECRET) -> None:
        self.world = world
        self.secret = secret
        self._lock = lock
        self._events = 0

    @property
    def still(self) -> threading.RLock:
        """While this is held, nobody changes anything."""
        return self._lock

    def says(
        self, *, channel: str, user: str, text: str, thread_ts: str | None = None
    ) -> tuple[Message, list[Json]]:
        """Somebody writes; the message, and the events that Slack would send of it."""
        with self._lock:
            room = self.world.open(channel, direct=channel.startswith("D"))
            message = self.world.says(channel=channel, user=user, text=text, thread_ts=thread_ts)
        kind = "im" if room.direct else "channel"
        told = {**message.plain(), "channel": channel, "event_ts": message.ts}
        events = [self.event({**told, "channel_type": kind})]
        if f"<@{BOT_USER}>" in text and not room.direct:
            events.insert(0, self.event({**told, "type": "app_mention"}))
        return message, events

    def edits(self, message: Message, *, channel: str, text: str) -> Json:
        """Somebody edits what they wrote; the event of it."""
        changed = {**message.plain(), "text": text, "edited": {"user": message.user, "ts": message.ts}}
        return self._change(message, channel=channel, subtype="message_changed", message=changed)

    def deletes(self, message: Message, *, channel: str) -> Json:
        """Somebody deletes what they wrote; the event of it."""
        return self._change(message, channel=channel, subtype="message_deleted", deleted_ts=message.ts)

    def presses(self, post: Message, *, channel: str, user: str, action: str) -> Json:
        """Somebody presses a button of a post; the payload. Raises LookupError without such a button."""
        elements = [e for block in post.blocks if block["type"] == "actions" for e in block["elements"]]
        button = next((e for e in elements if e["action_id"] == action), None)
        if button is None:
            raise LookupError(f"the post has no button {action}")
        return {
            "type": "block_actions",
            "team": {"id": TEAM, "domain": "standin"},
            "user": {"id": user, "team_id": TEAM},
            "channel": {"id": channel},
            "message": post.plain(),
            "container": {"type": "message", "message_ts": post.ts, "channel_id": channel},
            "actions": [{**button, "action_ts": post.ts}],
        }

    def event(self, event: Json) -> Json:
        """An envelope of the Events API around an event."""
        with self._lock:
            self._events += 1
            number = self._events
        return {
            "type": "event_callback",
            "team_id": TEAM,
            "api_app_id": APP,
            "event_id": f"Ev{number:08d}",
            "event_time": int(time.time()),
            "authorizations": [{"team_id": TEAM, "user_id": BOT_USER, "is_bot": True}],
            "event": event,
        }

    def deliver(
        self, body: Json, *, to: str, retry: int = 0, timestamp: float | None = None
    ) -> httpx.Response:
        """Send an envelope or a button's payload to a dispatcher (base URL), as Slack does, signed."""
        is_button = body.get("type") == "block_actions"
        raw = urlencode({"payload": json.dumps(body)}) if is_button else json.dumps(body)
        kind = "application/x-www-form-urlencoded" if is_button else "application/json"
        again = {"X-Slack-Retry-Num": str(retry), "X-Slack-Retry-Reason": "http_timeout"} if retry else {}
        path = "/slack/interactive" if is_button else "/slack/events"
        headers = {"Content-Type": kind, **signed(raw, secret=self.secret, timestamp=timestamp), **again}
        return httpx.post(f"{to.rstrip('/')}{path}", content=raw, headers=headers, timeout=30)

    def _change(self, of: Message, *, channel: str, **more: Any) -> Json:
        told = {"type": "message", "channel": channel, "hidden": True, "previous_message": of.plain()}
        kind = "im" if channel.startswith("D") else "channel"
        return self.event({**told, "channel_type": kind, "ts": of.ts, "event_ts": of.ts, **more})
