"""The folder of all local state (``BRANCHLINE_HOME``): its paths, its lock and what it remembers.

Knows names of files and nothing of what runs. Everything in here survives restarts and ``kill -9``:
files are replaced whole, never written in place.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from fleet.problem import FAILED, Problem
from fleet.settings import ROOT

WORKSPACES = "workspace"
"""Name of the folder below the home that holds the workers' checkouts."""

LOG_LIMIT = 5 * 1024 * 1024
"""Bytes after which a log file is set aside (one old one is kept) when its process starts."""
_KEY_PREFIX, _KEY_BYTES = "branchline-local-", 16


@dataclass(frozen=True)
class Home:
    """Paths below one absolute folder."""

    path: Path

    @property
    def engine_state(self) -> Path:
        """Tables and queues of the embedded engine."""
        return self.path / "engine"

    @property
    def engine_python(self) -> Path:
        """The interpreter of the engine's own environment: this home's, else the checkout's."""
        places = [folder / "engine-venv" / "bin" / "python" for folder in (self.path, ROOT / ".branchline")]
        return next((place for place in places if place.exists()), places[0])

    @property
    def workspaces(self) -> Path:
        """``WORKSPACE_PATH`` of all local workers."""
        return self.path / WORKSPACES

    @property
    def logs(self) -> Path:
        """One file for each process."""
        return self.path / "logs"

    @property
    def remotes(self) -> Path:
        """Bare repositories that stand in for GitHub."""
        return self.path / "remotes"

    @property
    def example(self) -> Path:
        """Working copies of example projects."""
        return self.path / "example"

    def create(self) -> None:
        """Make the folders. Raises Problem when that is not possible."""
        try:
            for folder in (self.path, self.logs, self.remotes, self.workspaces, self.engine_state):
                folder.mkdir(parents=True, exist_ok=True)
            (self.path / ".gitignore").write_text("*\n")
        except OSError as error:
            raise Problem(
                f"the folder {self.path} cannot be used ({error.strerror}); "
                "set BRANCHLINE_HOME to a folder that you may write to.",
                code=FAILED,
            ) from None

    def log_file(self, name: str) -> Path:
        """The log of a process, set aside first when it has grown too long."""
        path = self.logs / f"{name}.log"
        if path.exists() and path.stat().st_size > LOG_LIMIT:
            path.replace(path.with_suffix(".log.1"))
        return path

    def recall(self, name: str) -> dict[str, Any]:
        """What ``remember`` kept under this name; empty when there is nothing readable."""
        try:
            kept = json.loads((self.path / f"{name}.json").read_text())
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}

    def remember(self, name: str, facts: Mapping[str, Any]) -> None:
        """Keep facts in a file that only its owner may read."""
        path = self.path / f"{name}.json"
        new = path.with_suffix(".json.new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(dict(facts), file, indent=1)
        new.replace(path)

    def credentials(self) -> dict[str, str]:
        """The engine's access key of this home, made once, as the variables that boto reads."""
        kept = self.recall("credentials")
        # The engine looks at nothing but the id, so the id is the secret. Homes of old have a short one.
        if len(str(kept.get("AWS_ACCESS_KEY_ID", ""))) < len(_KEY_PREFIX) + 2 * _KEY_BYTES:
            kept = {
                "AWS_ACCESS_KEY_ID": f"{_KEY_PREFIX}{secrets.token_hex(_KEY_BYTES)}",
                "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
            }
            self.remember("credentials", kept)
        return {name: str(value) for name, value in kept.items()}


class Lock:
    """At most one ``branchline up`` per home. The kernel drops the lock when its process dies."""

    def __init__(self, home: Home) -> None:
        self._path = home.path / "up.lock"
        self._file: IO[str] | None = None

    def take(self) -> bool:
        """Whether the lock is now ours; it then names our pid."""
        file = self._path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file
        return True

    def holder(self) -> int | None:
        """The pid that the lock names."""
        try:
            return int(self._path.read_text())
        except (OSError, ValueError):
            return None

    def drop(self) -> None:
        """Give the lock back; the file stays, because removing it would race with the next one."""
        if self._file is not None:
            self._file.close()
            self._file = None
