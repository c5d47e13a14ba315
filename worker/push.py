"""Brings a thread's branch to the remote, also when a person was faster: rebased if clean, else beside it.

Nothing is ever forced, and between a person and the worker no side of a conflict is ever chosen. How two
lines become one is ``worker.weave``'s business, whether work may go onto a branch of people's
``worker.onto``'s, who owns the remote ``worker.remote``'s.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from contracts import names
from contracts.words import MessageId, ThreadId
from worker.errors import RemoteRefused, RemoteUnavailable, WorkspaceError
from worker.onto import Aim, Targets
from worker.ports import Missed, Push
from worker.refs import TRACKING, Refs, heads
from worker.remote import Landing, Onto, Remote
from worker.weave import Weaver

_ATTEMPTS = 3
_CONFLICT_BRANCHES = 200


class Move(Protocol):
    """Moves a branch from ``old`` to ``new`` unless a turn is using it; whether it did."""

    def __call__(self, *, branch: str, old: str, new: str) -> Awaitable[bool]: ...


@dataclass(kw_only=True)
class _Trip:
    """One push of a branch. ``quietly``: no turn waits for it; ``open``: messages without outcome, if that
    is known. ``held`` and ``missed`` are about the branch
    of people's that it goes onto: the one that has the commit already, why none gets it."""

    branch: str
    quietly: bool = False
    open: frozenset[MessageId] | None = None
    rebased: bool = False
    held: str | None = None
    missed: Missed | None = None


@dataclass(kw_only=True)
class Pusher:
    """Pushes of one checkout, one at a time."""

    refs: Refs
    weaver: Weaver
    remote: Remote
    fetch: Callable[[], Awaitable[None]]
    move: Move
    targets: Targets
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    @property
    def alone(self) -> asyncio.Lock:
        """Held while something is pushed."""
        return self._lock

    async def push(self, thread_id: ThreadId) -> Push:
        """See ``Workspace.push``."""
        trip = _Trip(branch=names.branch(thread_id))
        async with self._lock:
            return await self._push(trip) or await self._beside(trip)

    async def push_rest(self, branch: str, *, open_: frozenset[MessageId] | None) -> None:
        """Push a branch that no turn waits for. One that a person has changed waits for its next turn.
        ``open_``: every message without outcome, None when that is not known."""
        async with self._lock:
            sha, theirs = await self._head(branch), await self.refs.resolve(TRACKING + branch)
            if theirs is None or await self.weaver.may_join(sha, theirs=theirs):
                await self._push(_Trip(branch=branch, quietly=True, open=open_))

    async def _push(self, trip: _Trip) -> Push | None:
        """Push to the branch itself, and to the one it goes onto; None when that cannot be."""
        branch = trip.branch
        for left in reversed(range(_ATTEMPTS)):
            load = await self._load(trip, is_last=left == 0)
            if load is None:
                return None
            sha, onto = load
            landing = await self.remote.push(sha=sha, branch=branch, onto=onto)
            if landing is Landing.LANDED:
                return await self._landed(trip, sha, onto=onto)
            if landing is Landing.REFUSED:
                if onto is None:
                    return None
                trip.missed = Missed(onto=onto.name, why="refused", said=self.remote.refusal)
                continue
            await self.fetch()
            theirs = await self.refs.resolve(TRACKING + branch)
            if theirs is None or await self.refs.is_ancestor(theirs, sha):
                continue
            if joined := await self.weaver.joined(sha, theirs=theirs, branch=branch, open_=trip.open):
                moved = await self.move(branch=branch, old=sha, new=joined)
                if not moved and await self._landed_beneath(joined, branch):
                    return Push(branch=branch, sha=joined, rebased=True)
            elif trip.quietly or not await self._moved_over(sha, theirs=theirs, branch=branch):
                return None
            trip.rebased = trip.rebased or joined != theirs
        return None

    async def _load(self, trip: _Trip, *, is_last: bool) -> tuple[str, Onto | None] | None:
        """The commit to push and the branch of people's to move with it; None when these do not go together.
        ``is_last``: that branch moves all the time, and must not keep the work from the thread's own."""
        sha = await self._head(trip.branch)
        if trip.missed is not None:
            return sha, None
        aim = await self.targets.aim(trip.branch, sha=sha)
        trip.held = aim.name if aim.held else None
        if is_last and (aim.old or aim.apart):
            aim = Aim(name=aim.name, missed=Missed(onto=aim.name, why="later"))
        if aim.old is not None:
            return sha, Onto(name=aim.name, old=aim.old)
        if trip.quietly:
            return sha, None
        if aim.apart is not None:
            return await self._taken_in(trip, sha, onto=Onto(name=aim.name, old=aim.apart))
        trip.missed = aim.missed
        return None if aim.missed and aim.missed.why == "rewritten" else (sha, None)

    async def _taken_in(self, trip: _Trip, sha: str, *, onto: Onto) -> tuple[str, Onto | None] | None:
        """Take in what people have added: our own commits go on top of it, unless that would take back what
        the thread's branch has on the remote; then it is merged."""
        there, ours = await self.refs.resolve(TRACKING + trip.branch), None
        if there is None or await self.refs.is_ancestor(there, onto.old):
            ours = await self.weaver.rebased(sha, theirs=onto.old, branch=trip.branch)
        ours = ours or await self.weaver.taken_in(sha, theirs=onto.old)
        if ours is None:
            trip.missed = Missed(onto=onto.name, why="apart")
            return None
        if not await self.move(branch=trip.branch, old=sha, new=ours):
            trip.missed = Missed(onto=onto.name, why="later")
            return sha, None
        trip.rebased = True
        await self.targets.saw(trip.branch, onto.old)
        return ours, onto

    async def _landed(self, trip: _Trip, sha: str, *, onto: Onto | None) -> Push:
        await self._note(trip.branch, sha)
        if onto is not None:
            await self._note(onto.name, sha)
            await self.targets.saw(trip.branch, sha)
        return Push(
            branch=trip.branch, sha=sha, rebased=trip.rebased, onto=onto.name if onto else trip.held,
            missed=trip.missed,
        )  # fmt: skip

    async def _moved_over(self, sha: str, *, theirs: str, branch: str) -> bool:
        ours = await self.weaver.rebased(sha, theirs=theirs, branch=branch)
        return ours is not None and await self.move(branch=branch, old=sha, new=ours)

    async def _landed_beneath(self, joined: str, branch: str) -> bool:
        """Push what was joined although a turn works on the branch, which follows at its next switch."""
        if await self.remote.push(sha=joined, branch=branch) is not Landing.LANDED:
            return False
        await self._note(branch, joined)
        return True

    async def _beside(self, trip: _Trip) -> Push:
        """Push to the first conflict branch that is free, or that holds nothing but an earlier state of this
        very branch."""
        own = trip.branch
        sha = await self._head(own)
        for number in range(1, _CONFLICT_BRANCHES):
            branch = f"conflict-{number}/{own}"
            theirs = await self.refs.resolve(TRACKING + branch)
            if theirs is not None and not await self.refs.is_ancestor(theirs, sha):
                continue
            landing = await self.remote.push(sha=sha, branch=branch)
            if landing is Landing.LANDED:
                await self._note(branch, sha)
                return Push(branch=branch, sha=sha, conflict=True, missed=trip.missed)
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
