"""Takes the branch of a deleted thread away: on the remote, in the checkout, and what was noted about it.

On the remote only branches that bear the thread's own name are touched, by lease on what was fetched, and
only where nobody else has commits: what a person pushed there stays. Commits that stand elsewhere as well
stay there.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from worker.evidence import CLAUDE
from worker.git import in_thread
from worker.log import get_logger
from worker.notes import Notes
from worker.own_refs import OwnRefs
from worker.refs import GONE, REMOVED, TRACKING, Refs, heads, kept, tip_ref
from worker.remote import Landing, Remote

log = get_logger()


@dataclass(frozen=True, kw_only=True)
class Removal:
    """Removes branches of one checkout. The caller sees to it that nothing is pushed or fetched meanwhile."""

    refs: Refs
    remote: Remote
    own: OwnRefs
    notes: Notes
    state_dir: Path

    async def far(self, branch: str) -> None:
        """Take the branch, and those that were pushed beside it, from the remote. Raises ``LeaseLost``,
        ``RemoteUnavailable``."""
        for name, sha in (await self.remote.tracked()).items():
            if name == branch or _is_beside(name, branch):
                await self._take(name, sha, branch=branch)

    async def _take(self, name: str, sha: str, *, branch: str) -> None:
        if not await self._is_ours(sha, branch=branch):
            log.warning("branch_left", branch=name, reason="somebody else has commits on it")
            return
        landing = await self.remote.remove(branch=name, sha=sha)
        if landing is not Landing.LANDED:
            log.warning("branch_left", branch=name, reason=self.remote.refusal or "it has moved")

    async def _is_ours(self, sha: str, *, branch: str) -> bool:
        """Whether all that stands nowhere else on the remote was committed by a worker or by Claude Code."""
        told = await self.remote.git.run(
            "log", "--format=%ce", sha, "--not", f"--exclude=origin/{branch}",
            f"--exclude=origin/conflict-*/{branch}", "--remotes=origin", "--",
            env=self.remote.borrowed,
        )  # fmt: skip
        return set(told.text.splitlines()) <= {self.refs.git.identity.email, CLAUDE}

    async def near(self, branch: str, *, hold: bool = False) -> None:
        """Remove every ref of the branch here, and the files and notes that were kept for it. ``hold``: what
        stands nowhere else comes under a ref of its own first."""
        if hold:
            await self._hold(branch)
        held = () if hold else (f"{REMOVED}{branch}/",)
        named = await self.refs.named(
            heads(branch), heads(f"conflict-*/{branch}"), tip_ref(branch), GONE + branch, f"{kept(branch)}/",
            TRACKING + branch, f"{TRACKING}conflict-*/{branch}", *held,
        )  # fmt: skip
        self.own.let_go(named)
        await in_thread(lambda: self._forget(branch))  # the refs go last: they say that there is something
        gone = "".join(f"delete {name}\n" for name in named).encode()
        if named:
            await self.refs.git.run("update-ref", "--no-deref", "--stdin", stdin=gone)

    async def _hold(self, branch: str) -> None:
        """Nobody told this disk to remove the thread: its row is not there, that is all. So it would look as
        well after the records were thrown away or put back to an earlier day, and work that stands nowhere
        else must outlive that."""
        there = await self.refs.resolve(GONE + branch)
        theirs = ("--not", "--remotes=origin", *([there] if there else []))
        for sha in set((await self.refs.named(heads(branch), tip_ref(branch), f"{kept(branch)}/")).values()):
            if (await self.refs.git.run("rev-list", "--max-count=1", sha, *theirs, "--")).text:
                ref = await self.refs.keep(sha, under=REMOVED + branch)
                log.warning("work_of_a_deleted_thread_held", branch=branch, ref=ref)

    def _forget(self, branch: str) -> None:
        self.notes.leave(branch)
        shutil.rmtree(self.state_dir / "aside" / quote(branch, safe=""), ignore_errors=True)


def _is_beside(name: str, branch: str) -> bool:
    number, slash, rest = name.removeprefix("conflict-").partition("/")
    return name.startswith("conflict-") and bool(slash) and number.isdecimal() and rest == branch
