"""What a session's transcript holds. Reads Claude Code's own files, line by line, and never writes them.

The format is Claude Code's (one JSON object a line); a torn last line, as a kill leaves it, is passed over.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID


def transcript(config_dir: Path, session_id: UUID) -> Path | None:
    """The session's file, whatever folder it was started in; None when there is none."""
    return next(config_dir.glob(f"projects/*/{session_id}.jsonl"), None)


def holds(path: Path, text: str) -> bool:
    """Whether the person said ``text`` in this session."""
    wanted = text.strip()
    return any(said.strip() == wanted for said in _said(path))


def _said(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and entry.get("type") == "user":
                yield from _texts(entry.get("message", {}).get("content"))


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for block in content if isinstance(content, list) else []:
        if isinstance(block, dict) and block.get("type") == "text":
            yield str(block.get("text", ""))
