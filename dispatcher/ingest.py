"""The way of a message into the system: record, send, look at the worker's row, wake.

The order is the guarantee. What is recorded is never lost: when the queue cannot be reached afterwards the
sender is still told that the message was taken, because the worker and the sweep look at the records.
"""

import secrets
import uuid

import structlog
from pydantic import BaseModel, ConfigDict

from contracts.faults import fault
from contracts.messages import Author, Pointer
from contracts.records import StopRecord, ThreadRecord, WorkerRecord
from contracts.words import Action, Frontend, MessageId, Mode, ThreadId, WorkerId
from dispatcher import route
from dispatcher.access import unknown_thread
from dispatcher.contact import Contact
from dispatcher.errors import QueueMissing, Unavailable
from dispatcher.parts import Draft
from dispatcher.queues import Queues
from dispatcher.record import Recorded, Recorder
from dispatcher.settings import Settings
from dispatcher.streams import Streams
from dispatcher.table import Table
from dispatcher.wake import Wake

_log = structlog.get_logger(__name__)
_LETTERS = "abcdefghijkmnpqrstuvwxyz"
_DIGITS = "23456789"


class Post(BaseModel):
    """What a frontend hands in. Without ``thread_id`` a thread is made; without ``message_id`` an id is.

    ``user``: whose worker a new thread goes to; without it, the person's at this machine. ``onto``: the
    branch of people's that the work of a new thread goes onto; ``onto_is_closed``: that of this message does
    not, whatever the thread's does. ``uploads``: ids of files that the author has sent.
    """

    model_config = ConfigDict(frozen=True)

    text: str
    thread_id: ThreadId | None = None
    thread_must_exist: bool = False
    project: str | None = None
    user: str | None = None
    mode: Mode = Mode.QUEUE
    action: Action | None = None
    message_id: MessageId | None = None
    frontend: Frontend = Frontend.API
    author: Author
    onto: str | None = None
    onto_is_closed: bool = False
    uploads: tuple[str, ...] = ()


class Stopping(BaseModel):
    """Which messages a stop is going to end, and up to which sequence."""

    model_config = ConfigDict(frozen=True)

    thread_id: ThreadId
    sequence: int
    stopping: tuple[MessageId, ...]


