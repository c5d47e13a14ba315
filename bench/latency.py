"""How long until the model is asked: after a message to an idle worker, and after one that preempts.

Real dispatcher, worker, git and Claude Code; the scripted model notes when each request arrives, on the one
monotonic clock of this machine. Compared, in the same run, with what Claude Code alone needs from the start
of its process to its first request. Prints a table; ``--json`` prints the numbers.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx

from contracts import names
from contracts.words import ClientId, ProjectId, ThreadId, TurnId, UserId
from tests.fakes.dispatcher import running_dispatcher
from tests.fakes.engine import fresh_account, running_engine, wait_until
from tests.fakes.model import ScriptedModel, serving_model
from tests.integration.worker_lab import bare_remote
from worker.agent import ClaudeAgent
from worker.ports import AgentTurn

TABLE = "branchline"


@dataclass
class Samples:
    """Seconds, by what they measure."""

    idle: list[float] = field(default_factory=list)
    preempt: list[float] = field(default_factory=list)
    start: list[float] = field(default_factory=list)
    accepted: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Fleet:
    """What is measured."""

    api: httpx.Client
    model: ScriptedModel
    folder: Path

    def post(self, *, thread: str, text: str) -> tuple[float, float]:
        """Post; when it was posted and when it was accepted (monotonic, seconds)."""
        began = time.monotonic()
        self.api.post("/v1/threads", json={"thread_id": thread, "text": text}).raise_for_status()
        return began, time.monotonic()

    def asked(self, tag: str) -> float:
        """When the first request whose person's text holds ``tag`` arrived."""
        found = wait_until(
            lambda: next((r for r in list(self.model.requests) if tag in r.text), None), seconds=60
        )
        return float(found.at)

    def idle(self) -> None:
        """Wait until every thread has its answers."""
        wait_until(
            lambda: all(t["state"] == "idle" for t in self.api.get("/v1/threads").json()["threads"]),
            seconds=60,
        )


@contextmanager
def fleet(folder: Path) -> Iterator[Fleet]:
    """Engine, dispatcher, model, and one worker that is up."""
    import os
    import subprocess

    remote, account = bare_remote(folder), fresh_account()
    worker = names.worker_id(client=ClientId("local"), project=ProjectId("site"), user=UserId("local"))
    with (
        running_engine(folder / "engine") as engine,
        serving_model() as model,
        running_dispatcher(
            engine.url, account=account, cwd=folder, BRANCHLINE_REPO=str(remote), BRANCHLINE_PROJECT="site"
        ) as dispatcher,
        httpx.Client(base_url=dispatcher.url, timeout=30) as api,
        (folder / "worker.log").open("wb") as log,
    ):
        environment = {
            **{k: os.environ[k] for k in ("PATH", "HOME") if k in os.environ},
            "AWS_ENDPOINT_URL": engine.url,
            "AWS_ACCESS_KEY_ID": account,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "CONTAINER_ID": worker,
            "WORKSPACE_PATH": str(folder / "workspace"),
            "ANTHROPIC_BASE_URL": model.url,
            "ANTHROPIC_API_KEY": "not-a-key",
        }
        made = Fleet(api=api, model=model, folder=folder)
        made.post(thread="warm", text="warm-up\ndo: say Ready.")
        process = subprocess.Popen([sys.executable, "-m", "worker"], env=environment, stdout=log, stderr=log)
        try:
            made.asked("warm-up")
            made.idle()
            yield made
        finally:
            process.terminate()
            process.wait(timeout=60)


def measure_fleet(made: Fleet, *, rounds: int, samples: Samples) -> None:
    """One idle and one preempting message per round, each in threads that are used again."""
    for n in range(rounds):
        tag = f"idle-{n}"
        began, accepted = made.post(thread=f"a{n % 3}", text=f"{tag}\ndo: say Hello.")
        samples.idle.append(made.asked(tag) - began)
        samples.accepted.append(accepted - began)
        made.idle()
        gate = made.folder / f"gate-{n}"
        step = "do: stream 4000 20" if n % 2 else "do: bash for i in $(seq 300); do nice sleep 0.1; done"
        made.post(thread=f"b{n % 3}", text=f"long-{n}\ndo: write f{n}.txt x\n{step}\ndo: wait {gate}")
        made.asked(f"long-{n}")
        wait_until(
            lambda n=n: len([r for r in list(made.model.requests) if f"long-{n}" in r.text]) >= 2, seconds=60
        )
        tag = f"other-{n}"
        began, _ = made.post(thread=f"c{n % 3}", text=f"{tag}\ndo: say Quick answer.")
        samples.preempt.append(made.asked(tag) - began)
        made.api.post(f"/v1/threads/b{n % 3}/stop").raise_for_status()
        gate.touch()
        made.idle()


async def measure_start(model: ScriptedModel, *, folder: Path, rounds: int, samples: Samples) -> None:
    """Claude Code alone, with the options the worker starts it with."""
    cwd = folder / "plain"
    cwd.mkdir()
    agent = ClaudeAgent(
        state_dir=folder / "agent",
        config_dir=folder / "claude",
        worker_marker=uuid4().hex,
        model_env={"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "not-a-key"},
        redact=str,
    )
    for n in range(rounds):
        tag = f"plain-{n}"
        turn = AgentTurn(
            thread_id=ThreadId("t"),
            turn_id=TurnId(tag),
            session_id=uuid4(),
            prompt=f"{tag}\ndo: say Hello.",
            context="",
            cwd=cwd,
            marker=tag,
        )
        began = time.monotonic()
        run = await agent.start(turn)
        async for _ in run.events():
            pass
        await run.close()
        asked = next(r.at for r in model.requests if tag in r.text)
        samples.start.append(asked - began)
    await agent.close()


def spread(seconds: list[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    ordered = sorted(seconds)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]


def report(samples: Samples, *, as_json: bool) -> None:
    """Print what was measured beside what was aimed at."""
    idle, preempt = spread(samples.idle), spread(samples.preempt)
    start, accepted = spread(samples.start), spread(samples.accepted)
    aim = 1.15 * start[0] + 0.15
    if as_json:
        print(json.dumps(vars(samples)))
        return
    n = len(samples.idle)
    print(f"seconds, median / p95 of {n} rounds in one run on this machine")
    print(f"  Claude Code alone, start to first request    {start[0]:.3f} / {start[1]:.3f}")
    print(f"  request to 202                               {accepted[0]:.3f} / {accepted[1]:.3f}")
    print(f"  message to idle worker to first request      {idle[0]:.3f} / {idle[1]:.3f}   aim {aim:.3f} / -")
    other = "message for another thread to first request"
    print(f"  {other}  {preempt[0]:.3f} / {preempt[1]:.3f}   aim 0.800 / 1.500")


def main() -> None:
    """Entry point."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=20, help="how many messages of each kind")
    options.add_argument("--json", action="store_true", help="print all samples as JSON")
    chosen = options.parse_args()
    samples = Samples()
    with tempfile.TemporaryDirectory(prefix="branchline-bench-") as name:
        folder = Path(name)
        with fleet(folder) as made:
            measure_fleet(made, rounds=chosen.rounds, samples=samples)
            asyncio.run(measure_start(made.model, folder=folder, rounds=chosen.rounds, samples=samples))
    report(samples, as_json=chosen.json)


if __name__ == "__main__":
    main()
