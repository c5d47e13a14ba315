"""Makes again, elsewhere, what stands on one line of a branch, and merges two lines: in a worktree aside.

A turn that runs meanwhile is not disturbed, and no branch moves; whoever calls moves it. What is made again
keeps its author and its committer: only a worker's own commit is evidence, and must stay the only one.
"""

import secrets
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from worker import trailers
from worker.evidence import Evidence
from worker.git import Git, in_thread
from worker.lines import Carried, Lines, Plan
from worker.refs import Refs, kept

_PICK = ("cherry-pick", "--allow-empty", "--allow-empty-message", "--keep-redundant-commits")
_AGAIN = ("commit", "--quiet", "--allow-empty", "--allow-empty-message")


@dataclass(frozen=True, kw_only=True)
class Weaver:
    """Weaves the lines of one checkout."""

    refs: Refs
    evidence: Evidence
    state_dir: Path

    async def rebased(self, ours: str, *, theirs: str) -> str | None:
        """Our own commits on top of ``theirs``; None when that is not clean. Evidence stays, even where it
        becomes empty; a merge of ours is not taken apart."""
        if await self.refs.is_ancestor(ours, theirs):
            return theirs
        steps = await self.evidence.line(ours, without=theirs)
        if any(step.merge for step in steps):
            return None
        async with self._aside(theirs) as inside:
            return await _carried(inside, [Carried(step=step) for step in steps], wins=None)

    async def joined(self, ours: str, *, theirs: str, branch: str) -> str | None:
        """One line of the two that owners of this worker id left on two disks, standing on ``theirs``. None
        when somebody else has a part in it. Ours as they were stay under a ref."""
        if await self.refs.is_ancestor(ours, theirs):
            return theirs
        here = await self.evidence.line(ours, without=theirs)
        there = await self.evidence.line(theirs, without=ours)
        plan = Lines(here=here, there=there).plan()
        if plan is None:
            return None
        if plan.merged != ours:
            await self.refs.keep(ours, under=kept(branch))
        if plan.merged is None and not plan.carried:
            return theirs
        async with self._aside(theirs) as inside:
            return await self._woven(inside, plan, theirs=theirs)

    async def _woven(self, inside: Git, plan: Plan, *, theirs: str) -> str | None:
        wins = "theirs" if plan.ours_win else "ours"  # as git names the sides, seen from the worktree aside
        line: str | None = theirs
        if plan.merged is not None:
            line = await _merged(inside, plan.merged, wins=wins)
        if line is None or not plan.carried:
            return line
        await inside.run("checkout", "--quiet", "--detach", plan.onto or line)
        top = await _carried(inside, plan.carried, wins="theirs")
        if top is None or await self.refs.is_ancestor(line, top):
            return top
        await inside.run("checkout", "--quiet", "--detach", line)
        return await _merged(inside, top, wins=wins)

    @asynccontextmanager
    async def _aside(self, start: str) -> AsyncIterator[Git]:
        git = self.refs.git
        folder = self.state_dir / f"rebase-{secrets.token_hex(4)}"
        await git.run("worktree", "add", "--quiet", "--detach", str(folder), start)
        try:
            yield Git(cwd=folder, state_dir=git.state_dir, identity=git.identity, redact=git.redact)
        finally:
            await git.attempt("worktree", "remove", "--force", "--force", str(folder))
            await in_thread(lambda: shutil.rmtree(folder, ignore_errors=True))
            await git.attempt("worktree", "prune")


async def _carried(inside: Git, commits: Sequence[Carried], *, wins: str | None) -> str | None:
    """The commits made again on top of where ``inside`` stands; None when one does not apply. With ``wins``
    all of them do: that side is taken where both changed the same lines, otherwise every file is kept."""
    option = ("-x", f"--strategy-option={wins}") if wins else ()
    for each in commits:
        who = {"GIT_COMMITTER_NAME": each.step.name, "GIT_COMMITTER_EMAIL": each.step.email}
        picked = await inside.attempt(*_PICK, *option, each.step.sha, env=who)
        if picked.status and wins:
            await inside.run("add", "--all")
            picked = await inside.attempt(*_AGAIN, f"--reuse-message={each.step.sha}", env=who)
        if picked.status:
            return None
        if each.forget:
            await _forget(inside, each, env=who)
    return (await inside.run("rev-parse", "HEAD")).text


async def _forget(inside: Git, each: Carried, *, env: dict[str, str]) -> None:
    told = await inside.run("log", "-1", "--format=%B")
    gone = {trailers.trailer(trailers.MESSAGE, message) for message in each.forget}
    lines = [line for line in told.text.splitlines() if line not in gone]
    text = ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")
    await inside.run("commit", "--quiet", "--amend", "--allow-empty", "--file=-", stdin=text, env=env)


async def _merged(inside: Git, other: str, *, wins: str) -> str | None:
    """``other`` merged into where ``inside`` stands."""
    told = trailers.compose(
        subject="Join the work of two disks",
        trailers=[trailers.trailer(trailers.JOINED, other)],
    )
    await inside.attempt("merge", "--quiet", "--no-ff", "--no-commit", f"--strategy-option={wins}", other)
    await inside.run("add", "--all")
    made = await inside.attempt("commit", "--quiet", "--file=-", stdin=told)
    return (await inside.run("rev-parse", "HEAD")).text if made.status == 0 else None
