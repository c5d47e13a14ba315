"""What is kept of a Claude Code session beside the disk: shapes and keys, in ``contracts.records``' table.

A session is a few files that mostly grow at their ends. Each has a head that says how many slices of which
generation make it up; the slices behind one another are zlib streams behind one another. Slices are written
before the head counts them, so what no head counts does not exist: it is overwritten by the next try, and
expires. A file that did not just grow is a new generation. Everything stands in the thread's own partition.
Shapes only: sends nothing, knows no disk.
"""

import zlib
from collections.abc import Sequence

from contracts.names import digest
from contracts.records import TTL_ATTRIBUTE, Item, _Record, key, thread_pk
from contracts.words import ThreadId, WorkerId

ALL_HEADS = "session#head#"
"""What the sort keys of a thread's heads begin with."""
SLICE = 300 * 1000
"""Bytes of one slice; a DynamoDB item holds 400 KB."""
_LEVEL = 6


class SessionFile(_Record):
    """A head: ``slices`` of ``generation`` are ``size`` bytes of the file ``name``; ``digest``: their SHA-256
    in hex. ``scope`` and ``session`` say whose it is. ``place`` names the disk that wrote last, ``begun`` and
    ``expires`` (Unix seconds) when this generation began and when it goes."""

    scope: str
    session: str
    name: str
    generation: int = 1
    slices: int = 0
    size: int = 0
    digest: str = ""
    place: str = ""
    begun: int
    expires: int

    @property
    def where(self) -> str:
        """What its sort keys have in common."""
        return f"{owner(self.scope, self.session)}#{digest(self.name)}"


def owner(scope: str, session: str) -> str:
    """The part of sort keys that is one session's. Injective: the scope's length stands in front."""
    return digest(f"{len(scope)}#{scope}#{session}")


def heads_prefix(scope: str, session: str) -> str:
    """What the heads of one session begin with."""
    return f"{ALL_HEADS}{owner(scope, session)}#"


def head_key(worker: WorkerId, thread_id: ThreadId, file: SessionFile) -> Item:
    """The head."""
    return key(thread_pk(worker, thread_id), f"{ALL_HEADS}{file.where}")


def slices_prefix(file: SessionFile) -> str:
    """What the slices of the head's generation begin with."""
    return f"session#data#{file.where}#{file.generation:06d}#"


def put_slice(
    *, table: str, worker: WorkerId, thread_id: ThreadId, file: SessionFile, number: int, content: bytes
) -> dict[str, object]:
    """The transaction's part that puts a slice of the generation of ``file``, counted from 0."""
    where = key(thread_pk(worker, thread_id), f"{slices_prefix(file)}{number:06d}")
    item: Item = {**where, "content": {"B": content}, TTL_ATTRIBUTE: {"N": str(file.expires)}}
    return {"Put": {"TableName": table, "Item": item}}


def pack(content: bytes) -> list[bytes]:
    """Bytes as slices, each small enough for an item; none for nothing."""
    packed = zlib.compress(content, _LEVEL) if content else b""
    return [packed[start : start + SLICE] for start in range(0, len(packed), SLICE)]


def unpack(slices: Sequence[bytes], *, size: int) -> bytes:
    """What was packed, in as many rounds as it took. Raises ValueError when it is not ``size`` bytes."""
    content = bytearray()
    stream = None
    for each in slices:  # a stream begins with a slice
        stream = stream or zlib.decompressobj()
        try:
            content += stream.decompress(each, size - len(content) + 1)
        except zlib.error as error:
            raise ValueError("slices are damaged") from error
        if len(content) > size:
            break
        stream = None if stream.eof else stream
    if stream is not None or len(content) != size:
        raise ValueError("slices are missing or too many")
    return bytes(content)
