"""Takes out of ``.git`` what a turn may have left there to run, or to mislead git, when somebody works next.

The worker's own runs heed none of it, but the next turn's git would: a hook that one thread's text has talked
Claude Code into would run in all others. Files only; refs are put back by ``worker.own_refs``, the
configuration by ``worker.checkout``. No link is followed on the way (``worker.below``).
"""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from worker import below

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
_NOWHERE = b"ref: refs/heads/branchline-nowhere\n"
"""A branch without commits: what is in the tree is then taken onto the branch that it belongs to."""


def is_whole(folder: Path) -> bool:
    """Whether ``folder`` (a ``.git``) and its objects are where they seem to be. The worker's relay writes
    objects there, and a link would have it write somewhere else."""
    try:
        return below.is_plain(folder) and not below.has_links(folder, "objects")
    except OSError:
        return False


def remove_locks(folder: Path) -> None:
    """Remove every lock file of git's below ``folder``: for one who knows that no git is at work there."""
    for inside, names in below.walk(folder):
        for name in names:
            if name.endswith(".lock"):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=inside)


def settled(folder: Path) -> dict[str, bytes | None]:
    """What stands in the files of ``folder`` (a ``.git``) that never change, for ``clean``."""
    return {name: below.read(folder, name) for name in _SETTLED}


def clean(folder: Path, *, as_it_was: Mapping[str, bytes | None]) -> None:
    """Make ``folder`` as the worker left it. Raises OSError."""
    for name in _FOREIGN:
        below.remove(folder, name)
    for name, content in as_it_was.items():
        if below.read(folder, name) != content:
            _put(folder, name, content)
    if not (below.read(folder, "index", most=4) or b"").startswith(b"DIRC"):
        below.remove(folder, "index")  # no loss: it is made again from the tree
    if not _HEAD.fullmatch((below.read(folder, "HEAD") or b"").strip()):
        below.write(folder, "HEAD", _NOWHERE)


def _put(folder: Path, name: str, content: bytes | None) -> None:
    if content is None:
        below.remove(folder, name)
    else:
        below.write(folder, name, content)
