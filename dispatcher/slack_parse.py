"""What a request of Slack means: its JSON becomes one of a few shapes. Pure.

The same for the HTTP routes and for Socket Mode. Checks no signature, looks nobody up, and never raises for
what Slack (or anybody who got past the signature) may send: what cannot be understood is ``Ignored``.
"""

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs

from pydantic import BaseModel, ConfigDict

from contracts.words import MessageId, Mode

_ID = re.compile(r"[A-Z0-9]{2,24}")
_TS = re.compile(r"[0-9]{1,12}\.[0-9]{1,9}")
_MARKUP = re.compile(r"<([^<>\n]*)>")
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))
_OF_PEOPLE = (None, "file_share", "thread_broadcast", "me_message")
"""Subtypes of messages that a person wrote."""
_CHOICE = re.compile(r"\[([^\[\]\n]{1,100})\]\s*")
_OWN = "@branchline"


class Asks(StrEnum):
    """What a message wants. ``NOTHING``: there is no text in it."""

    WORK = "work"
    STOP = "stop"
    STATUS = "status"
    HELP = "help"
    NOTHING = "nothing"


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


class Ignored(_Shape):
    """Nothing to do, and why."""

    reason: str


class Challenge(_Shape):
    """Slack asks whether this address is ours: answer with ``challenge``."""

    challenge: str


class _Spot(_Shape):
    """A message of a person. ``root``: the first message of its Slack thread, which may be itself."""

    team: str
    channel: str
    user: str
    ts: str
    root: str

    @property
    def address(self) -> str:
        """The place: one Slack thread."""
        return f"{self.team}/{self.channel}/{self.root}"

    @property
    def message_id(self) -> MessageId:
        """The same under whatever event ids the message arrives, and however often."""
        return message_id(team=self.team, channel=self.channel, ts=self.ts)


class Said(_Spot):
    """Somebody wrote. ``text`` is what they typed, without Slack's markup, our name and the sign of the mode.

    ``opens``: it is meant for us wherever it stands, so it may begin a thread; any other counts only in a
    thread that is ours. ``project``: the ``[name]`` that a direct message may begin with.
    """

    text: str = ""
    asks: Asks = Asks.NOTHING
    mode: Mode = Mode.QUEUE
    opens: bool = False
    direct: bool = False
    project: str | None = None
    has_files: bool = False


class Changed(_Spot):
    """Somebody edited or deleted what they had written."""

    deleted: bool


class Pressed(_Spot):
    """Somebody pressed a button under a post of ours, whose ``ts`` this is; ``value`` is the button's."""

    action: str
    value: str


Meaning = Said | Changed | Pressed | Challenge | Ignored


def message_id(*, team: str, channel: str, ts: str) -> MessageId:
    """The id under which a Slack message is recorded."""
    return MessageId(f"slack:{team}:{channel}:{ts}")


def ts_of(message: str, *, channel: str) -> str | None:
    """The Slack ``ts`` behind a message id, if that message stands in this channel."""
    parts = message.split(":")
    ours = len(parts) == 4 and parts[0] == "slack" and parts[2] == channel and _TS.fullmatch(parts[3])
    return parts[3] if ours else None


def parse(body: bytes) -> Meaning:
    """A request's body, JSON of the Events API or the form of a button."""
    try:
        text = body.decode()
        if text.startswith("payload="):
            return parse_action(json.loads(parse_qs(text, strict_parsing=True)["payload"][0]))
        return parse_event(json.loads(text))
    except (ValueError, KeyError, RecursionError):
        return Ignored(reason="not readable")


def parse_event(body: Any) -> Meaning:
    """An envelope of the Events API, as HTTP and Socket Mode carry it."""
    if not isinstance(body, Mapping):
        return Ignored(reason="not an object")
    if body.get("type") == "url_verification":
        return Challenge(challenge=_text(body, "challenge"))
    event = body.get("event")
    if body.get("type") != "event_callback" or not isinstance(event, Mapping):
        return Ignored(reason="not an event")
    match event.get("type"):
        case "app_mention" | "message":
            return _message(event, team=_text(body, "team_id"), own=_own(body))
        case other:
            return Ignored(reason=f"event {str(other)[:40]}")


def parse_action(payload: Any) -> Meaning:
    """The payload of a pressed button."""
    if not isinstance(payload, Mapping) or payload.get("type") != "block_actions":
        return Ignored(reason="not a button")
    actions = payload.get("actions")
    first = actions[0] if isinstance(actions, list) and actions else None
    message, channel = _map(payload, "message"), _map(payload, "channel")
    ts = _text(message, "ts")
    spot = {
        "team": _text(_map(payload, "team"), "id"),
        "channel": _text(channel, "id"),
        "user": _text(_map(payload, "user"), "id"),
        "ts": ts,
        "root": _text(message, "thread_ts") or ts,
    }
    if not isinstance(first, Mapping) or not _is_spot(spot):
        return Ignored(reason="button without a place")
    return Pressed(**spot, action=_text(first, "action_id"), value=_text(first, "value"))


