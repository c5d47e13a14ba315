"""The files of a Claude Code session on this disk: what is new in them, and how they are laid as they were.

In the container they belong to another user, who runs what is in here (``worker.spawning.call``): standard
library only, and values that fit JSON. Names come from Claude Code's folder and go back into one, so they are
checked on both ways. Reads and writes whole files of ours; what stands in them is opaque.
"""

import base64
import hashlib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from worker import agent_memory

MAIN = "main"
"""The transcript itself. Beside it: ``sub/…``, what its folder holds (sub-agents, long outputs), and
``tasks/…``, the list of tasks."""
LARGEST = 64 * 1024 * 1024
"""Bytes of a file; one that is larger is not kept."""
AT_ONCE = 4 * 1024 * 1024
"""Bytes of one file that are read at once: what is written of it then stays written."""
MOST = 200
"""Files of a session; the first by name are kept."""
_PART = re.compile(r"[A-Za-z0-9._-]{1,200}")
_PASSED_OVER = (".lock", ".tmp")


def grown(
    config_dir: Path, session_id: UUID, known: Mapping[str, tuple[int, str]], whole: Collection[str]
) -> dict[str, Any]:
    """What is new since ``known``: for each name how many bytes and their SHA-256.

    ``{"files": {name: {"begins", "after", "digest", "data"}}, "gone": [name]}``. ``begins``: the file begins
    with what is known; then ``data`` (base64) comes ``after`` it, else, and of files in ``whole``, it is all.
    There may be more when this is known, too. Without a transcript nothing is new.
    """
    found = _files(config_dir, session_id)
    if MAIN not in found:
        return {"files": {}, "gone": []}
    files = {}
    for name, path in found.items():
        content = _content(name, path)
        size, digest = known.get(name, (0, _digest(b"")))
        if content is None or (name in known and (size, digest) == (len(content), _digest(content))):
            continue
        begins = size <= len(content) and digest == _digest(content[:size])
        after = size if begins and name not in whole else 0
        content = content[: _end(name, content, after)]
        data = base64.b64encode(content[after:]).decode()
        files[name] = {"begins": begins, "after": after, "digest": _digest(content), "data": data}
    return {"files": files, "gone": sorted(set(known) - set(found))}


def standing(config_dir: Path, session_id: UUID, size: int, digest: str) -> str:
    """How the transcript here stands to ``size`` bytes that are known of it: ``absent``; ``here``: it begins
    with them; ``apart``."""
    path = agent_memory.transcript(config_dir, session_id)
    content = _content(MAIN, path) if path is not None else None
    if content is None:
        return "absent"
    return "here" if digest == _digest(content[:size]) else "apart"


def lay(config_dir: Path, project: str, session_id: UUID, files: Mapping[str, bytes]) -> None:
    """Put these files in the place of what there is of the session, the transcript last: without one there is
    no session. ``project`` names the folder of the checkout. Raises OSError, ValueError for a name that is
    none."""
    targets = {name: _target(config_dir, project, session_id, name) for name in files}
    agent_memory.forget(config_dir, session_id)
    for name in sorted(files, key=lambda each: (each == MAIN, each)):
        target = targets[name]
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{uuid4().hex}.tmp")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
            file.write(files[name])
        draft.replace(target)


def _files(config_dir: Path, session_id: UUID) -> dict[str, Path]:
    transcript = agent_memory.transcript(config_dir, session_id)
    if transcript is None:
        return {}
    folders = {"sub": transcript.with_suffix(""), "tasks": config_dir / "tasks" / str(session_id)}
    beside = {name: path for prefix, folder in folders.items() for name, path in _below(prefix, folder)}
    return {MAIN: transcript, **dict(sorted(beside.items())[: MOST - 1])}


def _below(prefix: str, folder: Path) -> Iterator[tuple[str, Path]]:
    for at, _, names in os.walk(folder):
        for each in names:
            path = Path(at, each)
            name = f"{prefix}/{path.relative_to(folder).as_posix()}"
            if is_name(name) and not each.endswith(_PASSED_OVER) and not path.is_symlink():
                yield name, path


def is_name(name: str) -> bool:
    """Whether this can be the name of a session's file, and leads nowhere else."""
    first, *rest = name.split("/")
    if name == MAIN:
        return True
    plain = all(_PART.fullmatch(part) and part.strip(".") for part in rest)
    return first in ("sub", "tasks") and bool(rest) and plain and len(name) <= 1000


def _target(config_dir: Path, project: str, session_id: UUID, name: str) -> Path:
    if not is_name(name):
        raise ValueError(f"{name!r} is no file of a session")
    main = config_dir / "projects" / project / f"{session_id}.jsonl"
    if name == MAIN:
        return main
    first, rest = name.split("/", 1)
    return (main.with_suffix("") if first == "sub" else config_dir / "tasks" / str(session_id)) / rest


def _content(name: str, path: Path) -> bytes | None:
    """The file; of a growing one the lines that are complete. None when it cannot be kept."""
    content = None
    with suppress(OSError):
        if path.stat().st_size <= LARGEST and not path.is_symlink():
            content = path.read_bytes()
    if content is None or not _grows(name):
        return content
    return content[: content.rfind(b"\n") + 1]


def _end(name: str, content: bytes, after: int) -> int:
    """How far to read now: of what grows, lines of about ``AT_ONCE``."""
    if not _grows(name) or len(content) - after <= AT_ONCE:
        return len(content)
    return content.find(b"\n", after + AT_ONCE - 1) + 1


def _grows(name: str) -> bool:
    return name == MAIN or name.endswith(".jsonl")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
