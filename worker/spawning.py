"""How a process of the checkout is started: directly, or through the container's spawner as another user.

``BRANCHLINE_SPAWNER`` names the spawner's socket. Without it, as on a person's machine, everything in here
does what the worker would do by itself. With it, Claude Code, the preview, npm and git in the checkout run
as the agent (``docs/decisions/container.md``): they see neither this process's environment nor its files,
and this process can neither signal them nor read theirs. So what looks at them or at what they own runs as
the agent, too. What comes back from there is read as JSON and believed as little as the checkout.
"""

import base64
import json
import os
import pickle
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from container import as_agent as client
from worker import processes
from worker.processes import Guard, Swept

SOCKET = "BRANCHLINE_SPAWNER"
HAND = "BRANCHLINE_HAND"
"""Environment variable of what the worker itself runs as the agent, so that no sweep takes it for a stray."""
_PREVIEW = "BRANCHLINE_PREVIEW"
_ROOT = Path(__file__).resolve().parents[1]
_PASSED = ("PATH", "LANG", "LANGUAGE", "TZ", "HOME", "TMPDIR")
_CALL = (
    "import base64, json, pickle, sys\n"
    "sys.path.insert(0, sys.argv[1])\n"
    "act, given, named = pickle.loads(base64.b64decode(sys.stdin.buffer.read()))\n"
    "try:\n said = {'value': act(*given, **named)}\n"
    "except OSError as error:\n said = {'errno': error.errno or 5, 'strerror': error.strerror, "
    "'filename': str(error.filename)}\n"
    "print(json.dumps(said))\n"
)
_OPEN_UP = """
for place; do
  [ -e "$place" ] || continue
  find "$place" \\( -name node_modules -o -path "$place/.git/objects" \\) -prune -o \\
    ! -type l -uid "$(id -u)" \\( ! -perm -060 -o -type d ! -perm -070 \\) -exec chmod g+rwX {} +
done
"""
_FRESH_HOME = """
mkdir -p "$1" && find "$1" -mindepth 1 -maxdepth 1 ! \\( -type d \\( -name .cache -o -name .npm \\) \\) \\
  -exec rm -rf {} +
"""
_SECONDS = 120.0


def separated() -> str | None:
    """The spawner's socket, if the agent is another user here."""
    return os.environ.get(SOCKET) or None


def prefix() -> list[str]:
    """Words in front of a program that make it run as the agent."""
    socket = separated()
    if socket is None:
        return []
    return [sys.executable, "-I", "-S", str(Path(client.__file__).resolve()), socket]


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """What a process of the worker's own gets to know as the agent."""
    passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
    return {**passed, **home(), **more, HAND: "1"}


def home() -> dict[str, str]:
    """``HOME`` of what runs as the agent: the worker's own is closed to it. Nothing without a spawner."""
    return {} if separated() is None else {"HOME": tempfile.gettempdir()}


# ------------------------------------------------------------ one process


