"""Other ways to start a worker, and Claude Code CLIs that misbehave, for the fault tests. Decides nothing."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.places import FAKE_CLI
from tests.integration.agent_lab import write_executable
from tests.integration.worker_lab import Lab

WORKER = (sys.executable, "-m", "worker")


def start(lab: Lab, argv: Sequence[str], **more: str) -> "subprocess.Popen[bytes]":
    """Start a worker by another command line than the lab's own; the lab stops it at its end."""
    with (lab.folder / f"worker-{len(lab.processes)}.log").open("wb") as log:
        process = subprocess.Popen(
            argv, env=lab.environment(**more), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    lab.processes.append(process)
    return process


def wire_cli(folder: Path) -> Path:
    """The fake CLI of ``tests.fakes.claude``. Whatever ends it, its exit status is 1; each start appends its
    arguments to ``folder/starts``, see ``starts``."""
    script = (
        f'#!/bin/sh\n{{ printf "%s " "$@"; printf "\\0"; }} >> "{folder}/starts"\n'
        f'"{sys.executable}" -I -S "{FAKE_CLI}" "$@" || exit 1\n'
    )
    return write_executable(folder / "wire-cli", script)


def starts(folder: Path) -> list[str]:
    """With which arguments ``wire_cli`` was started, in order."""
    return (folder / "starts").read_text().split("\0")[:-1]


_BAD = """#!{python}
import json, os, signal, subprocess, sys
mode = {mode!r}
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def tell(**message):
    print(json.dumps(message), flush=True)
def acknowledge(request):
    inner = {{"subtype": "success", "request_id": request["request_id"], "response": {{}}}}
    tell(type="control_response", response=inner)
if mode == "mute":
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
if mode == "refuses to start":
    print("no such option: --x key-of-the-model", file=sys.stderr)
    sys.exit(64)
asked = False
for line in sys.stdin:
    request = json.loads(line)
    if mode == "mute" or asked:
        continue
    if request["type"] == "control_request":
        acknowledge(request)
        continue
    asked = True
    if mode == "crash":
        print("Segmentation fault of key-of-the-model", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGSEGV)
    if mode == "leaves":
        sys.exit(0)
    if mode == "nonsense":
        print('{{"type": "assistant", "message"', flush=True)
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
if mode in ("mute", "hang"):
    signal.pause()
"""


def bad_cli(folder: Path, mode: str) -> Path:
    """A CLI that ignores SIGTERM and leaves a grandchild behind.

    ``mute`` answers nothing at all, ``hang`` nothing after the prompt (no interrupt either), ``crash``,
    ``leaves`` and ``nonsense`` do what they are called, ``refuses to start`` ends before the first word.
    """
    return write_executable(
        folder / f"fake-{mode.replace(' ', '-')}", _BAD.format(python=sys.executable, mode=mode)
    )


def either(folder: Path, *, first: Path, once: Path, then: Path) -> Path:
    """A CLI that is ``first`` until the file ``once`` exists and ``then`` from there on."""
    script = f'#!/bin/sh\n[ -e "{once}" ] && exec "{then}" "$@"\nexec "{first}" "$@"\n'
    return write_executable(folder / "either-cli", script)
