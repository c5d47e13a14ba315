"""One turn from switch to outcome: drives Claude Code and tells the thread what it does.

It is started and stopped by the engine; *whether* it should be stopped is decided elsewhere, and how it ends
is in ``worker.closing``. Order of effects: switch, start recorded, Claude Code, all its processes dead, then
the close. A crash between any two is put right by the records and the commit's trailer
(``docs/decisions/turns.md``).
"""

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial

from contracts import names
from contracts.faults import fault
from contracts.messages import Message
from contracts.words import MessageId, Mode, Outcome, StopReason, TurnId, TurnState
from worker import prompts, turn
from worker.closing import Closing
from worker.errors import AgentError, InDoubt, LeaseLost, WorkerError, WorkspaceError
from worker.log import get_logger
from worker.memory import give_back
from worker.parts import Parts
from worker.ports import (
    AgentEvent,
    AgentResult,
    AgentRun,
    AgentTurn,
    Checkout,
    Requested,
    Retry,
    Steered,
    Tasks,
    Text,
    Tool,
)
from worker.turn import Key

log = get_logger()

REFRESH_SECONDS = 120.0
"""How long the fetch beside a turn may take."""
NEWS_SECONDS = 10.0
"""How long a turn waits for what people have pushed to the branch that its work goes onto."""

BROKE = "Something went wrong inside the worker; its log says what. Please send the message again."


