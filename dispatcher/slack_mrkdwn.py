"""Markdown as Slack shows it: an answer becomes pieces of mrkdwn, and pieces become blocks within the limits.

Pure. Nothing that a model wrote can mention anybody: ``<``, ``>`` and ``&`` are escaped everywhere but in the
links that are made here. A code block is never cut: it stands whole in one block, or not in this message.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

SECTION_LIMIT = 2900
"""Characters in one section block; Slack takes 3,000."""
MESSAGE_LIMIT = 9000
"""Characters of an answer's blocks in one message, as JSON. Slack refuses messages from about 11,000 on."""
BLOCKS_LIMIT = 40
"""Blocks of an answer in one message; Slack takes 50."""
_READ_LIMIT = 40_000
_HREF_LIMIT = 1500
_MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
_FENCE = "```"
_LOOKALIKE = "\u02cb"
"""A letter that looks like a backtick, where mrkdwn has no way to write one."""
_SAFE = re.compile(r"(?i)(https?|mailto):")

Block = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some mrkdwn that belongs together, or, as ``code``, the plain text of a code block.

    ``tight``: only a line end stands before it, no empty line.
    """

    text: str
    code: bool = False
    tight: bool = False


def escape(text: str) -> str:
    """Text as mrkdwn shows it, and no mention or link whatever stands in it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def section(text: str) -> Block:
    """A block of mrkdwn; longer than the limit is cut, so use it for text that is known to be short."""
    return {"type": "section", "expand": True, "text": {"type": "mrkdwn", "text": _cut(text)[0]}}


def context(text: str) -> Block:
    """A block in small grey letters."""
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": _cut(text)[0]}]}


def answer(markdown: str, *, limit: int = MESSAGE_LIMIT) -> tuple[list[Block], bool]:
    """The blocks of an answer, at most ``limit`` characters, and whether that is all of it."""
    shown, whole = markdown[:_READ_LIMIT], len(markdown) <= _READ_LIMIT
    found = list(pieces(shown))
    # What the end of the reading cut through may look like something else.
    return _packed(found if whole else found[:-1], limit=limit, whole=whole)


def pieces(markdown: str) -> Iterator[Piece]:
    """An answer's paragraphs, list items, tables and code blocks, in order."""
    for node in SyntaxTreeNode(_MARKDOWN.parse(markdown)).children:
        yield from (piece for piece in _block(node, indent="") if piece.text.strip())


def _packed(found: list[Piece], *, limit: int, whole: bool) -> tuple[list[Block], bool]:
    blocks: list[Block] = []
    for piece in _cut_up(found):
        longer = _with(blocks, piece)
        if len(longer) > BLOCKS_LIMIT or len(json.dumps(longer, ensure_ascii=False)) > limit:
            return blocks, False
        blocks = longer
    return blocks, whole


def _with(blocks: list[Block], piece: Piece) -> list[Block]:
    as_text = f"{_FENCE}\n{escape(piece.text)}\n{_FENCE}" if piece.code else piece.text
    if piece.code and (len(as_text) > SECTION_LIMIT or _FENCE in piece.text):
        return [*blocks, _preformatted(piece.text)]
    if blocks and blocks[-1]["type"] == "section":
        joined = blocks[-1]["text"]["text"] + ("\n" if piece.tight else "\n\n") + as_text
        if len(joined) <= SECTION_LIMIT:
            return [*blocks[:-1], section(joined)]
    return [*blocks, section(as_text)]


