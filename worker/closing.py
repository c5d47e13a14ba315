"""How a turn ends or is parked: commit, push, record, in this order.

The commit's trailers are the evidence of the work, the record says whether it was told. Nothing here talks
to Claude Code; its processes are dead before anything here touches the tree.
"""

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Any

from contracts import names
from contracts.events import FINAL
from contracts.faults import fault
from contracts.messages import Message, Upload
from contracts.records import OpenRecord
from contracts.words import Outcome, StopReason, TurnState
from worker import prompts, turn
from worker.errors import InDoubt, WorkspaceError
from worker.log import get_logger
from worker.parts import Parts
from worker.ports import AgentResult, Commit, Draft, Ending
from worker.publishing import Publishing
from worker.turn import Key

log = get_logger()

LIMIT_PAUSE = 300.0
"""How long a turn waits for a usage limit that named no end, in seconds."""
_SHARED = ("changed", "commit", "branch", "onto", "pushed", "problem", "note")
FETCH_SECONDS = 15.0
"""How long a turn in doubt asks the remote; nobody else runs meanwhile."""
LEAST_PAUSE = 60.0
"""Shortest wait for a usage limit: one that is said to be over already may not be."""


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
        self._publishing = Publishing(key=key, parts=parts, draft=self.draft)
        self._committed: Commit | None = None
        self._says: tuple[Outcome, str] | None = None
        self._told = False
        self.missed: list[Upload] = []
        """Files of the messages that were worked on which were not there any more."""

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

    async def park(
        self, reason: StopReason, *, by: Key | None, resumes_at: float | None = None, why: str = ""
    ) -> None:
        """Keep the work as a checkpoint and the turn for later. A pause counts as no attempt. ``why``: what
        the model said of its limit."""
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
                "resumes_at": self._over_at(resumes_at) if limited else None,
            }
        )
        await self._parts.outbox.flush()
        await self._parts.ledger.update(record, self._parked(record, reason, by=by, sha=sha, why=why))
        self._parts.board.apply(partial(turn.parked, record=record))
        self._parts.later(self._publishing.push_quietly())
        self._parts.show_changes(self._key.thread_id)

    def _over_at(self, resets_at: float | None) -> float:
        now = self._parts.now()
        return max(resets_at, now + LEAST_PAUSE) if resets_at else now + LIMIT_PAUSE

    def _parked(
        self, record: OpenRecord, reason: StopReason, *, by: Key | None, sha: str | None, why: str
    ) -> list[Draft]:
        by_thread = by.thread_id if by and by.thread_id != self._key.thread_id else None
        told: list[Draft] = []
        if sha:
            told.append(self.draft("turn.committed", sha=sha, branch=self.branch, checkpoint=True))
        text = prompts.interrupted(reason, by_thread=by_thread, why=why)
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

    # ------------------------------------------------------------ outcomes

    def committed(self, commit: Commit) -> None:
        """The commit that ends this turn is made already, with its answer as text."""
        self._committed, self._says = commit, (Outcome.COMPLETED, commit.body)

    async def finish(self, outcome: Outcome, *, result: AgentResult, by: Key | None = None) -> None:
        """Commit, push, record. The reply says what was changed, or that nothing was.

        ``by`` is the message that replaces a stopped turn, if one does.
        """
        steered = self._taken_in(outcome, by=by)
        commit = await self._commit(outcome, result.text, steered=steered)
        text = _answer(outcome, text=result.text, changed=commit is not None)
        self._says = (outcome, text) if commit else None
        spent = {
            "duration_ms": result.duration_ms,
            "cost_usd": result.cost_usd,
            "input_tokens": result.input_tokens,
            "output_tokens": result.output_tokens,
        }
        await self._conclude(outcome, text=text, commit=commit, steered=steered, extra=spent)

    def _taken_in(self, outcome: Outcome, *, by: Key | None) -> tuple[Key, ...]:
        """Messages that share this outcome. A stop ends nothing later than its sender saw: the rest goes
        back in line."""
        state = self._parts.board.state
        if outcome is not Outcome.STOPPED:
            return state.steered
        through = by.sequence if by else state.stops.get(self._key.thread_id, 0)
        return tuple(k for k in state.steered if k.sequence <= through)

    async def finish_from_evidence(self, *, fetch: bool = True) -> bool:
        """If an earlier worker committed this message's work, finish the turn from that; whether it did.

        Messages that the turn had taken in stand in the same commit and get the same outcome.
        """
        commit = await self._evidence(fetch=fetch)
        if commit is None:
            return False
        text = _answer(commit.outcome, text=commit.body or prompts.RECOVERED, changed=True)
        self._committed, self._says = commit, (commit.outcome, text)
        state = self._parts.board.state
        also = [k for k in turn.of_thread(state, self._key.thread_id) if k != self._key]
        steered = tuple(k for k in also if state.open[k].message_id in commit.message_ids)
        await self._conclude(commit.outcome, text=text, commit=commit, steered=steered, extra={})
        return True

    async def wait_for_the_remote(self) -> None:
        """Let a turn in doubt go as it stands; said once. It is looked at again in a moment."""
        if self._key not in self._parts.board.state.pauses:
            told = self.draft(
                "turn.interrupted", reason=StopReason.LEASE_LOST, text=prompts.IN_DOUBT, checkpoint=None
            )
            await self._parts.outbox.add(told)
        if self.message is not None:  # its branch was checked out; let pushes of it move it again
            with contextlib.suppress(WorkspaceError):
                await self._parts.workspace.checkpoint(
                    thread_id=self._key.thread_id, turn_id=self.turn_id, reason=StopReason.LEASE_LOST
                )
        self._parts.board.apply(partial(turn.postponed, key=self._key, now=self._parts.now()))

    async def end(self, outcome: Outcome, *, text: str, recovered: bool) -> None:
        """Give a message that does not run its outcome. What its turn had done before is a checkpoint on the
        branch, and said so. ``recovered``: its worker died, so git is asked whether it had finished."""
        if recovered and await self.finish_from_evidence():
            return
        begun = self.record.state is not TurnState.WAITING
        extra: dict[str, Any] = {}
        if begun:
            extra = {"branch": self.branch, "note": prompts.LEFT_ON_BRANCH.format(branch=self.branch)}
            self._parts.later(self._publishing.push_quietly())
        await self._conclude(outcome, text=text, commit=None, steered=(), extra=extra)

    async def _evidence(self, *, fetch: bool) -> Commit | None:
        """The commit with this message's trailer: on this disk, else (``fetch``) on the remote.

        Raises InDoubt when the turn ran on another disk and the remote is away: it may have pushed.
        """
        find = partial(
            self._parts.workspace.find,
            thread_id=self._key.thread_id,
            message_id=self.record.message_id,
            onto=self.record.onto,
        )
        here = await find()
        if here is not None or not fetch:
            return here
        try:
            await self._parts.fetch(seconds=FETCH_SECONDS)
        except WorkspaceError as error:
            log.warning("fetch_failed", error=str(error))
            elsewhere = self.record.place != self._parts.place
            if self.record.state is TurnState.RUNNING and elsewhere:
                raise InDoubt(prompts.IN_DOUBT) from error
        return await find()

    async def give_up(self, text: str) -> None:
        """End the turn as failed, with whatever it changed committed if that is possible. What went wrong
        after the commit changes nothing about the work: the outcome is the one that the commit says."""
        self._parts.board.apply(turn.closing)
        outcome, text = self._says or (Outcome.FAILED, text)
        if self._told:
            self._parts.board.apply(partial(turn.ended, keys=[self._key]))
            return
        commit: Commit | None = None
        extra: dict[str, Any] = {}
        try:
            commit = await self._commit(outcome, text, steered=())
        except WorkspaceError as error:
            extra = {"problem": f"The changes could not be committed: {error}", "note": None}
        if commit is not None:
            # The push may be what failed: it is tried beside the outcome, not before it.
            extra = {"changed": True, "commit": commit.sha, "branch": commit.branch, "note": None}
            extra |= {"problem": prompts.AFTER_COMMIT} if self._says else {}
            self._parts.later(self._publishing.push_later())
        await self._conclude(outcome, text=text, commit=None, steered=(), extra=extra)

    async def _commit(self, outcome: Outcome, body: str, *, steered: tuple[Key, ...]) -> Commit | None:
        if self.record.base is None or self.message is None:
            return None
        if self._committed is not None:
            return self._committed  # what failed came after the commit
        board = self._parts.board.state
        also = tuple(board.open[k].message_id for k in steered)
        self._committed = await self._parts.workspace.commit(
            thread_id=self._key.thread_id,
            base=self.record.base,
            subject=self.message.text.strip().partition("\n")[0],
            body=body,
            message_ids=(self.record.message_id, *also),
            outcome=outcome,
        )
        return self._committed

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
        data: dict[str, Any] = {"text": text, "interruptions": self.record.interruptions}
        data |= await self._publishing.publish(commit) if commit else {"note": prompts.NOTHING_CHANGED}
        data |= extra
        if self.missed:
            problems = (str(data.get("problem") or ""), prompts.missed_files(self.missed))
            data["problem"] = " ".join(filter(None, problems))
        keys = [self._key, *steered]
        final = FINAL[outcome]
        together = {k: v for k, v in data.items() if k in _SHARED} | {
            "text": prompts.TOGETHER,
            "together_with": self.record.message_id,
        }
        drafts = [self.draft(final, **data)] + [self._draft_for(k, final, together) for k in steered]
        await self._parts.outbox.flush()
        await self._record(outcome, keys=keys, drafts=drafts, cost_usd=extra.get("cost_usd", 0.0))
        log.info("turn_ended", outcome=outcome, changed=commit is not None)
        if self.record.base is not None:
            self._parts.show_changes(self._key.thread_id)

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
        fault("pushed")
        async with self._parts.stacking:
            stack = turn.stack_without(self._parts.board.state, keys)
            await self._parts.ledger.finish(endings, stack=stack, drafts=drafts, cost_usd=cost_usd)
            self._told = True
            self._parts.board.apply(partial(turn.ended, keys=keys))
        fault("recorded")


def _answer(outcome: Outcome, *, text: str, changed: bool) -> str:
    if outcome is Outcome.STOPPED:
        return prompts.STOPPED_WITH_WORK if changed else prompts.STOPPED
    return text or prompts.EMPTY_ANSWER
