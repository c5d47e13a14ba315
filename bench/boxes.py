"""How soon workers in containers serve people who write at the same moment, and what memory that takes.

A real `branchline up --runtime podman` with sign-in, one project, as many users as workers, and the scripted
model; nobody's container runs before the messages are posted. Prints a table; ``--json`` prints the
numbers.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from fleet import boxed
from tests.container.box import image
from tests.container.fleet_of_boxes import Boxes
from tests.fakes.model import serving_model

_UNITS = {"B": 1e-6, "kB": 1e-3, "MB": 1.0, "GB": 1e3}


def measure(workers: int) -> dict[str, Any]:
    """Seconds from the message to each step, for each worker, and megabytes of each container."""
    folder = Path(tempfile.mkdtemp(prefix="branchline-bench-"))
    users = [f"user{number}" for number in range(workers)]
    engine = image()
    with serving_model() as model:
        place = Boxes(folder, model_url=model.url, engine=engine, projects=["site"], users=users)
        try:
            place.fleet.up()
            place.sign_in()
            began = time.monotonic()
            text = "do: write {}.txt x\ndo: say Done."
            sent = {u: place.post(text.format(u), project="site", user=u) for u in users}
            ended = {u: place.fleet.final(u, message)["type"] for u, message in sent.items()}
            whole = time.monotonic() - began
            steps = [_steps(place.fleet.events(u)) for u in users]
            memory = [_megabytes(place, worker) for worker in place.workers()]
            stopping = time.monotonic()
            status = place.fleet.stop()
            return {
                "workers": workers,
                "completed": sum(kind == "turn.completed" for kind in ended.values()),
                "all answered": whole,
                "steps": {name: [step[name] for step in steps if name in step] for name in steps[0]},
                "memory": memory,
                "stopped": time.monotonic() - stopping,
                "status": status,
            }
        finally:
            place.close()


def _steps(events: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds from the receipt to the first event of each kind."""
    at = {e["type"]: datetime.fromisoformat(e["time"]).timestamp() for e in reversed(events)}
    kinds = ("worker.ready", "turn.started", "turn.tool", "turn.completed")
    return {kind: at[kind] - at["message.received"] for kind in kinds if kind in at}


def _megabytes(place: Boxes, worker: Any) -> float:
    name = boxed.name_of(place.fleet.home, worker)
    shown = place.engine.run("stats", "--no-stream", "--format", "{{.MemUsage}}", name).stdout.split("/")[0]
    number = shown.strip().rstrip("kMGB")
    return float(number) * _UNITS[shown.strip()[len(number) :]]


def _row(name: str, values: Sequence[float], unit: str) -> str:
    median, most = statistics.median(values), max(values)
    return f"| {name} | {median:.1f} {unit} | {most:.1f} {unit} |"


def table(found: dict[str, Any]) -> str:
    """The numbers as a table."""
    rows = ["| what | median | most |", "|---|---|---|"]
    rows += [_row(f"message → {name}", values, "s") for name, values in found["steps"].items() if values]
    rows.append(_row("memory of a container after its turn", found["memory"], "MB"))
    head = f"{found['completed']} of {found['workers']} workers answered in {found['all answered']:.1f} s"
    tail = f"all stopped in {found['stopped']:.1f} s with status {found['status']}"
    return "\n".join([f"{head}; {tail}.", "", *rows])


def main() -> int:
    """Exit status 1 when one was not answered."""
    parser = argparse.ArgumentParser(prog="scripts/bench boxes", description=__doc__)
    parser.add_argument("--workers", type=int, default=8, help="how many at the same time (8)")
    parser.add_argument("--json", action="store_true", help="print the numbers")
    asked = parser.parse_args()
    found = measure(asked.workers)
    print(json.dumps(found) if asked.json else table(found))
    return 0 if found["completed"] == asked.workers and found["status"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
