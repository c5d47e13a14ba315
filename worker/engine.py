"""The loop: looks at the records, asks ``decide`` what to do, does it, until it is told to leave.

Everything is level-triggered: a delivery, a timer or the end of a turn only makes the loop look again. The
loop itself never waits for Claude Code, git or a push; a turn does, beside it.
"""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any

from contracts.words import ThreadId, TurnState
from worker import turn
from worker.closing import Closing
from worker.decide import (
    Action,
    ClearStop,
    Delete,
    End,
    Leave,
    Lift,
    Start,
    Steer,
    Stop,
    ahead,
    decide,
    wakes_at,
)
from worker.deleting import Deletion
from worker.errors import InDoubt, LeaseLost
from worker.log import bound, get_logger
from worker.parts import Parts
from worker.ports import Draft, Inbox, Lease
from worker.running import RunningTurn
from worker.turn import Key

log = get_logger()

BACKGROUND_SECONDS = 25.0
"""How long pushes under way may take when the worker leaves."""
PREVIEW_CHECK_SECONDS = 30.0
LOOK_SECONDS = 5.0
"""How long one look may take: the loop has other things to heed."""


class Left(StrEnum):
    """Why the loop ended."""

    DRAINED = "drained"
    IDLE = "idle"
    LEASE_LOST = "lease_lost"


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Times in seconds: how often to look without being rung, and after how long to leave when idle."""

    look: float = 60.0
    idle: float = 1200.0


class Engine:
    """One worker's loop. ``run`` may be called once."""

    def __init__(self, *, parts: Parts, inbox: Inbox, lease: Lease, pace: Pace) -> None:
        self._parts = replace(parts, later=self._later)
        self._board, self._ledger = parts.board, parts.ledger
        self._inbox, self._lease, self._pace = inbox, lease, pace
        self._turn: RunningTurn | None = None
        self._task: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._rung = True
        self._looked = 0.0
        self._seen = 0.0
        self._active = time.monotonic()
        self._pause = 0.0

    # ------------------------------------------------------------ from outside

    def ring(self) -> None:
        """Something may have arrived."""
        self._rung = True
        self._board.ring()

    def drain(self) -> None:
        """Stop taking work and leave cleanly."""
        self._board.apply(turn.draining)
        self._parts.leaving.set()

    def lost(self) -> None:
        """The lease is lost: write nothing more and leave."""
        self._board.apply(turn.lost)
        self._parts.leaving.set()

    # ------------------------------------------------------------ the loop

    async def run(self) -> Left:
        """Until there is a reason to leave. Raises what broke a turn beyond repair."""
        stack = await self._ledger.stack()
        self._board.apply(partial(replace, stack=stack))
        if self._parts.changes is not None:
            self._later(self._parts.changes.catch_up())
        try:
            while True:
                if self._rung or time.monotonic() - self._looked >= self._pace.look:
                    await self._look()
                action = decide(self._board.state, now=self._parts.now())
                if isinstance(action, Leave):
                    return Left.LEASE_LOST if self._board.state.lost else Left.DRAINED
                if action is not None:
                    await self._guarded(action)
                elif await self._idle():
                    return Left.IDLE
                else:
                    await self._board.changed(seconds=self._patience())
                if self._failure is not None:
                    raise self._failure
        finally:
            await self._end_turn()
            await self._settle_background()

    async def _end_turn(self) -> None:
        """When the loop breaks, the turn breaks with it, before anything could take it for finished."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _guarded(self, action: Action) -> None:
        try:
            await self._perform(action)
        except LeaseLost:
            self.lost()

    async def _look(self) -> None:
        """Read the records once. A look that fails is tried again, a little later each time."""
        began = time.monotonic()
        if began < self._looked + self._pause:
            return
        self._rung = False
        self._board.apply(turn.look_began)
        number = self._board.state.looks
        self._looked = began
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                found, stops = await self._ledger.look()
        except Exception as error:
            self._pause = min(max(self._pause * 2, 0.5), 15.0)
            self._rung = True
            log.warning("look_failed", error=str(error), again_in=self._pause)
            return
        self._pause = 0.0
        self._board.apply(partial(turn.looked, number=number, open_=found, stops=stops))
        self._seen = began
        self._settle()

    def _settle(self) -> None:
        """Deliveries of what has its outcome are done with; those that came after the last look are not
        judged yet."""
        state = self._board.state
        left = [*state.open, *(k for k, n in state.ended.items() if n == turn.NEVER_AGAIN)]
        self._inbox.settle(open_keys=left, before=self._seen)

    def _patience(self) -> float:
        now = time.monotonic()
        due = self._looked + (self._pause if self._rung else self._pace.look) - now
        limits = [due, self._active + self._pace.idle - now, PREVIEW_CHECK_SECONDS]
        if (at := wakes_at(self._board.state, now=self._parts.now())) is not None:
            limits.append(at - self._parts.now())
        return max(min(limits), 0.01)

    # ------------------------------------------------------------ actions

    async def _perform(self, action: Action) -> None:
        match action:
            case Lift(key=key):
                await self._lift(key)
            case Start(key=key):
                self._start(key)
            case Stop(reason=reason, by=by):
                log.info("turn_stopping", reason=reason, thread=action.key.thread_id)
                self._board.apply(partial(turn.stopping, reason=reason))
                if self._turn is not None:
                    self._turn.stop(reason, by=by)
            case Steer(key=key):
                await self._steer(key)
            case End():
                await self._end(action)
            case ClearStop(thread_id=thread_id, through=through):
                await self._ledger.clear_stop(thread_id=thread_id, through=through)
                self._board.apply(partial(turn.stop_cleared, thread_id=thread_id))
            case Delete(thread_id=thread_id):
                self._board.apply(partial(turn.removing, thread_id=thread_id))
                self._later(self._delete(thread_id))

    async def _delete(self, thread_id: ThreadId) -> None:
        """Remove what is left of a thread, beside the turns of others."""
        try:
            await Deletion(thread_id=thread_id, parts=self._parts).perform()
        except LeaseLost:
            self.lost()
        except Exception:
            log.exception("thread_not_removed", thread=thread_id)
            self._board.apply(partial(turn.not_removed, thread_id=thread_id, now=self._parts.now()))
        else:
            self._board.apply(partial(turn.removed, thread_id=thread_id))

    async def _lift(self, key: Key) -> None:
        record = self._board.state.open[key]
        async with self._parts.stacking:
            stack = (key.thread_id, *(t for t in self._board.state.stack if t != key.thread_id))
            await self._ledger.lift(record, stack=stack)
            self._board.apply(partial(turn.lifted, key=key, stack=stack))
        if waits := ahead(self._board.state, key):
            draft = Draft(
                type="message.queued",
                thread_id=key.thread_id,
                message_id=record.message_id,
                data={"ahead": waits},
            )
            await self._parts.outbox.add(draft)

    def _start(self, key: Key) -> None:
        record = self._board.state.open[key]
        self._board.apply(partial(turn.started, key=key))
        mine = self._turn = RunningTurn(key=key, parts=self._parts)
        with bound(thread=key.thread_id, message=record.message_id, turn=mine.turn_id):
            log.info("turn_starting", state=record.state, attempt=record.attempts + 1)
            self._task = asyncio.create_task(mine.perform(), name=f"turn {key}")
        self._task.add_done_callback(partial(self._turn_over, mine))

    def _turn_over(self, mine: RunningTurn | None, task: asyncio.Task[None]) -> None:
        """A turn's task has ended; the next turn may have been started before this is called."""
        if self._turn is mine:
            self._turn = None
        self._active = time.monotonic()
        self._settle()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, LeaseLost):
            self._board.apply(lambda s: replace(turn.lost(s), running=None))
        elif error is not None or task.cancelled():
            self._failure = error or asyncio.CancelledError()
        self._board.ring()

    async def _steer(self, key: Key) -> None:
        """Hand the text to the running turn, if it still runs when the text is read."""
        message = await self._ledger.message(thread_id=key.thread_id, sequence=key.sequence)
        self._board.apply(partial(turn.steering, key=key))
        if self._turn is not None:
            self._turn.steer(message)

    async def _end(self, action: End) -> None:
        """Give a message that does not run its outcome."""
        record = self._board.state.open[action.key]
        closing = Closing(key=action.key, record=record, parts=self._parts)
        if record.state is TurnState.RUNNING and self._board.state.running is None:
            # Its worker died: git is asked first, beside the loop, as a turn that is closing.
            self._board.apply(partial(turn.started, key=action.key))
            self._board.apply(turn.closing)
            self._task = asyncio.create_task(self._conclude(closing, action, recovered=True))
            self._task.add_done_callback(partial(self._turn_over, None))
            return
        await self._conclude(closing, action, recovered=False)
        self._settle()

    async def _conclude(self, closing: Closing, action: End, *, recovered: bool) -> None:
        """What cannot be ended now is tried again, and must not stop all the others."""
        try:
            await closing.end(action.outcome, text=action.text, recovered=recovered)
        except LeaseLost:
            raise
        except InDoubt:
            await closing.wait_for_the_remote()
        except Exception:
            log.exception("turn_postponed")
            self._board.apply(partial(turn.postponed, key=action.key, now=self._parts.now()))

    # ------------------------------------------------------------ leaving

    async def _idle(self) -> bool:
        """Whether the worker was idle long enough and no message came while it said so."""
        state = self._board.state
        if state.open or state.deletes or state.running or self._background:
            self._active = time.monotonic()
            return False
        if time.monotonic() - self._active < self._pace.idle:
            return False
        if await self._parts.preview.connections():
            self._active = time.monotonic()
            return False
        return await self._go_cold()

    async def _go_cold(self) -> bool:
        """Mark the row cold, then read the records: a sender who saw ``up`` has left a record to be found."""
        try:
            await self._lease.cold()
            self._rung, self._pause = True, 0.0
            await self._look()
            state = self._board.state
            if not (state.open or state.deletes or self._rung):
                return True
            self._active = time.monotonic()
            await self._lease.warm()
        except LeaseLost:
            self.lost()
        except Exception as error:
            log.warning("not_gone_cold", error=str(error))
            self._active = time.monotonic()
        return False

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background_over)

    def _background_over(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background_failed", error=repr(error))

    async def _settle_background(self) -> None:
        """Let pushes under way finish; then end what is left."""
        if self._background:
            patience = 0 if self._board.state.lost else BACKGROUND_SECONDS
            await asyncio.wait(self._background, timeout=patience)
        for task in list(self._background):
            task.cancel()
