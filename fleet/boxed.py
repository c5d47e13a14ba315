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
"""Where a container of Podman's with a network of its own finds what listens on this machine's loopback."""
INSIDE_PORT = 4321
_SLIRP = "slirp4netns:allow_host_loopback=true"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one worker may take: bytes as the engine writes them (``2g``), processes, processors."""

    memory: str = "3g"
    pids: int = 1024
    cpus: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Box:
    """One worker's container. ``env``: names of variables, whose values are taken from the call's own, and
    ``NAME=value`` for others. ``files``: of this machine, each with its path in there, to be read only."""

    name: str
    volume: str
    home: str
    image: str
    port: int
    env: Collection[str]
    limits: Limits
    grace: float = 60.0
    files: Mapping[Path, str] = field(default_factory=dict)


def own_network(engine: Engine) -> bool:
    """Whether containers get a network of their own and still reach this machine's loopback."""
    return engine.name == "podman" and shutil.which("slirp4netns") is not None


def host(engine: Engine) -> str:
    """How this machine's loopback is called in there."""
    return HOST if own_network(engine) else "127.0.0.1"


def inside(url: str, *, engine: Engine) -> str:
    """An address on this machine's loopback as it is in the container."""
    for name in ("//127.0.0.1", "//localhost"):
        if url.partition(name)[2][:1] in (":", "/") or url.endswith(name):
            return url.replace(name, f"//{host(engine)}", 1)
    return url


def run_argv(engine: Engine, box: Box) -> tuple[str, ...]:
    """The call. It stays until the container ends, passes signals on and leaves with its status."""
    network = ["--network", "host"]
    if own_network(engine):
        network = ["--network", _SLIRP, "--publish", f"127.0.0.1:{box.port}:{INSIDE_PORT}"]
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
    return (engine.name, "run", "--rm", *again, *named, *network, *walls, *limits, *env, box.image)


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
