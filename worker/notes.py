"""What the worker notes about its checkout outside of it, where no turn can write.

Facts that survive a kill: whose thread the worktree belongs to, that a move between branches was under way,
and which branches of people's the threads' work goes onto. Nothing here runs git.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True, kw_only=True)
class Notes:
    """The notes in ``folder``."""

    folder: Path

    def current(self) -> tuple[str | None, str]:
        """Branch and thread that the worktree belongs to, whatever HEAD says."""
        try:
            noted = json.loads(self._current.read_text(encoding="utf-8"))
            return noted["branch"], noted["thread"]
        except (OSError, ValueError, KeyError):
            return None, ""

    def remember(self, *, branch: str, thread: str, message: str = "") -> None:
        """From now on the worktree belongs to this thread, and to the work on this message of it."""
        self._write(self._current, json.dumps({"branch": branch, "thread": thread, "message": message}))

    def working_on(self) -> str:
        """The message whose work the worktree holds; empty when that is not known."""
        try:
            return str(json.loads(self._current.read_text(encoding="utf-8")).get("message", ""))
        except (OSError, ValueError):
            return ""

    def mark(self, old: str) -> None:
        """From here until ``unmark`` all work is committed and the files on disk are half of branch ``old``
        and half of another: whoever finds the mark throws them away instead of committing them."""
        self._write(self._mark, old)

    def unmark(self) -> None:
        """The worktree is whole again."""
        self._mark.unlink(missing_ok=True)

    @property
    def marked(self) -> str | None:
        """The ``old`` branch, if a mark stands."""
        return self._mark.read_text(encoding="utf-8") if self._mark.exists() else None

    def aimed(self, branch: str) -> tuple[str | None, str | None]:
        """The branch of people's that the work of ``branch`` goes onto, and the last commit of it that is
        known to be in there; None for what there is not."""
        try:
            noted = json.loads(self._aim(branch).read_text(encoding="utf-8"))
            return noted["onto"], noted["seen"]
        except (OSError, ValueError, KeyError):
            return None, None

    def aim(self, *, branch: str, onto: str | None) -> None:
        """From now on the work of ``branch`` goes onto that one, or onto none."""
        if onto is None:
            self._aim(branch).unlink(missing_ok=True)
        elif self.aimed(branch)[0] != onto:
            self._aim(branch).parent.mkdir(exist_ok=True)
            self._write(self._aim(branch), json.dumps({"onto": onto, "seen": None}))

    def saw(self, *, branch: str, sha: str) -> None:
        """``branch`` holds all that the branch of people's held at ``sha``."""
        onto, seen = self.aimed(branch)
        if onto is not None and seen != sha:
            self._write(self._aim(branch), json.dumps({"onto": onto, "seen": sha}))

    def leave(self, branch: str) -> None:
        """Nothing is noted about this branch any more."""
        self.aim(branch=branch, onto=None)
        if self.current()[0] == branch:
            self._current.unlink(missing_ok=True)

    def forget(self) -> None:
        """What was noted about a checkout that is no longer there."""
        shutil.rmtree(self.folder / "onto", ignore_errors=True)
        self._current.unlink(missing_ok=True)
        self.unmark()

    def _aim(self, branch: str) -> Path:
        return self.folder / "onto" / f"{quote(branch, safe='')}.json"

    @property
    def _current(self) -> Path:
        return self.folder / "current.json"

    @property
    def _mark(self) -> Path:
        return self.folder / "moving"

    def _write(self, path: Path, text: str) -> None:
        fresh = path.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
