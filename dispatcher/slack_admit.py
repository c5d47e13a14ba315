"""Who may write what where in Slack: a person becomes a user, a place a thread, or the answer is no.

Reads links, places and the configuration; writes nothing. A ``No`` says in one sentence whom to ask.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from contracts.events import Event
from contracts.places import LinkKind
from contracts.records import MessageRecord, ThreadRecord, WorkerRecord
from contracts.words import ThreadId, WorkerId
from dispatcher import route
from dispatcher import slack_words as words
from dispatcher.errors import NotFound
from dispatcher.ingest import new_thread_id
from dispatcher.seams import Intake, People
from dispatcher.settings import Settings
from dispatcher.slack_parse import Pressed, Said

_LOOKS = 10
_LOOK_SECONDS = 0.15


class Log(Protocol):
    """What is recorded of a thread."""

    async def messages(self, *, worker: WorkerId, thread_id: ThreadId) -> list[MessageRecord]:
        """All, in order."""

    async def events(self, *, worker: WorkerId, thread_id: ThreadId, after: int) -> list[Event]:
        """The next page after a number."""

    async def worker(self, worker: WorkerId) -> WorkerRecord | None:
        """A worker's row."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """The thread a message goes to. ``known``: there are messages in it already."""

    worker: WorkerId
    thread_id: ThreadId
    project: str
    known: bool


class No(Exception):
    """Not admitted; the text is for the person."""


class Admission:
    """Decides who may write where."""

    def __init__(self, *, settings: Settings, ingest: Intake, people: People) -> None:
        self._settings = settings
        self._ingest = ingest
        self._people = people

    async def user(self, spot: Said | Pressed) -> str:
        user = await self._people.user_of(LinkKind.SLACK_USER, f"{spot.team}/{spot.user}")
        if user is None:
            raise No(words.stranger(team=spot.team, user=spot.user))
        return user

    async def goal(self, spot: Said | Pressed, *, user: str, at: tuple[WorkerId, ThreadId] | None) -> Goal:
        """The thread this is for. Raises No for somebody who may not write there."""
        row = await self._row(at[1]) if at else None
        if at and row:
            await self._check(spot, user=user, project=row.project)
            return Goal(worker=at[0], thread_id=at[1], project=row.project, known=True)
        project = await self._project(spot, user=user)
        worker = route.worker_of(name=project, project=self._settings.projects[project], user=user).worker_id
        if at is not None and at[0] != worker:
            return await self._begun_by_another(spot, at, user=user)
        thread_id = at[1] if at else new_thread_id()
        return Goal(worker=worker, thread_id=thread_id, project=project, known=False)

    async def _row(self, thread_id: ThreadId) -> ThreadRecord | None:
        """None when the place was kept, but its first message is not, or not yet."""
        with suppress(NotFound):
            return (await self._ingest.thread(thread_id))[1]
        return None

    async def _begun_by_another(
        self, spot: Said | Pressed, at: tuple[WorkerId, ThreadId], *, user: str
    ) -> Goal:
        """Somebody else's first message is being recorded at this moment, or was lost."""
        for _ in range(_LOOKS):
            await asyncio.sleep(_LOOK_SECONDS)
            row = await self._row(at[1])
            if row is not None:
                await self._check(spot, user=user, project=row.project)
                return Goal(worker=at[0], thread_id=at[1], project=row.project, known=True)
        raise No(words.LOST)

    async def _project(self, spot: Said | Pressed, *, user: str) -> str:
        project = await self._people.project_of(LinkKind.SLACK_CHANNEL, f"{spot.team}/{spot.channel}")
        if project is None and isinstance(spot, Said) and spot.direct:
            project = self._chosen(spot, user=user)
        if project is None or project not in self._settings.projects:
            raise No(words.no_project(team=spot.team, channel=spot.channel))
        await self._check(spot, user=user, project=project)
        return project

    def _chosen(self, said: Said, *, user: str) -> str:
        """The project of a direct message: the one it names, or the only one its author has."""
        theirs = projects_of(self._settings, user=user)
        if said.project in theirs:
            return said.project
        if len(theirs) != 1:
            raise No(words.which_project(theirs))
        return theirs[0]

    async def _check(self, spot: Said | Pressed, *, user: str, project: str) -> None:
        theirs = project in projects_of(self._settings, user=user)
        if not theirs and not await self._is_let_in(spot, user=user, project=project):
            raise No(words.not_yours(project=project))

    async def _is_let_in(self, spot: Said | Pressed, *, user: str, project: str) -> bool:
        """Whether a person has linked somebody whom the file does not know: they may work in the channels of
        projects. A link of the file that is left over from an older one lets nobody in."""
        if user in self._settings.fleet.user:
            return False
        link = await self._people.link(LinkKind.SLACK_USER, f"{spot.team}/{spot.user}")
        if link is None or link.source != "person" or link.target != user:
            return False
        channel = f"{spot.team}/{spot.channel}"
        return await self._people.project_of(LinkKind.SLACK_CHANNEL, channel) == project


def projects_of(settings: Settings, *, user: str) -> tuple[str, ...]:
    """What a user may use: as the file says, and everything for the local user of a fleet without one."""
    named = settings.fleet.user.get(user)
    if named is not None:
        return tuple(name for name in named.projects if name in settings.projects)
    return tuple(settings.projects) if user == settings.user else ()
