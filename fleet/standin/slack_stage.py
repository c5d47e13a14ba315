"""The simulated Slack channel as ``branchline simulate slack`` uses it: say, press, send again, look.

Turns what a person wants into what the stand-in's people do, and what stands in the channel into words.
"""

import html
import re
from typing import Any

import httpx

from fleet.simulation import CHANNEL, Simulation, slack_id
from fleet.standin.slack import Fault, SlackStandIn
from fleet.standin.slack_world import BOT_USER, Json, Message

_EMOJI = {
    "eyes": "👀",
    "white_check_mark": "✅",
    "hourglass_flowing_sand": "⏳",
    "double_vertical_bar": "⏸",
    "octagonal_sign": "🛑",
    "x": "❌",
    "no_entry": "⛔",
    "warning": "⚠",
}
_ROWS = {"pending": "☐", "in_progress": "▸", "complete": "☑", "error": "☒"}
_LINK = re.compile(r"<(https?://[^|>]+)\|([^>]+)>")
_PERSON = re.compile(r"<@([A-Z0-9]+)>")
_CODE = re.compile(r":([a-z_]+):")
_BELOW = (
    "The answer is below.",
    "The answer is in the file below.",
    "The whole answer is in the file below.",
)
_OPEN = "Passed on to the work on"
_STOPPING = "octagonal_sign"
_LIMITED_SECONDS = 2.0


class SlackStage:
    """One channel. Every method may be called from any thread and may take seconds."""

    def __init__(self, slack: SlackStandIn, *, facts: Simulation) -> None:
        self._slack = slack
        self._facts = facts
        self._names = {BOT_USER: "branchline"} | {slack_id(p): p for p in facts.people}
        self._last: list[Json] = []
        slack.world.open(CHANNEL)

    def say(self, *, person: str, text: str, place: str | None) -> Json:
        """Somebody writes: in a thread, or with a mention in the channel. Raises LookupError."""
        if place is not None:
            self._thread(place)
        told = text.replace(self._facts.handle, f"<@{BOT_USER}>")
        if place is None and f"<@{BOT_USER}>" not in told:
            told = f"<@{BOT_USER}> {told}"
        user = slack_id(person)
        self._names[user] = person
        whispers = len(self._slack.world.whispers)
        message, self._last = self._slack.says(channel=CHANNEL, user=user, text=told, thread_ts=place)
        return {
            "place": place or message.ts,
            "message": message.ts,
            "whispers": whispers,
            "answers": self._send(),
        }

    def press(self, *, person: str, button: str, place: str | None) -> Json:
        """Somebody presses the newest button of that name in a thread. Raises LookupError."""
        root = self._thread(place)
        whispers = len(self._slack.world.whispers)
        for post in reversed(self._slack.world.posts(CHANNEL, root)):
            try:
                payload = self._slack.presses(
                    post, channel=CHANNEL, user=slack_id(person), action=f"branchline_{button}"
                )
            except LookupError:
                continue
            self._last = [payload]
            return {"place": root, "message": None, "whispers": whispers, "answers": self._send()}
        raise LookupError(f'there is no button "{button}" in the thread {root} now')

    def replay(self, times: int) -> Json:
        """Send the last event again, as Slack does when it got no answer. Raises LookupError."""
        if not self._last:
            raise LookupError("there is no event yet that could be sent again")
        answers = [answer for n in range(times) for answer in self._send(retry=n + 1)]
        return {"answers": answers}

    def fault(self, kind: str) -> Json:
        """What goes wrong with the next post; ``expired``: with the next addition to a stream."""
        method = "chat.appendStream" if kind == "expired" else "chat.postMessage chat.startStream"
        self._slack.fail(Fault(method=method, kind=kind, seconds=_LIMITED_SECONDS))
        return {}

    def shown(self, *, place: str | None, message: str | None, whispers: int | None) -> Json:
        """What a person sees of a thread; ``answered`` is about one message, else about all of them.

        ``whispers``: how many were whispered before, which are gone; None: nobody waits for any.

        Raises LookupError.
        """
        with self._slack.still:
            return self._shown(self._thread(place), message=message, whispers=whispers)

    def _shown(self, root: str, *, message: str | None, whispers: int | None) -> Json:
        world = self._slack.world
        posts = world.posts(CHANNEL, root)
        heard = [] if whispers is None else world.whispers[whispers:]
        if message is not None and _STOPPING in world.channels[CHANNEL].messages[message].reactions:
            message = None  # a stop gets no post of its own
        about = [p for p in posts if message is None or _is_about(p, message)]
        is_told = bool(about or (message is None and posts)) and all(_is_over(p, posts) for p in about)
        return {
            "title": f"#{self._facts.project}",
            "place": root,
            "messages": [self._message(m) for m in world.thread(CHANNEL, root)],
            "whispers": [{"to": self._name(w.user), "text": self._plain(w.text)} for w in heard],
            "beside": [],
            "answered": is_told or bool(heard),
        }

    def _send(self, *, retry: int = 0) -> list[int]:
        """Status of each delivery; 0 where nobody answered."""
        return [self._deliver(event, retry=retry) for event in self._last]

    def _deliver(self, event: Json, *, retry: int) -> int:
        try:
            return self._slack.deliver(event, to=self._facts.dispatcher, retry=retry).status_code
        except httpx.HTTPError:
            return 0

    def _thread(self, place: str | None) -> str:
        """The root of a thread; without one, of the newest."""
        messages = self._slack.world.channels[CHANNEL].messages
        roots = [m.ts for m in messages.values() if m.thread_ts is None and not m.bot]
        if place is None and not roots:
            raise LookupError("there is no thread yet; write something first")
        if place is not None and place not in roots:
            raise LookupError(f"there is no thread {place} (the simulated channel is empty after each start)")
        return place or roots[-1]

    def _message(self, message: Message) -> Json:
        return {
            "id": message.ts,
            "who": self._name(message.user),
            "bot": message.bot,
            "text": self._text(message.text, message.blocks),
            "edits": [self._text(v.text, v.blocks) for v in message.versions],
            "reactions": [_EMOJI.get(n, f":{n}:") for n in message.reactions],
            "buttons": _buttons(message.blocks),
            "files": [f["title"] for f in message.files],
        }

    def _name(self, user: str) -> str:
        return self._names.get(user, user)

    def _text(self, text: str, blocks: list[Json]) -> str:
        return self._plain("\n".join(filter(None, map(_words, blocks))) if blocks else text)

    def _plain(self, text: str) -> str:
        text = _PERSON.sub(lambda m: f"@{self._name(m[1])}", text)
        text = _CODE.sub(lambda m: _EMOJI.get(m[1], m[0]), _LINK.sub(r"\2 (\1)", text))
        return html.unescape(text)


