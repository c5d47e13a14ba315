"""Where a run keeps its things, and what every process of it is told. Starts nothing."""

import json
import os
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

from contracts import names
from contracts.words import ClientId, ProjectId, UserId, WorkerId
from tests.integration.worker_lab import bare_remote

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-east-1"
ACCOUNT = "123456789012"
CLIENT = USER = "chaos"
FAKE_CLI = ROOT / "tests" / "fakes" / "claude.py"


def free_port() -> int:
    """A port that was free a moment ago; kept over restarts, so that clients find the process again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_wrapper(path: Path) -> Path:
    """An executable that is the fake Claude Code CLI."""
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{FAKE_CLI}" "$@"\n')
    path.chmod(0o700)
    return path


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Times of the fleet under test, in seconds: short, so that a run sees many of each."""

    lease: float = 1.0
    visibility: float = 2.0
    look: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Places:
    """One run's folder. Worker ``n`` owns project ``p{n}``, a queue and a bare remote of its own."""

    home: Path
    workers: int
    pace: Pace = field(default_factory=Pace)
    cli: Path | None = None
    model_url: str = "http://127.0.0.1:9"
    engine_port: int = field(default_factory=free_port)

    @property
    def engine_url(self) -> str:
        return f"http://127.0.0.1:{self.engine_port}"

    @property
    def projects(self) -> list[str]:
        return [f"p{n}" for n in range(self.workers)]

    def remote(self, project: str) -> Path:
        return self.home / project / "remote.git"

    def disk(self, project: str, name: str) -> Path:
        """A disk of the worker; workers on different disks share nothing but the machine."""
        return self.home / project / f"disk-{name}"

    def worker(self, project: str) -> WorkerId:
        return names.worker_id(client=ClientId(CLIENT), project=ProjectId(project), user=UserId(USER))

    def prepare(self) -> None:
        """Make remotes, configuration and the wrapper around the fake CLI."""
        tables = []
        for project in self.projects:
            bare_remote(self.home / project)
            repo = json.dumps(str(self.remote(project)))
            tables.append(
                f'[project.{project}]\nclient = "{CLIENT}"\nrepo = {repo}\npreview = {{ command = "none" }}\n'
            )
        (self.home / "branchline.toml").write_text("\n".join(tables))
        write_wrapper(self.home / "claude")

    def environment(self) -> dict[str, str]:
        """What every process gets; ``BRANCHLINE_HOME`` is the mark by which leftovers are found."""
        kept = ("PATH", "HOME", "LANG", "TMPDIR")
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "AWS_ENDPOINT_URL": self.engine_url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "not-a-real-secret",
            "BRANCHLINE_HOME": str(self.home),
            "PYTHONPATH": str(ROOT),
        }

    def dispatcher_environment(self, *, port: int) -> dict[str, str]:
        return {
            **self.environment(),
            "BRANCHLINE_CONFIG": str(self.home / "branchline.toml"),
            "BRANCHLINE_PORT": str(port),
            "BRANCHLINE_USER": USER,
            "BRANCHLINE_SWEEP_SECONDS": "2",
        }

    def worker_environment(self, project: str, *, disk: str) -> dict[str, str]:
        cli = {} if self.cli is None else {"BRANCHLINE_CLI_PATH": str(self.cli)}
        return {
            **self.environment(),
            **cli,
            "CONTAINER_ID": self.worker(project),
            "WORKSPACE_PATH": str(self.disk(project, disk)),
            "ANTHROPIC_BASE_URL": self.model_url,
            "ANTHROPIC_API_KEY": "not-a-key",
            "BRANCHLINE_LEASE_SECONDS": str(self.pace.lease),
            "BRANCHLINE_VISIBILITY_SECONDS": str(self.pace.visibility),
            "BRANCHLINE_LOOK_SECONDS": str(self.pace.look),
            "BRANCHLINE_DISCOVERY_SECONDS": "2",
            "BRANCHLINE_POLL_SECONDS": "5",
            "BRANCHLINE_PREVIEW_PORT": "4999",
        }
