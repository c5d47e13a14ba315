"""Many turns on one worker process: memory, descriptors, processes and disk at turn 100 and at the end."""

import asyncio
import contextlib
import csv
import os
import sys
from pathlib import Path

import httpx

from contracts.words import Mode
from tests.chaos.bench import Stage
from tests.chaos.collect import marked
from tests.chaos.history import Posted
from tests.chaos.members import Member
from tests.chaos.plot import Sample, plot_soak

_THREADS = 4
_OPEN = 6
_EVERY = 25
_FILES = 20
_FIRST = 100
_MORE_MEMORY = 1.05
_MORE_DISK = 2048
"""KB; logs of Claude Code's home and the index come and go."""
_LONG, _HISTORY = 1000, 8.0
"""Over so many turns the history may grow by so many KB a turn: two commits packed, not eight loose files."""


async def soak(stage: Stage) -> dict[str, int | str]:
    """The act of ``--soak``: post, answer, sample; the samples go to ``soak.csv``."""
    fleet, seat = stage.fleet, stage.fleet.seats[0]
    member, samples = seat.able[0], [_sample(stage, seat.able[0], turns=0)]
    async with httpx.AsyncClient(timeout=30) as client:
        for number in range(1, stage.plan.kills + 1):
            while ((await fleet.open_messages())[seat.worker] or 0) >= _OPEN:
                await asyncio.sleep(0.05)
            await _post(stage, client, number)
            stage.villain.count = lambda n=number: n
            if number % _EVERY == 0:
                samples.append(_sample(stage, member, turns=number))
                stage.history.add("bench", "sample", **samples[-1])
    while any((await fleet.open_messages()).values()):
        await asyncio.sleep(0.2)
    await asyncio.sleep(1)  # the last turn's processes are on their way out
    samples.append(_sample(stage, member, turns=stage.plan.kills))
    _write(stage.plan.home / "soak.csv", samples)
    plot_soak(samples, stage.plan.home / "soak.png")
    first = next((s for s in samples if s["turns"] >= _FIRST), samples[0])
    _judge(stage, first, samples[-1])
    return {
        f"{k} at turn {s['turns']}": v for s in (first, samples[-1]) for k, v in s.items() if k != "turns"
    }


async def _post(stage: Stage, client: httpx.AsyncClient, number: int) -> None:
    seat, thread, name = stage.fleet.seats[0], f"t{number % _THREADS}", f"t{number % _THREADS}-{number}"
    # The tree stays as large as it is: what grows is the product, or the history of the work.
    path = f"m/{thread}-{number // _THREADS % _FILES}.txt"
    text = f"do: stream 200 2\ndo: write {path} {name}\ndo: write last.txt {name}\ndo: say did {name}"
    body = {"text": text, "thread_id": thread, "project": seat.project, "message_id": name}
    url = f"http://127.0.0.1:{stage.fleet.dispatcher_ports[0]}/v1/threads"
    answer = (await client.post(url, json=body)).raise_for_status().json()
    stage.traffic.posted.append(
        Posted(
            message_id=name, thread_id=thread, worker=seat.worker, mode=Mode.QUEUE,
            sequence=answer["sequence"], files={path: name},
        )
    )  # fmt: skip


def _sample(stage: Stage, member: Member, *, turns: int) -> Sample:
    status = Path(f"/proc/{member.pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    spared = {os.getpid(), member.pid}
    return {
        "turns": turns,
        "rss_kb": int(fields["VmRSS"].split()[0]),
        "threads": int(fields["Threads"]),
        "fds": len(list(Path(f"/proc/{member.pid}/fd").iterdir())),
        "processes": len(marked(stage.plan.home, spared=spared)),
        **_disk(stage.fleet.places.disk(stage.fleet.seats[0].project, "a")),
    }


def _disk(disk: Path) -> Sample:
    """KB that the disk's files occupy, git's objects apart: these are the history of the work."""
    sizes = {"git_kb": 0, "other_kb": 0}
    for path in disk.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            sizes["git_kb" if "objects" in path.parts else "other_kb"] += path.lstat().st_blocks // 2
    return sizes


def _judge(stage: Stage, first: Sample, last: Sample) -> None:
    if last["rss_kb"] > first["rss_kb"] * _MORE_MEMORY:
        stage.history.note(f"memory grew from {first['rss_kb']} KB to {last['rss_kb']} KB")
    if last["fds"] > first["fds"] + 2:
        stage.history.note(f"descriptors grew from {first['fds']} to {last['fds']}")
    if last["processes"] > first["processes"]:
        stage.history.note(f"processes grew from {first['processes']} to {last['processes']}")
    if last["other_kb"] > first["other_kb"] + _MORE_DISK:
        stage.history.note(f"the disk grew from {first['other_kb']} KB to {last['other_kb']} KB")
    grown = (last["git_kb"] - first["git_kb"]) / max(last["turns"] - first["turns"], 1)
    if last["turns"] > _LONG and grown > _HISTORY:
        stage.history.note(f"git's objects grew by {grown:.1f} KB with each turn")


def _write(path: Path, samples: list[Sample]) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(samples[0]))
        table.writeheader()
        table.writerows(samples)
    sys.stdout.write(f"samples: {path}\n")
