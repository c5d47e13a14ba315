"""An append-only file of records that survives `kill -9`, and its compaction.

One file at a time holds everything: `journal-00000007.jsonl` begins with a complete picture of the state
and goes on with every change since. Compaction writes number 8 beside it and renames it into place; the
rename is the only moment that counts, so a crash before it leaves 7, a crash after it leaves 8. This file
knows nothing about tables or queues; a record is any JSON object that is safe to apply twice.
"""

import contextlib
import fcntl
import json
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Record = dict[str, Any]
HEADER: Record = {"format": "branchline-engine", "version": 1}


class JournalError(Exception):
    """The state directory cannot be used. The message says why and what to do."""


def encode(record: Record) -> bytes:
    """One line: a CRC of the JSON, a space, the JSON, a newline."""
    body = json.dumps(record, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def decode(line: bytes) -> Record | None:
    """The record of a line, or None when the line is torn or damaged."""
    body = line[9:-1]
    if line[-1:] != b"\n" or line[:9] != b"%08x " % zlib.crc32(body):
        return None
    record: Record = json.loads(body)
    return record


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class Journal:
    """The journal of one state directory, held by one process at a time.

    `size` is the length in bytes of what is acknowledged. `compacted_size` is the length of the picture the
    current file began with.
    """

    def __init__(self, *, directory: Path, fsync: bool) -> None:
        self._directory = directory
        self._fsync = fsync
        self._fd = -1
        self._generation = 0
        self._next_fd = -1
        self.size = 0
        self.compacted_size = 0
        directory.mkdir(parents=True, exist_ok=True)
        self._lock_fd = self._take_lock(patience=2.0)

    def _take_lock(self, *, patience: float) -> int:
        fd = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise JournalError(
                        f"Another engine uses {self._directory}: stop it, or choose another directory."
                    ) from None
                time.sleep(0.02)
            else:
                return fd

    def _path(self, generation: int) -> Path:
        return self._directory / f"journal-{generation:08d}.jsonl"

    @property
    def _next_path(self) -> Path:
        return self._directory / "journal.tmp"

    def open(self, apply: Callable[[Record], None]) -> int:
        """Replay the newest file through `apply`, cut off a torn end, be ready to append.

        Returns the number of records applied. Raises JournalError for damage before the end.
        """
        self._next_path.unlink(missing_ok=True)
        found = sorted(self._directory.glob("journal-*.jsonl"))
        for outdated in found[:-1]:
            outdated.unlink()
        if not found:
            self._begin_empty()
            return 0
        path = found[-1]
        self._generation = int(path.stem.removeprefix("journal-"))
        count = self._replay(path, apply)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.ftruncate(self._fd, self.size)
        return count

    def _begin_empty(self) -> None:
        self.begin_compaction()
        self.finish_compaction()
        if self._fd < 0:
            raise JournalError(
                f"Cannot write to {self._directory}: make room on that disk, then start again."
            )

    def _replay(self, path: Path, apply: Callable[[Record], None]) -> int:
        count = 0
        with path.open("rb") as file:
            for line in file:
                record = decode(line)
                if record is None:
                    self._expect_end(path=path, torn=line, rest=file)
                    break
                if self.size == 0:
                    self._expect_header(path=path, record=record)
                else:
                    apply(record)
                    count += 1
                self.size += len(line)
        if self.size == 0:
            raise JournalError(f"{path} has no readable beginning: move it away to start with empty tables.")
        return count

    def _expect_header(self, *, path: Path, record: Record) -> None:
        if record != HEADER:
            raise JournalError(f"{path} was written by another version of the engine: use that version.")

    def _expect_end(self, *, path: Path, torn: bytes, rest: Iterator[bytes]) -> None:
        if next(rest, None) is not None:
            raise JournalError(
                f"{path} is damaged at byte {self.size}: restore a copy, or move it away to start empty."
            )
        print(f"engine: dropped a torn last line of {len(torn)} bytes from {path.name}", file=sys.stderr)

    def append(self, record: Record) -> None:
        """Write one record; when this returns, a kill of the process cannot lose it.

        Raises OSError (disk full) with the file as it was before.
        """
        data = encode(record)
        try:
            _write_all(self._fd, data)
            if self._fsync:
                os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self.size)
            raise
        self.size += len(data)
        if self._next_fd >= 0:
            self.write_next(data)

    def begin_compaction(self) -> None:
        """Start the next file. Until `finish_compaction`, appends go to both."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        try:
            self._next_fd = os.open(self._next_path, flags, 0o600)
        except OSError as error:
            self.abandon_compaction(reason=str(error))
        self.write_next(encode(HEADER))

    def write_next(self, data: bytes) -> None:
        """Add encoded records to the next file; gives the compaction up when the disk refuses."""
        if not self.compacting:
            return
        try:
            _write_all(self._next_fd, data)
        except OSError as error:
            self.abandon_compaction(reason=str(error))

    def sync_next(self) -> None:
        """Bring the next file to the disk; may run in a thread. `finish_compaction` meets any error again."""
        with contextlib.suppress(OSError):
            os.fsync(self._next_fd)

    @property
    def compacting(self) -> bool:
        """Whether a next file is being written."""
        return self._next_fd >= 0

    def abandon_compaction(self, *, reason: str) -> None:
        """Forget the next file; the current one still holds everything."""
        print(f"engine: compaction given up: {reason}", file=sys.stderr)
        if self.compacting:
            os.close(self._next_fd)
        self._next_fd = -1
        self._next_path.unlink(missing_ok=True)
        self.compacted_size = self.size

    def finish_compaction(self) -> None:
        """Put the next file in place of the current one. Does nothing when it was given up."""
        if not self.compacting:
            return
        try:
            os.fsync(self._next_fd)
            self._next_path.replace(self._path(self._generation + 1))
        except OSError as error:
            self.abandon_compaction(reason=str(error))
            return
        outdated, self._fd, self._next_fd = self._fd, self._next_fd, -1
        self._generation += 1
        self.size = self.compacted_size = os.fstat(self._fd).st_size
        self._sync_directory()
        if outdated >= 0:
            os.close(outdated)
            self._path(self._generation - 1).unlink(missing_ok=True)

    def _sync_directory(self) -> None:
        fd = os.open(self._directory, os.O_RDONLY)
        with contextlib.suppress(OSError):
            os.fsync(fd)
        os.close(fd)

    def close(self) -> None:
        """Give the directory back. Safe to call twice."""
        for fd in {self._fd, self._next_fd, self._lock_fd} - {-1}:
            os.close(fd)
        self._fd = self._next_fd = self._lock_fd = -1
