"""The branch of people's that a thread's work goes onto: where it stands, whether the work may go there now.

Only work of a turn that has ended goes there, and only forward from what this checkout has taken in of it. A
branch that its people rewrote, deleted, or that is the remote's default one is never written to. Decides and
notes; fetches, merges and pushes nothing.
"""

from dataclasses import dataclass

from contracts import names
from worker.errors import WorkspaceError
from worker.evidence import Evidence
from worker.git import in_thread
from worker.notes import Notes
from worker.ports import Missed
from worker.refs import TRACKING, Refs


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What to do about ``name``, the branch of people's, when a commit is pushed.

    ``old``: move it forward from there; ``apart``: it stands there and has what the commit has not; ``held``:
    it has the commit; ``missed``: why nothing can be done.
    """

    name: str = ""
    old: str | None = None
    apart: str | None = None
    held: bool = False
    missed: Missed | None = None


@dataclass(frozen=True, kw_only=True)
class Targets:
    """The branches of people's that the threads' branches of one checkout go onto."""

    refs: Refs
    evidence: Evidence
    notes: Notes

    async def choose(self, branch: str, *, onto: str | None) -> bool:
        """From now on the work of ``branch`` goes onto this one; whether anything is known of it here."""
        name = onto if onto is not None and names.onto(onto) == onto else None
        if name is not None and name == await self._default():
            name = None
        await in_thread(lambda: self.notes.aim(branch=branch, onto=name))
        return name is None or await self._stands(name) is not None

    async def start(self, branch: str, *, sha: str | None) -> str | None:
        """Where a turn on ``branch`` begins that would begin at ``sha`` (None: a new one): what people have
        added since comes first. None leaves a new one to the default branch."""
        name, seen = self.notes.aimed(branch)
        theirs = await self._stands(name) if name else None
        if theirs is None:
            return sha
        if sha is None or await self.refs.is_ancestor(sha, theirs):
            await self.saw(branch, theirs)
            return theirs
        if seen is None:
            ahead = await self.refs.is_ancestor(theirs, sha)
            await self.saw(branch, theirs if ahead else await self._parted(sha, theirs))
        return sha

    async def aim(self, branch: str, *, sha: str) -> Aim:
        """What a push of ``sha`` to ``branch`` means for its target, as last fetched."""
        name, seen = self.notes.aimed(branch)
        if name is None or name == await self._default():
            return Aim()
        theirs = await self._stands(name)
        if theirs is None:
            return Aim(name=name, missed=Missed(onto=name, why="gone"))
        if await self.refs.is_ancestor(sha, theirs):
            return Aim(name=name, held=True)
        own = [s for s in await self.evidence.line(sha, without=theirs) if s.own and not s.join]
        if not own or not own[-1].ended:
            return Aim()  # half-done work is for the thread's own branch
        if seen is None or not await self.refs.is_ancestor(seen, theirs):
            return Aim(name=name, missed=Missed(onto=name, why="rewritten"))
        if await self.refs.is_ancestor(theirs, sha):
            return Aim(name=name, old=theirs)
        return Aim(name=name, apart=theirs)

    async def saw(self, branch: str, sha: str) -> None:
        """``branch`` holds all that its target held at ``sha``."""
        await in_thread(lambda: self.notes.saw(branch=branch, sha=sha))

    async def _stands(self, name: str) -> str | None:
        return await self.refs.resolve(TRACKING + name)

    async def _default(self) -> str | None:
        try:
            return await self.refs.default_branch()
        except WorkspaceError:
            return None

    async def _parted(self, sha: str, theirs: str) -> str:
        """What another disk's work has surely taken in of a target that stands apart: the common past, when
        nothing since then was ever meant to be there; else ``sha`` itself, so that it counts as rewritten."""
        steps = await self.evidence.line(sha, without=theirs)
        if any(step.ended or not step.own for step in steps):
            return sha
        return (await self.refs.git.run("merge-base", sha, theirs, ok=(0, 1))).text or sha
