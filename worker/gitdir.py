"""Takes out of ``.git`` what a turn may have left there to run, or to mislead git, when somebody works next.

The worker's own runs heed none of it, but the next turn's git would: a hook that one thread's text has talked
Claude Code into would run in all others. Files only; refs are put back by ``worker.own_refs``, the
configuration by ``worker.checkout``.
"""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

_FOREIGN = (
    "hooks",
    "commondir",
    "config.worktree",
    "info/attributes",
    "info/grafts",
    "info/sparse-checkout",
)
"""None of these is in a clone that the worker made."""
_SETTLED = ("info/exclude", "shallow", "objects/info/alternates")
"""These may be there, and say the same for ever."""
_HEAD = re.compile(rb"ref: refs/[^\s]+|[0-9a-f]{40}|[0-9a-f]{64}")
_NOWHERE = "ref: refs/heads/branchline-nowhere\n"
"""A branch without commits: what is in the tree is then taken onto the branch that it belongs to."""


def remove_locks(folder: Path) -> None:
    """Remove every lock file of git's below ``folder``: for one who knows that no git is at work there."""
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".lock"):
                (Path(place) / name).unlink(missing_ok=True)


def settled(folder: Path) -> dict[str, str | None]:
    """What stands in the files of ``folder`` (a ``.git``) that never change, for ``clean``."""
    return {name: _text(folder / name) for name in _SETTLED}


def clean(folder: Path, *, as_it_was: Mapping[str, str | None]) -> None:
    """Make ``folder`` as the worker left it. Raises OSError."""
    for name in _FOREIGN:
        _remove(folder / name)
    for name, text in as_it_was.items():
        if _text(folder / name) != text:
            _write(folder / name, text)
    if not _is_index(folder / "index"):
        _remove(folder / "index")  # no loss: it is made again from the tree
    if not _HEAD.fullmatch((_text(folder / "HEAD") or "").strip().encode("utf-8", "surrogateescape")):
        _remove(folder / "HEAD")
        (folder / "HEAD").write_text(_NOWHERE)


def _is_index(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"DIRC"


def _text(path: Path) -> str | None:
    """The text of a plain file; None for anything else."""
    if path.is_symlink() or not path.is_file():
        return None
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def _write(path: Path, text: str | None) -> None:
    _remove(path)
    if text is None:
        return
    if path.parent.is_symlink() or not path.parent.is_dir():
        _remove(path.parent)
        path.parent.mkdir()
    path.write_text(text, encoding="utf-8", errors="surrogateescape")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
