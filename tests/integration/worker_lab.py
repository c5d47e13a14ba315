"""A real worker process against the embedded engine, a bare remote and the scripted model."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contracts.events import Event
from contracts.words import Mode
from tests.fakes.engine import wait_until
from tests.fakes.fleet_records import Records, fleet_records
from tests.fakes.model import ScriptedModel, serving_model


def git(cwd: Path, *arguments: str) -> str:
    """Run git as a person would, with an identity and no other configuration."""
    environment = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Person",
        "GIT_AUTHOR_EMAIL": "person@example.com",
        "GIT_COMMITTER_NAME": "Person",
        "GIT_COMMITTER_EMAIL": "person@example.com",
    }
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def bare_remote(folder: Path, **files: str) -> Path:
    """A bare repository whose default branch holds ``files``."""
    seed, remote = folder / "seed", folder / "remote.git"
    seed.mkdir(parents=True)
    git(seed, "init", "-q", "-b", "main")
    for name, content in {"README.md": "# A project\n", ".gitignore": "ignored/\n", **files}.items():
        (seed / name).write_text(content)
    git(seed, "add", "-A")
    git(seed, "commit", "-q", "-m", "Start")
    git(folder, "clone", "-q", "--bare", str(seed), str(remote))
    shutil.rmtree(seed)
    return remote


class Lab:
    """Records, remote, model, and the worker processes that a test starts."""

    def __init__(self, *, found: Records, remote: Path, model: ScriptedModel, folder: Path) -> None:
        self.found, self.remote, self.model, self.folder = found, remote, model, folder
        self.workspace = folder / "workspace"
        self.processes: list[subprocess.Popen[bytes]] = []

    def environment(self, **more: str) -> dict[str, str]:
        keep = ("PATH", "HOME", "LANG", "TMPDIR")
        return {
            **{k: os.environ[k] for k in keep if k in os.environ},
            **self.found.environment(),
            "WORKSPACE_PATH": str(self.workspace),
            "ANTHROPIC_BASE_URL": self.model.url,
            "ANTHROPIC_API_KEY": "not-a-key",
            "BRANCHLINE_LEASE_SECONDS": "6",
            "BRANCHLINE_DISCOVERY_SECONDS": "1",
            "BRANCHLINE_PREVIEW_PORT": "4999",
            "PYTHONWARNINGS": "error::RuntimeWarning",
            **more,
        }

    def start(self, **more: str) -> "subprocess.Popen[bytes]":
        """Start a worker."""
        with (self.folder / f"worker-{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker"],
                env=self.environment(**more),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def post(self, thread: str, sequence: int, text: str, *, mode: Mode = Mode.QUEUE) -> None:
        """Record and send one message."""
        self.found.record(thread, sequence, text=text, mode=mode)
        self.found.send(thread, sequence)

    def events(self, thread: str, type_: str | None = None) -> list[Event]:
        return [e for e in self.found.events(thread) if type_ is None or e.type == type_]

    def data(self, thread: str, type_: str) -> list[Any]:
        return [e.data for e in self.events(thread, type_)]

    def outcome(self, thread: str, sequence: int, *, seconds: float = 60) -> str:
        """Wait for a message's outcome."""
        try:
            return str(wait_until(lambda: self.found.outcome(thread, sequence), seconds=seconds))
        except AssertionError:
            raise AssertionError(f"no outcome; {self.story(thread)}\n{self.logs()[-6000:]}") from None

    def story(self, thread: str) -> str:
        return "\n".join(f"{e.id} {e.type} {e.data}"[:300] for e in self.events(thread))

    def wait_for(self, thread: str, type_: str, *, count: int = 1, seconds: float = 60) -> None:
        """Wait until the thread's log has so many events of this type."""
        try:
            wait_until(lambda: len(self.events(thread, type_)) >= count, seconds=seconds)
        except AssertionError:
            raise AssertionError(f"no {type_}; {self.story(thread)}\n{self.logs()[-6000:]}") from None

    def logs(self) -> str:
        return "".join(p.read_text() for p in sorted(self.folder.glob("worker-*.log")))

    def tree(self, branch: str) -> dict[str, str]:
        """File name to content on a branch of the remote."""
        names = git(self.remote, "ls-tree", "-r", "--name-only", branch).splitlines()
        return {n: git(self.remote, "show", f"{branch}:{n}") for n in names}

    def log(self, branch: str) -> list[str]:
        """Commit messages on the branch above main, newest first."""
        text = git(self.remote, "log", "--format=%B%x00", f"main..{branch}")
        return [m.strip() for m in text.split("\0") if m.strip()]

    def marked(self) -> list[int]:
        """Processes that belong to turns of this worker id on this disk."""
        mark = str(self.workspace).encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    environ = (entry / "environ").read_bytes()
                except OSError:
                    continue
                if b"BRANCHLINE_TURN=" in environ and mark in environ:
                    found.append(int(entry.name))
        return found

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def worker_lab(*, engine_url: str, account: str, folder: Path) -> Iterator[Lab]:
    """Everything a worker needs; stops what the test started."""
    folder.mkdir(parents=True, exist_ok=True)
    remote = bare_remote(folder)
    with fleet_records(url=engine_url, account=account, repo=str(remote)) as found, serving_model() as model:
        lab = Lab(found=found, remote=remote, model=model, folder=folder)
        try:
            yield lab
        finally:
            lab.close()
