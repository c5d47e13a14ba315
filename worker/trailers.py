"""What stands in a commit message of the worker: one subject, the text, and trailers nobody can forge.

A trailer is the evidence that a message was worked on (DESIGN, section 3), so what people and models
write must never read as one. Pure; knows nothing of git's processes.
"""

import re
from collections.abc import Callable, Sequence
from urllib.parse import quote, unquote

MESSAGE = "Branchline-Message"
OUTCOME = "Branchline-Outcome"
THREAD = "Branchline-Thread"
CHECKPOINT = "Branchline-Checkpoint"
WORKED_ON = "Branchline-Checkpoint-Of"
"""The message whose unfinished work a checkpoint holds."""
JOINED = "Branchline-Joined"
"""The last commit of the line that a merge of two disks' lines brought in."""

SUBJECT_LIMIT = 72
BODY_LIMIT = 20_000

_OURS = re.compile(r"^\s*branchline-", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_PLAIN = "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"


def trailer_value(text: str) -> str:
    """``text`` on one line of printable ASCII: whatever else it holds is percent-encoded. Injective."""
    return quote(text, safe=_PLAIN, errors="surrogatepass")


def value_of(line: str) -> str:
    """The text of a trailer line, as ``trailer`` took it."""
    return unquote(line.partition(": ")[2], errors="surrogatepass")


def trailer(name: str, value: str) -> str:
    """One trailer line."""
    return f"{name}: {trailer_value(value)}"


def compose(
    *, subject: str, body: str = "", trailers: Sequence[str], redact: Callable[[str], str] = str
) -> bytes:
    """The whole message: subject of at most 72 characters, body, and ``trailers`` as the last paragraph."""
    parts = [_subject(redact(subject)), _body(redact(body)), "\n".join(trailers)]
    return ("\n\n".join(part for part in parts if part) + "\n").encode("utf-8", "replace")


def _subject(text: str) -> str:
    line = _CONTROL.sub("", " ".join(text.split())) or "Work of one turn"
    line = line if len(line) <= SUBJECT_LIMIT else line[: SUBJECT_LIMIT - 1].rstrip() + "…"
    return _tame(line)[:SUBJECT_LIMIT]


def _body(text: str) -> str:
    lines = (_tame(_CONTROL.sub("", line)).rstrip() for line in text.splitlines())
    return "\n".join(lines).strip("\n")[:BODY_LIMIT]


def _tame(line: str) -> str:
    """A line that would read as one of our trailers becomes a quotation of it."""
    return f"> {line.lstrip()}" if _OURS.match(line) else line
