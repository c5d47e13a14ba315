"""A worker in a container of its own: the call that runs it, and what earlier calls of a home left behind.

Hardened as on Fargate: a read-only root, the three capabilities of the spawner and no others, no new
privileges, limits. The only thing kept is a volume. Knows the engine's words and nothing of messages.
"""

import hashlib
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from contracts.words import WorkerId
from fleet.boxes import Engine

LABEL = "branchline.home"
CAPABILITIES = ("SETUID", "SETGID", "KILL")
HOST = "10.0.2.2"
"""What this machine's loopback is called in a box that may see it (``loopback``)."""
INSIDE_PORT = 4321
GRACE = 110.0
"""Seconds a container gets to end, as on Fargate: the worker needs up to 60, and PID 1 ends after it."""
_MACHINE = "/run/machine"
"""Where a container finds the sockets of ``fleet.passages``."""
_PYTHON = "/opt/venv/bin/python"
_PASSAGE = (_PYTHON, "-I", "-S", "/opt/branchline/container/passage.py")
_WORKER = (_PYTHON, "-m", "worker")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one worker may take: bytes as the engine writes them (``2g``), processes, processors."""

    memory: str = "3g"
    pids: int = 1024
    cpus: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Box:
    """One worker's container. ``env``: names of variables, whose values are taken from the call's own, and
    ``NAME=value`` for others. ``files``: of this machine, each with its path in there, to be read only.

    ``passages``: ports of its own loopback that lead to this machine, with the names of their sockets in the
    folder ``machine``. ``loopback``: it sees all of this machine's loopback, which no worker of a fleet may.
    """

    name: str
    volume: str
    home: str
    image: str
    port: int
    env: Collection[str]
    limits: Limits
    grace: float = GRACE
    files: Mapping[Path, str] = field(default_factory=dict)
    machine: Path | None = None
    passages: Mapping[int, str] = field(default_factory=dict)
    loopback: bool = False


def _has_slirp(engine: Engine) -> bool:
    return engine.name == "podman" and shutil.which("slirp4netns") is not None


def run_argv(engine: Engine, box: Box) -> tuple[str, ...]:
    """The call. It stays until the container ends, passes signals on and leaves with its status."""
    network = ["--publish", f"127.0.0.1:{box.port}:{INSIDE_PORT}"]
    if _has_slirp(engine):  # elsewhere the engine's own default, which has no way to this loopback either
        network += ["--network", "slirp4netns" + (":allow_host_loopback=true" if box.loopback else "")]
    walls = ["--read-only", "--cap-drop", "ALL", *(f"--cap-add={name}" for name in CAPABILITIES)]
    walls += ["--security-opt", "no-new-privileges", "--stop-timeout", str(int(box.grace))]
    limits = [f"--memory={box.limits.memory}", f"--memory-swap={box.limits.memory}"]
    limits += [f"--pids-limit={box.limits.pids}", f"--cpus={box.limits.cpus:g}"]
    named = ["--name", box.name, "--label", f"{LABEL}={box.home}", "--volume", f"{box.volume}:/workspace"]
    # With "z" the file may be read where SELinux labels files; elsewhere it means nothing.
    named += [f"--volume={path}:{place}:ro,z" for path, place in box.files.items()]
    # Whether a worker is well is known from its row; Podman's timer for it needs systemd.
    named.append("--no-healthcheck")
    again = ["--replace"] if engine.name == "podman" else []
    env = [part for name in sorted(box.env) for part in ("--env", name)]
    machine, program = _reaching(box)
    # Where a client was killed, its container lives on under the name; Docker has no ``--replace``.
    first = [] if again else ["sh", "-c", f'{engine.name} rm -f {box.name} >/dev/null 2>&1; exec "$@"', "sh"]
    return (
        *first, engine.name, "run", "--rm", *again, *named, *network, *machine, *walls, *limits, *env,
        box.image, *program,
    )  # fmt: skip


def _reaching(box: Box) -> tuple[list[str], list[str]]:
    """What lends the box its passages, and the program that opens them before the worker."""
    if box.machine is None or not box.passages:
        return [], []
    # SELinux lets no container connect to a socket of this machine's, whatever its label.
    labels = ["--security-opt", "label=disable"] if Path("/sys/fs/selinux/enforce").exists() else []
    opened = [f"{port}={_MACHINE}/{name}" for port, name in sorted(box.passages.items())]
    volume = ["--volume", f"{box.machine}:{_MACHINE}:ro", *labels]
    return volume, [*_PASSAGE, *opened, "--", *_WORKER]


def name_of(home: Path, worker_id: WorkerId) -> str:
    """A name that no other home and no other worker has, fit for a container and a volume."""
    return f"branchline-{mark_of(home)}-{_short(worker_id)}"


def mark_of(home: Path) -> str:
    """What tells this home's containers from others."""
    return _short(str(home))


def left(engine: Engine, home: Path) -> list[str]:
    """Names of this home's containers, running or not."""
    listed = engine.run("ps", "--all", "--filter", f"label={LABEL}={mark_of(home)}", "--format", "{{.Names}}")
    return listed.stdout.split()


def end(engine: Engine, home: Path, *, grace: float) -> int:
    """Stop and remove this home's containers, with ``grace`` seconds to save their work; how many."""
    names = left(engine, home)
    if names:
        engine.run("stop", "--time", str(int(grace)), *names, check=False)
        engine.run("rm", "--force", "--volumes", *names, check=False)
    return len(names)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
