"""Files below a folder that somebody else may write to: found from folder to folder, never through a link.

Claude Code can put a link wherever it can write, and the worker has files that Claude Code must not reach. So
what the worker does to ``.git`` begins at an open folder, goes down one name at a time and stops at whatever
is no plain folder or file. Standard library only, and nothing of git's.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe there must not hold us up
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_DRAFT = ".branchline"


def is_plain(folder: Path, name: str = "") -> bool:
    """Whether ``name`` below ``folder`` (or ``folder``) is a folder, and none on the way to it is a link."""
    with suppress(OSError), _folder(folder, name):
        return True
    return False


def has_links(folder: Path, name: str) -> bool:
    """Whether a link stands directly in a folder. Raises OSError when there is none."""
    with _folder(folder, name) as inside, os.scandir(inside) as entries:
        return any(entry.is_symlink() for entry in entries)


def read(folder: Path, name: str, *, most: int = -1) -> bytes | None:
    """The content of a plain file, or its first ``most`` bytes; None for anything else.

    Raises OSError when it may not be read.
    """
    above, _, last = name.rpartition("/")
    try:
        with _folder(folder, above) as inside:
            file = os.open(last, _READ, dir_fd=inside)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return None
        raise
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        return None
    with open(file, "rb") as opened:  # noqa: PTH123 - a descriptor
        return opened.read(most)


def write(folder: Path, name: str, content: bytes) -> None:
    """Put a file in the place of whatever stands there, and folders above it where there are none.

    Raises OSError.
    """
    above, _, last = name.rpartition("/")
    _make(folder, above)
    with _folder(folder, above) as inside:
        draft = last + _DRAFT
        _remove(draft, inside=inside)
        with open(os.open(draft, _WRITE, 0o666, dir_fd=inside), "wb") as file:  # noqa: PTH123
            file.write(content)
        if _is_folder(last, inside=inside):
            shutil.rmtree(last, dir_fd=inside)
        os.replace(draft, last, src_dir_fd=inside, dst_dir_fd=inside)


def remove(folder: Path, name: str) -> None:
    """Remove a file, a link or a folder with all that is in it, if it is there. Raises OSError."""
    above, _, last = name.rpartition("/")
    try:
        with _folder(folder, above) as inside:
            _remove(last, inside=inside)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
        if above:  # a link on the way: it leads to nothing of ours
            _remove_link(folder, above)


def walk(folder: Path) -> Iterator[tuple[int, list[str]]]:
    """Each folder from ``folder`` down, open as long as its turn lasts, and the names of its files."""
    if is_plain(folder):
        for _, _, names, inside in os.fwalk(folder):
            yield inside, names


@contextmanager
def _folder(folder: Path, name: str) -> Iterator[int]:
    """The folder ``name`` below ``folder``, open. Raises OSError."""
    with ExitStack() as opened:
        inside = os.open(folder, _FOLDER)
        opened.callback(os.close, inside)
        for part in filter(None, name.split("/")):
            if part == "..":
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
            inside = os.open(part, _FOLDER, dir_fd=inside)
            opened.callback(os.close, inside)
        yield inside


def _make(folder: Path, name: str) -> None:
    above, _, last = name.rpartition("/")
    if not last or is_plain(folder, name):
        return
    _make(folder, above)
    with _folder(folder, above) as inside:
        _remove(last, inside=inside)
        os.mkdir(last, dir_fd=inside)


def _remove_link(folder: Path, name: str) -> None:
    parts = name.split("/")
    for count in range(1, len(parts) + 1):
        if not is_plain(folder, "/".join(parts[:count])):
            with _folder(folder, "/".join(parts[: count - 1])) as inside:
                _remove(parts[count - 1], inside=inside)
            return


def _is_folder(name: str, *, inside: int) -> bool:
    with suppress(FileNotFoundError):
        return stat.S_ISDIR(os.stat(name, dir_fd=inside, follow_symlinks=False).st_mode)
    return False


def _remove(name: str, *, inside: int) -> None:
    if _is_folder(name, inside=inside):
        shutil.rmtree(name, dir_fd=inside)
    else:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=inside)
