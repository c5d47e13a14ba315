"""A spawner that really runs, as root, with uids of nobody else on this machine; no container needed."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from container import spawner
from tests.fakes.engine import wait_until

ROOT = Path(__file__).resolve().parents[2]
WORKER, AGENT, SITE = 61001, 62001, 63001
PATH = "/usr/local/bin:/usr/bin:/bin"
_NOBODY = 64001


def python() -> str:
    """An interpreter that other users may run, too."""
    names = (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3")
    for name in map(os.path.realpath, names):
        with suppress(OSError, subprocess.SubprocessError):
            checked = "import sys; sys.exit(sys.version_info < (3, 11))"
            subprocess.run([name, "-I", "-S", "-c", checked], user=_NOBODY, group=_NOBODY, check=True)
            return name
    return missing("no Python 3.11 that every user may run was found: install python3")


def missing(why: str) -> str:
    """Skip, or fail where nothing may be skipped."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


class Walls:
    """A spawner whose worker is a small shell script that waits; a folder both users may enter."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.python = folder, python()
        for name in ("spawner.py", "as_agent.py"):
            shutil.copy(ROOT / "container" / name, folder / name)
        self.socket = folder / "run" / "spawn"
        self.shared = folder / "shared"
        self.shared.mkdir()
        os.chown(self.shared, WORKER, SITE)
        self.shared.chmod(0o2770)
        self.process: subprocess.Popen[bytes] | None = None
        self.worker = WORKER
        self._asked: list[subprocess.Popen[bytes]] = []

    def serve(self, *worker: str, **environment: str) -> "subprocess.Popen[bytes]":
        """Start it with this program as the worker; wait until it listens."""
        argv = [self.python, "-I", "-S", str(self.folder / "spawner.py"), "--socket", str(self.socket)]
        who = ["--worker", f"{self.worker}:{self.worker},{SITE}", "--agent", f"{AGENT}:{SITE}"]
        self.process = subprocess.Popen(
            [*argv, *who, "--", *worker], cwd=self.shared, env={"PATH": PATH, **environment}
        )
        wait_until(lambda: self.socket.exists() or self.process is None or self.process.poll() is not None)
        return self.process

    def argv(self, *program: str) -> list[str]:
        """The client's call for a program."""
        return [self.python, "-I", "-S", str(self.folder / "as_agent.py"), str(self.socket), *program]

    def ask(
        self, *program: str, uid: int = WORKER, env: dict[str, str] | None = None, **more: object
    ) -> "subprocess.Popen[bytes]":
        """Run a program as the agent, asked for by the worker."""
        plain = {"PATH": PATH} if env is None else env
        asked: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
            self.argv(*program), user=uid, group=uid, extra_groups=[SITE], env=plain, cwd=self.shared,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more,
        )  # fmt: skip
        self._asked.append(asked)
        return asked

    def worker_pid(self) -> int:
        """The worker's process, once it is its own user's."""

        def found() -> int | None:
            below = spawner.descendants(self.process.pid) if self.process is not None else set()
            return next((pid for pid in below if Path(f"/proc/{pid}").stat().st_uid == self.worker), None)

        return int(wait_until(found))

    def alive(self, mark: str) -> list[int]:
        """Processes whose command line holds the word; zombies have none."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with suppress(OSError):
                    if mark.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found

    def raw(self, request: bytes, *, uid: int = WORKER) -> dict[str, object]:
        """Say bytes to the socket as a user; the answer."""
        code = (
            "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
            "try: s.sendall(sys.stdin.buffer.read())\nexcept OSError: pass\n"
            "print(s.makefile().readline())"
        )
        done = subprocess.run(
            [self.python, "-I", "-c", code, str(self.socket)], user=uid, group=WORKER, extra_groups=[],
            input=request, capture_output=True, check=True,
        )  # fmt: skip
        answer: dict[str, object] = json.loads(done.stdout)
        return answer

    def close(self) -> None:
        """Stop what is left."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for asked in self._asked:
            asked.kill()
            asked.wait()
            for pipe in (asked.stdin, asked.stdout, asked.stderr):
                if pipe is not None:
                    pipe.close()


@contextmanager
def walls() -> Iterator[Walls]:
    """Skipped where this is not root: nobody else may give a process another uid."""
    if os.geteuid() != 0:
        missing("only root can start processes of other users; run this as root")
    # pytest's own folders are closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="branchline-walls-"))
    folder.chmod(0o755)
    made = Walls(folder)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder)


def connected(path: Path) -> socket.socket:
    """A connection as root."""
    line = socket.socket(socket.AF_UNIX)
    line.connect(str(path))
    return line
