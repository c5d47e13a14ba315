"""The checkout's folder: there, whole, and with the worker's own configuration in ``.git``.

A folder that is no usable repository is kept aside under a number, never deleted. ``.git/config`` belongs
to the worker: Claude Code can write it, and a filter or monitor in it would run with the worker's rights,
so it is put back before git runs here. Links that it leaves there are not followed (``worker.below``).
Decides nothing about branches or commits.
"""

import os
import re
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from worker import below, gitdir, spawning
from worker.errors import WorkspaceError
from worker.git import Git, in_thread
from worker.packing import remove_half_written
from worker.remote import Remote, remove_half_clones

EXCLUDED = (".astro/", "node_modules/")
_CARRIED = re.compile(
    r"core\.(filemode|ignorecase|precomposeunicode|symlinks|repositoryformatversion)|extensions\.objectformat"
)
_INDEX = re.compile(r"index file|bad signature|bad index|index uses|cache entry")


@dataclass(kw_only=True)
class Folder:
    """The folder at ``path`` with its ``.git``. ``git`` runs in it."""

    path: Path
    git: Git
    remote: Remote
    _config: str | None = field(default=None, init=False)
    _settled: dict[str, bytes | None] = field(default_factory=dict, init=False)

    @property
    def _dir(self) -> Path:
        return self.path / ".git"

    async def prepare(self) -> bool:
        """Make the folder usable; whether it was cloned anew. The caller is its sole owner.

        Raises ``RemoteUnavailable`` when a clone is needed and cannot be had.
        """
        await in_thread(lambda: remove_half_clones(self.path))
        await in_thread(lambda: spawning.open_up(self.path))
        if await in_thread(self._sweep) and await self.usable():
            await self._configure()
            return False
        fresh = self.path.parent / f".{self.path.name}.clone-{secrets.token_hex(4)}"
        await self.remote.clone(fresh, bare_tree=self.git.agent)
        await in_thread(lambda: self._put_in_place(fresh))
        await self._configure()
        if self.git.agent:  # the files are to be the agent's, who may then change their modes
            await self.git.attempt("reset", "--hard", "--quiet", "--no-recurse-submodules")
        return True

    def guard(self) -> None:
        """Put back what belongs to the worker in ``.git``, if anything else stands in its place.

        Raises ``WorkspaceError`` when what stands there is no ``.git`` to work in, OSError.
        """
        if self._config is None:
            return
        spawning.open_up(self.path)
        if not gitdir.is_whole(self._dir):
            raise WorkspaceError("The checkout has no .git folder of its own.")
        gitdir.clean(self._dir, as_it_was=self._settled)
        if below.read(self._dir, "config") != self._config.encode():
            below.write(self._dir, "config", self._config.encode())

    def _sweep(self) -> bool:
        """Remove what died with its process: locks and half-written objects. Whether there is a ``.git``."""
        if not gitdir.is_whole(self._dir):
            return False
        gitdir.remove_locks(self._dir)
        remove_half_written(self._dir / "objects", older=0)
        below.remove(self._dir, "commondir")
        return True

    async def usable(self) -> bool:
        """Whether git can work here. A damaged index is no loss: it is made again from HEAD."""
        if not await in_thread(lambda: gitdir.is_whole(self._dir)):
            return False
        inside = await self.git.attempt("rev-parse", "--is-inside-work-tree")
        if inside.status or inside.text != "true":
            return False
        seen = await self.git.attempt("status", "--porcelain", "-z", "--untracked-files=no")
        if seen.status and _INDEX.search(seen.err):
            await in_thread(lambda: below.remove(self._dir, "index"))
            await self.git.attempt("read-tree", "HEAD")
            seen = await self.git.attempt("status", "--porcelain", "-z", "--untracked-files=no")
        if seen.status:
            return False
        head = await self.git.attempt("rev-parse", "--verify", "--quiet", "HEAD^{tree}")
        named = await self.git.attempt("symbolic-ref", "--quiet", "HEAD")
        return head.status == 0 or named.status == 0

    def _put_in_place(self, fresh: Path) -> None:
        if self.path.is_dir() and not self.path.is_symlink() and not any(self.path.iterdir()):
            # The folder may be a mounted volume and has to stay. ``.git`` last: without it nothing counts.
            for entry in sorted(fresh.iterdir(), key=lambda each: each.name == ".git"):
                shutil.move(entry, self.path / entry.name)
            fresh.rmdir()
            return
        if os.path.lexists(self.path):
            numbers = (n for n in range(1, 10_000))
            places = (self.path.with_name(f"{self.path.name}.kept-{n}") for n in numbers)
            self.path.rename(next(place for place in places if not os.path.lexists(place)))
        fresh.rename(self.path)

    async def _configure(self) -> None:
        """Write the configuration this checkout shall have. What the file system or the object format demand
        is carried over, nothing else. Commits that Claude Code makes get a committer that is not ours.
        No reflogs: they would grow with every turn, and what must not get lost stands under refs."""
        old = await self.git.run(
            "config", "--file", str(self._dir / "config"), "--no-includes", "--list", "-z", ok=(0, 1, 3, 128)
        )
        pairs = dict(entry.partition("\n")[::2] for entry in old.fields)
        carried = {name: value for name, value in pairs.items() if _CARRIED.fullmatch(name)}
        settings = {"core.repositoryformatversion": "0", "core.filemode": "true"} | carried
        settings |= {
            "core.bare": "false",
            **({"core.sharedRepository": "group"} if self.git.agent else {}),
            "core.logallrefupdates": "false",
            "gc.auto": "0",
            "maintenance.auto": "false",
            "user.name": "Claude",
            "user.email": "claude@localhost",
            "remote.origin.url": self.remote.url,
            "remote.origin.fetch": "+refs/heads/*:refs/remotes/origin/*",
        }
        self._config = _written(settings)
        await in_thread(self.guard)
        await in_thread(self._settle)

    def _settle(self) -> None:
        with suppress(OSError):
            below.remove(self._dir, "logs")
        there = below.read(self._dir, "info/exclude") or b""
        missing = [line for line in EXCLUDED if line.encode() not in there.splitlines()]
        if missing:
            lines = [there, *(line.encode() + b"\n" for line in missing)]
            if there and not there.endswith(b"\n"):
                lines.insert(1, b"\n")
            below.write(self._dir, "info/exclude", b"".join(lines))
        self._settled = gitdir.settled(self._dir)


def _written(settings: dict[str, str]) -> str:
    """git's configuration format; every value in quotes."""
    text = []
    for name, value in settings.items():
        head, _, key = name.rpartition(".")
        section, _, subsection = head.partition(".")
        title = f'[{section} "{subsection}"]' if subsection else f"[{section}]"
        quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        text.append(f'{title}\n\t{key} = "{quoted}"\n')
    return "".join(text)
