"""PID 1 of a worker's container: starts the worker under one uid, and what the worker asks for under another.

The worker holds credentials that Claude Code must not see, so the two have uids of their own, and a process
without capabilities can start or signal nobody of another uid. This program can: it holds SETUID, SETGID and
KILL, and nothing else of interest. It must not read, log or keep anything of what it starts, takes requests
from the worker's uid alone, and no request names a uid. Standard library, one file, run as a bare script.

A connection to its socket is one process. One line of JSON asks (``argv``, ``env``, ``cwd``, ``files``: the
numbers under which the process shall have the descriptors that came along); the answers are lines, too:
``{"pid"}``, then ``{"status"}``, or ``{"error"}`` and nothing was started. Lines ``{"signal"}`` go to the
process. When the connection closes, every process of its session is killed, and so it is when it ends.
"""

import argparse
import contextlib
import ctypes
import fcntl
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

MOST_BYTES = 1 << 20
"""Bytes of one request."""
MOST_AT_ONCE = 64
"""Connections at the same time."""
_FILES = range(10)
"""Numbers that descriptors may get in a process."""
_SPARE = 64
"""Number from which on received descriptors wait until they are put in place."""
_CREDENTIALS = struct.Struct("3i")
_SUBREAPER = 36
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_LEAVE_SECONDS = 5.0
_PASSES = 100
_CANNOT_START = 125


class Refused(Exception):
    """A request that is not done; the text is told to who asked."""


@dataclass(frozen=True, kw_only=True)
class Who:
    """Whose rights a process gets. ``umask``: nothing for others, everything for the group."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    umask: int = 0o007

    @classmethod
    def read(cls, text: str) -> "Who":
        """From ``UID:GID[,GROUP...]``."""
        uid, _, rest = text.partition(":")
        gid, *groups = (int(number) for number in rest.split(","))
        return cls(uid=int(uid), gid=gid, groups=tuple(groups))


@dataclass(frozen=True, kw_only=True)
class Request:
    """A process that is asked for."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    files: tuple[int, ...]

    @classmethod
    def read(cls, line: bytes, *, came: int) -> "Request":
        """From its line; ``came``: so many descriptors came along. Raises Refused."""
        try:
            said = json.loads(line)
        except ValueError:
            raise Refused("a request is one line of JSON") from None
        if not isinstance(said, dict) or set(said) != {"argv", "env", "cwd", "files"}:
            raise Refused("a request has argv, env, cwd and files, and nothing else")
        argv, env, cwd, files = said["argv"], said["env"], said["cwd"], said["files"]
        if not (isinstance(argv, list) and argv and all(map(_is_word, argv))):
            raise Refused("argv is a list of words")
        if not (isinstance(env, dict) and all(map(_is_word, (*env, *env.values())))):
            raise Refused("env maps words to words")
        if not _is_word(cwd):
            raise Refused("cwd is a folder")
        if not isinstance(files, list) or not set(files) <= set(_FILES) or len(set(files)) != len(files):
            raise Refused(f"files are different numbers below {_FILES.stop}")
        if not {0, 1, 2} <= set(files) or len(files) != came:
            raise Refused("there is one descriptor for each number of files, 0, 1 and 2 among them")
        return cls(argv=tuple(argv), env=env, cwd=cwd, files=tuple(files))


