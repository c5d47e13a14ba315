"""Runs a program as the agent, through the spawner: ``as_agent.py SOCKET PROGRAM [ARGUMENT...]``.

As a program it stands in for the one it has started: that one gets this one's environment, folder and open
files up to number 9, signals are passed on, and it leaves with the other's status. When it dies, the other
one is killed. As a module it is how the worker talks with the spawner. Standard library only.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence

_FILES = range(10)
_LINE_BYTES = 1 << 16
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


class NotStarted(OSError):
    """The spawner has not started it; the text says why."""


class Spawned:
    """A process that the spawner started. Closing it, or dying, kills the process."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._heard = b""
        self.pid = 0
        self.returncode: int | None = None
        """Exit status, negative for a signal; None while it runs."""

    def read(self, *, timeout: float | None = None) -> bool:
        """Take in the next thing the spawner says; False when ``timeout`` seconds brought none.

        Raises NotStarted.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._heard:
            left = None if until is None else max(until - time.monotonic(), 0.0)
            self._line.settimeout(left)
            try:
                data = self._line.recv(_LINE_BYTES)
            except (TimeoutError, BlockingIOError):
                return False
            if not data:
                raise NotStarted("the spawner has hung up")
            self._heard += data
        said, _, self._heard = self._heard.partition(b"\n")
        self._take(json.loads(said))
        return True

    def _take(self, said: Mapping[str, object]) -> None:
        if "error" in said:
            raise NotStarted(str(said["error"]))
        self.pid = int(str(said.get("pid", self.pid)))
        if "status" in said:
            self.returncode = int(str(said["status"]))

    def wait(self, *, timeout: float | None = None) -> int | None:
        """Its status; None when it still runs after ``timeout`` seconds."""
        if self.returncode is None:
            self.read(timeout=timeout)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal the process; nothing happens when it is gone."""
        with contextlib.suppress(OSError):
            self._line.sendall(json.dumps({"signal": int(number)}).encode() + b"\n")

    def close(self) -> None:
        """Let go; what still runs of it is killed."""
        self._line.close()


def start(
    path: str, *, argv: Sequence[str], env: Mapping[str, str], cwd: str, files: Mapping[int, int]
) -> Spawned:
    """Have the spawner at ``path`` start ``argv`` with these descriptors (number there to number here).

    Raises NotStarted, OSError.
    """
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.connect(path)
        asked = {"argv": list(argv), "env": dict(env), "cwd": cwd, "files": list(files)}
        request = json.dumps(asked).encode() + b"\n"
        # Refused before it was all said: the reason is there to be read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            line.sendall(request[socket.send_fds(line, [request], list(files.values())) :])
        spawned = Spawned(line)
        spawned.read()
        return spawned
    except ConnectionResetError:
        line.close()
        raise NotStarted("the spawner has hung up") from None
    except BaseException:
        line.close()
        raise


def open_files() -> dict[int, int]:
    """The open descriptors of this process that a program would inherit."""
    found = {}
    for number in _FILES:
        with contextlib.suppress(OSError):
            os.fstat(number)
            found[number] = number
    return found


def _leave(status: int) -> int:
    """The same end: by the same signal, if it was one."""
    if status < 0:
        signal.signal(-status, signal.SIG_DFL) if -status not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -status)
    return status


def main(arguments: Sequence[str]) -> int:
    """Run the program; its exit status, 125 when it could not be started."""
    path, *argv = arguments
    # What arrives while it is being started is for it, too.
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    try:
        spawned = start(path, argv=argv, env=os.environ, cwd=os.getcwd(), files=open_files())  # noqa: PTH109
    except OSError as problem:
        sys.stderr.write(f"{argv[0]} cannot be started: {problem}.\n")
        return 125
    for number in _PASSED_ON:
        signal.signal(number, lambda number, _: spawned.send_signal(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    status = spawned.wait()
    return _leave(status if status is not None else 125)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
