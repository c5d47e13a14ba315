"""From a message to a worker that is ready, and to the first model request: started as a task, and from the
warm pool.

The built Lambda as a process, the embedded engine, and the stand-in for Fargate, which starts a process at
once: **no image is pulled, no network interface made, and IAM is never late**. What is left is what the
product itself does, so the difference says what the pool costs where a start is free, and not what it saves
on AWS. Each worker has a fresh disk. Prints a table; ``--json`` prints the numbers.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from pathlib import Path

from tests.fakes.ecs import CLUSTER
from tests.fakes.engine import aws_client, wait_until
from tests.integration.cloud_lab import SECONDS, Cloud, cloud_of_processes

_GOLDEN = 0.618
Samples = dict[str, list[float]]
"""Seconds, by the step that was reached."""
KINDS = {"a task is started": 0, "from the pool": 1}
"""How many slots wait."""
STEPS = {
    "slot_told": "slot has read its letter",
    "slot_becomes": "slot was let in",
    "lease_taken": "lease",
    "worker_ready": "worker ready",
    "asked": "first model request",
}


def said(cloud: Cloud, action: str) -> list[float]:
    """When workers and slots said so (Unix time in seconds), in order."""
    lines = [line for line in cloud.fargate.logs().splitlines() if f'"{action}"' in line]
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    return sorted(datetime.fromisoformat(e["time"]).timestamp() for e in entries if e["action"] == action)


def message(cloud: Cloud, *, number: int, found: Samples) -> None:
    """One message to a worker that does not run."""
    tag = f"round {number}"
    wall, began = time.time(), time.monotonic()
    cloud.post(f"{tag}\ndo: say Done.", thread=f"t{number}")
    wait_until(lambda: any(tag in r.text for r in cloud.model.requests), seconds=SECONDS)
    asked = next(r.at for r in cloud.model.requests if tag in r.text) - began
    cloud.answered(f"t{number}")
    found.setdefault("asked", []).append(asked)
    for action in STEPS:
        for at in [at - wall for at in said(cloud, action) if at > wall][:1]:
            found.setdefault(action, []).append(at)


def ended(cloud: Cloud) -> None:
    """Every task is stopped, as AWS would do it, and has left."""
    with aws_client("ecs", url=cloud.ecs.url, account=cloud.account) as ecs:
        for arn in cloud.fargate.running:
            ecs.stop_task(cluster=CLUSTER, task=arn)
    wait_until(lambda: len(cloud.fargate.codes) == len(cloud.fargate.ran), seconds=SECONDS)


def waits(cloud: Cloud, *, count: int) -> None:
    """A sweep, and the slot that it has started waits."""
    cloud.function.invoke({"branchline": "sweep"})
    wait_until(lambda: len(said(cloud, "slot_waits")) == count, seconds=SECONDS)


def measured(*, rounds: int) -> dict[str, Samples]:
    """So many messages to workers that do not run, of each kind in turn: other load meets both alike. The
    first of each warms up."""
    found: dict[str, Samples] = {kind: {} for kind in KINDS}
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        clouds = {
            kind: stack.enter_context(_cloud(_made(place / str(slots)), slots=slots))
            for kind, slots in KINDS.items()
        }
        for number in range(rounds + 1):
            for kind, cloud in clouds.items():
                if KINDS[kind]:
                    waits(cloud, count=number + 1)
                    # A slot looks once a second: messages come at all times in between alike.
                    time.sleep(number * _GOLDEN % 1)
                message(cloud, number=number, found=found[kind] if number else {})
                ended(cloud)
        for kind, cloud in clouds.items():
            assert all(("command" in _container(asked)) == bool(KINDS[kind]) for asked in cloud.ecs.starts)
    return found


def _cloud(folder: Path, *, slots: int) -> AbstractContextManager[Cloud]:
    return cloud_of_processes(folder, of_function={"BRANCHLINE_WARM_POOL": str(slots)}, hears=False)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _container(asked: dict[str, object]) -> dict[str, object]:
    overrides = asked["overrides"]
    assert isinstance(overrides, dict)
    (container,) = overrides["containerOverrides"]
    return dict(container)


def main() -> int:
    """Exit code 0."""
    parser = argparse.ArgumentParser(prog="scripts/bench pool", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="messages of each kind (15)")
    parser.add_argument("--json", action="store_true", help="print every number")
    wanted = parser.parse_args()
    found = measured(rounds=wanted.rounds)
    if wanted.json:
        print(json.dumps(found))
        return 0
    print("| seconds after the message | " + " | ".join(found) + " |\n|---|---|---|")
    for action, step in STEPS.items():
        cells = [_cell(by_step.get(action, [])) for by_step in found.values()]
        print(f"| {step} | {' | '.join(cells)} |")
    return 0


def _cell(seconds: list[float]) -> str:
    if not seconds:
        return ""
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


if __name__ == "__main__":
    sys.exit(main())
