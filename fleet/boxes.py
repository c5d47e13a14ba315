"""Which container engine this machine has, and how it has to be called.

Looks for Podman, then Docker, and runs them. An older Podman without systemd needs settings of its own, which
are written into a file of ours that only our calls name: a person's configuration is never touched. Decides
nothing about workers or images.
"""

import os
import re
import resource
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fleet.problem import USAGE, Problem

Name = Literal["podman", "docker"]
_INSTALL = {
    "podman": "install it (apt-get install podman slirp4netns uidmap)",
    "docker": "install it (docs.docker.com) and start its service",
}
_LOOK_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A container engine that answers. ``environ``: what its calls need besides this process's own."""

    name: Name
    version: tuple[int, ...]
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """The environment of a call."""
        return {**os.environ, **self.environ}

    def run(self, *argv: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """One call, its output captured. Raises Problem with the engine's last words, unless told not to."""
        done = subprocess.run(
            [self.name, *argv], env=self.env, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if check and done.returncode:
            said = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
            raise Problem(f"{self.name} {argv[0]} failed: {said[-1][:300]}")
        return done

    def has_image(self, tag: str) -> bool:
        """Whether an image is there already."""
        return not self.run("image", "inspect", tag, check=False).returncode


def find(*, state: Path, wanted: Name | None = None) -> Engine:
    """The engine asked for, else the first that answers. ``state``: folder for our file of settings.

    Raises Problem.
    """
    said: list[str] = []
    for name in [wanted] if wanted else ("podman", "docker"):
        engine = _engine(name, state=state)
        if isinstance(engine, Engine):
            return engine
        said.append(engine)
    raise Problem("; ".join(said) + ", or use --runtime process.", code=USAGE)


def _engine(name: Name, *, state: Path) -> Engine | str:
    """The engine, or why not and what to do."""
    if shutil.which(name) is None:
        return f"{name} was not found; {_INSTALL[name]}"
    environ = _settings(state) if name == "podman" else {}
    question = "{{.Client.Version}}" if name == "podman" else "{{.Server.Version}}"
    try:
        done = subprocess.run(
            [name, "version", "--format", question],
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=_LOOK_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return f"{name} does not answer; {_INSTALL[name]}"
    version = tuple(int(part) for part in re.findall(r"\d+", done.stdout)[:3])
    if done.returncode or not version:
        return f"{name} does not answer; {_INSTALL[name]}"
    return Engine(name=name, version=version, environ=environ)


def _settings(state: Path) -> dict[str, str]:
    """Where there is no systemd, Podman's defaults fail; a file that says what to do instead."""
    if Path("/run/systemd/system").is_dir() or "CONTAINERS_CONF" in os.environ:
        return {}
    path = state / "containers.conf"
    text = _without_systemd(hard=resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)
    return {"CONTAINERS_CONF": str(path)}


def _without_systemd(*, hard: int) -> str:
    # crun refuses control groups of version 1 beside version 2; runc takes both.
    old_groups = not Path("/sys/fs/cgroup/cgroup.controllers").exists()
    lines = ["# Written by Branchline; used by its own calls of podman alone.", "[containers]"]
    lines += [f'default_ulimits = ["nofile={hard}:{hard}", "nproc=32768:32768"]', 'log_driver = "k8s-file"']
    lines += ["[engine]", 'cgroup_manager = "cgroupfs"', 'events_logger = "file"']
    lines += ['runtime = "runc"'] if old_groups and shutil.which("runc") else []
    if any(Path(folder, "netavark").exists() for folder in ("/usr/lib/podman", "/usr/libexec/podman")):
        lines += ["[network]", 'network_backend = "netavark"']
    return "\n".join(lines) + "\n"


def follow(engine: Engine, argv: Sequence[str]) -> int:
    """One call whose output goes where ours goes; its exit status."""
    return subprocess.run([engine.name, *argv], env=engine.env, stdin=subprocess.DEVNULL).returncode
