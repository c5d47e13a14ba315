"""Find and kill every process that carries a marker in its environment.

A process group or a parent id is lost the moment a shell says ``setsid cmd &``; the environment is not.
So every process of a turn is started with a marker, children inherit it, and this file finds them in
``/proc``. It must not kill by name, must not kill the caller or its ancestors, and imports nothing but the
standard library: ``Guard`` runs this very file as a bare script.

A process that clears its environment (``env -i``) or runs under another uid is not found; only a
container or a PID namespace contains those.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

_PROC = Path("/proc")
_KERNEL = 2
"""Pid of the parent of all kernel threads."""
_CHASES = 20
"""Rounds after the newest pids between two passes, about a millisecond."""
# An environment is empty for an instant while a process replaces its program, so it gets another look.
_LOOKS = 3
_NAMED = 5
_MOMENT = 0.002


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What a sweep did: how many processes it ``killed``, and which pids were still alive at its deadline."""

    killed: int
    left: tuple[int, ...] = ()

    @property
    def named(self) -> str:
        """Those that are left, in words: a fork bomb leaves hundreds."""
        first = ", ".join(map(str, self.left[:_NAMED]))
        return (
            f"Processes {first}" if len(self.left) <= _NAMED else f"{len(self.left)} processes ({first}, …)"
        )


@dataclass(frozen=True, kw_only=True)
class Mark:
    """``name=value`` in an environment; with ``spared``, also none of those names."""

    name: str
    value: str
    spared: Collection[str] | None = None

    def is_on(self, environment: bytes) -> bool:
        """Whether an environment, with a NUL before and behind each variable, has it."""
        if b"\0" + os.fsencode(f"{self.name}={self.value}") + b"\0" in environment:
            return True
        if self.spared is None:
            return False
        return not any(b"\0" + os.fsencode(f"{name}=") in environment for name in self.spared)


def marked(*, name: str, value: str) -> list[int]:
    """Pids of living processes whose environment has ``name=value``, without the caller and its ancestors."""
    spared, mark = _self_and_ancestors(), Mark(name=name, value=value)
    return [pid for pid in _pids() if pid not in spared and _look(pid, mark=mark) is _Look.MARKED]


def sweep(*, name: str, value: str, seconds: float = 5.0, spared: Collection[str] | None = None) -> Swept:
    """SIGKILL every process marked ``name=value``, again and again until none is left or ``seconds`` passed.

    With ``spared``, names of variables, all others of this user are killed that carry none of these.
    Blocks (a few milliseconds when there is little to do): call it in a thread from async code.
    """
    mark = Mark(name=name, value=value, spared=spared)
    return _Sweep(mark=mark).run(deadline=time.monotonic() + seconds)


class _Look(Enum):
    """What one look at a process says. A process that ``VANISHED`` may have left a child that nobody saw."""

    MARKED = auto()
    OTHER = auto()
    VANISHED = auto()
    UNCLEAR = auto()


class _Sweep:
    """Passes over ``/proc`` that look only at what no earlier pass has cleared.

    Over means: a pass met nothing marked and nothing that vanished under its eyes. Pids rise, so a chain of
    processes in which each starts the next one and leaves always shows at least one link to every pass.
    """

    def __init__(self, *, mark: Mark) -> None:
        self._mark = mark
        self._cleared = set(_self_and_ancestors())
        self._unclear: Counter[int] = Counter()
        self._killed: set[int] = set()
        self._newest = _newest_pid()

    def run(self, *, deadline: float) -> Swept:
        while True:
            left, quiet = self._pass()
            if quiet:
                return Swept(killed=len(self._killed))
            if time.monotonic() > deadline:
                return Swept(killed=len(self._killed), left=tuple(left))
            self._chase()

    def _chase(self) -> None:
        """Kill what is born right now, by its number: a pass is too slow for what lives a millisecond."""
        for _ in range(_CHASES):
            newest = _newest_pid()
            for pid in range(max(self._newest, newest - _CHASES) + 1, newest + 1):
                if pid not in self._cleared and _kill(pid, mark=self._mark):
                    self._killed.add(pid)
            self._newest = newest

    def _pass(self) -> tuple[list[int], bool]:
        """One pass: the marked pids it met (and signalled), and whether it proves that it is over."""
        looks = {pid: _look(pid, mark=self._mark) for pid in _pids() if pid not in self._cleared}
        left = [pid for pid, look in looks.items() if look is _Look.MARKED]
        self._killed.update(pid for pid in left if _kill(pid, mark=self._mark))
        self._unclear.update(pid for pid, look in looks.items() if look is _Look.UNCLEAR)
        self._cleared.update(pid for pid, look in looks.items() if self._is_settled(pid, look))
        return left, all(look is _Look.OTHER for look in looks.values())

    def _is_settled(self, pid: int, look: _Look) -> bool:
        return look in (_Look.OTHER, _Look.VANISHED) or self._unclear[pid] >= _LOOKS


