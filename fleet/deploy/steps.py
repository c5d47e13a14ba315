"""One step after the other, each said before it is done; with ``--plan`` it is only said."""

import asyncio
import os
import shlex
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fleet.problem import FAILED, Problem

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is done next: a process, or something of our own. ``hint``: what to do when the process fails."""

    says: str
    argv: tuple[str, ...] = ()
    do: Callable[[], Awaitable[str | None]] | None = None
    hint: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


async def walk(steps: Sequence[Step], *, cwd: Path, say: Say) -> None:
    """Do all steps. Raises Problem at the first one that fails."""
    for number, step in enumerate(steps, start=1):
        say(f"[{number}/{len(steps)}] {step.says}")
        if step.argv:
            await run(step, cwd=cwd)
        told = await step.do() if step.do is not None else None
        if told:
            say(f"      {told}")


def show(steps: Sequence[Step], *, say: Say) -> None:
    """Say what would be done."""
    for number, step in enumerate(steps, start=1):
        say(f"[{number}/{len(steps)}] {step.says}")
        if step.argv:
            say(f"      $ {shlex.join(step.argv)}")


async def run(step: Step, *, cwd: Path, stdin: str | None = None) -> None:
    """One process; what it writes is seen. Raises Problem when it cannot be started or fails."""
    try:
        process = await asyncio.create_subprocess_exec(
            *step.argv,
            cwd=cwd,
            env={**os.environ, **step.env},
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        )
    except OSError as error:
        raise Problem(f"{step.argv[0]} could not be started: {error.strerror}.", code=FAILED) from None
    await process.communicate(stdin.encode() if stdin is not None else None)
    if process.returncode != 0:
        hint = step.hint or "see the lines above"
        raise Problem(
            f"this step failed ({step.says}): {hint}. Give the same command again, it goes on from here.",
            code=FAILED,
        )
