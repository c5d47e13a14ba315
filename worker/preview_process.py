"""The processes of the preview: started in a group of their own, found again by a mark, killed for good.

A process carries ``BRANCHLINE_PREVIEW=<marker>`` in its environment, and so do all that it starts, whatever
group they move to. Nothing in here decides when something is started or killed.
"""

import asyncio
import codecs
import logging
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path

from worker import spawning
from worker.redact import Redactor

MARK = "BRANCHLINE_PREVIEW"
_LOG_BYTES = 1_000_000
_REQUEST = re.compile(r"\[\d{3}\] ")
_PASSED_ON = frozenset(
    (
        *("HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL", "BRANCHLINE_HOME"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
        *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
        *("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("NPM_CONFIG_REGISTRY", "NPM_CONFIG_USERCONFIG", "NPM_CONFIG_CACHE"),
        *("npm_config_registry", "npm_config_userconfig", "npm_config_cache"),
        *("NPM_CONFIG_OFFLINE", "npm_config_offline"),
    )
)


def environment(
    *, own: Mapping[str, str], marker: str, bin_dir: Path | None, port: int, host: str
) -> dict[str, str]:
    """What a process of the preview may know of ``own``, this process's environment, and what it is told.

    A list of what is passed on, not of what is left out: a project's code must not see the worker's secrets,
    and Astro puts itself in the background when it believes that a coding agent started it.
    """
    passed = {name: value for name, value in own.items() if name in _PASSED_ON or name.startswith("LC_")}
    path = own.get("PATH", os.defpath)
    return {
        **passed,
        **spawning.home(),
        "PATH": f"{bin_dir}{os.pathsep}{path}" if bin_dir else path,
        "PORT": str(port),
        "HOST": host,
        "NO_COLOR": "1",
        "ASTRO_TELEMETRY_DISABLED": "1",
        "ASTRO_DISABLE_UPDATE_CHECK": "true",
        "npm_config_update_notifier": "false",
        MARK: marker,
    }


class _Pieces(RotatingFileHandler):
    """Writes pieces of text as they are."""

    terminator = ""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A full disk must not take the preview down, nor be reported by printing to the terminal."""


class Output:
    """What the processes print, redacted, in a file that starts over at 1 MB and keeps one predecessor."""

    def __init__(self, *, path: Path, redactor: Redactor) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _Pieces(path, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8", delay=True)
        self._redactor = redactor
        self._begin()

    @property
    def complaint(self) -> str:
        """The line of the running or last process that best says what is wrong, at most 300 characters."""
        lines = [line.strip() for line in self._tail.splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower() and "complete log" not in line]
        others = [line for line in lines if not _REQUEST.search(line)]
        return next(reversed(errors or others), "it said nothing")[:300]

    def begin(self) -> None:
        """Another process starts to print."""
        self.end()
        self._begin()

    def feed(self, data: bytes) -> None:
        """A piece of output, cut anywhere."""
        self._write(self._stream.feed(self._decoder.decode(data)))

    def end(self) -> None:
        """The process will print no more."""
        self._write(self._stream.feed(self._decoder.decode(b"", final=True)) + self._stream.flush())

    def close(self) -> None:
        """Close the file; it is opened again when something is printed."""
        self.end()
        self._file.close()

    def _begin(self) -> None:
        self._stream = self._redactor.stream()
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._tail = ""

    def _write(self, text: str) -> None:
        if text:
            self._tail = (self._tail + text)[-4000:]
            self._file.emit(logging.makeLogRecord({"msg": text}))


class Group:
    """One started process and everything it starts."""

    def __init__(
        self, *, process: asyncio.subprocess.Process, marker: str, reading: asyncio.Task[None]
    ) -> None:
        self._process = process
        self._marker = marker
        self._reading = reading
        self.ended = asyncio.create_task(process.wait())
        """Done when the first process has ended; its result is the exit status."""

    @classmethod
    async def start(
        cls, *, argv: Sequence[str], cwd: Path, env: Mapping[str, str], output: Output
    ) -> "Group":
        """Start ``argv``; ``env`` carries the mark. Raises ``OSError`` when it cannot be started."""
        # A pipe of our own: asyncio's would keep wait() from returning while a grandchild holds it.
        readable, writable = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *_dying_with_us([*spawning.prefix(), *argv]),
                cwd=cwd,
                env=dict(env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writable,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except BaseException:
            os.close(readable)
            raise
        finally:
            os.close(writable)
        output.begin()
        reading = asyncio.create_task(_read(readable, write=output.feed))
        return cls(process=process, marker=env[MARK], reading=reading)

    @property
    def exit_status(self) -> int | None:
        """None while the process runs."""
        return self._process.returncode

    def pids(self) -> list[int]:
        """Every living process of this preview."""
        return sorted({self._process.pid, *marked(self._marker)})

    async def kill(self) -> None:
        """When it returns, neither the group nor anything with its mark is alive. Safe to call twice."""
        self.kill_now()
        await self.ended
        # Every writer is dead, so the end of the output is near.
        await asyncio.wait({self._reading}, timeout=1.0)
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    def kill_now(self) -> None:
        """The same without waiting for the exit status."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        sweep(self._marker)


def marked(marker: str) -> Iterator[int]:
    """Processes with the mark, except this one; none where there is no ``/proc``."""
    entry = f"{MARK}={marker}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if entry in (folder / "environ").read_bytes().split(b"\0") and int(folder.name) != os.getpid():
                yield int(folder.name)


def sweep(marker: str) -> int:
    """Kill everything with the mark, until nothing is left that could start more; how many there were."""
    if spawning.separated():
        return spawning.sweep_marked(name=MARK, value=marker)
    killed: set[int] = set()
    for _ in range(100):
        living = set(marked(marker))
        for pid in living:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not living:
            break
        killed |= living
    return len(killed)


def _dying_with_us(argv: Sequence[str]) -> list[str]:
    setpriv = shutil.which("setpriv")
    return [*((setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()), *argv]


async def _read(descriptor: int, *, write: Callable[[bytes], None]) -> None:
    reader = asyncio.StreamReader(limit=2**16)
    with os.fdopen(descriptor, "rb", buffering=0) as pipe:
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
        try:
            while data := await reader.read(2**16):
                write(data)
        finally:
            transport.close()