class Guard:
    """A tiny process beside the worker that sweeps one marker when the worker is gone, however it went.

    A worker killed with SIGKILL cannot sweep, and the parent-death signal reaches only the CLI, not its
    shells. The guard waits for the end of a pipe whose other end only the worker holds, then sweeps and
    leaves. It lives in a session of its own so that killing the worker's group does not take it along.
    """

    def __init__(self, *, name: str, value: str) -> None:
        self._argv = [sys.executable, "-I", "-S", __file__, name, value]
        self._process: subprocess.Popen[bytes] | None = None

    def ensure(self) -> None:
        """Start the guard unless it is running."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        # Its environment names the home it belongs to and nothing else: the worker's secrets stay out of it.
        home = {name: os.environ[name] for name in ("BRANCHLINE_HOME",) if name in os.environ}
        self._process = subprocess.Popen(
            self._argv, stdin=subprocess.PIPE, env=home, cwd="/", start_new_session=True
        )

    def close(self) -> None:
        """Let the guard do its sweep and wait for its end."""
        if self._process is None:
            return
        process, self._process = self._process, None
        if process.stdin is not None:
            process.stdin.close()
        process.wait()


def _pids() -> Iterator[int]:
    with os.scandir(_PROC) as entries:
        for entry in entries:
            if entry.name.isdecimal():
                yield int(entry.name)


def _look(pid: int, *, mark: Mark) -> _Look:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except PermissionError:  # another user's: not ours to judge
        return _Look.OTHER
    except OSError:
        return _Look.VANISHED
    if environment:
        return _Look.MARKED if mark.is_on(b"\0" + environment + b"\0") else _Look.OTHER
    state, parent = _state_and_parent(pid)
    if state in "ZX":
        return _Look.VANISHED
    if mark.spared is not None and _stays_empty(pid):
        return _Look.MARKED
    return _Look.OTHER if parent in (0, _KERNEL) else _Look.UNCLEAR


def _stays_empty(pid: int) -> bool:
    """Whether a process has no environment at all, and not only while it replaces its program."""
    for _ in range(_LOOKS):
        time.sleep(_MOMENT)
        try:
            if Path(f"/proc/{pid}/environ").read_bytes() or _state_and_parent(pid)[0] in "ZX":
                return False
        except OSError:
            return False
    return True


def _kill(pid: int, *, mark: Mark) -> bool:
    """Kill exactly the process that was looked at: a pid may be given to another one in between."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if _look(pid, mark=mark) is not _Look.MARKED:
            return False
        with suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            return True
        return False
    finally:
        os.close(handle)


def _self_and_ancestors() -> Collection[int]:
    chain = set()
    pid = os.getpid()
    while pid > 0 and pid not in chain:
        chain.add(pid)
        pid = _state_and_parent(pid)[1]
    return chain


def _newest_pid() -> int:
    return int((_PROC / "loadavg").read_text().split()[-1])


def _state_and_parent(pid: int) -> tuple[str, int]:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "X", 0
    # The name in parentheses may itself contain spaces and parentheses: count from its end.
    state, parent = stat.rpartition(")")[2].split()[:2]
    return state, int(parent)


def _guard_main(name: str, value: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 4096):
        pass
    sweep(name=name, value=value, seconds=30.0)


if __name__ == "__main__":
    _guard_main(sys.argv[1], sys.argv[2])
