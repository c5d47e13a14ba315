"""Makes again, elsewhere, what stands on one line of a branch, and merges two lines: in a worktree aside.

A turn that runs meanwhile is not disturbed, and no branch moves; whoever calls moves it. The worktree belongs
to the relay, so nothing that Claude Code wrote into the checkout's ``.git`` takes part. What is made again
keeps its author and its committer: only a worker's own commit is evidence, and must stay the only one.
"""

import secrets
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from contracts.words import MessageId
from worker import trailers
from worker.errors import WorkspaceError
from worker.evidence import Evidence
from worker.git import Git, in_thread, reason
from worker.lines import Carried, Lines, Plan
from worker.refs import Refs, kept

_PICK = ("cherry-pick", "--allow-empty", "--allow-empty-message", "--keep-redundant-commits")
_MERGE = ("merge", "--quiet", "--no-ff", "--no-commit", "--allow-unrelated-histories")
_AGAIN = ("commit", "--quiet", "--allow-empty", "--allow-empty-message")
_RENAMES = ("merge.directoryRenames=false",)
"""git would only guess where a file belongs whose folder has moved, and ask."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What a merge came to: its tree, or the files in conflict."""

    tree: str = ""
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Weaver:
    """Weaves the lines of one checkout: ``refs`` are the checkout's, ``far`` runs in the relay and writes the
    checkout's objects."""

    refs: Refs
    far: Git
    state_dir: Path

    async def may_join(self, ours: str, *, theirs: str) -> bool:
        """Whether no person has a part in how the two become one."""
        if await self._contains(theirs, ours) or await self._contains(ours, theirs):
            return True
        return (await self._lines(ours, theirs=theirs)).plan() is not None

    async def rebased(self, ours: str, *, theirs: str, branch: str) -> str | None:
        """Our own commits on top of ``theirs``, but for those that were done again there; None when that is
        not clean. Evidence stays, even where it becomes empty; a merge of ours is not taken apart."""
        if await self._contains(ours, theirs):
            return theirs
        lines = await self._lines(ours, theirs=theirs)
        carried = lines.on_top()
        if carried is None:
            return None
        if len(carried) != len(lines.here):
            await self.refs.keep(ours, under=kept(branch))
        return await self._woven(Plan(carried=carried, clean=True), theirs=theirs)

    async def joined(
        self, ours: str, *, theirs: str, branch: str, open_: frozenset[MessageId] | None = None
    ) -> str | None:
        """One line of the two that owners of this worker id left on two disks, standing on ``theirs``. None
        when somebody else has a part in it. Ours as they were stay under a ref. ``open_``: see ``Lines``."""
        if await self._contains(ours, theirs):
            return theirs
        plan = replace(await self._lines(ours, theirs=theirs), open=open_).plan()
        if plan is None:
            return None
        if plan.merged != ours:
            await self.refs.keep(ours, under=kept(branch))
        if plan.merged is None and not plan.carried:
            return theirs
        return await self._woven(plan, theirs=theirs)

    async def _contains(self, older: str, newer: str) -> bool:
        return await Refs(git=self.far).is_ancestor(older, newer)

    async def _lines(self, ours: str, *, theirs: str) -> Lines:
        evidence = Evidence(git=self.far)
        here = await evidence.line(ours, without=theirs)
        return Lines(here=here, there=await evidence.line(theirs, without=ours))

    async def taken_in(self, ours: str, *, theirs: str) -> str | None:
        """What people have added in ``theirs``, merged into our own line; None when that is not clean."""
        async with self._worktree(ours) as inside:
            return await _merged(inside, theirs, wins=None, subject="Take in what was added meanwhile")

    async def tried(self, ours: str, *, theirs: str) -> Tried:
        """What a merge of ``theirs`` into ``ours`` comes to; nothing moves. Raises ``WorkspaceError``."""
        async with self._worktree(ours) as inside:
            merge = await inside.attempt(*_MERGE, theirs, settings=_RENAMES)
            if merge.status == 0:
                return Tried(tree=(await inside.run("write-tree")).text)
            listed = await inside.run("diff", "--name-only", "--diff-filter=U", "-z")
            if not listed.fields:
                raise WorkspaceError(f"The branches could not be merged: {reason(merge)}")
            return Tried(conflicts=tuple(listed.fields))

    async def _woven(self, plan: Plan, *, theirs: str) -> str | None:
        # git names the sides as they are seen from the worktree aside
        wins = None if plan.clean else "theirs" if plan.ours_win else "ours"
        line: str | None = theirs
        async with self._worktree(theirs) as inside:
            if plan.merged is not None:
                line = await _merged(inside, plan.merged, wins=wins)
            if line is None or not plan.carried:
                return line
            await inside.run("checkout", "--quiet", "--detach", plan.onto or line)
            top = await _carried(inside, plan.carried, wins=wins is not None)
            if top is None or await self._contains(line, top):
                return top
            await inside.run("checkout", "--quiet", "--detach", line)
            return await _merged(inside, top, wins=wins)

    @asynccontextmanager
    async def _worktree(self, start: str) -> AsyncIterator[Git]:
        git = self.far
        folder = self.state_dir / f"rebase-{secrets.token_hex(4)}"
        try:
            await git.run("worktree", "add", "--quiet", "--detach", str(folder), start)
            yield Git(
                cwd=folder, state_dir=git.state_dir, identity=git.identity, redact=git.redact, env=git.env
            )  # fmt: skip
        finally:
            await git.attempt("worktree", "remove", "--force", "--force", str(folder))
            await in_thread(lambda: shutil.rmtree(folder, ignore_errors=True))
            await git.attempt("worktree", "prune")


