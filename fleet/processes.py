"""The processes of one home, found by their marks in ``/proc``, and ended.

Everything that ``up`` starts carries ``BRANCHLINE_HOME`` and one name that a person's own shell never has
(``OWN_MARKS``), or works in a checkout of the home without a terminal. Both are asked for: who exports
``BRANCHLINE_HOME`` in a shell must not lose that shell, the editor in it or the terminal multiplexer around
it. A process below a marked one counts as marked, whatever its own environment says. Without ``/proc``
(macOS) nothing is found and nothing is ended.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fleet.home import WORKSPACES

PROC = Path("/proc")
HOME_MARK = "BRANCHLINE_HOME"
PART_MARK = "BRANCHLINE_PART"
OWN_MARKS = (PART_MARK, "CONTAINER_ID", "BRANCHLINE_WORKER", "BRANCHLINE_TURN")
"""Names in the environment that only processes of the fleet have; each one is enough."""

_OWN_PREFIXES = tuple(f"{name}=".encode() for name in OWN_MARKS)
_POLL_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Process:
    """One living process; ``marked`` says that it belongs to the home that was looked for."""

    pid: int
    parent: int
    zombie: bool
    marked: bool


def scan(home: Path) -> dict[int, Process]:
    """Every process of the machine that we may look at."""
    found = {}
    for entry in PROC.glob("[0-9]*"):
        process = _look(entry, home=home)
        if process is not None:
            found[process.pid] = process
    return found


def ancestors(processes: dict[int, Process], *, of: int) -> set[int]:
    """A process and everything above it."""
    line: set[int] = set()
    while of in processes and of not in line:
        line.add(of)
        of = processes[of].parent
    return line


def below(processes: dict[int, Process], *, tops: Iterable[int]) -> set[int]:
    """These processes and everything under them."""
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    todo = list(tops)
    while todo:
        pid = todo.pop()
        if pid not in found:
            found.add(pid)
            todo += children.get(pid, [])
    return found


def leftovers(home: Path) -> set[int]:
    """Living processes of this home, except ourselves and what we run under."""
    everything = scan(home)
    spared = ancestors(everything, of=os.getpid())
    tops = [p.pid for p in everything.values() if p.marked and p.pid not in spared]
    ours = below(everything, tops=tops) - spared
    return {pid for pid in ours if pid in everything and not everything[pid].zombie}


def descendants() -> set[int]:
    """Living processes below ourselves."""
    everything = scan(Path("/"))
    found = below(everything, tops=[os.getpid()]) - {os.getpid()}
    return {pid for pid in found if not everything[pid].zombie}


def zombies() -> set[int]:
    """Children of ours that have ended and that nobody has asked for."""
    return {p.pid for p in scan(Path("/")).values() if p.zombie and p.parent == os.getpid()}


def reap(pids: Iterable[int]) -> None:
    """Let ended children go."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def end(find: Callable[[], set[int]], *, grace: float) -> int:
    """End what ``find`` finds: ask, wait up to ``grace`` seconds, kill; how many there were at first.

    ``find`` is asked again before each signal, so that a pid that was given away meanwhile is left alone.
    Blocks until nothing is found any more, at most 5 s after the kill.
    """
    first = find()
    if grace > 0:
        _signal(first, signal.SIGTERM)
        _wait(find, seconds=grace)
    deadline = time.monotonic() + 5
    while (still := find()) and time.monotonic() < deadline:
        _signal(still, signal.SIGKILL)
        reap(zombies())
        time.sleep(_POLL_SECONDS)
    return len(first)


def _wait(find: Callable[[], set[int]], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while find() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _look(entry: Path, *, home: Path) -> Process | None:
    try:
        stat = (entry / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The name in brackets may itself hold spaces and brackets; the fields begin behind the last one.
    state, parent, _group, _session, terminal = stat.rpartition(")")[2].split()[:5]
    return Process(
        pid=int(entry.name),
        parent=int(parent),
        zombie=state in "ZX",
        marked=_is_marked(entry, home=home, terminal=terminal != "0"),
    )


def _is_marked(entry: Path, *, home: Path, terminal: bool) -> bool:
    try:
        environment = (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    if os.fsencode(f"{HOME_MARK}={home}") not in environment:
        return False
    if any(variable.startswith(_OWN_PREFIXES) for variable in environment):
        return True
    return not terminal and _works_in(entry, folder=home / WORKSPACES)


def _works_in(entry: Path, *, folder: Path) -> bool:
    try:
        return (entry / "cwd").readlink().is_relative_to(folder)
    except OSError:
        return False
