"""What a session's transcript holds. Reads Claude Code's own files, line by line; never writes them, and
removes them only as a whole.

The format is Claude Code's (one JSON object a line); a torn last line, as a kill leaves it, is passed over.
"""

import json
import shutil
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from uuid import UUID

_ID = 36
"""Characters of a session's id, with which the names of its files begin."""


def transcript(config_dir: Path, session_id: UUID) -> Path | None:
    """The session's file, whatever folder it was started in; None when there is none.

    Whoever works as Claude Code may leave a link or a pipe in its place: those are none.
    """
    found = config_dir.glob(f"projects/*/{session_id}.jsonl")
    return next(filter(_is_plain, found), None)


def holds(path: Path, prompt_id: UUID) -> bool:
    """Whether the prompt that was sent under ``prompt_id`` reached this session."""
    wanted = str(prompt_id)
    with path.open(encoding="utf-8", errors="replace") as lines:
        return any(_is_prompt(line, wanted) for line in lines if wanted in line)


def forget(config_dir: Path, session_id: UUID) -> None:
    """Remove the session's transcript, task list and whatever else bears its id. Raises OSError."""
    for pattern in (f"*/{session_id}*", f"projects/*/{session_id}*"):
        for path in config_dir.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def forget_others(config_dir: Path, *, but: Collection[UUID]) -> None:
    """The same for every session that has a transcript and is none of these. Raises OSError."""
    for name in {path.name[:_ID] for path in config_dir.glob("projects/*/*")}:
        with suppress(ValueError):  # Claude Code keeps other things there as well
            if (session_id := UUID(name)) not in but:
                forget(config_dir, session_id)


def _is_plain(path: Path) -> bool:
    with suppress(OSError):
        return stat.S_ISREG(path.lstat().st_mode)
    return False


def _is_prompt(line: str, wanted: str) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and entry.get("type") == "user" and entry.get("uuid") == wanted
