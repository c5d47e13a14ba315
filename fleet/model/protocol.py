"""What a scripted reply looks like, and how it becomes the Messages API's answer on the wire.

Parts are data; this module turns them into the event stream (or the plain JSON) that Claude Code reads. It
must not know why a reply says what it says.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

Event = dict[str, Any]

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_PIECE = 40
"""Characters of tool input per delta: small enough that a reader must join them, as with a real model."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """A piece of the answer, sent as one delta. ``after`` is the pause before it, in seconds."""

    text: str
    after: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ToolUse:
    """One call of a tool by name; ends the reply, Claude Code answers with a result."""

    name: str
    input: Mapping[str, Any]
    id: str = field(default_factory=lambda: f"toolu_{uuid4().hex[:24]}")


@dataclass(frozen=True, kw_only=True)
class Live:
    """Deltas that are only known while they are sent (until a file exists, say)."""

    deltas: Callable[[], AsyncIterator[Text]]


@dataclass(frozen=True)
class Hang:
    """From here on nothing is sent, and the connection stays open."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """The request is answered with this HTTP status instead of a message."""

    status: int
    message: str = "refused by the script"
    headers: Mapping[str, str] = field(default_factory=dict)


Part = Text | ToolUse | Live | Hang
"""What a reply is made of, in order."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Token counts as reported to Claude Code, which derives the cost from them."""

    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One assistant message."""

    parts: tuple[Part, ...]
    usage: Usage = field(default_factory=Usage)


Answer = Reply | Refusal


def refusal_body(refusal: Refusal) -> dict[str, Any]:
    """The error body of the Messages API for this refusal."""
    kind = _ERROR_TYPES.get(refusal.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": refusal.message}}


async def events(reply: Reply, *, model: str) -> AsyncIterator[Event]:
    """The reply as the event objects of a streamed message, in the order the API sends them."""
    yield {
        "type": "message_start",
        "message": _message(model=model, content=[], usage=reply.usage, stop=None),
    }
    blocks = _Blocks()
    async for part in _flatten(reply.parts):
        if isinstance(part, Text) and part.after:
            await asyncio.sleep(part.after)
        for event in blocks.add(part):
            yield event
    for event in blocks.close():
        yield event
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": blocks.stop_reason, "stop_sequence": None},
        "usage": {"output_tokens": reply.usage.output_tokens},
    }
    yield {"type": "message_stop"}


def frame(event: Event) -> bytes:
    """One event in server-sent-events framing."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


async def whole(reply: Reply, *, model: str) -> dict[str, Any]:
    """The reply as the JSON body of a message that was not asked for as a stream."""
    content: list[dict[str, Any]] = []
    async for part in _flatten(reply.parts):
        if isinstance(part, ToolUse):
            content.append({"type": "tool_use", "id": part.id, "name": part.name, "input": dict(part.input)})
        elif content and content[-1]["type"] == "text":
            content[-1]["text"] += part.text
        else:
            content.append({"type": "text", "text": part.text})
    stop = "tool_use" if any(block["type"] == "tool_use" for block in content) else "end_turn"
    return _message(model=model, content=content, usage=reply.usage, stop=stop)


async def _flatten(parts: tuple[Part, ...]) -> AsyncIterator[Text | ToolUse]:
    for part in parts:
        if isinstance(part, Live):
            async for delta in part.deltas():
                yield delta
        elif isinstance(part, Hang):
            await asyncio.Event().wait()
        else:
            yield part


def _message(*, model: str, content: list[dict[str, Any]], usage: Usage, stop: str | None) -> dict[str, Any]:
    return {
        "id": f"msg_{uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens},
    }


class _Blocks:
    """Opens and closes content blocks around the parts, as the stream format demands."""

    def __init__(self) -> None:
        self.stop_reason = "end_turn"
        self._index = -1
        self._in_text = False

    def add(self, part: Text | ToolUse) -> Iterator[Event]:
        if isinstance(part, ToolUse):
            yield from self._tool(part)
            return
        if not self._in_text:
            yield self._open({"type": "text", "text": ""})
            self._in_text = True
        yield self._delta({"type": "text_delta", "text": part.text})

    def close(self) -> Iterator[Event]:
        if self._in_text:
            self._in_text = False
            yield {"type": "content_block_stop", "index": self._index}

    def _tool(self, part: ToolUse) -> Iterator[Event]:
        yield from self.close()
        self.stop_reason = "tool_use"
        yield self._open({"type": "tool_use", "id": part.id, "name": part.name, "input": {}})
        text = json.dumps(dict(part.input))
        for start in range(0, len(text), _PIECE):
            yield self._delta({"type": "input_json_delta", "partial_json": text[start : start + _PIECE]})
        yield {"type": "content_block_stop", "index": self._index}

    def _open(self, block: dict[str, Any]) -> Event:
        self._index += 1
        return {"type": "content_block_start", "index": self._index, "content_block": block}

    def _delta(self, delta: dict[str, Any]) -> Event:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}
