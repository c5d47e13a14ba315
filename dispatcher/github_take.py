"""What is done about somebody's call on GitHub: admitted, remembered, taken in, seen with eyes.

Admission is by GitHub's permission API, before anything is recorded. Everything that has to last has happened
when ``take`` returns; the reaction may be lost. Reads no HTTP request.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol

import structlog

from contracts.messages import Author
from contracts.places import LinkKind
from contracts.records import MessageRecord
from contracts.words import Frontend, ThreadId, WorkerId
from dispatcher.errors import DELETING, Conflict, Invalid, NotFound, TooLarge, Unavailable
from dispatcher.github_api import GitHub, Pull
from dispatcher.github_handed import handed
from dispatcher.github_onto import onto_of, shows, thread_of
from dispatcher.github_parse import Trigger
from dispatcher.github_refusal import Refusal, Refusals
from dispatcher.ingest import Post, new_thread_id
from dispatcher.posting import Later, Undeliverable
from dispatcher.seams import Intake, People, Places

_log = structlog.get_logger(__name__)
EYES = "eyes"
_MAY_WRITE = ("write", "admin")
_REACTION_SECONDS = 2.0
_UNDERWAY = timedelta(seconds=10)
"""Longest way of a text from where it was written to our clock."""


@dataclass(frozen=True)
class Whose:
    """A worker and a thread of it; with project and user when the thread is still to be made.

    ``onto``: the branch of people's that its work goes onto. ``after``: the last message that is of no
    interest in a place that is new to the thread.
    """

    worker: WorkerId
    thread_id: ThreadId
    project: str | None = None
    user: str | None = None
    onto: str | None = None
    after: int = 0


class Workers(Protocol):
    """Whose worker does what."""

    async def worker(self, *, project: str, user: str, login: str) -> WorkerId | None:
        """The worker of a project and of the user whom ``login`` is linked with; None when the project is
        unknown or the user may not use it. Raises Unavailable."""


class Log(Protocol):
    """What is recorded of a thread."""

    async def messages(self, *, worker: WorkerId, thread_id: ThreadId) -> list[MessageRecord]:
        """All, in order."""


class Take:
    """Does what a trigger asks for, if its author may ask."""

    def __init__(
        self,
        *,
        github: GitHub,
        intake: Intake,
        people: People,
        places: Places,
        workers: Workers,
        refusals: Refusals,
        log: Log,
    ) -> None:
        self._github = github
        self._intake = intake
        self._people = people
        self._places = places
        self._workers = workers
        self._refusals = refusals
        self._log = log

    async def take(self, trigger: Trigger) -> str:
        """One word on what happened. Raises Later, Undeliverable, Unavailable: then nothing was promised."""
        if await self._github.permission(trigger.repo, trigger.login) not in _MAY_WRITE:
            return await self._refusals.refuse(trigger, Refusal.NO_WRITE)
        found = await self._places.thread_at(Frontend.GITHUB, trigger.address)
        if trigger.stops:
            return await self._stop(trigger, found)
        if found is not None and await self._is_there(found[1]):
            await self._places.remember(Frontend.GITHUB, trigger.address, *found)
            return await self._post(trigger, Whose(*found))
        pull = await self._github.pull(trigger.repo, trigger.number) if trigger.is_pull else None
        whose = await self._new(trigger, pull, is_known=found is not None)
        if isinstance(whose, Refusal):
            return await self._refusals.refuse(trigger, whose)
        return await self._begin(trigger, whose)

    async def _new(self, trigger: Trigger, pull: Pull | None, *, is_known: bool) -> Whose | Refusal:
        """The thread that a place gets, or why there is none. ``is_known``: it was promised one before."""
        user, project = await asyncio.gather(
            self._people.user_of(LinkKind.GITHUB_USER, trigger.login),
            self._people.project_of(LinkKind.GITHUB_REPO, trigger.repo),
        )
        if project is None:
            return Refusal.NO_PROJECT
        shown = await self._shown(pull, project) if pull and not is_known else None
        if shown is not None:
            return shown
        if user is None:
            return Refusal.NO_USER
        worker = await self._workers.worker(project=project, user=user, login=trigger.login)
        if worker is None:
            return Refusal.NO_ACCESS
        onto = onto_of(pull) if pull else None
        return Whose(worker, thread_id_of(trigger), project=project, user=user, onto=onto)

    async def _shown(self, pull: Pull, project: str) -> Whose | None:
        """The thread whose branch a pull request shows: words about its work belong to it."""
        thread_id = thread_of(pull)
        if thread_id is None:
            return None
        try:
            worker, row = await self._intake.thread(thread_id)
        except NotFound:
            return None
        return (
            Whose(worker, thread_id, after=row.last_sequence)
            if shows(row, pull=pull, project=project)
            else None
        )

    async def _begin(self, trigger: Trigger, whose: Whose) -> str:
        """The first message of a place: it keeps the thread that it was given first."""
        worker, thread_id = await self._places.remember(
            Frontend.GITHUB, trigger.address, whose.worker, whose.thread_id, after=whose.after
        )
        if worker == whose.worker:
            return await self._post(trigger, replace(whose, thread_id=thread_id))
        if await self._is_there(thread_id):  # somebody else's call was faster
            return await self._post(trigger, Whose(worker, thread_id))
        raise Unavailable("Another call in this place is being taken in: deliver this one again.")

    async def _post(self, trigger: Trigger, whose: Whose) -> str:
        post = Post(
            text=await self._text(trigger, is_first=whose.project is not None),
            thread_id=whose.thread_id,
            project=whose.project,
            user=whose.user,
            mode=trigger.mode,
            message_id=trigger.message_id,
            frontend=Frontend.GITHUB,
            author=Author(id=trigger.login, name=trigger.login),
            onto=whose.onto,
            onto_is_closed=trigger.is_pull and not trigger.is_open,
        )
        try:
            await self._intake.post(post)
        except Conflict as error:
            if error.code == DELETING:  # when it is sent again, the place is free for a new thread
                raise Unavailable(str(error)) from error
            if error.code != "message_id_used":
                raise
            return "duplicate"  # the same text of theirs; only what is quoted around it reads differently now
        except (Invalid, TooLarge) as error:
            _log.info("github text not usable", place=trigger.address, problem=str(error))
            return await self._refusals.refuse(trigger, Refusal.NOT_USABLE)
        await self._look(trigger)
        return "accepted"

    async def _text(self, trigger: Trigger, *, is_first: bool) -> str:
        """What is handed to the worker: their words first, then what they are about, as data."""
        safe = is_first and trigger.subject is not None and await self._is_unedited(trigger)
        return handed(trigger, with_subject=is_first, with_body=safe)

    async def _is_unedited(self, trigger: Trigger) -> bool:
        """Whether the text above the call is what its author could see when calling."""
        edited = await self._github.last_edit(trigger.repo, trigger.number)
        return edited is None or edited < trigger.created

    async def _is_there(self, thread_id: ThreadId) -> bool:
        try:
            await self._intake.thread(thread_id)
        except NotFound:
            return False
        return True

    async def _stop(self, trigger: Trigger, found: tuple[WorkerId, ThreadId] | None) -> str:
        """Ends what was asked before this ``stop`` was written, however late or often it arrives."""
        if found is None:
            return "nothing to stop"
        recorded = await self._log.messages(worker=found[0], thread_id=found[1])
        seen = [m.sequence for m in recorded if _before(m, trigger)]
        if seen:
            with suppress(NotFound):
                await self._intake.stop(found[1], through=max(seen))
        await self._look(trigger)
        return "stopping"

    async def _look(self, trigger: Trigger) -> None:
        """Eyes on the text. The message is durable already, so a failure is only logged."""
        if trigger.reactions is None:
            return
        try:
            async with asyncio.timeout(_REACTION_SECONDS):
                await self._github.react(trigger.repo, trigger.reactions, EYES)
        except (Later, Undeliverable, TimeoutError) as error:
            _log.info("no reaction", place=trigger.address, problem=str(error))


def thread_id_of(trigger: Trigger) -> ThreadId:
    """A new id that a person recognizes in a list of branches: ``issue-42-k3x9m2aq``."""
    kind = "pr" if trigger.is_pull else "issue"
    return ThreadId(f"{kind}-{trigger.number}-{new_thread_id()[:8]}")


def _before(message: MessageRecord, trigger: Trigger) -> bool:
    """Whether a message is older than a ``stop``: by GitHub's own count of comments where it counted both."""
    kind, _, number = trigger.message_id.rpartition(":")
    other, _, its = message.id.rpartition(":")
    if message.frontend is Frontend.GITHUB and other == kind and its.isdecimal():
        return int(its) < int(number)
    return message.received <= trigger.created + _UNDERWAY
