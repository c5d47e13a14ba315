"""Bringing a turn's work to the remote, and telling the thread: now, later, or quietly.

A push that does not work loses nothing: the work is committed here, and the next push of the branch takes it
along. No decision about outcomes.
"""

import asyncio
import contextlib
from typing import Any, Protocol

from contracts.faults import fault
from worker import prompts, turn
from worker.errors import LeaseLost, RemoteRefused, RemoteUnavailable, WorkspaceError
from worker.log import get_logger
from worker.parts import Parts
from worker.ports import Commit, Draft, Push
from worker.turn import Key

log = get_logger()

LEAVING_SECONDS = 20.0
"""How long a push may go on when the worker has to leave."""
PUSH_AGAIN_SECONDS = 60.0
"""Between two tries, in seconds."""


class MakeDraft(Protocol):
    """Makes an event of the turn."""

    def __call__(self, type_: str, **data: object) -> Draft: ...


class Publishing:
    """The pushes of one turn."""

    def __init__(self, *, key: Key, parts: Parts, draft: MakeDraft) -> None:
        self._key, self._parts, self._draft = key, parts, draft

    async def publish(self, commit: Commit) -> dict[str, Any]:
        """Tell the commit, push it, tell that; the facts for the final event."""
        fault("committed")
        counts = {"files": commit.files, "insertions": commit.insertions, "deletions": commit.deletions}
        told = self._draft("turn.committed", sha=commit.sha, branch=commit.branch, **counts)
        await self._parts.outbox.add(told)
        facts = {"changed": True, "commit": commit.sha, "branch": commit.branch, **counts}
        try:
            push = await self._push_now(commit)
        except WorkspaceError as error:
            self._parts.later(self.push_later())
            problem = f"The work is committed but not pushed yet: {error}"
            return facts | _told(problem, commit.note)
        await self._parts.outbox.add(self._told_push(push))
        pushed = {"pushed": True, "commit": push.sha, "branch": push.branch, "onto": push.onto}
        return facts | pushed | _told(_beside(push), commit.note)

    async def _push_now(self, commit: Commit) -> Push:
        """Push; when the worker has to leave meanwhile, only a little longer. Raises WorkspaceError.

        What an earlier owner has pushed is only told: this disk may not even have the branch.
        """
        if commit.stands_on is not None:
            conflict = commit.stands_on != commit.branch
            return Push(branch=commit.stands_on, sha=commit.sha, conflict=conflict, onto=commit.onto)
        push = asyncio.create_task(self._parts.workspace.push(thread_id=self._key.thread_id))
        leaving = asyncio.create_task(self._parts.leaving.wait())
        try:
            await asyncio.wait([push, leaving], return_when=asyncio.FIRST_COMPLETED)
            if not push.done():
                await asyncio.wait([push], timeout=LEAVING_SECONDS)
            if not push.done():
                raise RemoteUnavailable("the worker had to leave before the remote answered.")
            return push.result()
        finally:
            push.cancel()
            leaving.cancel()

    def _told_push(self, push: Push) -> Draft:
        return self._draft(
            "turn.pushed", sha=push.sha, branch=push.branch, onto=push.onto, conflict=push.conflict,
            rebased=push.rebased,
        )  # fmt: skip

    async def push_later(self) -> None:
        """Try again each minute, and once more when the worker leaves, until the remote takes it or the
        thread is deleted."""
        last = False
        while not (last or self._parts.board.state.lost or self._is_deleted):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PUSH_AGAIN_SECONDS):
                    await self._parts.leaving.wait()
            last = self._parts.leaving.is_set()
            try:
                push = await self._parts.workspace.push(thread_id=self._key.thread_id)
                await self._parts.outbox.add(self._told_push(push))
                self._parts.show_changes(self._key.thread_id)  # a push may have rebased it
                return
            except LeaseLost:
                self._parts.board.apply(turn.lost)
            except RemoteRefused as error:
                log.warning("never_pushed", error=str(error))
                return  # it goes along with the next push of its branch, if that is taken
            except WorkspaceError as error:
                log.warning("still_not_pushed", error=str(error))

    @property
    def _is_deleted(self) -> bool:
        return turn.is_deleted(self._parts.board.state, self._key.thread_id)

    async def push_quietly(self) -> None:
        """A checkpoint that cannot be pushed now goes with the next push of its branch."""
        try:
            await self._parts.workspace.push(thread_id=self._key.thread_id)
            self._parts.show_changes(self._key.thread_id)
        except LeaseLost:
            self._parts.board.apply(turn.lost)
        except WorkspaceError as error:
            log.warning("checkpoint_not_pushed", error=str(error))


def _beside(push: Push) -> str:
    if (missed := push.missed) is not None:
        return prompts.missed(onto=missed.onto, why=missed.why, branch=push.branch, said=missed.said)
    if not push.conflict:
        return ""
    return f"Somebody else changed the thread's branch, so the work was pushed beside it as {push.branch}."


def _told(*problems: str) -> dict[str, str]:
    """What people should know, in one text; nothing when all is well."""
    text = " ".join(problem for problem in problems if problem)
    return {"problem": text} if text else {}