class RunningTurn:
    """The turn of one message, while it runs."""

    def __init__(self, *, key: Key, parts: Parts) -> None:
        self._key, self._parts = key, parts
        self._old = parts.board.state.open[key]
        self._closing = Closing(key=key, record=self._old, parts=parts)
        self._stream = parts.redactor.stream()
        self._reason: StopReason | None = None
        self._by: Key | None = None
        self._run: AgentRun | None = None
        self._stopper: asyncio.Task[None] | None = None
        self._conflict = ""

    @property
    def turn_id(self) -> TurnId:
        """The turn's id."""
        return self._closing.turn_id

    @property
    def _resumes(self) -> prompts.Reason | None:
        """Why the turn was paused before, or None when it starts for the first time."""
        if self._old.state is TurnState.WAITING:
            return None
        return (
            "recovered" if self._old.state is TurnState.RUNNING else self._old.reason or StopReason.PREEMPTED
        )

    # ------------------------------------------------------------ from the engine

    def stop(self, reason: StopReason, *, by: Key | None) -> None:
        """Stop Claude Code for this reason; a later, stronger reason replaces it."""
        self._reason, self._by = reason, by
        self._stop_run()

    def _stop_run(self) -> None:
        if self._reason is not None and self._run is not None and self._stopper is None:
            self._stopper = asyncio.create_task(self._run.stop())

    def steer(self, message: Message) -> None:
        """Hand a message to Claude Code at its next step; too late, it goes back in line."""
        if self._run is not None and message.uploads:
            self._parts.later(self._steer_with_files(message))
        elif self._run is not None:
            self._run.steer(message_id=message.id, text=message.text)

    async def _steer_with_files(self, message: Message) -> None:
        """As above, once its files are laid."""
        with suppress(LeaseLost):  # seen by whatever writes next
            note = await self._lay(message)
            if self._run is not None:
                self._run.steer(message_id=message.id, text=message.text + note)

    # ------------------------------------------------------------ the life of a turn

    async def perform(self) -> None:
        """Run to the outcome, or to the parking place. Raises LeaseLost; any other failure ends the turn."""
        try:
            await self._perform()
        except LeaseLost:
            raise
        except WorkerError as error:
            log.warning("turn_failed", error=str(error))
            await self._give_up(str(error))
        except Exception:
            log.exception("turn_broke")
            await self._give_up(BROKE)

    async def _give_up(self, text: str) -> None:
        """End the turn as failed; one that cannot even be ended is tried again, and stops nobody else."""
        try:
            await self._closing.give_up(text)
        except LeaseLost:
            raise
        except Exception:
            log.exception("turn_postponed")
            self._parts.board.apply(partial(turn.postponed, key=self._key, now=self._parts.now()))

    async def _perform(self) -> None:
        if self._parts.offline and self._old.model == "real":
            await self._wait_for_a_real_model()
            return
        message, checkout = await self._prepare()
        try:
            if await self._was_done():
                return
        except InDoubt:
            await self._closing.wait_for_the_remote()
            return
        fault("switched")
        await self._begin(checkout)
        fault("started")
        result = await (self._update(message) if message.action else self._converse(message))
        if self._parts.board.state.lost or self._reason is StopReason.LEASE_LOST:
            raise LeaseLost("The lease was lost while the turn ran; nothing of it is recorded here.")
        self._parts.board.apply(turn.closing)
        self._parts.preview.switched()  # the turn may have changed what the preview depends on
        await self._say(self._stream.flush())
        await self._close(result)

    async def _was_done(self) -> bool:
        """Finish from evidence if there is any.

        A turn whose worker died, and a message that steers (a turn may have taken it in before its worker
        died), are looked for on the remote as well. A parked turn may have been finished on this very disk
        by a worker that died before it could say so, and have gone on elsewhere since.
        """
        doubtful = self._resumes == "recovered" or self._old.mode is Mode.STEER
        if not doubtful and self._resumes is None:
            return False
        return await self._closing.finish_from_evidence(fetch=doubtful)

    async def _wait_for_a_real_model(self) -> None:
        """A script must not finish what a model began: the thread is left as it is until one is there."""
        board = self._parts.board
        waits = self._closing.draft(
            "turn.interrupted", reason=StopReason.BUDGET, text=prompts.NO_MODEL, checkpoint=None
        )
        await self._parts.outbox.add(waits)
        for key in turn.of_thread(board.state, self._key.thread_id):
            board.apply(partial(turn.set_aside, key=key))

    async def _prepare(self) -> tuple[Message, Checkout]:
        key, parts = self._key, self._parts
        message, checkout = await asyncio.gather(
            parts.ledger.message(thread_id=key.thread_id, sequence=key.sequence),
            self._switch(),
        )
        self._closing.message = message
        parts.preview.switched()
        parts.later(self._refresh())
        return message, checkout

    async def _switch(self) -> Checkout:
        """The thread's branch; with what people have just pushed, where its work goes onto a branch of
        theirs: that may be what the message is about."""
        onto, workspace = self._old.onto, self._parts.workspace
        if onto is not None and self._resumes is None:
            await self._news()
        return await workspace.switch(self._key.thread_id, message_id=self._old.message_id, onto=onto)

    async def _news(self) -> None:
        """What people have pushed, if the remote can say so in time."""
        try:
            await self._parts.fetch(seconds=NEWS_SECONDS)
        except WorkspaceError as error:
            log.warning("fetch_failed", error=str(error))

    async def _refresh(self) -> None:
        """Fetch beside the turn, for branches that start later, and pack what has piled up."""
        try:
            await self._parts.fetch(seconds=REFRESH_SECONDS)
        except LeaseLost:
            self._parts.board.apply(turn.lost)
        except WorkspaceError as error:
            log.warning("fetch_failed", error=str(error))
        await self._parts.workspace.tidy()
        give_back()

    async def _begin(self, checkout: Checkout) -> None:
        """Record the start, with ``turn.started`` the first time and ``turn.resumed`` later."""
        record = self._old.model_copy(
            update={
                "state": TurnState.RUNNING,
                "attempts": self._old.attempts + 1,
                "base": self._old.base or checkout.head,
                "model": "offline" if self._parts.offline else "real",
                "place": self._parts.place,
                "reason": None,
                "resumes_at": None,
            }
        )
        told = {"branch": checkout.branch, "attempt": record.attempts}
        if self._resumes:
            text = prompts.resumed(self._resumes)
            draft = self._closing.draft("turn.resumed", reason=str(self._resumes), text=text, **told)
        else:
            session = str(self._parts.session(self._key.thread_id))
            draft = self._closing.draft("turn.started", base=checkout.head, session_id=session, **told)
        await self._closing.write(record, [draft])

    # ------------------------------------------------------------ an update

    async def _update(self, message: Message) -> AgentResult:
        """Merge the default branch; Claude Code is asked only where that is not clean."""
        await self._news()
        if self._reason is not None or self._parts.board.state.lost:
            return AgentResult(ended="stopped", text="")
        updated = await self._parts.workspace.update(
            thread_id=self._key.thread_id,
            message_id=message.id,
            subject=message.text,
            body=prompts.merged,
        )
        if updated.commit is not None:
            self._closing.committed(updated.commit)
            return AgentResult(ended="completed", text=updated.commit.body)
        if not updated.conflicts:
            return AgentResult(ended="completed", text=prompts.up_to_date(updated.default))
        self._conflict = prompts.conflict(
            default=updated.default, branch=self._closing.branch, files=updated.conflicts
        )
        result = await self._converse(message)
        if result.ended != "completed" or await self._parts.workspace.takes_in(sha=updated.sha):
            return result
        told = prompts.not_merged(default=updated.default)
        return replace(result, text=f"{result.text}\n\n{told}".strip())

    # ------------------------------------------------------------ Claude Code

    async def _converse(self, message: Message) -> AgentResult:
        """Run Claude Code; once more in the same session if it crashed by itself."""
        note = await self._lay(message)
        if self._parts.sessions is not None:
            await self._parts.sessions.lay(message.thread_id)
        result = await self._run_agent(await self._prompt(message, self._resumes, note=note))
        if result.ended == "failed" and result.crashed and self._reason is None:
            log.warning("agent_crashed", text=result.text)
            result = await self._run_agent(await self._prompt(message, "crashed", note=note))
        return result

    async def _lay(self, message: Message) -> str:
        """Put the message's files where Claude Code can read them; what it is told about them."""
        if self._parts.uploads is None or not message.uploads:
            return ""
        laid = await self._parts.uploads.lay(message.thread_id, message.uploads)
        self._closing.missed += [each for each in laid.missed if each not in self._closing.missed]
        return prompts.with_files(laid)

    async def _prompt(self, message: Message, reason: prompts.Reason | None, *, note: str) -> AgentTurn:
        """What Claude Code is told, and of an update what is in conflict, which it has to merge again."""
        told = await self._request(message, reason, note=note)
        return replace(told, prompt=f"{told.prompt}\n\n{self._conflict}".rstrip()) if self._conflict else told

    async def _request(self, message: Message, reason: prompts.Reason | None, *, note: str) -> AgentTurn:
        """The person's text, once; after that only that it goes on. ``note``: about the files that came with
        it, which may be elsewhere when it goes on."""
        parts, prompt_id = self._parts, names.prompt(self.turn_id)
        session = parts.session(self._key.thread_id)
        told = AgentTurn(
            thread_id=self._key.thread_id,
            turn_id=self.turn_id,
            session_id=session,
            prompt=message.text + note,
            prompt_id=prompt_id,
            context=prompts.context(project=parts.project, branch=self._closing.branch, onto=self._old.onto),
            cwd=parts.workspace.path,
            marker=f"{self.turn_id}.{parts.owner}",
            readable=parts.uploads.folder(self._key.thread_id) if parts.uploads else None,
            grown=partial(parts.sessions.ring, self._key.thread_id) if parts.sessions else None,
        )
        if reason is None:
            return told
        if await parts.agent.remembers(session_id=session, prompt_id=prompt_id):
            # With sessions on the disk alone, what remembers the request is on the disk that has the work.
            moved = parts.sessions is not None and self._old.place not in (None, parts.place)
            prompt = prompts.resume(reason=reason, moved=moved) + note
            return replace(told, prompt=prompt, prompt_id=None)
        return replace(told, prompt=prompts.replay(text=message.text + note, reason=reason))

    async def _run_agent(self, told: AgentTurn) -> AgentResult:
        if self._reason is not None:
            return AgentResult(ended="stopped", text="")
        try:
            self._run = await self._parts.agent.start(told)
        except AgentError as error:
            return AgentResult(ended="failed", text=str(error), crashed=True)
        self._parts.board.apply(turn.ready)
        self._stop_run()
        try:
            async for event in self._run.events():
                await self._tell(event)
        except BaseException:
            await self._run.stop()
            raise
        finally:
            run, self._run = self._run, None
            if self._stopper is not None:
                await self._stopper
            result = await run.close()
            if self._parts.sessions is not None:
                await self._parts.sessions.keep(self._key.thread_id)
        return result

    async def _tell(self, event: AgentEvent) -> None:
        """Put what Claude Code does into the thread's log."""
        match event:
            case Text(text=text):
                await self._say(self._stream.feed(text))
            case Tool():
                fault("mid_turn")
                await self._say(self._stream.flush())
                await self._add(
                    "turn.tool",
                    tool_use_id=event.tool_use_id,
                    name=event.name,
                    state=event.state,
                    input=_relative(event.input, root=f"{self._parts.workspace.path}/"),
                    output=event.output,
                )
            case Tasks(tasks=tasks):
                entries = [{"id": t.id, "subject": t.subject, "status": t.status} for t in tasks]
                await self._add("turn.tasks", tasks=entries)
            case Steered(message_id=message_id):
                await self._steered(message_id)
            case Requested(model=model):
                log.info("model_asked", model=model)
            case Retry():
                log.warning("model_retry", attempt=event.attempt, delay=event.delay, status=event.status)

    async def _say(self, text: str) -> None:
        if text:
            await self._add("turn.text", text=text)

    async def _add(self, type_: str, **data: object) -> None:
        await self._parts.outbox.add(self._closing.draft(type_, **data))

    async def _steered(self, message_id: MessageId) -> None:
        board = self._parts.board
        key = next((k for k, r in board.state.open.items() if r.message_id == message_id), None)
        if key is None or key not in board.state.steering:
            return
        board.apply(partial(turn.steered, key=key))
        await self._parts.outbox.add(self._closing.draft_steered(key))

    # ------------------------------------------------------------ the end

    async def _close(self, result: AgentResult) -> None:
        match result.ended, self._reason:
            case "completed", _:
                await self._closing.finish(Outcome.COMPLETED, result=result)
            case "limited", _:
                await self._closing.park(
                    StopReason.BUDGET, by=None, resumes_at=result.resets_at, why=result.text
                )
            case "stopped", StopReason.PREEMPTED | StopReason.DRAINING as reason:
                await self._closing.park(reason, by=self._by)
            case "stopped", StopReason.USER_STOP:
                await self._closing.finish(Outcome.STOPPED, result=result, by=self._by)
            case "stopped", _:
                raise LeaseLost("Claude Code was stopped though nobody asked: this worker is going down.")
            case _:
                await self._closing.finish(Outcome.FAILED, result=result)


def _relative(value: object, *, root: str) -> object:
    """Paths of the checkout as people know them: from its root."""
    match value:
        case str():
            return value.replace(root, "")
        case dict():
            return {k: _relative(v, root=root) for k, v in value.items()}
        case list():
            return [_relative(v, root=root) for v in value]
        case _:
            return value
