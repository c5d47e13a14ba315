"""Brings a thread's branch to the remote, also when a person was faster: rebased if clean, else beside it.

Nothing is ever forced, no side of a conflict is ever chosen. The rebase happens in a worktree of its own,
so that a turn of another thread is not disturbed. Who owns the remote is ``worker.remote``'s business.
"""

import asyncio
import secrets
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from contracts import names
from contracts.words import ThreadId
from worker.errors import RemoteRefused, RemoteUnavailable, WorkspaceError
from worker.git import Git, in_thread
from worker.ports import Push
from worker.refs import TRACKING, Refs, heads
from worker.remote import Landing, Remote

_ATTEMPTS = 3
_CONFLICT_BRANCHES = 200


class Move(Protocol):
    """Moves a branch from ``old`` to ``new`` unless a turn is using it; whether it did."""

    def __call__(self, *, branch: str, old: str, new: str) -> Awaitable[bool]: ...


@dataclass(kw_only=True)
class Pusher:
    """Pushes of one checkout, one at a time."""

    refs: Refs
    state_dir: Path
    remote: Remote
    fetch: Callable[[], Awaitable[None]]
    move: Move
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def push(self, thread_id: ThreadId) -> Push:
        """See ``Workspace.push``."""
        return await self.push_branch(names.branch(thread_id))

    async def push_branch(self, branch: str) -> Push:
        """The same for a branch by its name."""
        async with self._lock:
            return await self._push(branch)

    async def _push(self, branch: str) -> Push:
        rebased = False
        for _ in range(_ATTEMPTS):
            sha = await self._head(branch)
            landing = await self.remote.push(sha=sha, branch=branch)
            if landing is Landing.LANDED:
                await self._note(branch, sha)
                return Push(branch=branch, sha=sha, rebased=rebased)
            if landing is Landing.REFUSED:
                break
            await self.fetch()
            theirs = await self.refs.resolve(TRACKING + branch)
            if theirs is None:
                continue
            ours = await self._on_top(sha, theirs)
            if ours is None or not await self.move(branch=branch, old=sha, new=ours):
                break
            rebased = rebased or ours != theirs
        return await self._beside(branch)

    async def _beside(self, own: str) -> Push:
        """Push to the first conflict branch that is free, or that holds nothing but an earlier state of this
        very branch."""
        sha = await self._head(own)
        for number in range(1, _CONFLICT_BRANCHES):
            branch = f"conflict-{number}/{own}"
            theirs = await self.refs.resolve(TRACKING + branch)
            if theirs is not None and not await self.refs.is_ancestor(theirs, sha):
                continue
            landing = await self.remote.push(sha=sha, branch=branch)
            if landing is Landing.LANDED:
                await self._note(branch, sha)
                return Push(branch=branch, sha=sha, conflict=True)
            if landing is Landing.REFUSED:
                raise RemoteRefused(f"The remote refused the push: {self.remote.refusal}")
        raise RemoteUnavailable("No conflict branch could be pushed: remove old ones from the remote.")

    async def _head(self, branch: str) -> str:
        sha = await self.refs.resolve(heads(branch))
        if sha is None:
            raise WorkspaceError(f"There is no branch {branch} to push: switch to its thread first.")
        return sha

    async def _note(self, branch: str, sha: str) -> None:
        """What was pushed is what a fetch would find."""
        await self.refs.git.attempt("update-ref", TRACKING + branch, sha)
        await self.remote.track({branch: sha})

    async def _on_top(self, ours: str, theirs: str) -> str | None:
        """Our own commits on top of ``theirs``; None when that is not clean. Evidence commits stay, even if
        they become empty; a merge of ours is not taken apart."""
        git = self.refs.git
        if await self.refs.is_ancestor(ours, theirs):
            return theirs
        if (await git.run("rev-list", "--merges", "--max-count=1", ours, "--not", theirs)).text:
            return None
        folder = self.state_dir / f"rebase-{secrets.token_hex(4)}"
        await git.run("worktree", "add", "--quiet", "--detach", str(folder), ours)
        inside = Git(cwd=folder, state_dir=git.state_dir, identity=git.identity, redact=git.redact)
        try:
            done = await inside.attempt(
                "rebase", "--quiet", "--reapply-cherry-picks", "--empty=keep", "--no-autosquash",
                "--no-autostash", "--no-fork-point", "--no-rerere-autoupdate", theirs,
            )  # fmt: skip
            return (await inside.run("rev-parse", "HEAD")).text if done.status == 0 else None
        finally:
            await git.attempt("worktree", "remove", "--force", "--force", str(folder))
            await in_thread(lambda: shutil.rmtree(folder, ignore_errors=True))
            await git.attempt("worktree", "prune")
