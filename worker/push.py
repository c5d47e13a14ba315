"""Brings a thread's branch to the remote, also when a person was faster: rebased if clean, else beside it.

Nothing is ever forced, and between a person and the worker no side of a conflict is ever chosen. How two
lines become one is ``worker.weave``'s business, who owns the remote is ``worker.remote``'s.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from contracts import names
from contracts.words import ThreadId
from worker.errors import RemoteRefused, RemoteUnavailable, WorkspaceError
from worker.ports import Push
from worker.refs import TRACKING, Refs, heads
from worker.remote import Landing, Remote
from worker.weave import Weaver

_ATTEMPTS = 3
_CONFLICT_BRANCHES = 200


class Move(Protocol):
    """Moves a branch from ``old`` to ``new`` unless a turn is using it; whether it did."""

    def __call__(self, *, branch: str, old: str, new: str) -> Awaitable[bool]: ...


@dataclass(kw_only=True)
class Pusher:
    """Pushes of one checkout, one at a time."""

    refs: Refs
    weaver: Weaver
    remote: Remote
    fetch: Callable[[], Awaitable[None]]
    move: Move
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def push(self, thread_id: ThreadId) -> Push:
        """See ``Workspace.push``."""
        branch = names.branch(thread_id)
        async with self._lock:
            return await self._push(branch) or await self._beside(branch)

    async def push_rest(self, branch: str) -> None:
        """Push a branch that no turn waits for. One that a person has changed waits for its next turn."""
        async with self._lock:
            sha, theirs = await self._head(branch), await self.refs.resolve(TRACKING + branch)
            if theirs is None or await self.weaver.may_join(sha, theirs=theirs):
                await self._push(branch, quietly=True)

    async def _push(self, branch: str, *, quietly: bool = False) -> Push | None:
        """Push to the branch itself; None when that cannot be."""
        rebased = False
        for _ in range(_ATTEMPTS):
            sha = await self._head(branch)
            landing = await self.remote.push(sha=sha, branch=branch)
            if landing is Landing.LANDED:
                await self._note(branch, sha)
                return Push(branch=branch, sha=sha, rebased=rebased)
            if landing is Landing.REFUSED:
                return None
            await self.fetch()
            theirs = await self.refs.resolve(TRACKING + branch)
            if theirs is None:
                continue
            if joined := await self.weaver.joined(sha, theirs=theirs, branch=branch):
                moved = await self.move(branch=branch, old=sha, new=joined)
                if not moved and await self._landed(joined, branch):
                    return Push(branch=branch, sha=joined, rebased=True)
            elif quietly or not await self._moved_over(sha, theirs=theirs, branch=branch):
                return None
            rebased = rebased or joined != theirs
        return None

    async def _moved_over(self, sha: str, *, theirs: str, branch: str) -> bool:
        ours = await self.weaver.rebased(sha, theirs=theirs, branch=branch)
        return ours is not None and await self.move(branch=branch, old=sha, new=ours)

    async def _landed(self, joined: str, branch: str) -> bool:
        """Push what was joined although a turn works on the branch, which follows at its next switch."""
        if await self.remote.push(sha=joined, branch=branch) is not Landing.LANDED:
            return False
        await self._note(branch, joined)
        return True

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