def _is_about(post: Message, message: str) -> bool:
    """Whether a post belongs to a message; a stream has no metadata before it ends."""
    key = ((post.metadata or {}).get("event_payload") or {}).get("key", "")
    return message in key or (post.stream is not None and not key)


def _is_over(post: Message, posts: list[Message]) -> bool:
    """Whether nothing more is to be expected of this post."""
    shown = post.shown()
    if post.stream is not None and post.stream.is_open:
        return False
    if "Stop" in _buttons(post.blocks) or _OPEN in shown:
        return False
    return not any(words in shown for words in _BELOW) or posts[-1] is not post


def _words(block: Json) -> str:
    """What a block says, but for its buttons."""
    match block["type"]:
        case "actions":
            return ""
        case "rich_text":
            return "\n".join(_joined(element) for element in block["elements"])
        case "plan":
            return "\n".join([block["title"], *map(_words, block["tasks"])])
        case "task_card":
            told = [_words(block[name]) for name in ("details", "output") if name in block]
            return " · ".join([f"{_ROWS[block['status']]} {block['title']}", *told])
        case "markdown":
            return str(block["text"])
    return (
        " ".join(e["text"] for e in block["elements"]) if "elements" in block else str(block["text"]["text"])
    )


def _joined(element: Json) -> str:
    inner: list[Any] = element.get("elements", [])
    return "".join(map(_joined, inner)) if inner else str(element.get("text", ""))


def _buttons(blocks: list[Json]) -> list[str]:
    return [e["text"]["text"] for b in blocks if b["type"] == "actions" for e in b["elements"]]
