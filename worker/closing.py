"""How a turn ends or is parked: commit, push, record, in this order.

The commit's trailers are the evidence of the work, the record says whether it was told. Nothing here talks
to Claude Code; its processes are dead before anything here touches the tree.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from contracts import names
from contracts.events import FINAL
from contracts.faults import fault
from contracts.messages import Message
from contracts.records import OpenRecord
from contracts.words import Outcome, StopReason, ThreadId, TurnState, WorkerId
from worker import prompts, turn
from worker.board import Board
from worker.errors import LeaseLost, RemoteUnavailable, WorkspaceError
from worker.fitting import cut
from worker.log import get_logger
from worker.outbox import Outbox
from worker.ports import Agent, AgentResult, Commit, Draft, Ending, Ledger, Preview, Push, Workspace
from worker.redact import Redactor
from worker.turn import Key

log = get_logger()

BODY_LIMIT = 20_000
"""Longest answer in a commit message, in bytes."""
LIMIT_PAUSE = 300.0
"""How long a turn waits for a usage limit that named no end, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a turn works with. ``later`` runs something in the background; the engine waits for it before
    it leaves. ``now`` is Unix time in seconds. ``owner`` names this process among all that ever owned the
    worker id: marks of its turns must not be those of its predecessor's."""

    worker: WorkerId
    owner: str
    project: str
    board: Board
    ledger: Ledger
    outbox: Outbox
    workspace: Workspace
    agent: Agent
    preview: Preview
    redactor: Redactor
    later: Callable[[Coroutine[Any, Any, None]], None]
    now: Callable[[], float]

    def session(self, thread_id: ThreadId) -> UUID:
        """Claude Code's session of the thread."""
        return names.session(worker=self.worker, thread_id=thread_id)


