"""The checkout's refs: where branches stand, how far the worker took them, what is kept beside them.

Reads and moves names only; index and worktree are none of its business.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from worker.errors import WorkspaceError
from worker.git import Git

TRACKING = "refs/remotes/origin/"
SAVED = "refs/branchline/saved"
GONE = "refs/branchline/gone/"
"""Below here stands what a branch was on the remote before somebody removed it there."""
TIPS = "refs/branchline/tip/"
REMOVED = "refs/branchline/removed/"
"""Below here stands work of threads that are no more which this disk alone had."""


def heads(branch: str) -> str:
    """The ref of a local branch."""
    return f"refs/heads/{branch}"


def tip_ref(branch: str) -> str:
    """Where the worker remembers how far it took ``branch`` itself."""
    return TIPS + branch


def kept(branch: str) -> str:
    """Below here stand commits that were on ``branch`` and could not stay."""
    return f"refs/branchline/kept/{branch}"


@dataclass(kw_only=True)
class Refs:
    """The refs of one repository."""

    git: Git

    async def resolve(self, name: str) -> str | None:
        """The commit (or with ``^{tree}`` the tree) a name stands for."""
        run = await self.git.attempt("rev-parse", "--verify", "--quiet", name)
        return run.text if run.status == 0 and run.text else None

    async def tree_of(self, commit: str) -> str:
        """The tree of a commit."""
        return (await self.git.run("rev-parse", "--verify", f"{commit}^{{tree}}")).text

    async def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether ``newer`` contains ``older``."""
        if older == newer:
            return True
        run = await self.git.run("merge-base", "--is-ancestor", older, newer, ok=(0, 1))
        return run.status == 0

    async def named(self, *patterns: str) -> dict[str, str]:
        """``{ref: object id}`` of the refs that match."""
        run = await self.git.run("for-each-ref", "--format=%(objectname) %(refname)", *patterns)
        return {name: sha for sha, name in (line.split(" ", 1) for line in run.text.splitlines())}

    async def tracked(self) -> dict[str, str]:
        """``{branch: sha}`` of the remote as last fetched."""
        found = {name.removeprefix(TRACKING): sha for name, sha in (await self.named(TRACKING)).items()}
        return {name: sha for name, sha in found.items() if name != "HEAD"}

    async def take_over(self, found: Mapping[str, str], *, head: str | None) -> None:
        """Make the remote-tracking refs equal to ``found``; ``head`` is the remote's default branch."""
        known = await self.tracked()
        gone = [f"delete {TRACKING}{name}\n" for name in known if name not in found]
        news = [f"update {TRACKING}{name} {sha}\n" for name, sha in found.items() if known.get(name) != sha]
        for lines in (gone, news):  # first the deletions: a new name may need the place of an old one
            if lines:
                await self.git.run("update-ref", "--no-deref", "--stdin", stdin="".join(lines).encode())
        if head is not None and head in found:
            await self.git.run("symbolic-ref", f"{TRACKING}HEAD", TRACKING + head)

    async def note_gone(self, found: Mapping[str, str]) -> None:
        """Remember where threads' branches stood that the remote has no longer; before ``take_over``."""
        lines = [
            f"update {GONE}{name} {sha}\n"
            for name, sha in (await self.tracked()).items()
            if name not in found and name.startswith("thread-")
        ]
        if lines:
            await self.git.run("update-ref", "--no-deref", "--stdin", stdin="".join(lines).encode())

    async def remote_head(self) -> str | None:
        """The branch that the remote's HEAD named when it was fetched last."""
        named = await self.git.attempt("symbolic-ref", "--quiet", f"{TRACKING}HEAD")
        return named.text.removeprefix(TRACKING) or None

    async def default_branch(self) -> str:
        """The remote's default branch as last fetched. Raises ``WorkspaceError`` when there is no branch."""
        head, known = await self.remote_head(), await self.tracked()
        others = (name for name in sorted(known) if not name.startswith(("thread-", "conflict-")))
        for name in (head, "main", "master", *others):
            if name is not None and name in known:
                return name
        raise WorkspaceError("The remote has no branch yet: push a first commit to it.")

    async def point(self, *, branch: str, sha: str, expect: str | None) -> None:
        """Move a branch and the record of its tip together, if the branch is still at ``expect``."""
        old = expect or "0" * len(sha)
        lines = f"update {heads(branch)} {sha} {old}\nupdate {tip_ref(branch)} {sha}\n"
        await self.git.run("update-ref", "-m", "branchline", "--stdin", stdin=lines.encode())

    async def taken(self) -> list[str]:
        """Threads' branches that the worker itself took somewhere here."""
        return sorted(name.removeprefix(TIPS) for name in await self.named(f"{TIPS}thread-*"))

    async def unpushed(self) -> list[str]:
        """Threads' branches here that hold what the remote did not when it was last fetched. One that
        somebody removed there stays away until there is more of it."""
        listed = await self.git.run(
            "for-each-ref", "--format=%(refname:strip=2) %(objectname)", heads("thread-*")
        )
        found, pushed = [], await self.named(f"{TRACKING}thread-*", f"{GONE}thread-*")
        for line in listed.text.splitlines():
            branch, sha = line.split(" ")
            theirs = pushed.get(TRACKING + branch) or pushed.get(GONE + branch)
            if theirs is None or not await self.is_ancestor(sha, theirs):
                found.append(branch)
        return found

    async def keep(self, sha: str, *, under: str) -> str:
        """Hold a commit under the next free number below ``under``; the ref's name."""
        held = await self.named(f"{under}/")
        for name, commit in held.items():
            if commit == sha:
                return name
        numbers = [int(tail) for tail in (name.rpartition("/")[2] for name in held) if tail.isdecimal()]
        ref = f"{under}/{max(numbers, default=0) + 1}"
        await self.git.run("update-ref", ref, sha)
        return ref
