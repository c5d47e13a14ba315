"""A whole fleet as a user starts it, `branchline up`, with a repository of one's own or the example site."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from fleet import processes
from fleet.ports import any_free
from tests.fakes.engine import engine_python, wait_until
from tests.integration.worker_lab import bare_remote, git

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 90.0
TURN_SECONDS = 90.0


class Fleet:
    """One home. ``repo`` None means the example site."""

    def __init__(self, folder: Path, *, repo: Path | None = None, **environment: str) -> None:
        self.folder, self.repo = folder, repo
        self.home = (folder / "home").resolve()
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "engine-venv").symlink_to(engine_python().parent.parent)
        self.port, self.preview_port = any_free(), any_free()
        self.url = f"http://127.0.0.1:{self.port}"
        kept = ("PATH", "LANG", "TMPDIR", "npm_config_cache", "NODE_EXTRA_CA_CERTS")
        self.environment = {
            **{k: os.environ[k] for k in kept if k in os.environ},
            "HOME": os.environ.get("HOME", str(folder)),
            "BRANCHLINE_HOME": str(self.home),
            "BRANCHLINE_PORT": str(self.port),
            "BRANCHLINE_PREVIEW_PORT": str(self.preview_port),
            # Whatever npm needs is in its cache already; tests talk to this machine only.
            "npm_config_offline": "true",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.api = httpx.Client(base_url=self.url, timeout=30)

    # ------------------------------------------------------------ life

    def up(self) -> None:
        """Start it and wait until it says that it runs."""
        command = [sys.executable, "-m", "fleet", "up"]
        if self.repo is not None:
            command += ["--repo", str(self.repo)]
        with (self.folder / "up.log").open("wb") as out:
            self.process = subprocess.Popen(
                command, env=self.environment, cwd=ROOT, stdout=out, stderr=out, start_new_session=True
            )
        process = self.process
        running = "Branchline is running"
        wait_until(lambda: running in self.said() or process.poll() is not None, seconds=START_SECONDS)
        assert process.poll() is None, self.said()

    def said(self) -> str:
        """What ``up`` has printed."""
        return (self.folder / "up.log").read_text()

    def kill(self) -> None:
        """``kill -9``, and wait until all that it started has died with it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        try:
            wait_until(lambda: not self.left(), seconds=45)
        except AssertionError:
            lines = [Path(f"/proc/{pid}/cmdline").read_bytes()[:300] for pid in self.left()]
            raise AssertionError(f"still alive: {lines}\n{self.logs()}") from None

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=90)

    def left(self) -> set[int]:
        """Living processes of this home."""
        return processes.leftovers(self.home)

    def close(self) -> None:
        self.api.close()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        processes.end(self.left, grace=0)

    def logs(self) -> str:
        """The ends of all logs, for a failure's message."""
        found = sorted((self.home / "logs").glob("*.log"))
        return "\n".join(f"--- {p.name}\n{p.read_text(errors='replace')[-3000:]}" for p in found)

    # ------------------------------------------------------------ as a person

    def branchline(self, *arguments: str, typed: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run the command against this fleet; ``typed`` comes through a pipe."""
        command = [sys.executable, "-m", "fleet", *arguments]
        return subprocess.run(
            command,
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            input=typed,
        )

    def send(self, text: str, *, thread: str, **more: str) -> str:
        """Send a message and return its id, without waiting."""
        options = [x for k, v in more.items() for x in (f"--{k.replace('_', '-')}", v)]
        sent = self.branchline("send", text, "--thread", thread, "--no-wait", "--json", *options)
        assert sent.returncode == 0, sent.stdout + sent.stderr
        return str(json.loads(sent.stdout)["message_id"])

    # ------------------------------------------------------------ as a program

    def post(self, text: str, *, thread: str) -> str:
        """Post a message to the API and return its id."""
        answer = self.api.post("/v1/threads", json={"thread_id": thread, "text": text})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["message_id"])

    def events(self, thread: str, type_: str | None = None) -> list[dict[str, Any]]:
        """The thread's log so far; empty for a thread that is not there."""
        answer = self.api.get(f"/v1/threads/{thread}/events", params={"follow": "false"})
        if answer.status_code == 404:
            return []
        answer.raise_for_status()
        lines = [line[5:] for line in answer.text.splitlines() if line.startswith("data:")]
        found = [json.loads(line) for line in lines]
        return [e for e in found if type_ is None or e["type"] == type_]

    def wait_for(self, thread: str, type_: str, *, count: int = 1) -> list[dict[str, Any]]:
        """Wait until the log holds so many events of a type."""
        try:
            wait_until(lambda: len(self.events(thread, type_)) >= count, seconds=TURN_SECONDS)
        except AssertionError:
            told = "\n".join(str(e)[:300] for e in self.events(thread))
            raise AssertionError(f"no {type_} in {thread}:\n{told}\n{self.logs()}") from None
        return self.events(thread, type_)

    def final(self, thread: str, message_id: str) -> dict[str, Any]:
        """Wait for a message's final event."""
        finals = {"turn.completed", "turn.stopped", "turn.failed", "turn.rejected"}

        def found() -> dict[str, Any] | None:
            events = self.events(thread)
            return next((e for e in events if e["type"] in finals and e["message_id"] == message_id), None)

        try:
            return dict(wait_until(found, seconds=TURN_SECONDS))
        except AssertionError:
            told = "\n".join(str(e)[:300] for e in self.events(thread))
            raise AssertionError(f"{message_id} of {thread} has no outcome:\n{told}\n{self.logs()}") from None

    # ------------------------------------------------------------ the remote

    @property
    def remote(self) -> Path:
        """The bare repository that is pushed to."""
        return self.repo or self.home / "remotes" / "site.git"

    def tree(self, branch: str) -> dict[str, str]:
        """File name to content on a branch of the remote."""
        names = git(self.remote, "ls-tree", "-r", "--name-only", branch).splitlines()
        return {n: git(self.remote, "show", f"{branch}:{n}") for n in names}

    def commits(self, branch: str) -> list[str]:
        """Messages of the branch's own commits, newest first."""
        text = git(self.remote, "log", "--format=%B%x00", f"main..{branch}")
        return [m.strip() for m in text.split("\0") if m.strip()]


@contextmanager
def own_repository(folder: Path, *, model_url: str, **environment: str) -> Iterator[Fleet]:
    """A running fleet on a small repository, with this model."""
    folder.mkdir(parents=True, exist_ok=True)
    fleet = Fleet(
        folder,
        repo=bare_remote(folder),
        ANTHROPIC_BASE_URL=model_url,
        ANTHROPIC_API_KEY="not-a-key",
        **environment,
    )
    try:
        fleet.up()
        yield fleet
    finally:
        fleet.close()
        shutil.rmtree(fleet.home, ignore_errors=True)