class Ingest:
    """Takes messages and stops in."""

    def __init__(
        self,
        *,
        settings: Settings,
        table: Table,
        queues: Queues,
        contact: Contact,
        recorder: Recorder,
        wake: Wake,
        streams: Streams,
    ) -> None:
        self._settings = settings
        self._table = table
        self._queues = queues
        self._contact = contact
        self._recorder = recorder
        self._wake = wake
        self._streams = streams

    async def post(self, post: Post) -> Recorded:
        """Take a message in; durable, and rung for, when this returns.

        Raises Invalid, NotFound, Conflict, TooLarge (nothing was recorded) or Unavailable (it may have been:
        the sender can repeat it under the message id that the error names).
        """
        _check(post)
        message_id = post.message_id or MessageId(str(uuid.uuid4()))
        try:
            worker, row = await self._worker_for(post)
            url = await self._contact.meet(worker, record=row)
            recorded = await self._recorder.record(_draft(post, worker, row, message_id))
        except Unavailable as error:
            raise Unavailable(f'{error} Repeat it with "message_id": "{message_id}".') from error
        fault("dispatcher_recorded")
        self._streams.nudge(worker=worker, thread_id=recorded.thread_id)
        if recorded.is_open:
            await self._ring(
                worker,
                url=url,
                thread_id=recorded.thread_id,
                pointer=Pointer(
                    thread_id=recorded.thread_id,
                    sequence=recorded.sequence,
                    message_id=recorded.message_id,
                ),
            )
        return recorded

    async def stop(self, thread_id: ThreadId, *, through: int | None) -> Stopping:
        """Ask for the end of everything unanswered up to ``through`` (default and at most: the last message).

        Raises NotFound, Unavailable.
        """
        worker, thread = await self.thread(thread_id)
        turns, _ = await self._table.open(worker=worker, thread_id=thread_id)
        last = min(through or thread.last_sequence, thread.last_sequence)
        stopping = tuple(t.message_id for t in turns if t.sequence <= last)
        if stopping:
            await self._table.stop(worker, StopRecord(thread_id=thread_id, through=last))
            await self.ring_stop(worker, thread_id, through=last)
        return Stopping(thread_id=thread_id, sequence=last, stopping=stopping)

    async def ring_stop(self, worker: WorkerId, thread_id: ThreadId, *, through: int) -> None:
        """Tell the worker of a stop or a deletion that is recorded. Raises Unavailable."""
        url = await self._contact.meet(worker, record=None)
        pointer = Pointer(kind="stop", thread_id=thread_id, sequence=through)
        await self._ring(worker, url=url, thread_id=thread_id, pointer=pointer)

    async def thread(self, thread_id: ThreadId) -> tuple[WorkerId, ThreadRecord]:
        """The worker and row of a thread. Raises Invalid, NotFound, Unavailable."""
        route.check_id(thread_id, what="thread_id")
        worker = await self._table.directory(thread_id)
        row = await self._table.thread(worker, thread_id) if worker else None
        if worker is None or row is None or row.deleting:
            raise unknown_thread(thread_id)
        return worker, row

    async def _worker_for(self, post: Post) -> tuple[WorkerId, WorkerRecord | None]:
        """The worker of the thread as recorded, else the one of the project; with its row if that is new."""
        if post.project is not None:
            route.choose_project(self._settings.projects, asked=post.project, default=None)
        known = await self._table.directory(post.thread_id) if post.thread_id else None
        if known is not None:
            return known, None
        if post.thread_must_exist:
            raise unknown_thread(post.thread_id or "")
        settings = self._settings
        name = route.choose_project(settings.projects, asked=post.project, default=settings.default_project)
        user = post.user or settings.user
        row = route.worker_of(name=name, project=settings.projects[name], user=user)
        return row.worker_id, row

    async def _ring(self, worker: WorkerId, *, url: str, thread_id: ThreadId, pointer: Pointer) -> None:
        try:
            await self._send(worker, url=url, pointer=pointer)
        except Unavailable as error:
            _log.warning("pointer not sent", worker_id=worker, problem=str(error))
        fault("dispatcher_sent")
        await self._wake.unless_up(worker, thread_id=thread_id)

    async def _send(self, worker: WorkerId, *, url: str, pointer: Pointer) -> None:
        try:
            await self._queues.send(url=url, pointer=pointer)
        except QueueMissing:
            await self._queues.send(url=await self._contact.renew(worker), pointer=pointer)


def new_thread_id() -> ThreadId:
    """Ten characters, a letter first, without those that look alike: 48 bits of chance."""
    rest = "".join(secrets.choice(_LETTERS + _DIGITS) for _ in range(9))
    return ThreadId(secrets.choice(_LETTERS) + rest)


def _check(post: Post) -> None:
    route.check_text(post.text)
    route.check_uploads(post.uploads)
    if post.thread_id is not None:
        route.check_id(post.thread_id, what="thread_id")
    if post.message_id is not None:
        route.check_id(post.message_id, what="message_id")


def _draft(post: Post, worker: WorkerId, row: WorkerRecord | None, message_id: MessageId) -> Draft:
    return Draft(
        worker_id=worker,
        project=row.project if row else None,
        user=row.user if row else None,
        asked_project=post.project,
        thread_id=post.thread_id or new_thread_id(),
        thread_is_given=post.thread_id is not None,
        thread_must_exist=post.thread_must_exist,
        message_id=message_id,
        text=post.text,
        mode=post.mode,
        action=post.action,
        frontend=post.frontend,
        author=post.author,
        onto=post.onto,
        onto_is_closed=post.onto_is_closed,
        uploads=post.uploads,
    )
