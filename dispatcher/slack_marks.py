"""How a post of ours is known again in a Slack thread: by its key in the metadata, or a stream's mark. Pure.

``chat.startStream`` takes no metadata, so a stream's first row bears the mark until the stream ends.
"""

import json
from collections.abc import Iterable
from typing import Any

from contracts.names import digest

Json = dict[str, Any]
EVENT_TYPE = "branchline_post"
_MARK = "branchline-living-"


def mark(key: str) -> str:
    """What stands in a stream instead of the key of its post."""
    return f"{_MARK}{digest(key)}"


def file_name(key: str) -> str:
    """The name under which a file is found again; its title is for people."""
    return f"answer-{digest(key)}.md"


def metadata(**payload: str) -> Json:
    """Slack's metadata with our words in it: ``key``, and ``instead_of`` where a post replaces another."""
    return {"event_type": EVENT_TYPE, "event_payload": payload}


def payload(message: Json) -> Json:
    """Our words in the metadata of a message; empty when it has none of ours."""
    found = message.get("metadata") or {}
    return dict(found.get("event_payload") or {}) if found.get("event_type") == EVENT_TYPE else {}


def id_of(message: Json, *, key: str) -> str | None:
    """The id of the post with this key, if this message is it: its ``ts``; for a file's key the file's."""
    for file in message.get("files") or []:
        if file.get("name") == file_name(key):
            return str(file["id"])
    is_it = payload(message).get("key") == key or mark(key) in _blocks(message)
    return str(message["ts"]) if is_it else None


def is_unmarked_stream(message: Json) -> bool:
    """Whether this was begun as a stream, by whomever, and nothing in it names a post of ours."""
    return bool(message.get("streaming_state")) and not payload(message) and _MARK not in _blocks(message)


def newest_of(messages: Iterable[Json], *, user: str) -> str | None:
    """The id of the newest of these messages that a user wrote."""
    return max((str(m["ts"]) for m in messages if m.get("user") == user), default=None)


def _blocks(message: Json) -> str:
    """Wherever Slack puts a row's id, it is in here."""
    return json.dumps(message.get("blocks") or [])