def _message(event: Mapping[str, Any], *, team: str, own: str) -> Meaning:
    subtype = event.get("subtype")
    if subtype in ("message_changed", "message_deleted"):
        return _changed(event, team=team, own=own)
    if subtype not in _OF_PEOPLE:
        return Ignored(reason=f"subtype {str(subtype)[:40]}")
    if _is_bot(event, own=own):
        return Ignored(reason="a bot")
    spot = _spot(event, team=team, channel=_text(event, "channel"))
    if not _is_spot(spot):
        return Ignored(reason="message without a place")
    direct = event.get("channel_type") == "im"
    mentioned = event.get("type") == "app_mention"
    if not (direct or mentioned or event.get("thread_ts")):
        return Ignored(reason="not for us")
    text = _text(event, "text")
    own = own or (_first_mention(text) if mentioned else "")
    here: dict[str, Any] = {**spot, "opens": direct or mentioned, "direct": direct}
    said = Said(**here, has_files=bool(event.get("files")))
    return said.model_copy(update=read_text(text, own=own, direct=direct))


def _changed(event: Mapping[str, Any], *, team: str, own: str) -> Meaning:
    before, after = _map(event, "previous_message"), _map(event, "message")
    deleted = event.get("subtype") == "message_deleted" or after.get("subtype") == "tombstone"
    if _is_bot(before, own=own) or _is_bot(after, own=own):
        return Ignored(reason="a bot")
    if not deleted and _text(before, "text") == _text(after, "text"):
        return Ignored(reason="nothing changed in the text")
    spot = _spot(before or after, team=team, channel=_text(event, "channel"))
    if not _is_spot(spot):
        return Ignored(reason="change without a place")
    return Changed(**spot, deleted=deleted)


def read_text(text: str, *, own: str, direct: bool = False) -> dict[str, Any]:
    """``text``, ``asks``, ``mode`` (and ``project``) of what somebody wrote, from Slack's way to write it."""
    plain = _without_own(text.strip(), own=own)
    plain = _MARKUP.sub(lambda found: _shown(found.group(1), own=own), plain)
    for entity, character in _ENTITIES:
        plain = plain.replace(entity, character)
    mode, plain = _mode(plain.strip())
    project = _CHOICE.match(plain) if direct else None
    if project:
        plain = plain[project.end() :]
    chosen = project.group(1).strip() if project else None
    return {"text": plain, "asks": _asks(plain), "mode": mode, "project": chosen}


def _first_mention(text: str) -> str:
    found = re.match(r"\s*<@([A-Z0-9]{2,24})", text)
    return found.group(1) if found else ""


def _without_own(text: str, *, own: str) -> str:
    if not own:
        return text
    mention = rf"<@{re.escape(own)}(?:\|[^<>]*)?>"
    text = re.sub(rf"^(?:{mention}[\s,:]*)+", "", text)
    return re.sub(rf"(?:\s*{mention})+$", "", text)


def _shown(inner: str, *, own: str) -> str:
    """What stood in the person's text where Slack wrote ``<inner>``."""
    target, _, label = inner.partition("|")
    match target[:1]:
        case "@":
            return _OWN if target[1:] == own else f"@{label or target[1:]}"
        case "#":
            return f"#{label or target[1:]}"
        case "!":
            return label or f"@{target[1:].partition('^')[0]}"
        case _:
            # What Slack made a link by itself has the words of its target.
            return (label or target) if label in target else f"{label} ({target})"


def _mode(text: str) -> tuple[Mode, str]:
    if text.startswith("!"):
        return Mode.INTERRUPT, text[1:].strip()
    if not text.startswith(">"):
        return Mode.QUEUE, text
    lines = text.splitlines()
    # A quotation of several lines has the sign before each of them.
    quoted = all(line.startswith(">") or not line.strip() for line in lines)
    rest = "\n".join(line.removeprefix(">").removeprefix(" ") for line in lines) if quoted else text[1:]
    return Mode.STEER, rest.strip()


def _asks(text: str) -> Asks:
    word = text.strip().rstrip(".!").strip().casefold()
    if not word:
        return Asks.NOTHING
    return Asks(word) if word in (Asks.STOP, Asks.STATUS, Asks.HELP) else Asks.WORK


def _is_bot(event: Mapping[str, Any], *, own: str) -> bool:
    by_program = event.get("bot_id") or event.get("bot_profile")
    return bool(by_program) or event.get("user") in ("USLACKBOT", own)


def _own(body: Mapping[str, Any]) -> str:
    """The user id of our own bot, from the envelope."""
    found = body.get("authorizations")
    first = found[0] if isinstance(found, list) and found else None
    own = _text(first, "user_id") if isinstance(first, Mapping) else ""
    return own if _ID.fullmatch(own) else ""


def _spot(message: Mapping[str, Any], *, team: str, channel: str) -> dict[str, str]:
    ts = _text(message, "ts")
    return {
        "team": team,
        "channel": channel,
        "user": _text(message, "user"),
        "ts": ts,
        "root": _text(message, "thread_ts") or ts,
    }


def _is_spot(spot: dict[str, str]) -> bool:
    names = all(_ID.fullmatch(spot[name]) for name in ("team", "channel", "user"))
    return names and all(_TS.fullmatch(spot[name]) for name in ("ts", "root"))


def _text(body: Mapping[str, Any], name: str) -> str:
    found = body.get(name)
    # JSON can hold half a surrogate pair, which no other part of the system takes.
    return found.encode("utf-8", "replace").decode() if isinstance(found, str) else ""


def _map(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = body.get(name)
    return found if isinstance(found, Mapping) else {}