class Closing:
    """The record of one turn and the ways it can end.

    ``message`` is set once it was read and the thread's branch is checked out; before that there is nothing
    of this turn in the tree, and nothing is committed.
    """

    def __init__(self, *, key: Key, record: OpenRecord, parts: Parts) -> None:
        self._key, self._parts = key, parts
        self.record = record
        self.message: Message | None = None
        self.turn_id = names.turn(worker=parts.worker, thread_id=key.thread_id, sequence=key.sequence)
        self.branch = names.branch(key.thread_id)

    # ------------------------------------------------------------ telling

    def draft(self, type_: str, **data: object) -> Draft:
        """An event of this turn."""
        return Draft(
            type=type_,
            thread_id=self._key.thread_id,
            message_id=self.record.message_id,
            turn_id=self.turn_id,
            data=data,
        )

    def draft_steered(self, key: Key) -> Draft:
        """``turn.started`` of a message that the running turn took in."""
        session = str(self._parts.session(key.thread_id))
        base = self.record.base or ""
        data = {"branch": self.branch, "base": base, "session_id": session, "attempt": 1}
        return self._draft_for(key, "turn.started", data | {"together_with": self.record.message_id})

    def _draft_for(self, key: Key, type_: str, data: dict[str, Any]) -> Draft:
        record = self._parts.board.state.open[key]
        turn_id = names.turn(worker=self._parts.worker, thread_id=key.thread_id, sequence=key.sequence)
        return Draft(
            type=type_, thread_id=key.thread_id, message_id=record.message_id, turn_id=turn_id, data=data
        )

    async def write(self, record: OpenRecord, drafts: Sequence[Draft]) -> None:
        """Write the turn record with events, after all events before them."""
        await self._parts.outbox.flush()
        await self._parts.ledger.update(record, drafts)
        self.record = record
        self._parts.board.apply(partial(turn.recorded, record=record))

    # ------------------------------------------------------------ parking

    async def park(self, reason: StopReason, *, by: Key | None, resumes_at: float | None = None) -> None:
        """Keep the work as a checkpoint and the turn for later. A pause counts as no attempt."""
        fault("interrupted")
        sha = await self._parts.workspace.checkpoint(
            thread_id=self._key.thread_id, turn_id=self.turn_id, reason=reason
        )
        fault("checkpointed")
        limited = reason is StopReason.BUDGET
        record = self.record.model_copy(
            update={
                "state": TurnState.PARKED,
                "reason": reason,
                "attempts": max(self.record.attempts - 1, 0),
                "interruptions": self.record.interruptions + (reason is StopReason.PREEMPTED),
                "resumes_at": (resumes_at or self._parts.now() + LIMIT_PAUSE) if limited else None,
            }
        )
        await self._parts.outbox.flush()
        await self._parts.ledger.update(record, self._parked(record, reason, by=by, sha=sha))
        self._parts.board.apply(partial(turn.parked, record=record))
        self._parts.later(self._push_quietly())

    def _parked(
        self, record: OpenRecord, reason: StopReason, *, by: Key | None, sha: str | None
    ) -> list[Draft]:
        by_thread = by.thread_id if by and by.thread_id != self._key.thread_id else None
        told: list[Draft] = []
        if sha:
            told.append(self.draft("turn.committed", sha=sha, branch=self.branch, checkpoint=True))
        text = prompts.interrupted(reason, by_thread=by_thread)
        told.append(
            self.draft(
                "turn.interrupted",
                reason=reason,
                text=text,
                by_thread=by_thread,
                checkpoint=sha,
                resumes_at=record.resumes_at,
            )
        )
        return told

    async def _push_quietly(self) -> None:
        """A checkpoint that cannot be pushed now goes with the next push of its branch."""
        try:
            await self._parts.workspace.push(thread_id=self._key.thread_id)
        except LeaseLost:
            self._parts.board.apply(turn.lost)
        except WorkspaceError as error:
            log.warning("checkpoint_not_pushed", error=str(error))

    # ------------------------------------------------------------ outcomes

    async def finish(self, outcome: Outcome, *, result: AgentResult) -> None:
        """Commit, push, record. The reply says what was changed, or that nothing was."""
        steered = self._parts.board.state.steered
        commit = await self._commit(result.text, steered=steered)
        text = _answer(outcome, text=result.text, changed=commit is not None)
        spent = {
            "duration_ms": result.duration_ms,
            "cost_usd": result.cost_usd,
            "input_tokens": result.input_tokens,
            "output_tokens": result.output_tokens,
        }
        await self._conclude(outcome, text=text, commit=commit, steered=steered, extra=spent)

    async def finish_from_evidence(self) -> bool:
        """If an earlier worker committed this message's work, finish the turn from that; whether it did."""
        commit = await self._evidence()
        if commit is None:
            return False
        text = commit.body or prompts.RECOVERED
        await self._conclude(Outcome.COMPLETED, text=text, commit=commit, steered=(), extra={})
        return True

    async def _evidence(self) -> Commit | None:
        """The commit with this message's trailer: on this disk, else on the remote."""
        key, workspace = self._key, self._parts.workspace
        here = await workspace.find(thread_id=key.thread_id, message_id=self.record.message_id)
        if here is not None:
            return here
        try:
            await workspace.fetch()
        except RemoteUnavailable as error:
            log.warning("fetch_failed", error=str(error))
        return await workspace.find(thread_id=key.thread_id, message_id=self.record.message_id)

    async def give_up(self, text: str) -> None:
        """End the turn as failed, with whatever it changed committed if that is possible."""
        self._parts.board.apply(turn.closing)
        commit, problem = None, None
        try:
            commit = await self._commit(text, steered=())
        except WorkspaceError as error:
            problem = f"The changes could not be committed: {error}"
        await self._conclude(
            Outcome.FAILED,
            text=text,
            commit=commit,
            steered=(),
            extra={"problem": problem} if problem else {},
        )

    async def _commit(self, body: str, *, steered: tuple[Key, ...]) -> Commit | None:
        if self.record.base is None or self.message is None:
            return None
        board = self._parts.board.state
        also = tuple(board.open[k].message_id for k in steered)
        return await self._parts.workspace.commit(
            thread_id=self._key.thread_id,
            base=self.record.base,
            subject=self.message.text.strip().partition("\n")[0],
            body=cut(body, BODY_LIMIT),
            message_ids=(self.record.message_id, *also),
        )

    async def _conclude(
        self,
        outcome: Outcome,
        *,
        text: str,
        commit: Commit | None,
        steered: tuple[Key, ...],
        extra: dict[str, Any],
    ) -> None:
        """Push what there is, then record the outcome of the message and of those it took in."""
        data: dict[str, Any] = {"text": text, "interruptions": self.record.interruptions} | extra
        if commit is not None:
            data |= await self._publish(commit)
        else:
            data["note"] = prompts.NOTHING_CHANGED
        keys = [self._key, *steered]
        final = FINAL[outcome]
        together = {"text": "", "together_with": self.record.message_id, "changed": commit is not None}
        drafts = [self.draft(final, **data)] + [self._draft_for(k, final, together) for k in steered]
        await self._parts.outbox.flush()
        await self._record(outcome, keys=keys, drafts=drafts, cost_usd=extra.get("cost_usd", 0.0))
        self._parts.board.apply(partial(turn.ended, keys=keys))
        log.info("turn_ended", outcome=outcome, changed=commit is not None)

    async def _record(
        self, outcome: Outcome, *, keys: list[Key], drafts: list[Draft], cost_usd: float
    ) -> None:
        state = self._parts.board.state
        endings = [
            Ending(
                record=state.open[k],
                outcome=outcome,
                turn_id=names.turn(worker=self._parts.worker, thread_id=k.thread_id, sequence=k.sequence),
            )
            for k in keys
        ]
        stack = turn.stack_without(state, keys)
        fault("pushed")
        await self._parts.ledger.finish(endings, stack=stack, drafts=drafts, cost_usd=cost_usd)
        fault("recorded")

    async def _publish(self, commit: Commit) -> dict[str, Any]:
        """Tell the commit, push it, tell that; the facts for the final event."""
        fault("committed")
        counts = {"files": commit.files, "insertions": commit.insertions, "deletions": commit.deletions}
        told = self.draft("turn.committed", sha=commit.sha, branch=commit.branch, **counts)
        await self._parts.outbox.add(told)
        facts = {"changed": True, "commit": commit.sha, "branch": commit.branch, **counts}
        try:
            push = await self._parts.workspace.push(thread_id=self._key.thread_id)
        except (RemoteUnavailable, WorkspaceError) as error:
            self._parts.later(self._push_later())
            return facts | {"problem": f"The work is committed but not pushed yet: {error}"}
        await self._parts.outbox.add(
            self.draft(
                "turn.pushed", sha=push.sha, branch=push.branch, conflict=push.conflict, rebased=push.rebased
            )
        )
        return facts | _pushed(push)

    async def _push_later(self) -> None:
        """Try again each minute until the remote takes it; the next turn of the thread pushes it as well."""
        while not (self._parts.board.state.lost or self._parts.board.state.draining):
            await asyncio.sleep(60)
            try:
                await self._parts.workspace.push(thread_id=self._key.thread_id)
                return
            except RemoteUnavailable as error:
                log.warning("still_not_pushed", error=str(error))
            except LeaseLost:
                self._parts.board.apply(turn.lost)


def _pushed(push: Push) -> dict[str, Any]:
    facts: dict[str, Any] = {"pushed": True, "commit": push.sha, "branch": push.branch}
    if push.conflict:
        facts["problem"] = (
            f"Somebody else changed the thread's branch, so the work was pushed beside it as {push.branch}."
        )
    return facts


def _answer(outcome: Outcome, *, text: str, changed: bool) -> str:
    if outcome is Outcome.STOPPED:
        return prompts.STOPPED_WITH_WORK if changed else prompts.STOPPED
    return text or prompts.EMPTY_ANSWER
