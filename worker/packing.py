"""Keeps the checkout's object store from growing into hundreds of thousands of small files.

git's own ``gc --auto`` is switched off here, because it would start in the middle of a turn and prune. This
packs only: no object is ever deleted that is not in a pack, so it may run beside everything else. What a
git that was killed had half written is removed: it may be as large as the repository.
"""

import contextlib
import os
import re
import time
from pathlib import Path

from worker import below
from worker.git import Git, in_thread
from worker.log import get_logger

log = get_logger()

MANY = 1000
"""So many loose objects are packed: about 125 turns, 4 MB and half a second."""
_SAMPLE, _FOLDERS = 16, 256
PATIENCE = 600.0
WRITTEN_BY = 3600.0
"""A file that git writes is complete, or has grown, within so many seconds."""
_HALF_WRITTEN = re.compile(r"tmp_[a-z]+_\w+|\.tmp-\d+-pack-.+")


async def pack(git: Git, *, objects: Path, many: int = MANY) -> bool:
    """Put loose objects into a pack once there are ``many``; whether that was done. Packs grow in a geometric
    progression, so old history is seldom written again. Ends early, without harm, when cancelled."""
    await in_thread(lambda: remove_half_written(objects, older=WRITTEN_BY))
    if await in_thread(lambda: _loose(objects)) < many:
        return False
    run = await git.attempt(
        "repack", "--geometric=2", "-d", "-l", "--quiet", timeout=PATIENCE, interruptible=True
    )
    if run.status:
        log.warning("not_packed", error=run.err.strip()[-400:])
    return run.status == 0


def remove_half_written(objects: Path, *, older: float) -> None:
    """Remove what killed gits left below ``objects``, when nothing was added for ``older`` seconds: 0 is for
    a sole owner, who knows that no git is alive."""
    until = time.time() - older
    for inside, names in below.walk(objects):
        for name in filter(_HALF_WRITTEN.fullmatch, names):
            with contextlib.suppress(OSError):  # a living git has given it its name; or it is not ours
                if not older or os.stat(name, dir_fd=inside, follow_symlinks=False).st_mtime <= until:
                    os.unlink(name, dir_fd=inside)


def _loose(objects: Path) -> int:
    """About how many loose objects there are, from some of the folders they spread over evenly. One folder
    alone, which ``git gc --auto`` looks at, was seen to be wrong by half."""
    sample = (objects / f"{number:02x}" for number in range(_SAMPLE))
    return sum(len(list(each.iterdir())) for each in sample if each.is_dir()) * _FOLDERS // _SAMPLE
