"""How long the deployed Lambda takes: the built asset as a process of its own, through the Runtime API on
loopback, before the embedded engine. Cold: from the start of the process to the whole answer of its first
event, and the processor time until then, which a busy machine disturbs least. Warm: the next events. No
network and no machine of AWS is in it; what AWS adds is a start of a sandbox and a download. Prints a table;
``--json`` prints the numbers.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fleet.asset.build import build
from tests.fakes.engine import fresh_account, running_engine
from tests.fakes.lambda_events import http_event
from tests.fakes.runtime_api import LambdaFunction
from tests.integration.lambda_lab import BEARER, JSON, PACKAGES, lambda_env, managed, streaming, unpacked

Ask = Callable[[LambdaFunction, dict[str, Any]], Any]
HEALTH = http_event("GET", "/healthz")


def post(number: int) -> dict[str, Any]:
    """A message for the one thread."""
    body = json.dumps({"text": f"message {number}", "thread_id": "bench"})
    return http_event("POST", "/v1/threads", body=body, headers={**JSON, **BEARER})


def processor_time(pid: int) -> float:
    """Milliseconds of processor time of a process (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def took(ask: Ask, function: LambdaFunction, event: dict[str, Any]) -> float:
    """Milliseconds from handing an event over to the last piece of its answer."""
    started = time.perf_counter()
    ask(function, event)
    return (time.perf_counter() - started) * 1000


def measured(function: LambdaFunction, ask: Ask, *, cold: int, warm: int) -> dict[str, list[float]]:
    """Milliseconds by what was asked."""
    kinds = ("cold, health", "cold, processor time", "health", "message", "log")
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(cold):
        function.throw_away()
        found["cold, health"].append(took(ask, function, HEALTH))
        assert function.process is not None
        found["cold, processor time"].append(processor_time(function.process.pid))
    ask(function, post(0))
    read = http_event("GET", "/v1/threads/bench/events", query="follow=false", headers=BEARER)
    for number in range(warm):
        found["health"].append(took(ask, function, HEALTH))
        found["message"].append(took(ask, function, post(number)))
        found["log"].append(took(ask, function, read))
    return found


def run(*, cold: int, warm: int) -> dict[str, dict[str, list[float]]]:
    """Both kinds of runtime, each in an account of its own."""
    with tempfile.TemporaryDirectory() as place, running_engine(Path(place, "engine")) as engine:
        asset = build(Path(place, "dispatcher.zip"), packages=PACKAGES)
        folder = unpacked(asset, Path(place, "unpacked"))
        pieces, whole = (lambda_env(engine.url, fresh_account()) for _ in range(2))
        with streaming(folder, tmp_path=Path(place), **pieces) as function:
            ask: Ask = LambdaFunction.request
            found = {"in pieces": measured(function, ask, cold=cold, warm=warm)}
        with managed(folder, **whole) as function:
            found["in one piece"] = measured(function, LambdaFunction.invoke, cold=cold, warm=warm)
    return found


def main() -> int:
    """Exit code 0."""
    parser = argparse.ArgumentParser(prog="scripts/bench lambda", description=__doc__)
    parser.add_argument("--cold", type=int, default=15, help="how many cold processes of each kind (15)")
    parser.add_argument("--warm", type=int, default=100, help="how many warm events of each kind (100)")
    parser.add_argument("--json", action="store_true", help="print every number")
    wanted = parser.parse_args()
    found = run(cold=wanted.cold, warm=wanted.warm)
    if wanted.json:
        print(json.dumps(found))
        return 0
    print("| answered | what | median | p95 | fastest |\n|---|---|---|---|---|")
    for kind, by_what in found.items():
        for what, times in by_what.items():
            late = statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]
            numbers = " | ".join(f"{ms:.0f} ms" for ms in (statistics.median(times), late, min(times)))
            print(f"| {kind} | {what} | {numbers} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
