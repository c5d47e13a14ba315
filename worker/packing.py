"""Keeps the checkout's object store from growing into hundreds of thousands of small files.

git's own ``gc --auto`` is switched off here, because it would start in the middle of a turn and prune. This
packs only: no object is ever deleted that is not in a pack, so it may run beside everything else.
"""

from pathlib import Path

from worker.git import Git, in_thread
from worker.log import get_logger

log = get_logger()

MANY = 1000
"""So many loose objects are packed: about 125 turns, 4 MB and half a second."""
_SAMPLE, _FOLDERS = 16, 256
PATIENCE = 600.0


async def pack(git: Git, *, objects: Path, many: int = MANY) -> bool:
    """Put loose objects into a pack once there are ``many``; whether that was done. Packs grow in a geometric
    progression, so old history is seldom written again. Ends early, without harm, when cancelled."""
    if await in_thread(lambda: _loose(objects)) < many:
        return False
    run = await git.attempt(
        "repack", "--geometric=2", "-d", "-l", "--quiet", timeout=PATIENCE, interruptible=True
    )
    if run.status:
        log.warning("not_packed", error=run.err.strip()[-400:])
    return run.status == 0


def _loose(objects: Path) -> int:
    """About how many loose objects there are, from some of the folders they spread over evenly. One folder
    alone, which ``git gc --auto`` looks at, was seen to be wrong by half."""
    sample = (objects / f"{number:02x}" for number in range(_SAMPLE))
    return sum(len(list(each.iterdir())) for each in sample if each.is_dir()) * _FOLDERS // _SAMPLE
