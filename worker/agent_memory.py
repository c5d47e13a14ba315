"""What a session's transcript holds. Reads Claude Code's own files, line by line, and never writes them.

The format is Claude Code's (one JSON object a line); a torn last line, as a kill leaves it, is passed over.
"""

import json
from pathlib import Path
from uuid import UUID


def transcript(config_dir: Path, session_id: UUID) -> Path | None:
    """The session's file, whatever folder it was started in; None when there is none."""
    return next(config_dir.glob(f"projects/*/{session_id}.jsonl"), None)


def holds(path: Path, prompt_id: UUID) -> bool:
    """Whether the prompt that was sent under ``prompt_id`` reached this session."""
    wanted = str(prompt_id)
    with path.open(encoding="utf-8", errors="replace") as lines:
        return any(_is_prompt(line, wanted) for line in lines if wanted in line)


def _is_prompt(line: str, wanted: str) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and entry.get("type") == "user" and entry.get("uuid") == wanted
