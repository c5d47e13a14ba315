"""One started process: in a session of its own, marked, logged, and dead when its parent is.

Starts and signals; decides nothing about when to start again (``fleet.kept``).
"""

import asyncio
import json
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx

from fleet.home import Home
from fleet.problem import FAILED, Problem
from fleet.processes import HOME_MARK, PART_MARK

_POLL_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Part:
    """What to start. ``env`` is the whole environment but for the marks.

    ``grace`` (to leave) and ``patience`` (to become ready) are seconds. ``ready`` waits until the
    part can be used and returns its address, if it has one.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    ready: "Callable[[Child], Awaitable[str | None]] | None" = None
    grace: float = 10.0
    patience: float = 60.0


class Child:
    """A living or dead process of a part."""

    def __init__(self, *, part: Part, process: asyncio.subprocess.Process, log: Path, offset: int) -> None:
        self.part = part
        self.log = log
        self.started = time.monotonic()
        self._process = process
        self._offset = offset

    @classmethod
    async def spawn(cls, part: Part, *, home: Home) -> Self:
        """Start the part. Raises Problem when its program cannot be run."""
        log = home.log_file(part.name)
        env = {**part.env, HOME_MARK: str(home.path), PART_MARK: part.name}
        with log.open("ab") as file:
            offset = file.tell()
            try:
                process = await asyncio.create_subprocess_exec(
                    *tied(part.argv),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=file,
                    stderr=asyncio.subprocess.STDOUT,
                    env=env,
                    cwd=part.cwd,
                    start_new_session=True,
                )
            except OSError as error:
                raise Problem(
                    f"the {part.name} cannot be started: {error}. Run ./scripts/up again."
                ) from None
        return cls(part=part, process=process, log=log, offset=offset)

    @property
    def pid(self) -> int:
        """Process id, also that of the process's session."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Exit code; negative for a signal."""
        return await self._process.wait()

    def send(self, number: signal.Signals) -> None:
        """Signal the process; nothing happens when it is gone."""
        if self.alive:
            try:
                self._process.send_signal(number)
            except ProcessLookupError:
                return

    def output(self) -> str:
        """What this process has written so far."""
        with self.log.open("rb") as file:
            file.seek(self._offset)
            return file.read().decode(errors="replace")

    async def become_ready(self) -> str | None:
        """Wait until the part is ready; its address. Raises Problem when it ends or takes too long."""
        if self.part.ready is None:
            return None
        try:
            async with asyncio.timeout(self.part.patience):
                return await self.part.ready(self)
        except TimeoutError:
            raise Problem(
                f"the {self.part.name} was not ready after {self.part.patience:.0f} s; see {self.log}."
            ) from None

    def fail_if_dead(self) -> None:
        """Raises Problem with the log's last line when the process has ended."""
        if self.alive:
            return
        lines = [line.strip() for line in self.output().splitlines() if line.strip()]
        last = f' Its last words: "{lines[-1][:300]}".' if lines else ""
        raise Problem(
            f"the {self.part.name} ended at its start ({how_it_ended(self._process.returncode)}); "
            f"see {self.log}.{last}",
            code=FAILED,
        )


async def ready_line(child: Child) -> str | None:
    """Wait for ``{"event": "ready", "url": ...}`` on the process's output; the url."""
    while True:
        for line in child.output().splitlines():
            url = _ready_url(line)
            if url is not None:
                return url
        child.fail_if_dead()
        await asyncio.sleep(_POLL_SECONDS)


def answers(url: str) -> Callable[[Child], Awaitable[str | None]]:
    """Wait until ``GET url`` is answered with 200."""

    async def ready(child: Child) -> str | None:
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            while True:
                child.fail_if_dead()
                try:
                    if (await client.get(url)).status_code == httpx.codes.OK:
                        return url
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(_POLL_SECONDS)

    return ready


def tied(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The same program, ended by the kernel when its parent dies (Linux with util-linux)."""
    setpriv = shutil.which("setpriv")
    if setpriv is None or os.uname().sysname != "Linux":
        return argv
    return (setpriv, "--pdeathsig", "TERM", "--", *argv)


def how_it_ended(code: int | None) -> str:
    """Words for an exit code."""
    if code is None:
        return "still running"
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _ready_url(line: str) -> str | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None
    if isinstance(said, dict) and said.get("event") == "ready":
        return str(said.get("url", ""))
    return None
