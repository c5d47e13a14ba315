"""What a person on GitHub cannot see, Claude Code must not read: takes hidden text out. Pure.

``visible`` is for the words of the person who asked (code they show stays as it is), ``strict`` for what
anybody may have written (nothing is spared), ``quote`` for handing such text over as data. It decides nothing
about who may ask, and it is no wall: a text that is visible may still lie.
"""

import html
import re
import unicodedata

_ROUNDS = 8
"""Taking one thing out may lay bare another; more rounds than this only somebody with a plan needs."""
_COMMENT = r"<!--.*?(?:-->|\Z)|<!\[CDATA\[.*?(?:\]\]>|\Z)|<\?.*?(?:\?>|\Z)|<![A-Za-z][^>]*(?:>|\Z)"
_FENCED = r"^(?P<fence>`{3,}+|~{3,}+)[^\n]*\n.*?^(?P=fence)[`~]*[ \t]*$"
_TICKED = r"(?<!`)(?P<tick>`++)[^\n]{0,2000}?(?<!`)(?P=tick)(?!`)"
_CODE = f"{_FENCED}|{_TICKED}"
_UNSEEN = re.compile(_COMMENT, re.DOTALL)
_SEGMENTS = re.compile(rf"(?P<unseen>{_COMMENT})|(?P<code>{_CODE})", re.DOTALL | re.MULTILINE)
_DROPPED = re.compile(r"<(script|style|template|noscript|iframe|svg|math)\b.*?(?:</\1\s*>|\Z)", re.I | re.S)
_ATTRIBUTE = re.compile(
    r"""(?<=[\s"'/])(?:alt|title|placeholder|label|value|content|summary|hidden|style|aria-[\w-]+|data-[\w-]+)"""
    r"""\s*=\s*(?:"[^"]*(?:"|\Z)|'[^']*(?:'|\Z)|[^\s"'>]+)""",
    re.I,
)
_BRACKET = re.compile(r"!?\[|\]")
_LINK_TITLE = re.compile(r"""(\]\([^()\s]*)\s+(?:"[^"]*"|'[^']*'|\([^()]*\))\s*\)""")
_DEFINITION = re.compile(r"^ {0,3}\[([^\]\n]+)\]:[ \t]*(\S*)[^\n]*$", re.M)
_KEPT_CONTROLS = "\n\t"


def visible(text: str) -> str:
    """The text as its reader sees it. Code is shown as it is written, so it stays."""
    for _ in range(_ROUNDS):
        before, text = text, _seen(text)
        if text == before:
            return text.strip()
    return strict(text)


def strict(text: str) -> str:
    """The text without anything that could be hidden, in code or not."""
    return _uncovered(text, code=True).strip()


def unseen_characters_removed(text: str) -> str:
    """Without zero-width, bidirectional, tag and control characters; line ends become ``\\n``."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c for c in text if c in _KEPT_CONTROLS or not _is_unseen(c))


def quote(text: str) -> str:
    """Each line behind ``> ``: whatever it holds, it cannot end the quotation."""
    lines = strict(text).split("\n")
    return "\n".join(f"> {line}".rstrip() for line in lines)


def one_line(text: str, *, limit: int = 200) -> str:
    """A title or name as one plain line."""
    plain = " ".join(strict(text).split())
    return plain if len(plain) <= limit else plain[: limit - 1].rstrip() + "…"


def _seen(text: str) -> str:
    """One pass: comments and code are told apart by which of them begins first."""
    parts, at = [], 0
    text = unseen_characters_removed(text)
    for match in _SEGMENTS.finditer(text):
        parts.append(_uncovered(text[at : match.start()], code=False))
        parts.append(match["code"] or "")
        at = match.end()
    parts.append(_uncovered(text[at:], code=False))
    return "".join(parts)


def _is_unseen(char: str) -> bool:
    if unicodedata.category(char) in ("Cc", "Cf", "Co", "Cs"):
        return True
    point = ord(char)
    fillers = point in (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0)
    selectors = 0xFE00 <= point <= 0xFE0F or 0xE0100 <= point <= 0xE01EF
    return fillers or selectors or point in (0x2028, 0x2029)


def _uncovered(text: str, *, code: bool) -> str:
    for _ in range(_ROUNDS):
        before, text = text, _once(text, code=code)
        if text == before:
            return text
    # Nobody writes text that is wrapped this often by accident: what could open something is taken away.
    return text.replace("<", "").replace("&", "").replace("![", "[")


def _once(text: str, *, code: bool) -> str:
    text = unseen_characters_removed(html.unescape(text) if code else _entities(text))
    text = _DROPPED.sub("", _UNSEEN.sub("", text))
    text = _without_attributes(text)
    return _without_definitions(_LINK_TITLE.sub(r"\1)", _without_alts(text)))


def _entities(text: str) -> str:
    """Numbers and names of characters become those characters, as a reader sees them."""
    return re.sub(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|\w{2,32});", lambda m: html.unescape(m[0]), text)


def _without_attributes(text: str) -> str:
    """Tags are told from a lone ``<`` by the letter behind it; one that never ends counts to the end."""
    pieces = re.split(r"(?=<[A-Za-z])", text)
    return pieces[0] + "".join(_tag(piece) for piece in pieces[1:])


def _tag(piece: str) -> str:
    end = _end_of_tag(piece)
    return re.sub(r"[ \t]+(?=[/>]|$)", "", _ATTRIBUTE.sub("", piece[:end])) + piece[end:]


def _end_of_tag(piece: str) -> int:
    """Behind the ``>`` that ends the tag, not one in quotes."""
    inside = ""
    for at, char in enumerate(piece):
        if inside:
            inside = "" if char == inside else inside
        elif char in "\"'" and piece[at - 1 : at] == "=":
            inside = char
        elif char == ">":
            return at + 1
    return len(piece)


def _without_alts(text: str) -> str:
    """Images without the text that stands in for them; brackets in it are matched, in one pass."""
    opened: list[re.Match[str]] = []
    gone: list[tuple[int, int]] = []
    for bracket in _BRACKET.finditer(text):
        if bracket[0] != "]":
            opened.append(bracket)
        elif (
            opened
            and (first := opened.pop())[0] == "!["
            and text[bracket.end() : bracket.end() + 1] in ("(", "[")
        ):
            gone.append((first.end(), bracket.start()))
    kept, at = [], 0
    for start, end in sorted(gone):
        if start >= at:
            kept.append(text[at:start])
            at = end
    return "".join(kept) + text[at:]


def _without_definitions(text: str) -> str:
    """Link definitions are never shown: one that a link uses keeps its address, others go."""
    lower = text.lower()

    def kept(match: re.Match[str]) -> str:
        label, address = match[1], match[2]
        used = lower.count(f"[{label.lower()}]") > 1 and address.startswith(("http://", "https://", "/"))
        return f"[{label}]: {address}" if used else ""

    return _DEFINITION.sub(kept, text)
