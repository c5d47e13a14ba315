"""Markup in an answer that would swallow what stands below it on GitHub: shown as the text it is. Pure.

An unclosed ``<pre>``, ``<details>`` or comment goes on to the end of a comment of ours. Markup that is closed
stays as it is, and so does all code.
"""

import re
from html.parser import HTMLParser

from markdown_it import MarkdownIt
from markdown_it.token import Token

_MARKDOWN = MarkdownIt("commonmark")
_VOID = frozenset(("br", "hr", "wbr", "col", "input"))
_UNCLOSABLE = re.compile(r"<[!?]")
_OUTSIDE_CODE = re.compile(
    r"^[ >]*(?P<fence>`{3,}+|~{3,}+)[^\n]*\n.*?^[ >]*(?P=fence)"
    r"|(?<!`)(?P<tick>`++)[^\n]*?(?<!`)(?P=tick)(?!`)"
    r"|(?P<opening><(?=[A-Za-z/!?]))",
    re.DOTALL | re.MULTILINE,
)


def even(words: str) -> str:
    """The words with all their markup closed: as text what is not, if need be with the signs in code, too."""
    if "<" not in words or _is_even(words):
        return words
    shown = _OUTSIDE_CODE.sub(lambda m: "&lt;" if m["opening"] else m[0], words)
    return shown if _is_even(shown) else words.replace("<", "&lt;")


class _Tags(HTMLParser):
    """Whether every tag that is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.is_even = True

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if tag not in _VOID:
            self.opened.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)  # HTML knows no other tags that end themselves

    def handle_endtag(self, tag: str) -> None:
        self.is_even = self.is_even and bool(self.opened) and self.opened.pop() == tag


def _is_even(words: str) -> bool:
    """Judged by the tags alone, in their order: what stands between them cannot open any."""
    tokens = _MARKDOWN.parse(words)
    pieces = [p for token in tokens for p in (token, *(token.children or ())) if p.type.startswith("html_")]
    return not pieces or (not any(map(_hides, pieces)) and _all_close(pieces))


def _hides(piece: Token) -> bool:
    return _UNCLOSABLE.search(piece.content) is not None


def _all_close(pieces: list[Token]) -> bool:
    tags = _Tags()
    for piece in pieces:
        tags.feed(piece.content)
    return tags.is_even and not tags.opened and "<" not in tags.rawdata
