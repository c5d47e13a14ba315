"""One process of the fleet and its group: start, kill, freeze, wake, and what it said. Decides nothing."""

import json
import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.chaos.history import History
from tests.fakes.engine import MAIN, engine_python

_STATE = re.compile(r"^\d+ \(.*\) (\S)", re.DOTALL)


class Member:
    """A process in a session of its own; ``name`` is its role, ``log`` what it writes."""

    def __init__(
        self, *, name: str, argv: list[str], env: dict[str, str], log: Path, history: History, **facts: object
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.name, self.log, self._history = name, log, history
        self.frozen = False
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                argv, env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        history.add(name, "started", pid=self.pid, log=log.name, **facts)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def stopped(self) -> bool:
        """Whether the kernel holds it (SIGSTOP), whoever sent that."""
        with suppress(OSError):
            found = _STATE.match(Path(f"/proc/{self.pid}/stat").read_text(errors="replace"))
            return found is not None and found[1] == "T"
        return False

    def kill(self) -> None:
        """End the whole group as the end of a container does."""
        self._history.add(self.name, "killed", pid=self.pid)
        self._signal(signal.SIGKILL)
        self.process.wait()

    def ask_to_leave(self) -> None:
        self._history.add(self.name, "asked to leave", pid=self.pid)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def freeze(self, *, whole: bool = True) -> None:
        """Stop the group, or only the process itself."""
        self._history.add(self.name, "frozen", pid=self.pid, whole=whole)
        self.frozen = True
        if whole:
            self._signal(signal.SIGSTOP)
        else:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Let the group go on; also what is left of it when its leader is dead."""
        self._history.add(self.name, "woken", pid=self.pid)
        self._signal(signal.SIGCONT)
        self.frozen = False

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def said(self) -> list[dict[str, object]]:
        """The lines of its log that are JSON."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            with suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    found.append(entry)
        return found

    @property
    def epoch(self) -> int | None:
        """The epoch a worker took."""
        return next((int(str(e["epoch"])) for e in self.said() if e.get("action") == "lease_taken"), None)

    @property
    def is_ready(self) -> bool:
        """Whether a worker has its checkout, and has tried to bring to the remote what its disk alone had."""
        return any(e.get("action") == "worker_ready" for e in self.said())


class EngineMember(Member):
    """The embedded engine, restarted on the same state and port."""

    def __init__(self, *, home: Path, port: int, history: History, env: dict[str, str]) -> None:
        argv = [str(engine_python()), str(MAIN), "--any-account", "--port", str(port)]
        argv += ["--state", str(home / "engine"), "--parent-pid", str(os.getpid())]
        log = home / "logs" / "engine.log"
        super().__init__(name="engine", argv=argv, env=env, log=log, history=history)
