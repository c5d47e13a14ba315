"""Reads what is there at the end: logs, outcomes, branches, trees, epoch refs, leftovers. Judges nothing."""

import asyncio
import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from contracts import names
from contracts.words import ThreadId
from tests.chaos.fleet import Fleet, until
from tests.chaos.history import Found, Posted, Seen
from tests.chaos.seats import REUSED

_EPOCH = re.compile(r"^epoch (\d+) of worker \S+, owner (\w+),")
_FORM = "%x1f".join(
    [
        "%H",
        "%(trailers:key=Branchline-Message,valueonly,separator=%x20)",
        "%(trailers:key=Branchline-Checkpoint,valueonly,separator=%x20)",
        "%P",
        "%(trailers:key=Branchline-Joined,valueonly,separator=%x20)",
        "%b%x1e",
    ]
)
_CARRIED = "(cherry picked from commit "
_WRITER = re.compile(r"(\S+) by (\d+)")


async def collect(fleet: Fleet, *, posted: list[Posted], stops: set[str], notes: list[str]) -> Found:
    """Everything the rules look at. The workers have left; engine and dispatchers still answer."""
    threads = {m.thread_id: m.worker for m in posted}
    outcomes: dict[str, str | None] = {}
    events: dict[str, tuple[dict[str, Any], ...]] = {}
    async with httpx.AsyncClient(timeout=60) as client:
        base = f"http://127.0.0.1:{fleet.dispatcher_ports[0]}/v1/threads"
        for thread in threads:
            shown = (await client.get(f"{base}/{thread}")).json()
            outcomes |= {m["message_id"]: m["outcome"] for m in shown["messages"]}
            log = (await client.get(f"{base}/{thread}/events?follow=false")).text
            lines = [line.removeprefix("data: ") for line in log.splitlines() if line.startswith("data: ")]
            events[thread] = tuple(json.loads(line) for line in lines)
    return Found(
        posted=tuple(posted),
        outcomes=outcomes,
        events=events,
        commits={t: _commits(_remote(fleet, w), t) for t, w in threads.items()},
        trees={t: _tree(_remote(fleet, w), t) for t, w in threads.items()},
        epochs={seat.worker: _epochs(fleet, seat.project) for seat in fleet.seats},
        births=_births(fleet),
        raises=raised(fleet.places.home / "logs"),
        stops=tuple(sorted(stops)),
        leftovers=tuple(await leftovers(fleet)),
        notes=tuple(notes),
    )


def _remote(fleet: Fleet, worker: str) -> Path:
    return next(fleet.places.remote(s.project) for s in fleet.seats if s.worker == worker)


def _git(remote: Path, *argv: str) -> str:
    done = subprocess.run(["git", "--git-dir", str(remote), *argv], capture_output=True, text=True)
    return done.stdout


def branches(remote: Path, thread: str) -> list[str]:
    """The thread's branch and its conflict branches, as far as they are on the remote."""
    own = names.branch(ThreadId(thread))
    listed = _git(remote, "for-each-ref", "--format=%(refname:short)", "refs/heads/").split()
    return [b for b in listed if b == own or (b.startswith("conflict-") and b.endswith(f"/{own}"))]


def _commits(remote: Path, thread: str) -> tuple[Seen, ...]:
    found = []
    for branch in branches(remote, thread):
        told = _git(remote, "log", "--topo-order", "--reverse", f"--format={_FORM}", f"main..{branch}")
        for entry in filter(None, (e.strip("\n") for e in told.split("\x1e"))):
            sha, messages, checkpoint, parents, joined, body = entry.split("\x1f")
            writer = _WRITER.match(_git(remote, "show", f"{sha}:last.txt"))
            found.append(
                Seen(
                    sha=sha, branch=branch, messages=tuple(messages.split()), checkpoint=bool(checkpoint),
                    parents=tuple(parents.split()), joined=bool(joined), carried=_CARRIED in body,
                    by=int(writer[2]) if writer else None, writer=writer[1] if writer else None,
                )
            )  # fmt: skip
    return tuple(found)


