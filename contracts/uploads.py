"""A file that a person sends with a message: its record, its pieces and their keys.

The record is written after the last piece, so whoever finds it finds all of them. It expires after a day, and
after thirty once a message carries it; storage removes what has expired some time later, so a reader checks.
A worker reads these partitions beside its own, because a file is sent before its thread is known, and removes
one with the last thread whose messages carry it. Its id cannot be guessed. Shapes and keys only; what a
message says of a file is ``contracts.messages.Upload``.
"""

import re
from collections.abc import Iterator

from contracts.messages import Upload
from contracts.records import Item, _Record, key
from contracts.words import ThreadId, WorkerId

SIZE_LIMIT = 4 * 1024 * 1024
"""Bytes of one file; in base64 it fits into a Lambda's request and answer of 6 MB."""
PIECE = 350 * 1000
"""Bytes of one piece; a DynamoDB item holds 400 KB."""
UNUSED_SECONDS = 24 * 3600
USED_SECONDS = 30 * 24 * 3600
_ID = re.compile(r"[0-9a-f]{32}")


class UploadRecord(_Record):
    """One file. ``owner`` is the user who sent it and alone may attach it; ``projects`` are those of the
    threads whose messages carry it, ``threads`` those threads, as ``thread_name`` writes them. ``expires``:
    Unix time in seconds. ``digest``: SHA-256 in hex."""

    upload_id: str
    name: str
    type: str
    size: int
    digest: str
    pieces: int
    owner: str
    projects: frozenset[str] | None = None
    threads: frozenset[str] | None = None
    expires: int

    def upload(self) -> Upload:
        """What a message says of it."""
        return Upload(upload_id=self.upload_id, name=self.name, type=self.type, size=self.size)


def is_upload_id(text: str) -> bool:
    """Whether this can be the id of an upload: 128 bits in hex, made by the dispatcher."""
    return _ID.fullmatch(text) is not None


def thread_name(worker: WorkerId, thread_id: ThreadId) -> str:
    """A thread as ``UploadRecord.threads`` has it."""
    return f"{worker}#{thread_id}"


def upload_pk(upload_id: str) -> str:
    """Partition of one file."""
    return f"upload#{upload_id}"


def upload_key(upload_id: str) -> Item:
    """The record."""
    return key(upload_pk(upload_id), "upload")


def piece_key(upload_id: str, number: int) -> Item:
    """One piece; its ``content`` is binary."""
    return key(upload_pk(upload_id), f"piece#{number:03d}")


def pieces(content: bytes) -> Iterator[bytes]:
    """A file in pieces, in order."""
    for start in range(0, len(content), PIECE):
        yield content[start : start + PIECE]
