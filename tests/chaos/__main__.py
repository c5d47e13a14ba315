"""``./scripts/chaos``: options, the table at the end, and what is kept of a run that failed."""

import argparse
import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.faults import POINTS
from tests.chaos import bench, reply_rules, rules
from tests.chaos.history import found_in
from tests.chaos.interrupts import interrupts
from tests.chaos.places import ROOT, Pace
from tests.chaos.recovery import REAL, recovery
from tests.chaos.reply_history import told_in
from tests.chaos.reply_town import Town
from tests.chaos.reply_villain import REPLY_WEIGHTS
from tests.chaos.seats import Faults
from tests.chaos.seeds import asked, keep
from tests.chaos.soak import soak
from tests.chaos.split_brain import split
from tests.chaos.traffic import Manners

_SHOWN = 12


def main() -> int:
    """The exit status: 0 when every rule held."""
    folder = _home() / "chaos"
    given, words = asked(options(), sys.argv[1:], folder=folder)
    if given.named:
        return int(pytest.main([str(ROOT / "tests" / "faults"), "-m", "", "--timeout=600", "-v"]))
    if given.judge:
        return _verdict(_judged(given.judge))
    seed = given.seed if given.seed is not None else secrets.randbelow(10**6)
    home = folder / str(seed)
    keep(words, seed=seed, folder=folder)
    # However it is ended, the fleet is taken down first.
    # A shell that starts this in the background has it ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    plan, act = _scene(given, _plan(given, seed=seed, home=home))
    verdict = asyncio.run(bench.run(plan, act=act))
    _say(f"\nseed {seed}, {verdict.seconds:.0f} s")
    for name, count in verdict.counts.items():
        _say(f"  {name:<44}{count:>14}")
    status = _verdict(verdict.violations)
    kills = int(verdict.counts["kills"]) if act is bench.hurt else plan.kills
    if kills < plan.kills:
        _say(f"only {kills} of {plan.kills} kills in {plan.minutes:g} minutes: give more --minutes")
        status = status or 1
    _say(f"history: {home / 'history.jsonl'}; again with: ./scripts/chaos --seed {seed}")
    return status


def _judged(file: Path) -> dict[str, list[str]]:
    found, told = found_in(file), told_in(file)
    return rules.judge(found) | (reply_rules.judge(found, told) if told is not None else {})


def _verdict(violations: dict[str, list[str]]) -> int:
    for rule, broken in violations.items():
        _say(f"  {rule:<44}{len(broken) or 'held':>14}")
        for line in broken[:_SHOWN]:
            _say(f"      {line}")
    return 1 if any(violations.values()) else 0


def _plan(given: argparse.Namespace, *, seed: int, home: Path) -> bench.Plan:
    named = tuple(filter(None, given.faults.split(",")))
    return bench.Plan(
        seed=seed,
        home=home,
        kills=given.kills,
        minutes=given.minutes,
        workers=given.workers,
        rivals=min(given.rivals, given.workers),
        dispatchers=given.dispatchers,
        every=given.every,
        real_cli=given.real_cli,
        pace=Pace(lease=given.lease),
        manners=Manners(threads=given.threads),
        faults=Faults(points=POINTS if "all" in named else named, acts=tuple(given.acts.split(","))),
    )


def _scene(given: argparse.Namespace, plan: bench.Plan) -> tuple[bench.Plan, bench.Act]:
    """The plan and the act for the options that ask for more than kills."""
    calm = Manners(threads=given.threads, steer=0, interrupt=0, stop=0)
    if given.split_brain:
        return replace(plan, kills=given.split_brain, rivals=plan.workers, manners=calm), split
    if given.interrupts:
        return replace(plan, kills=given.interrupts, workers=1, rivals=0), interrupts
    if given.soak:
        patient = replace(plan.pace, lease=REAL.lease)  # one process has to last, however busy the machine is
        return replace(plan, kills=given.soak, settle=600, workers=1, rivals=0, pace=patient), soak
    if given.recovery:
        return replace(plan, kills=given.recovery, rivals=plan.workers, pace=REAL), recovery
    if given.replies:
        chats = replace(plan, dispatchers=max(plan.dispatchers, 3), around=Town(seed=plan.seed))
        return replace(chats, weights=REPLY_WEIGHTS, settle=600), bench.hurt
    return plan, bench.hurt


def _some_of(known: Sequence[str]) -> Callable[[str], str]:
    """Reads a list with commas; argparse tells the text of the error."""

    def read(text: str) -> str:
        if strange := set(filter(None, text.split(","))) - set(known):
            raise argparse.ArgumentTypeError(f"{sorted(strange)}; choose from {','.join(known)}")
        return text

    return read


def options() -> argparse.ArgumentParser:
    """All options of ``./scripts/chaos``."""
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description="Kills a fleet and checks its promises."
    )
    add = parser.add_argument
    add("--kills", type=int, default=50, help="how many kills (50)")
    add("--minutes", type=float, default=30, help="at most so long (30); fewer kills by then is a failure")
    add("--seed", type=int, help="the plan of an earlier run (alone: with its options); random without it")
    add("--workers", type=int, default=4, help="worker ids (4)")
    add("--threads", type=int, default=16, help="threads over all workers (16)")
    add("--rivals", type=int, default=2, help="how many worker ids have a second disk (2)")
    add("--dispatchers", type=int, default=1, help="dispatchers (1)")
    add("--every", type=float, default=1.5, help="mean seconds between two faults (1.5)")
    add("--lease", type=float, default=1.0, help="the workers' lease in seconds (1)")
    points, acts = ("all", *POINTS), ("kill", "raise", "hang")
    told = f"failpoints: all, or some of {','.join(POINTS)}"
    add("--faults", default="", type=_some_of(points), metavar="POINTS", help=told)
    told = f"what happens at a failpoint ({','.join(acts)})"
    add("--acts", default=",".join(acts), type=_some_of(acts), help=told)
    add("--real-cli", action="store_true", help="the bundled Claude Code with the scripted model")
    add("--split-brain", type=int, metavar="N", help="N takeovers by another disk instead of kills")
    add("--interrupts", type=int, metavar="N", help="N messages in three threads of one worker instead")
    add("--soak", type=int, metavar="N", help="N turns on one worker instead; memory, descriptors, disk")
    add("--recovery", type=int, metavar="N", help="N kills at the product's own lease: seconds of silence")
    add("--replies", action="store_true", help="write through Slack and GitHub; count the answers there, too")
    add("--named", action="store_true", help="the test of each single fault instead, the long ones too")
    add("--judge", type=Path, metavar="FILE", help="only judge the history of an earlier run again")
    return parser


def _home() -> Path:
    return Path(os.environ.get("BRANCHLINE_HOME") or ROOT / ".branchline").absolute()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
