"""Who may touch this disk: one lock per worker id, beside the lease that is judged by the records.

Two processes that share a disk share this lock. A holder that is dead has released it, so its successor need
not wait for the lease to run out. A holder that is frozen is killed by its successor, which by then owns the
lease. No decision here about who is the owner.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

from worker.errors import WorkspaceError
from worker.log import get_logger

log = get_logger()


class Disk:
    """The lock of one worker id on the folder of its own files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def place(self) -> str:
        """An id of this disk: the same for every process that sees this folder."""
        path = self._folder / "place"
        with contextlib.suppress(FileExistsError):
            fresh = self._folder / f"place.{os.getpid()}"
            fresh.write_text(uuid.uuid4().hex)
            try:
                os.link(fresh, path)  # atomic: whoever is first names the place
            finally:
                fresh.unlink()
        return path.read_text()

    def try_lock(self) -> bool:
        """Take the lock if nobody holds it."""
        file = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        os.truncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        self._file = file
        return True

    async def lock(self, *, grace: float, prove: Callable[[], Awaitable[None]]) -> None:
        """Take the lock as the new owner: wait ``grace`` seconds for the holder to leave, then kill it.

        ``prove`` is awaited before anybody is killed; it raises when this process is the owner no more.
        Raises WorkspaceError when the lock cannot be had.
        """
        if self._file is not None or await self._within(grace):
            return
        await prove()
        pid = self._holder()
        if pid is not None:
            log.warning("predecessor_killed", pid=pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not await self._within(5.0):
            raise WorkspaceError(
                f"The lock {self._folder / 'lock'} is held by a process that cannot be stopped from here."
            )

    async def _within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not self.try_lock():
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(0.02)
        return True

    def _holder(self) -> int | None:
        """The pid in the lock file, if that process runs a worker."""
        try:
            pid = int((self._folder / "lock").read_text())
            argv = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if pid != os.getpid() and b"worker" in argv else None