def _is_word(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


# ------------------------------------------------------------ processes


def start(request: Request, *, who: Who, files: Mapping[int, int]) -> int:
    """Start it in a session of its own; its pid. ``files``: number there to descriptor here.

    Raises Refused when it cannot be started; there is no process then.
    """
    try:
        failing, failed = os.pipe()
    except OSError as error:
        raise Refused(str(error.strerror)) from None
    with os.fdopen(failing, "rb") as pipe:
        try:
            pid = os.fork()
            if not pid:
                _become(request, who=who, files=files, failed=failed)
        except OSError as error:  # a limit is reached, which the agent can do: no reason to end
            raise Refused(str(error.strerror)) from None
        finally:
            os.close(failed)
        problem = pipe.read()
    if problem:
        os.waitpid(pid, 0)
        raise Refused(problem.decode(errors="replace"))
    return pid


def _become(request: Request, *, who: Who, files: Mapping[int, int], failed: int) -> NoReturn:
    """In the child: give everything up, then be the program. What goes wrong is written to ``failed``."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and that would be inherited
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        failed = fcntl.fcntl(failed, fcntl.F_DUPFD_CLOEXEC, _SPARE)
        _place(files, spared=failed)
        os.setgroups(who.groups)
        os.setresgid(who.gid, who.gid, who.gid)
        os.setresuid(who.uid, who.uid, who.uid)
        os.umask(who.umask)
        os.chdir(request.cwd)
        os.execvpe(request.argv[0], request.argv, request.env)  # noqa: S606 - what is asked for
    except OSError as error:
        os.write(failed, f"{error.strerror}: {error.filename or request.argv[0]}".encode(errors="replace"))
    except BaseException as error:  # nothing of the parent may run on in here
        os.write(failed, repr(error).encode(errors="replace"))
    finally:
        os._exit(_CANNOT_START)


def _place(files: Mapping[int, int], *, spared: int) -> None:
    """The descriptors under their numbers, and no other open but ``spared``."""
    waiting = {number: fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, _SPARE) for number, file in files.items()}
    for number, file in waiting.items():
        os.dup2(file, number, inheritable=True)
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names only
        if int(entry) not in (*files, spared):
            with contextlib.suppress(OSError):
                os.close(int(entry))


def _stats() -> Iterator[tuple[int, int, int]]:
    """Pid, parent and session of every living process."""
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        try:
            stat = Path(f"/proc/{entry.name}/stat").read_text(errors="replace")
        except OSError:
            continue
        # The name in parentheses may itself contain spaces and parentheses: count from its end.
        state, parent, _, session = stat.rpartition(")")[2].split()[:4]
        if state not in "ZX":
            yield int(entry.name), int(parent), int(session)


def kill_session(leader: int) -> None:
    """Kill every process of a session. Only while its leader is not reaped: its number is nobody else's."""
    for _ in range(_PASSES):  # what is born during a pass is met by the next one
        living = [pid for pid, _, session in _stats() if session == leader]
        for pid in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not living:
            return


def descendants(root: int) -> set[int]:
    """All processes below ``root``, without it."""
    parents = {pid: parent for pid, parent, _ in _stats()}
    found: set[int] = set()
    new = {root}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return found


# ------------------------------------------------------------ one connection


@dataclass(kw_only=True)
class Link:
    """One connection. Asked until ``leader`` is there, running until ``over``."""

    line: socket.socket
    start: Callable[[Request, Mapping[int, int]], int]
    leader: int | None = None
    over: bool = False
    _heard: bytes = b""
    _files: list[int] = field(default_factory=list)

    def hear(self) -> bool:
        """Take in what has come; False when the other side is gone or not to be spoken with any more."""
        try:
            data, came, flags, _ = self.line.recvmsg(
                1 << 16, socket.CMSG_SPACE(4 * len(_FILES)), socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return True
        except OSError:
            return False
        for level, kind, held in came:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._files += memoryview(held[: len(held) - len(held) % 4]).cast("i")
        if flags & socket.MSG_CTRUNC:
            return self._refuse("too many descriptors")
        self._heard += data
        if len(self._heard) > MOST_BYTES:
            return self._refuse(f"a request has at most {MOST_BYTES} bytes")
        return bool(data) and self._lines()

    def _lines(self) -> bool:
        while b"\n" in self._heard:
            line, _, self._heard = self._heard.partition(b"\n")
            if not (self._signal(line) if self.leader is not None else self._ask(line)):
                return False
        return True

    def _ask(self, line: bytes) -> bool:
        try:
            request = Request.read(line, came=len(self._files))
            files = dict(zip(request.files, self._files, strict=True))
            self.leader = self.start(request, files)
        except Refused as problem:
            return self._refuse(str(problem))
        finally:
            self._drop_files()
        return self.tell(pid=self.leader)

    def _signal(self, line: bytes) -> bool:
        try:
            number = signal.Signals(json.loads(line)["signal"])
        except (ValueError, KeyError, TypeError):
            return self._refuse("a process that runs takes signals and nothing else")
        if self.leader is not None and not self.over:
            os.kill(self.leader, number)
        return True

    def _refuse(self, why: str) -> bool:
        self.tell(error=why)
        return False

    def tell(self, **said: object) -> bool:
        """Say something; whether anybody listens."""
        try:
            self.line.sendall(json.dumps(said).encode() + b"\n")
        except OSError:
            return False
        return True

    def ended(self, status: int) -> None:
        """Its process is no more; ``status`` is negative for a signal."""
        self.over = True
        self.tell(status=status)

    def close(self) -> None:
        """What it started does not outlive it."""
        self._drop_files()
        self.line.close()
        if self.leader is not None and not self.over:
            kill_session(self.leader)

    def _drop_files(self) -> None:
        for file in self._files:
            os.close(file)
        self._files.clear()


# ------------------------------------------------------------ all of it


class Spawner:
    """The loop: connections, signals, and processes that have ended."""

    def __init__(self, *, path: Path, worker: Who, agent: Who) -> None:
        self._worker, self._agent = worker, agent
        self._selector = selectors.DefaultSelector()
        self._links: dict[socket.socket, Link] = {}
        self._worker_pid = 0
        self._status: int | None = None
        self._listening = listen(path, group=worker.gid)
        self._woken, waking = socket.socketpair()
        for end in (self._woken, waking):
            end.setblocking(False)
        self._waking = waking
        signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, *_FORWARDED):
            signal.signal(number, lambda *_: None)
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def run(self, argv: Sequence[str], env: Mapping[str, str]) -> int:
        """Start the worker and serve it until it ends; its status, as a shell would say it."""
        request = Request(argv=tuple(argv), env=env, cwd=str(Path.cwd()), files=(0, 1, 2))
        self._worker_pid = start(request, who=self._worker, files={0: 0, 1: 1, 2: 2})
        while self._status is None:
            for key, _ in self._selector.select():
                self._serve(key.fileobj)
        self._end_all()
        return self._status if self._status >= 0 else 128 - self._status

    def _serve(self, ready: Any) -> None:
        if ready is self._listening:
            self._accept()
        elif ready is self._woken:
            self._on_signals(self._woken.recv(4096))
        elif ready in self._links and not self._links[ready].hear():
            self._drop(ready)

    def _accept(self) -> None:
        try:
            line, _ = self._listening.accept()
        except OSError:  # gone again before it was taken
            return
        link = Link(line=line, start=lambda request, files: start(request, who=self._agent, files=files))
        _, uid, _ = _CREDENTIALS.unpack(
            line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        problem = None
        if uid != self._worker.uid:
            problem = "only the worker may ask"
        elif len(self._links) >= MOST_AT_ONCE:
            problem = f"{MOST_AT_ONCE} processes run already"
        if problem is not None:
            link.tell(error=problem)
            link.close()
            return
        line.setblocking(False)
        self._links[line] = link
        self._selector.register(line, selectors.EVENT_READ)

    def _drop(self, line: socket.socket) -> None:
        self._selector.unregister(line)
        self._links.pop(line).close()

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number in _FORWARDED and self._status is None:
                os.kill(self._worker_pid, number)
        self._reap()

    def _reap(self) -> None:
        """Ask for the status of everybody who ended, also of those whose parents went before them."""
        leaders = {link.leader: link for link in self._links.values() if not link.over}
        while (pid := _ended()) is not None:
            link = leaders.get(pid)
            if link is not None:
                kill_session(pid)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if link is not None:
                link.ended(status)
            if pid == self._worker_pid:
                self._status = status

    def _end_all(self) -> None:
        """Nothing is left when this program leaves, whether it is PID 1 or not."""
        until = time.monotonic() + _LEAVE_SECONDS
        while (left := descendants(os.getpid())) and time.monotonic() < until:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            while _ended() is not None:
                os.waitpid(-1, os.WNOHANG)
            time.sleep(0.005)


def _ended() -> int | None:
    """A child that ended and was not asked for its status yet."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found is not None else None


def listen(path: Path, *, group: int) -> socket.socket:
    """The socket at ``path``, in a folder that only this program and ``group`` may enter."""
    # The owner of a file may give it to a group of his own without a capability.
    os.setgroups([group])
    path.parent.mkdir(parents=True, exist_ok=True)
    os.chown(path.parent, -1, group)
    path.parent.chmod(0o750)
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    os.chown(path, -1, group)
    path.chmod(0o660)
    listening.listen(MOST_AT_ONCE)
    listening.setblocking(False)
    return listening


def sign_of_life(path: Path, *, group: int) -> None:
    """A file that the worker touches; its age is the worker's health."""
    path.touch()
    os.chown(path, -1, group)
    path.chmod(0o660)


def main(arguments: Sequence[str]) -> int:
    """Read the arguments and serve; the worker's status."""
    parser = argparse.ArgumentParser(description="Start a worker, and for it what runs under another uid.")
    parser.add_argument("--socket", type=Path, default=Path("/run/branchline/spawn"))
    parser.add_argument("--worker", type=Who.read, default="1000:1000,3000", metavar="UID:GID,GROUP")
    parser.add_argument("--agent", type=Who.read, default="2000:3000", metavar="UID:GID")
    parser.add_argument("argv", nargs="+", metavar="PROGRAM")
    given = parser.parse_args(arguments)
    if os.getpid() != 1:  # orphans come here all the same
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    alive = given.socket.with_name("alive")
    try:
        spawner = Spawner(path=given.socket, worker=given.worker, agent=given.agent)
        sign_of_life(alive, group=given.worker.gid)
        env = {**os.environ, "BRANCHLINE_SPAWNER": str(given.socket), "BRANCHLINE_ALIVE": str(alive)}
        return spawner.run(given.argv, env)
    except (OSError, Refused) as problem:
        sys.stderr.write(f"The worker cannot be started: {problem}.\n")
        return _CANNOT_START


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