def _preformatted(code: str) -> Block:
    element = {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": code}]}
    return {"type": "rich_text", "elements": [element]}


def _cut_up(found: list[Piece]) -> Iterator[Piece]:
    """The pieces, none but code longer than a section."""
    for piece in found:
        if piece.code:
            yield piece
            continue
        rest, tight = piece.text, piece.tight
        while rest:
            text, rest = _cut(rest)
            yield Piece(text=text, tight=tight)
            tight = True


def _cut(text: str) -> tuple[str, str]:
    """The beginning that fits into a section, and the rest."""
    if len(text) <= SECTION_LIMIT:
        return text, ""
    spaces = [found.start() for found in re.finditer(r"\s", text[:SECTION_LIMIT])]
    for place in reversed(spaces[-400:]):
        if place and _may_cut(text[:place]):
            return text[:place], text[place + 1 :]
    place = SECTION_LIMIT
    entity = text.rfind("&", place - 5, place)
    if entity > 0 and ";" not in text[entity:place]:
        place = entity
    return text[:place], text[place:]


def _may_cut(before: str) -> bool:
    """Whether no link and no inline code is open here."""
    return before.count("<") == before.count(">") and before.count("`") % 2 == 0


def _block(node: SyntaxTreeNode, *, indent: str, tight: bool = False) -> Iterator[Piece]:
    match node.type:
        case "paragraph":
            yield Piece(text=indent + _indented(_inline(node), indent), tight=tight)
        case "heading":
            text = _inline(node, bold=True).strip()
            if text:
                yield Piece(text=f"{indent}*{text}*", tight=tight)
        case "fence" | "code_block":
            if node.content.strip():
                yield Piece(text=node.content.rstrip("\n"), code=True, tight=tight)
        case "bullet_list" | "ordered_list":
            yield from _list(node, indent=indent, tight=tight)
        case "blockquote":
            yield from _quote(node, tight=tight)
        case "table":
            yield Piece(text=_table(node), code=True, tight=tight)
        case "hr":
            yield Piece(text="———", tight=tight)
        case _:
            yield Piece(
                text=indent + escape(node.content.strip()).replace(_FENCE, _LOOKALIKE * 3), tight=tight
            )


def _list(node: SyntaxTreeNode, *, indent: str, tight: bool) -> Iterator[Piece]:
    number = int(node.attrs.get("start", 1))
    for item in node.children:
        mark = f"{number}. " if node.type == "ordered_list" else "• "
        number += 1
        for position, child in enumerate(item.children):
            nested = child.type in ("bullet_list", "ordered_list")
            deeper = indent + "    " if nested or position else indent
            for piece in _block(child, indent=deeper, tight=tight):
                tight = True
                first = position == 0 and not nested and not piece.code
                text = indent + _boxed(mark, piece.text[len(indent) :]) if first else piece.text
                mark = "    " if first else mark
                yield Piece(text=text, code=piece.code, tight=piece.tight)


def _boxed(mark: str, text: str) -> str:
    """An item with its mark; ``[ ]`` and ``[x]`` become boxes."""
    for sign, box in (("[ ] ", "☐ "), ("[x] ", "☑ "), ("[X] ", "☑ ")):
        if text.startswith(sign):
            return box + text[len(sign) :]
    return mark + text


def _quote(node: SyntaxTreeNode, *, tight: bool) -> Iterator[Piece]:
    for child in node.children:
        for piece in _block(child, indent="", tight=tight):
            tight = True
            if piece.code:
                yield piece
            else:
                yield Piece(text="> " + piece.text.replace("\n", "\n> "), tight=piece.tight)


def _table(node: SyntaxTreeNode) -> str:
    """A table in letters of one width, which is all that Slack has for it."""
    rows = [[_plain(cell) for cell in row.children] for part in node.children for row in part.children]
    widths = [max(len(row[n]) if n < len(row) else 0 for row in rows) for n in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def _plain(node: SyntaxTreeNode) -> str:
    """The letters of a node, without any marks."""
    if node.children:
        return "".join(_plain(child) for child in node.children)
    return " " if node.type in ("softbreak", "hardbreak") else node.content


def _indented(text: str, indent: str) -> str:
    return text.replace("\n", f"\n{indent}")


def _inline(node: SyntaxTreeNode, *, bold: bool = False) -> str:
    return "".join(_run(child, bold=bold) for child in node.children)


def _run(node: SyntaxTreeNode, *, bold: bool) -> str:
    match node.type:
        case "strong":
            inner = _inline(node, bold=True)
            return inner if bold or not inner.strip() else f"*{inner}*"
        case "em":
            return _marked("_", _inline(node, bold=bold))
        case "s":
            return _marked("~", _inline(node, bold=bold))
        case "code_inline":
            return f"`{escape(node.content).replace('`', _LOOKALIKE)}`"
        case "link":
            return _link(str(node.attrs.get("href", "")), escape(_plain(node)))
        case "image":
            return _link(str(node.attrs.get("src", "")), escape(_plain(node)))
        case "softbreak" | "hardbreak":
            return "\n"
        case "inline":
            return _inline(node, bold=bold)
        case _:
            return _letters(node.content)


def _letters(text: str) -> str:
    """Text that is no code; three backticks in it would begin a code block."""
    return escape(text).replace(_FENCE, _LOOKALIKE * 3)


def _marked(sign: str, text: str) -> str:
    return f"{sign}{text}{sign}" if text.strip() else text


def _link(href: str, label: str) -> str:
    if not _SAFE.match(href) or len(href) > _HREF_LIMIT or len(label) > _HREF_LIMIT:
        return f"{label} ({escape(href)})" if label and label != escape(href) else escape(href)
    target = escape(href).replace("|", "%7C")
    return f"<{target}|{label}>" if label.strip() and label != escape(href) else f"<{target}>"
