"""Files that people sent, on this disk: outside of the repository, one folder for each.

Claude Code runs as the same user and may have put anything in the way, so no link is ever followed: each
folder is opened inside its parent, and what is no folder there is removed. What a turn changed in a file is
found by its digest. Knows neither records nor messages.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from contracts import names
from contracts.words import ThreadId

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DRAFT = ".draft"


class Shelf:
    """The files of one worker's threads, below ``root``. Every method blocks and may raise ``OSError``."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def folder(self, thread_id: ThreadId) -> Path:
        """Where a thread's files are."""
        return self._root / names.thread_folder(thread_id)

    def place(self, thread_id: ThreadId, upload_id: str, name: str) -> Path:
        """Where one of them is, or would be."""
        return self.folder(thread_id) / upload_id / names.file_name(name)

    def holds(self, thread_id: ThreadId, upload_id: str, name: str, *, digest: str) -> bool:
        """Whether the file is there as it was sent. ``digest``: SHA-256 in hex."""
        with self._inside(thread_id, upload_id) as folder:
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe must not be waited for
                file = os.open(names.file_name(name), flags, dir_fd=folder)
            except OSError:
                return False
            try:
                plain = stat.S_ISREG(os.fstat(file).st_mode)
                return plain and _digest(file) == digest
            finally:
                os.close(file)

    def lay(self, thread_id: ThreadId, upload_id: str, name: str, *, content: bytes) -> None:
        """Put the file there, whole or not at all, in the place of whatever is."""
        with self._inside(thread_id, upload_id) as folder:
            for entry in os.listdir(folder):  # noqa: PTH208 - a descriptor, not a path
                _remove(entry, inside=folder)
            file = os.open(_DRAFT, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o444, dir_fd=folder)
            with os.fdopen(file, "wb") as opened:
                opened.write(content)
            os.replace(_DRAFT, names.file_name(name), src_dir_fd=folder, dst_dir_fd=folder)

    def forget(self, thread_id: ThreadId) -> None:
        """Remove all files of a thread."""
        with suppress(FileNotFoundError), _opened(self._root) as root:
            _remove(names.thread_folder(thread_id), inside=root)

    def forget_others(self, *, but: Collection[ThreadId]) -> None:
        """Remove all files of every thread but these."""
        stay = {names.thread_folder(thread_id) for thread_id in but}
        with suppress(FileNotFoundError), _opened(self._root) as root:
            for entry in os.listdir(root):  # noqa: PTH208 - a descriptor, not a path
                if entry not in stay:
                    _remove(entry, inside=root)

    @contextmanager
    def _inside(self, thread_id: ThreadId, upload_id: str) -> Iterator[int]:
        """The folder of one file, made if need be."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (
            _opened(self._root) as root,
            _entered(names.thread_folder(thread_id), inside=root) as thread,
            _entered(upload_id, inside=thread) as upload,
        ):
            yield upload


@contextmanager
def _opened(path: Path | str, *, inside: int | None = None) -> Iterator[int]:
    folder = os.open(path, _FOLDER, dir_fd=inside)
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def _entered(name: str, *, inside: int) -> Iterator[int]:
    """A folder in a folder; what else stands there is removed, a link without what it names."""
    if not _is_folder(name, inside=inside):
        _remove(name, inside=inside)
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=inside)
    with _opened(name, inside=inside) as folder:
        yield folder


def _is_folder(name: str, *, inside: int) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=inside, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _remove(name: str, *, inside: int) -> None:
    if _is_folder(name, inside=inside):
        shutil.rmtree(name, dir_fd=inside)
    else:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=inside)


def _digest(file: int) -> str:
    sha = hashlib.sha256()
    while piece := os.read(file, 1 << 20):
        sha.update(piece)
    return sha.hexdigest()