class Process:
    """A process that runs as the agent, as far as the caller of ``subprocess.Popen`` needs one."""

    def __init__(self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
        """Start it with three pipes; ``env`` is its whole environment. Raises OSError."""
        pipes = [os.pipe() for _ in range(3)]
        theirs = {0: pipes[0][0], 1: pipes[1][1], 2: pipes[2][1]}
        self._input, self._output, self._errors = pipes[0][1], pipes[1][0], pipes[2][0]
        try:
            self._spawned = client.start(separated() or "", argv=argv, env=env, cwd=str(cwd), files=theirs)
        except OSError:
            self._close(self._input, self._output, self._errors)
            raise
        finally:
            self._close(*theirs.values())
        self._argv = argv
        self._open = {self._input, self._output, self._errors}
        self._said: dict[int, bytearray] = {self._output: bytearray(), self._errors: bytearray()}
        self._rest = memoryview(b"")

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._spawned.returncode

    def poll(self) -> int | None:
        """The same, looked at now."""
        return self._spawned.wait(timeout=0)

    def kill(self) -> None:
        """Kill it; what it has started itself goes with it."""
        self._spawned.send_signal(signal.SIGKILL)

    def communicate(self, data: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Write ``data``, read both streams to their ends and wait. Raises subprocess.TimeoutExpired, after
        which it may be called again."""
        until = None if timeout is None else time.monotonic() + timeout
        if data:
            self._rest = memoryview(data)
        if not self._rest:
            self._end(self._input)
        with selectors.DefaultSelector() as ready:
            for file in self._open:
                writing = file == self._input
                ready.register(file, selectors.EVENT_WRITE if writing else selectors.EVENT_READ)
                os.set_blocking(file, False)
            while self._open:
                found = ready.select(self._left(until))
                if not found and self._left(until) == 0:
                    raise subprocess.TimeoutExpired(list(self._argv), timeout or 0)
                for key, _ in found:
                    if self._pass(key.fd):
                        ready.unregister(key.fd)
                        self._end(key.fd)
        if self._spawned.wait(timeout=self._left(until)) is None:
            raise subprocess.TimeoutExpired(list(self._argv), timeout or 0)
        self._spawned.close()
        return bytes(self._said[self._output]), bytes(self._said[self._errors])

    def _pass(self, file: int) -> bool:
        """Pass on a piece; whether it was the last one."""
        if file != self._input:
            data = os.read(file, 1 << 16)
            self._said[file] += data
            return not data
        try:
            self._rest = self._rest[os.write(file, self._rest[: 1 << 16]) :]
        except BrokenPipeError:
            self._rest = memoryview(b"")
        return not self._rest

    def _end(self, file: int) -> None:
        if file in self._open:
            self._open.discard(file)
            os.close(file)

    @staticmethod
    def _left(until: float | None) -> float | None:
        return None if until is None else max(until - time.monotonic(), 0.0)

    @staticmethod
    def _close(*files: int) -> None:
        for file in files:
            os.close(file)


def run(*argv: str, data: bytes | None = None) -> bytes:
    """Run a program as the agent and wait; its output. Raises OSError when it fails."""
    process = Process(argv, cwd=Path("/"), env=environment({}))
    try:
        out, err = process.communicate(data, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise TimeoutError(f"{argv[0]} took longer than {_SECONDS:g} s as the agent") from None
    if process.returncode:
        raise OSError(f"{argv[0]} failed as the agent: {err.decode(errors='replace').strip()[-300:]}")
    return out


def call(act: Callable[..., Any], *given: object, **named: object) -> Any:
    """``act(*given, **named)``, by whoever owns the checkout's files; its value, if that fits JSON.

    ``act`` is a function of a module that needs the standard library only. Raises what ``act`` raises, if
    that is an OSError.
    """
    if separated() is None:
        return act(*given, **named)
    asked = base64.b64encode(pickle.dumps((act, given, named)))
    said = json.loads(run(sys.executable, "-I", "-S", "-c", _CALL, str(_ROOT), data=asked))
    if "errno" in said:
        raise OSError(said["errno"], said["strerror"], said["filename"])
    return said.get("value")


# ------------------------------------------------------------ files with two owners


def open_up(*places: Path) -> None:
    """What the agent has closed to its group below ``places`` is open again; nothing without a spawner.

    Its own packages and git's objects are left out: they are many, and nobody else writes them.
    """
    if separated() is not None:
        run("sh", "-c", _OPEN_UP, "sh", *map(str, places))


def fresh_home(home: Path, *, config_dir: Path) -> None:
    """``worker.launch.fresh_home`` for a home of the agent's. Raises OSError."""
    run("sh", "-c", _FRESH_HOME + _OPEN_UP.replace("for place;", 'shift; for place in "$@";'),
        "sh", str(home), str(config_dir))  # fmt: skip


def lay_out(own: Path, *, shared: Path, checkout: Path) -> None:
    """Make the folders of both users: ``own`` is the worker's alone, ``shared`` for the agent to enter.

    Folders above the checkout and ``shared`` are closed for the agent's writing, so that what the worker
    opens there is what it has made. Raises OSError.
    """
    for folder in (own.parent, shared.parent, *reversed(checkout.parents)):
        if folder.is_relative_to(own.parents[1]) and folder != own.parents[1]:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o2750)
    for name, mode in {"": 0o2750, **dict.fromkeys(("git", "node", "preview", "uploads"), 0o2750),
                       **dict.fromkeys(("claude", "home", "npm", "scratch"), 0o2770)}.items():  # fmt: skip
        (shared / name).mkdir(parents=True, exist_ok=True)
        (shared / name).chmod(mode)
    os.environ.setdefault("npm_config_cache", str(shared / "npm"))


# ------------------------------------------------------------ ends


def sweep(*, name: str, value: str, seconds: float = 5.0) -> Swept:
    """``processes.sweep`` of a turn's processes, whoever they run as. Blocks.

    The agent's are killed whether they are marked or not, but for the preview and what the worker runs:
    in a container nobody else runs as the agent, so one that has cleared its environment is found, too.
    """
    # First those who ask the spawner: afterwards nothing new begins.
    here = processes.sweep(name=name, value=value, seconds=seconds)
    if separated() is None:
        return here
    there = _sweep_as_agent(name=name, value=value, seconds=seconds, spared=(_PREVIEW, HAND))
    return Swept(killed=here.killed + there.killed, left=(*here.left, *there.left))


def sweep_marked(*, name: str, value: str, seconds: float = 5.0) -> int:
    """Kill the agent's processes that are marked, and those alone; how many there were. Blocks."""
    return _sweep_as_agent(name=name, value=value, seconds=seconds, spared=None).killed


def _sweep_as_agent(*, name: str, value: str, seconds: float, spared: tuple[str, ...] | None) -> Swept:
    said = call(_swept, name=name, value=value, seconds=seconds, spared=spared)
    return Swept(killed=int(said[0]), left=tuple(int(pid) for pid in said[1]))


def _swept(*, name: str, value: str, seconds: float, spared: tuple[str, ...] | None) -> list[Any]:
    found = processes.sweep(name=name, value=value, seconds=seconds, spared=spared)
    return [found.killed, found.left]


class _NoGuard(Guard):
    """The spawner kills what a dead worker leaves: nobody has to watch."""

    def ensure(self) -> None:
        """Start nothing."""


def guard(*, name: str, value: str) -> Guard:
    """Who sweeps when this process is killed."""
    return (Guard if separated() is None else _NoGuard)(name=name, value=value)


def of_another_user(entry: Path) -> bool:
    """Whether a process in ``/proc`` is one of those that this one cannot look into."""
    with suppress(OSError):
        return separated() is not None and entry.stat().st_uid != os.geteuid()
    return False


def copy(source: Path, target: Path) -> None:
    """Copy a file of the checkout to where its owner may write."""
    call(shutil.copyfile, source, target) if separated() is None else run("cp", str(source), str(target))
