"""What Slack takes as the content of a message, with its limits and its own words for what is wrong. Pure."""

import json
from typing import Any

BLOCKS_LIMIT = 50
SECTION_LIMIT = 3000
ALL_BLOCKS_LIMIT = 13_200
TEXT_LIMIT = 40_000
VALUE_LIMIT = 2000

Json = dict[str, Any]


class Refusal(Exception):
    """The API answers ``{"ok": false, "error": code}``."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def content(given: Json) -> tuple[str, list[Json]]:
    """Text and blocks of a post. Raises Refusal for what Slack does not take."""
    text, blocks = given.get("text") or "", given.get("blocks") or []
    blocks = json.loads(blocks) if isinstance(blocks, str) else blocks
    if not text and not blocks:
        raise Refusal("no_text")
    if len(text) > TEXT_LIMIT:
        raise Refusal("msg_too_long")
    if len(blocks) > BLOCKS_LIMIT or not all(is_block(block) for block in blocks):
        raise Refusal("invalid_blocks")
    if len(json.dumps(blocks, ensure_ascii=False)) > ALL_BLOCKS_LIMIT:
        raise Refusal("msg_blocks_too_long")
    return text, blocks


def is_block(block: Json) -> bool:
    """Whether Slack would take it."""
    match block.get("type"):
        case "section":
            return _is_text(block["text"], limit=SECTION_LIMIT)
        case "context":
            elements = block["elements"]
            return 0 < len(elements) <= 10 and all(_is_text(e, limit=SECTION_LIMIT) for e in elements)
        case "actions":
            return 0 < len(block["elements"]) <= 25 and all(_is_button(e) for e in block["elements"])
        case "rich_text":
            return all(e["type"].startswith("rich_text_") and e["elements"] for e in block["elements"])
        case _:
            return False


def _is_text(text: Json, *, limit: int) -> bool:
    return text["type"] in ("mrkdwn", "plain_text") and 0 < len(text["text"]) <= limit


def _is_button(button: Json) -> bool:
    fits = len(button.get("value", "")) <= VALUE_LIMIT and len(button.get("url", "")) <= SECTION_LIMIT
    return fits and _is_text(button["text"], limit=75) and len(button["action_id"]) <= 255


def letters(found: Any) -> list[str]:
    """Every text in some blocks."""
    if isinstance(found, dict):
        own = [found[name] for name in ("title", "text") if isinstance(found.get(name), str)]
        return own + [line for value in found.values() for line in letters(value)]
    return [line for each in found for line in letters(each)] if isinstance(found, list) else []