async def _carried(inside: Git, commits: Sequence[Carried], *, wins: bool) -> str | None:
    """The commits made again on top of where ``inside`` stands; None when one does not apply. With ``wins``
    they do: theirs is taken where both changed the same lines, unless they yield; otherwise every file is
    kept."""
    for each in commits:
        side = "ours" if each.yields else "theirs"
        option = ("-x", f"--strategy-option={side}") if wins else ()
        who = {
            "GIT_COMMITTER_NAME": each.step.name,
            "GIT_COMMITTER_EMAIL": each.step.email,
            "GIT_COMMITTER_DATE": f"@{each.step.at} +0000",
        }
        picked = await inside.attempt(*_PICK, *option, each.step.sha, env=who, settings=_RENAMES)
        if picked.status and wins and await _settled(inside, "CHERRY_PICK_HEAD"):
            picked = await inside.attempt(*_AGAIN, f"--reuse-message={each.step.sha}", env=who)
        if picked.status:
            return None
        if each.forget:
            await _forget(inside, each, env=who)
    return (await inside.run("rev-parse", "HEAD")).text


async def _settled(inside: Git, head: str) -> bool:
    """Whether git began to apply the commit that ``head`` names, and every file could be kept under its own
    name. What it refused to begin would come out as if it had no changes."""
    if await Refs(git=inside).resolve(head) is None:
        return False
    listed = (await inside.run("ls-files", "--unmerged", "-z")).fields
    facts = (entry.partition("\t") for entry in listed)
    kept_as = {name for fact, _, name in facts if not fact.endswith(" 1")}  # 1: as it was before both
    sides = [await inside.run("ls-tree", "-r", "-z", "--name-only", side) for side in ("HEAD", head)]
    if not kept_as <= {name for side in sides for name in side.fields}:
        return False
    return (await inside.attempt("add", "--all")).status == 0


async def _forget(inside: Git, each: Carried, *, env: dict[str, str]) -> None:
    told = await inside.run("log", "-1", "--format=%B")
    gone = {trailers.trailer(trailers.MESSAGE, message) for message in each.forget}
    lines = [line for line in told.text.splitlines() if line not in gone]
    text = ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")
    await inside.run("commit", "--quiet", "--amend", "--allow-empty", "--file=-", stdin=text, env=env)


async def _merged(
    inside: Git, other: str, *, wins: str | None, subject: str = "Join the work of two disks"
) -> str | None:
    """``other`` merged into where ``inside`` stands; None when that cannot be."""
    told = trailers.compose(subject=subject, trailers=[trailers.trailer(trailers.JOINED, other)])
    option = (f"--strategy-option={wins}",) if wins else ()
    merge = await inside.attempt(*_MERGE, *option, other, settings=_RENAMES)
    if merge.status and not (wins and await _settled(inside, "MERGE_HEAD")):
        return None
    made = await inside.attempt("commit", "--quiet", "--file=-", stdin=told)
    return (await inside.run("rev-parse", "HEAD")).text if made.status == 0 else None