def _tree(remote: Path, thread: str) -> dict[str, str]:
    tree: dict[str, str] = {}
    for branch in branches(remote, thread):
        for path in _git(remote, "ls-tree", "-r", "--name-only", branch).splitlines():
            if path.startswith("m/"):
                tree[path] = _git(remote, "show", f"{branch}:{path}")
    return tree


def _births(fleet: Fleet) -> dict[int, int]:
    """Process to epoch, of processes whose id was used once in the whole run."""
    taken = [(pid, epoch) for seat in fleet.seats for pid, epoch in seat.births.items()]
    times = Counter(pid for pid, _ in taken)
    return {pid: epoch for pid, epoch in taken if times[pid] == 1 and epoch != REUSED}


def _epochs(fleet: Fleet, project: str) -> tuple[tuple[int, str], ...]:
    ref = names.epoch_ref(fleet.places.worker(project))
    told = _git(fleet.places.remote(project), "log", "--topo-order", "--reverse", "--format=%s", ref)
    return tuple((int(m[1]), m[2]) for m in map(_EPOCH.match, told.splitlines()) if m)


def whole_tree(remote: Path, thread: str) -> dict[str, str]:
    """Every file of the thread's own branch."""
    branch = names.branch(ThreadId(thread))
    paths = _git(remote, "ls-tree", "-r", "--name-only", branch).splitlines()
    return {path: _git(remote, "show", f"{branch}:{path}") for path in paths}


async def leftovers(fleet: Fleet) -> list[str]:
    """Processes, locks and deliveries that should be gone; each gets a few seconds to go."""
    members = [fleet.engine, *fleet.dispatchers.values()]
    spared = {m.pid for m in members if m} | {os.getpid()}
    await until(lambda: not marked(fleet.places.home, spared=spared), seconds=8)
    told = [f"process {pid}: {line}" for pid, line in marked(fleet.places.home, spared=spared).items()]
    for seat in fleet.seats:
        told += [f"lock {path}" for path in fleet.places.remote(seat.project).rglob("*.lock")]
        for disk in (d for d, clean in seat.cleanly.items() if clean):
            locks = fleet.places.disk(seat.project, disk).rglob("*.lock")
            told += [f"lock {path}" for path in locks if ".git" in str(path) or "relay" in str(path)]
        visible, held = await asyncio.to_thread(fleet.deliveries, seat)
        buried = await asyncio.to_thread(fleet.dead_letters, seat)
        if buried:
            told.append(f"{buried} dead letters of {seat.worker}")
        if visible or held:
            told.append(f"queue of {seat.worker}: {visible} visible, {held} in flight")
    return told


def raised(logs: Path) -> int:
    """How many workers met a failpoint that raised: each has a log of its own and one failpoint at most."""
    return sum(b"FaultRaised" in log.read_bytes() for log in logs.glob("p[0-9]*.log"))


def marked(home: Path, *, spared: set[int]) -> dict[int, str]:
    """Living processes that carry the run's mark in their environment or their arguments."""
    mark, found = str(home).encode(), {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in spared:
            try:
                argv = (entry / "cmdline").read_bytes()
                environ = (entry / "environ").read_bytes()
            except OSError:
                continue
            if argv and (b"BRANCHLINE_HOME=" + mark in environ or mark in environ or mark in argv):
                found[int(entry.name)] = argv.replace(b"\0", b" ").decode(errors="replace")[:160]
    spawned = {pid for pid in found if _is_above(pid)}
    return {pid: line for pid, line in found.items() if pid not in spawned}


def _is_above(pid: int) -> bool:
    """Whether the process is an ancestor of this one (whoever started the bench with the folder's name)."""
    parent = os.getpid()
    while parent > 1:
        stat = Path(f"/proc/{parent}/stat").read_text(errors="replace")
        parent = int(stat.rpartition(")")[2].split()[1])
        if parent == pid:
            return True
    return False
