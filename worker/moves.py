"""Moves the worktree from one branch to another and loses nothing on the way.

Files that git ignores stay where they are. Files that only the old branch ignored would be committed on
the new one, so they are set aside and come back with their branch. A move that was cut off by a kill is
undone, never committed. What is on a branch is decided elsewhere; here everything is committed already.
"""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from worker.errors import DiskFull, WorkspaceError
from worker.git import in_thread
from worker.refs import heads
from worker.tree import Tree

_SWITCH = ("--quiet", "--no-guess", "--ignore-other-worktrees", "--no-recurse-submodules")
_UNFINISHED = "unfinished"  # files of a move that was cut off: copies of committed ones, never brought back


@dataclass(kw_only=True)
class Moves:
    """Switches and fast-forwards of one worktree. The caller sees to it that one call runs at a time."""

    tree: Tree

    async def switch(self, branch: str, *, thread: str, old: str) -> None:
        """Check out ``branch`` of ``thread``; ``old`` is whose files may be left over."""
        await in_thread(lambda: self._announce(branch, thread, old))
        try:
            await self.tree.git.run("switch", "--no-overwrite-ignore", *_SWITCH, branch)
        except DiskFull:
            raise
        except WorkspaceError:  # something untracked or unreadable is in the way
            await self._clear_way(heads(branch), old=old)
            await self.tree.git.run("switch", "--discard-changes", *_SWITCH, branch)
        await self._settle(branch, old=old)

    async def advance(self, branch: str, *, to: str) -> None:
        """Take the checked-out, clean ``branch`` and its files to the commit ``to``."""
        await in_thread(lambda: self.tree.notes.mark(branch))
        reset = await self.tree.git.attempt("reset", "--keep", "--quiet", "--no-recurse-submodules", to)
        if reset.status:
            await self._clear_way(to, old=branch)
            await self.tree.git.run("reset", "--hard", "--quiet", "--no-recurse-submodules", to)
        await self._settle(branch, old=branch)

    async def leave(self, branch: str, *, to: str) -> None:
        """Check out the commit ``to`` instead of ``branch``, which is about to go with all its files."""
        await in_thread(lambda: self.tree.notes.mark(branch))
        await self.tree.discard()
        await self._clear_way(to, old=branch)
        await self.tree.git.run("switch", "--discard-changes", "--detach", *_SWITCH, to)
        await self._settle("HEAD", old=branch)

    async def undo_half_move(self) -> None:
        """After a kill in the middle of a move: make the worktree whole. All work was committed before it."""
        old = await in_thread(lambda: self.tree.notes.marked)
        if old is None:
            return
        await self.tree.discard()
        status = await self.tree.status(folders=True)
        home, _ = self.tree.notes.current()
        arrived = status.branch == home and home != old
        await _on_disk(self._put_aside, status.untracked, old if arrived else _UNFINISHED)
        if home is not None and not arrived:
            await self._clear_way(heads(home), old=_UNFINISHED)
            await self.tree.git.run("switch", "--discard-changes", *_SWITCH, home)
        await self._settle(home or status.branch or "HEAD", old=old)

    def _announce(self, branch: str, thread: str, old: str) -> None:
        self.tree.notes.mark(old)
        self.tree.notes.remember(branch=branch, thread=thread)

    async def _settle(self, branch: str, *, old: str) -> None:
        status = await self.tree.status(folders=True)
        if status.changed:  # what no commit can hold, such as a pipe in a file's place
            await self.tree.discard()
        await _on_disk(self._put_aside, status.untracked, old)
        await _on_disk(self._bring_back, branch)
        self.tree.notes.unmark()

    async def _clear_way(self, target: str, *, old: str) -> None:
        """Set aside what is untracked, ignored or not, where ``target`` has a file or needs a folder."""
        git = self.tree.git
        wanted = (await git.run("ls-tree", "-r", "-z", "--name-only", target)).fields
        files = set(wanted)
        folders = {str(parent) for path in wanted for parent in PurePosixPath(path).parents}
        loose = (await git.run("ls-files", "--others", "-z")).fields
        in_way = [
            path
            for path in loose
            if (bare := path.rstrip("/")) in files
            or (bare in folders and not path.endswith("/"))
            or any(str(parent) in files for parent in PurePosixPath(bare).parents)
        ]
        await _on_disk(self._put_aside, in_way, old)

    def _shelf(self, branch: str) -> Path:
        return self.tree.state_dir / "aside" / quote(branch, safe="")

    def _put_aside(self, paths: "list[str] | tuple[str, ...]", old: str) -> None:
        for path in paths:
            source = self.tree.path / path.rstrip("/")
            if not os.path.lexists(source):
                continue
            place = self._free(self._shelf(old) / path.rstrip("/"))
            shutil.move(source, place)
            _remove_empty(source.parent, up_to=self.tree.path)

    def _free(self, place: Path) -> Path:
        """``place``, after whatever stood in its way was numbered and kept: nothing set aside is lost."""
        older = self.tree.state_dir / "aside-older"
        for step in [place, *place.parents]:
            if step == self.tree.state_dir:
                break
            if os.path.lexists(step) and (step == place or not step.is_dir() or step.is_symlink()):
                older.mkdir(exist_ok=True)
                step.rename(older / f"{len(list(older.iterdir())) + 1}")
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def _bring_back(self, branch: str) -> None:
        shelf = self._shelf(branch)
        if shelf.is_dir():
            _merge(shelf, self.tree.path)
            _remove_empty(shelf, up_to=shelf.parent)


async def _on_disk(act: Callable[..., None], *arguments: object) -> None:
    """Run ``act`` in a thread; what the disk refuses becomes an error of ours."""
    try:
        await in_thread(lambda: act(*arguments))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull("There is no room left where the checkout lives: free some space.") from error
        raise WorkspaceError(f"A file could not be set aside: {error.strerror}.") from error


def _merge(source: Path, target: Path) -> None:
    """Move the entries of ``source`` to where ``target`` has room for them, folder by folder."""
    for entry in list(source.iterdir()):
        place = target / entry.name
        if not os.path.lexists(place):
            shutil.move(entry, place)
        elif entry.is_dir() and place.is_dir() and not entry.is_symlink() and not place.is_symlink():
            _merge(entry, place)
            _remove_empty(entry, up_to=source)


def _remove_empty(folder: Path, *, up_to: Path) -> None:
    """Remove ``folder`` and its parents below ``up_to`` as far as they are empty."""
    while folder != up_to and up_to in folder.parents:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
