"""One worker, three threads that push each other out at random moments: afterwards every branch holds what a
run of its messages one after the other would have left, to the byte."""

import asyncio
import random

import httpx

from contracts.words import Mode
from tests.chaos.bench import Stage
from tests.chaos.collect import whole_tree
from tests.chaos.history import Posted

THREADS = ("t0", "t1", "t2")
_START = {"README.md": "# A project\n", ".gitignore": "ignored/\n"}
_OPEN = 6
_DISTURBED = 0.2


async def interrupts(stage: Stage) -> dict[str, int | str]:
    """The act of ``--interrupts``: post until there were enough messages, then compare the trees."""
    expected = {thread: dict(_START) for thread in THREADS}
    seat = stage.fleet.seats[0]
    async with httpx.AsyncClient(timeout=30) as client:
        for number in range(stage.plan.kills):
            while ((await stage.fleet.open_messages())[seat.worker] or 0) >= _OPEN:
                await asyncio.sleep(0.05)
            thread = stage.dice.choice(THREADS)
            name = f"{thread}-{number}"
            text = _text(name, dice=stage.dice, tree=expected[thread])
            await _post(stage, client, thread=thread, name=name, text=text)
            stage.villain.count = lambda n=number: n + 1
            await asyncio.sleep(stage.dice.expovariate(3))
    while any((await stage.fleet.open_messages()).values()):
        await asyncio.sleep(0.2)
    _compare(stage, expected)
    await _was_disturbed(stage)
    return {"messages in three threads": stage.plan.kills}


def _text(name: str, *, dice: random.Random, tree: dict[str, str]) -> str:
    """A message's text; ``tree`` becomes what it leaves when nobody disturbs it."""
    lines = [f"Please do {name}."]
    for step in range(dice.randrange(1, 5)):
        match dice.randrange(4):
            case 0:
                path, content = f"own/{name}-{step}.txt", f"{name} {step}"
                tree[path] = content
                lines.append(f"do: write {path} {content}")
            case 1:
                tree["log.txt"] = tree.get("log.txt", "") + f"{name} {step}\n"
                lines.append(f"do: append log.txt {name} {step}")
            case 2:
                tree["shared.txt"] = f"{name} {step}"
                lines.append(f"do: write shared.txt {name} {step}")
            case 3:
                lines.append(f"do: bash mkdir -p ignored && echo {name} >> ignored/notes")
        lines.append(f"do: stream {dice.randrange(8, 400)} 10")
    tree[f"m/{name}.txt"] = name
    return "\n".join([*lines, f"do: write m/{name}.txt {name}"])


async def _post(stage: Stage, client: httpx.AsyncClient, *, thread: str, name: str, text: str) -> None:
    seat = stage.fleet.seats[0]
    body = {"text": text, "thread_id": thread, "project": seat.project, "message_id": name}
    url = f"http://127.0.0.1:{stage.fleet.dispatcher_ports[0]}/v1/threads"
    answer = (await client.post(url, json=body)).raise_for_status().json()
    stage.history.add(thread, "accepted", message=name, sequence=answer["sequence"])
    stage.traffic.posted.append(
        Posted(
            message_id=name, thread_id=thread, worker=seat.worker, mode=Mode.QUEUE,
            sequence=answer["sequence"], files={f"m/{name}.txt": name},
        )
    )  # fmt: skip


async def _was_disturbed(stage: Stage) -> None:
    """Without interruptions the comparison would prove nothing."""
    threads = {m.thread_id for m in stage.traffic.posted}
    url = f"http://127.0.0.1:{stage.fleet.dispatcher_ports[0]}/v1/threads"
    async with httpx.AsyncClient(timeout=30) as client:
        logs = [(await client.get(f"{url}/{t}/events?follow=false")).text for t in threads]
    happened = sum(log.count('"type":"turn.interrupted"') for log in logs)
    if happened < stage.plan.kills * _DISTURBED:
        stage.history.note(f"only {happened} interruptions of {stage.plan.kills} messages")


def _compare(stage: Stage, expected: dict[str, dict[str, str]]) -> None:
    remote = stage.fleet.places.remote(stage.fleet.seats[0].project)
    for thread in {m.thread_id for m in stage.traffic.posted}:
        tree = whole_tree(remote, thread)
        for path in sorted(tree.keys() | expected[thread].keys()):
            if tree.get(path) != expected[thread].get(path):
                stage.history.note(
                    f"{path} on the branch of {thread} is {tree.get(path)!r:.200}, "
                    f"one after the other it would be {expected[thread].get(path)!r:.200}"
                )
