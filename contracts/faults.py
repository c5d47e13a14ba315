"""Failpoints: named places where a test can make a process die, fail or freeze. Off and free in production.

``BRANCHLINE_FAULT=committed:kill`` acts when ``fault("committed")`` is passed the first time,
``pushed:raise:3`` the third time; several are separated by commas. ``kill`` ends the whole process group, as
the end of a container does; ``raise`` raises ``FaultRaised``; ``hang`` stops the process (SIGSTOP).
``BRANCHLINE_FAULT_ONCE`` names a folder in which each fault that acted leaves a file and acts no more: a
restarted process does not meet it again.
"""

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Literal, cast

Act = Literal["kill", "raise", "hang"]

POINTS = (
    "received",
    "switched",
    "started",
    "mid_turn",
    "interrupted",
    "checkpointed",
    "committed",
    "pushed",
    "recorded",
    "before_delete",
    "deleting",
    "branch_removed",
    "session_removed",
    "messages_removed",
    "places_removed",
    "thread_removed",
    "dispatcher_recorded",
    "dispatcher_sent",
)


class FaultRaised(Exception):
    """What a failpoint raises; nothing in the product catches it by name."""


def _parse(text: str) -> dict[str, tuple[Act, int]]:
    """Point to (act, the pass at which it acts). Raises ValueError for an unknown point or act."""
    plan: dict[str, tuple[Act, int]] = {}
    for entry in filter(None, text.split(",")):
        point, act, *rest = entry.strip().split(":")
        if point not in POINTS or act not in ("kill", "raise", "hang"):
            raise ValueError(f"BRANCHLINE_FAULT: {entry!r} is not POINT:kill|raise|hang[:N]")
        plan[point] = (cast(Act, act), int(rest[0]) if rest else 1)
    return plan


_PLAN = _parse(os.environ.get("BRANCHLINE_FAULT", ""))
_ONCE = os.environ.get("BRANCHLINE_FAULT_ONCE")
_passed: Counter[str] = Counter()


def fault(point: str) -> None:
    """Pass a failpoint."""
    if _PLAN and point in _PLAN:
        _meet(point)


def _meet(point: str) -> None:
    act, at = _PLAN[point]
    _passed[point] += 1
    if _passed[point] != at or not _first_time(f"{point}-{act}-{at}"):
        return
    if act == "raise":
        raise FaultRaised(point)
    os.killpg(0, signal.SIGKILL if act == "kill" else signal.SIGSTOP)


def _first_time(name: str) -> bool:
    if _ONCE is None:
        return True
    try:
        (Path(_ONCE) / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
