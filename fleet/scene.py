"""A simulated place as terminal text: as lines that tell what changed, or as a picture that is drawn anew.

Pure. Text that a model or a person wrote may hold control characters; they are taken out here.
"""

from collections.abc import Iterator
from typing import Any

from rich.console import Group
from rich.text import Text

from fleet.render import clean

Json = dict[str, Any]


class Lines:
    """Views in, lines out: each new or edited message once, with who sees it."""

    def __init__(self) -> None:
        self._seen: dict[str, Json] = {}
        self._said: set[str] = set()

    def feed(self, view: Json) -> Iterator[Text]:
        """What is new since the last view."""
        yield from self._once(f"{view['title']} · {view['place']}", style="bold")
        for message in view["messages"]:
            yield from self._changes(message)
        for number, whisper in enumerate(view["whispers"]):
            words = f"(only {whisper['to']} sees this) {whisper['text']}"
            yield from self._once(words, style="dim", key=f"whisper {number}")
        for line in view["beside"]:
            yield from self._once(line, style="magenta")

    def _changes(self, message: Json) -> Iterator[Text]:
        before = self._seen.get(message["id"])
        self._seen[message["id"]] = message
        names = ("text", "buttons", "files")
        if before is None or any(before[n] != message[n] for n in names):
            yield _message(message, word=" (edited)" if before else "")
        for reaction in message["reactions"]:
            who = message["who"]
            yield from self._once(f"  {reaction} on {who}'s message", key=f"{message['id']} {reaction}")

    def _once(self, words: str, *, style: str = "", key: str | None = None) -> Iterator[Text]:
        if (key or words) not in self._said:
            self._said.add(key or words)
            yield Text(clean(words), style=style)


def picture(view: Json) -> Group:
    """The whole place as it looks now."""
    parts = [Text(clean(f"{view['title']} · {view['place']}"), style="bold")]
    for message in view["messages"]:
        parts.append(_message(message))
        parts += [Text("  " + " ".join(map(clean, message["reactions"])))] if message["reactions"] else []
    parts += [Text(clean(f"(only {w['to']} sees this) {w['text']}"), style="dim") for w in view["whispers"]]
    parts += [Text(clean(line), style="magenta") for line in view["beside"]]
    return Group(*parts)


def _message(message: Json, *, word: str = "") -> Text:
    buttons = "  ".join(f"[{name}]" for name in message["buttons"])
    files = [f"(file: {name})" for name in message["files"]]
    body = "\n".join(clean(part) for part in [message["text"], *files, buttons] if part)
    edits = len(message["edits"]) - 1
    told = f" · edits: {edits}" if edits and not word else ""
    return Text.assemble(
        (f"{clean(message['who'])}{word}{told}: ", "bold green" if message["bot"] else "bold cyan"),
        body.replace("\n", "\n  "),
    )
