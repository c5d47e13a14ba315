"""Understands the plain sentences of the offline model: text in, wishes out.

A handful of patterns, no cleverness: what is not understood is a wish of its own, answered honestly.
"""

import re
from dataclasses import dataclass
from typing import Literal

Field = Literal["headline", "tagline", "accent"]


@dataclass(frozen=True, kw_only=True)
class SetField:
    """Give one entry of the site's data a new value."""

    field: Field
    value: str


@dataclass(frozen=True, kw_only=True)
class AddPage:
    """Make a page with this name; ``text`` is its one paragraph, None when the person gave none."""

    name: str
    text: str | None


@dataclass(frozen=True)
class ListPages:
    """Say which pages there are."""


@dataclass(frozen=True, kw_only=True)
class Remember:
    """Say what was asked earlier in this conversation; ``first`` wants only the very first."""

    first: bool


@dataclass(frozen=True)
class Greet:
    """Say hello and what can be done."""


@dataclass(frozen=True)
class Unclear:
    """Nothing that was understood."""


Wish = SetField | AddPage | ListPages | Remember | Greet | Unclear

_FIELDS: dict[str, Field] = {
    "headline": "headline",
    "heading": "headline",
    "title": "headline",
    "tagline": "tagline",
    "subtitle": "tagline",
    "slogan": "tagline",
    "accent colour": "accent",
    "accent color": "accent",
    "accent": "accent",
    "colour": "accent",
    "color": "accent",
}
_NAMES = "|".join(sorted(_FIELDS, key=len, reverse=True))
_NEXT = (
    r"\s*(?=,?\s*\band\s+(?:also\s+)?(?:(?:change|set|make|update|add|create)\b"
    rf"|(?:the|its)\s+(?:{_NAMES})\b)|\Z)"
)
_VALUE = r"(?:(?:\"[^\"]*\"|“[^”]*”|'[^']*'(?!\w)|‘[^’]*’|«[^»]*»|`[^`]*`)[.!,;]?|.+?)"  # noqa: RUF001
_SET = re.compile(
    r"\b(?:(?:change|set|make|update|turn|replace|let)\s+(?:(?:the|its|our|my)\s+)?|and\s+(?:the|its)\s+)"
    rf"(?:(?:main|site|page)(?:.s)?\s+)?(?P<field>{_NAMES})(?:\s+of\s+the\s+(?:home\s*)?(?:page|site))?"
    r"(?P<link>\s+to\s+(?:(?-i:be|say|read)\s+)?|\s+(?:into|as|say|read|with)\s+|\s*[:=]\s*|\s+)"
    rf"(?P<value>{_VALUE})\s*{_NEXT}",
    re.IGNORECASE,
)
_ADD = re.compile(
    r"\b(?:add|create|make)\s+(?:me\s+)?(?:(?:a|an|another|the)\s+)?(?:new\s+)?"
    rf"(?:page\s+(?:called|named|titled|about|for)\s+(?P<after>{_VALUE})"
    r"|(?!(?:a|an|another|the|new)\b)(?P<before>[^\n]{1,60}?)\s+page)"
    r"(?:\s*[,:]?\s+(?:that\s+|which\s+|and\s+)?(?:saying|says?|with\s+the\s+text|reading|reads)\b:?\s*"
    rf"(?P<text>{_VALUE}))?\s*{_NEXT}",
    re.IGNORECASE,
)
_LIST = re.compile(r"\b(?:list|show|which|what)\b.{0,30}\bpages\b", re.IGNORECASE)
_MEMORY = re.compile(
    r"\A(?:\W|hi|hello|hey|please|and|so|now|tell me)*"
    r"(?:what\b.{0,20}\b(?:did|have|had)\s+i\b|(?:do|can)\s+you\s+remember\b)",
    re.IGNORECASE,
)
_FIRST = re.compile(r"\bfirst\b|\bat the (?:start|beginning)\b", re.IGNORECASE)
_GREET = re.compile(
    r"\bwhat\s+can\s+you\b|\bwho\s+are\s+you\b|\bhelp\b|\A\W*(?:hi|hello|hey|good\s+(?:morning|evening|day))\b",
    re.IGNORECASE,
)
_CONTEXT = re.compile(r"\n\s*(?:---+\s*\n|<[a-z]+[-_][a-z_-]+>).*", re.DOTALL)
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’", "«": "»"}  # noqa: RUF001
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_CLOSED = re.compile(r"(?<=[\"'`”’»])[.!,;]\Z")  # noqa: RUF001
_PLEASE = re.compile(r",?\s+please\W*\Z", re.IGNORECASE)


def understand(text: str) -> tuple[Wish, ...]:
    """What a person wants, in the order it was said; a single ``Unclear`` when no pattern fits.

    Context that was put behind the person's text (after a line of dashes or in a tag) is left out.
    """
    said = _CONTROL.sub("", _CONTEXT.sub("", text)).strip()
    if _MEMORY.search(said):
        return (Remember(first=bool(_FIRST.search(said))),)
    wishes = [wish for line in said.splitlines() for wish in _edits(line.strip())]
    if wishes:
        return tuple(wishes)
    if _LIST.search(said):
        return (ListPages(),)
    return (Greet(),) if _GREET.search(said) else (Unclear(),)


def unquote(text: str, *, sentence: bool = False) -> str:
    """The value without its quotes; without a final full stop too, unless it is a ``sentence`` of its own."""
    value = _CLOSED.sub("", _PLEASE.sub("", text.strip()))
    if len(value) >= 2 and _QUOTES.get(value[0]) == value[-1]:
        return value[1:-1].strip()
    if not sentence and value.endswith(".") and not value.endswith(".."):
        value = value[:-1]
    return value.strip()


def _edits(line: str) -> list[Wish]:
    found = [(match.span(), _set(match)) for match in _SET.finditer(line)]
    found += [(match.span(), _add(match)) for match in _ADD.finditer(line)]
    wishes: list[Wish] = []
    end = 0
    for span, wish in sorted(found, key=lambda pair: pair[0]):
        if wish and span[0] >= end:  # what stands inside another wish's words is not a wish
            wishes.append(wish)
            end = span[1]
    return wishes


def _set(match: re.Match[str]) -> Wish | None:
    field = _FIELDS[match["field"].lower()]
    value = unquote(match["value"], sentence=field == "tagline")
    if not match["link"].strip() and (field != "accent" or " " in value):
        return None  # "make the accent teal" is a wish, "make the title nice" is none
    return SetField(field=field, value=value) if value else None


def _add(match: re.Match[str]) -> Wish | None:
    name = unquote(match["after"] or match["before"])
    text = unquote(match["text"], sentence=True) if match["text"] else None
    return AddPage(name=name, text=text) if name else None
