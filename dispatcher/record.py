"""A message becomes durable here: one transaction that either holds all of it or nothing.

The parts of the transaction are built in ``parts``. Numbers come from the thread's row and are
conditions of the same transaction, so a writer that was overtaken reads again and decides again. Nothing
is sent to a worker's queue from here; where chats are shown, whoever renders them is told of what is new.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from pydantic import BaseModel, ConfigDict
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from contracts import records
from contracts.events import Event
from contracts.records import ThreadRecord
from contracts.uploads import UploadRecord, thread_name
from contracts.words import MessageId, ThreadId, WorkerId
from dispatcher.errors import DELETING, Conflict, NotFound, Overtaken, Unavailable
from dispatcher.parts import Draft, put_directory, text_digest, to_message, transaction, update_thread
from dispatcher.places import unshown_part
from dispatcher.rings import Rings
from dispatcher.table import Table
from dispatcher.upload_store import UploadStore, unknown_upload

_T = TypeVar("_T")


class Recorded(BaseModel):
    """Where a message stands in its thread. ``is_open``: it has no outcome yet and may be sent (again)."""

    model_config = ConfigDict(frozen=True)

    thread_id: ThreadId
    message_id: MessageId
    sequence: int
    is_open: bool


class Recorder:
    """Writes messages and the dispatcher's own events. ``rings``: the replies queue, if chats are shown;
    ``uploads``: the files that messages may carry."""

    def __init__(
        self, table: Table, rings: Rings | None = None, *, uploads: UploadStore | None = None
    ) -> None:
        self._table = table
        self._rings = rings
        self._uploads = uploads
        # Only saves retries among the requests of this process; order comes from the conditions.
        self._locks: WeakValueDictionary[ThreadId, asyncio.Lock] = WeakValueDictionary()

    async def record(self, draft: Draft) -> Recorded:
        """Make the message durable, once. A repeat answers what the first time answered.

        Raises Conflict for an id with another text or a thread of another project, NotFound or Conflict for
        a thread that is being deleted, Unavailable when storage does not answer or the thread is written by
        too many at once.
        """
        async with self._locks.setdefault(draft.thread_id, asyncio.Lock()):
            recorded = await until_won(lambda: self._try(draft))
        await self._tell(draft.worker_id, recorded.thread_id)
        return recorded

    async def _tell(self, worker: WorkerId, thread_id: ThreadId) -> None:
        if self._rings is not None:
            await self._rings.ring(worker, thread_id)

    async def append(
        self, *, worker: WorkerId, thread_id: ThreadId, make: Callable[[int], Event]
    ) -> Event | None:
        """Write one event with the thread's next number; None when the thread is gone."""

        async def attempt() -> Event | None:
            row = await self._table.thread(worker, thread_id)
            if row is None or row.deleting:
                return None
            event = make(row.last_event + 1)
            counted = row.model_copy(update={"last_event": event.id, "updated": event.time})
            await self._table.write(
                [
                    update_thread(table=self._table.name, before=row, after=counted),
                    records.put_event(table=self._table.name, worker=worker, event=event),
                ]
            )
            return event

        event = await until_won(attempt)
        await self._tell(worker, thread_id)
        return event

    async def _try(self, draft: Draft) -> Recorded:
        directory, used, row = await asyncio.gather(
            self._table.directory(draft.thread_id),
            self._table.used(worker=draft.worker_id, frontend=draft.frontend, message_id=draft.message_id),
            self._table.thread(draft.worker_id, draft.thread_id),
        )
        check_alive(draft, row=row)
        if used is not None:
            return await self._repeated(draft, used)
        check_owner(draft, directory=directory, row=row)
        files = await self._files(draft)
        sequence = row.last_sequence + 1 if row else 1
        message = to_message(draft, sequence=sequence, uploads=[f.upload() for f in files])
        parts = transaction(table=self._table.name, draft=draft, message=message, row=row)
        parts += self._attached(files, draft=draft, project=row.project if row else draft.project)
        if directory is None:
            parts.append(put_directory(table=self._table.name, draft=draft))
        if self._rings is not None:
            parts.append(unshown_part(table=self._table.name, worker=draft.worker_id, message=message))
        await self._table.write(parts)
        return Recorded(
            thread_id=draft.thread_id, message_id=message.id, sequence=message.sequence, is_open=True
        )

    async def _files(self, draft: Draft) -> list[UploadRecord]:
        """The files that the message carries. Raises NotFound for one that its author cannot attach."""
        if not draft.uploads:
            return []
        if self._uploads is None:
            raise unknown_upload(draft.uploads[0])
        return await self._uploads.taken(draft.uploads, by=draft.author.id)

    def _attached(
        self, files: list[UploadRecord], *, draft: Draft, project: str | None
    ) -> list[dict[str, Any]]:
        if self._uploads is None or project is None:
            return []
        thread = thread_name(draft.worker_id, draft.thread_id)
        return [self._uploads.attach(file, project=project, thread=thread) for file in files]

    async def _repeated(self, draft: Draft, used: dict[str, Any]) -> Recorded:
        check_repeat(draft, used=used)
        thread_id, sequence = ThreadId(used["thread_id"]), int(used["sequence"])
        is_open = await self._table.is_open(worker=draft.worker_id, thread_id=thread_id, sequence=sequence)
        return Recorded(thread_id=thread_id, message_id=draft.message_id, sequence=sequence, is_open=is_open)


async def until_won(attempt: Callable[[], Awaitable[_T]]) -> _T:
    """Try again while other writers are in the way. Raises Unavailable when they are for too long."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(Overtaken),
        wait=wait_random_exponential(multiplier=0.01, max=0.5),
        stop=stop_after_delay(15),
        reraise=True,
    )
    try:
        async for each in retrying:
            with each:
                return await attempt()
    except Overtaken as error:
        raise Unavailable("Too many write to this thread at once: try again in a moment.") from error
    raise AssertionError("tenacity either returns or raises")


def check_alive(draft: Draft, *, row: ThreadRecord | None) -> None:
    """Raise NotFound or Conflict when the thread is being deleted: no message enters it any more."""
    if row is None or not row.deleting:
        return
    if draft.thread_must_exist:
        raise NotFound(
            f"Thread {draft.thread_id} was deleted: begin a new one with POST /v1/threads.",
            code="unknown_thread",
        )
    raise Conflict(
        f"Thread {draft.thread_id} is being deleted: use another thread_id, or this one in a moment.",
        code=DELETING,
    )


def check_owner(draft: Draft, *, directory: WorkerId | None, row: ThreadRecord | None) -> None:
    """Raise Conflict when the thread belongs to another worker or project than the request means."""
    elsewhere = directory is not None and directory != draft.worker_id
    other = row is not None and draft.asked_project not in (None, row.project)
    if elsewhere or other:
        raise Conflict(
            f"Thread {draft.thread_id} belongs to another project: use another thread_id.",
            code="thread_of_another_project",
        )


def check_repeat(draft: Draft, *, used: dict[str, Any]) -> None:
    """Raise Conflict unless the id was used for the same text and files (and thread, when one is named)."""
    same_thread = not draft.thread_is_given or used["thread_id"] == draft.thread_id
    if used["text_digest"] != text_digest(draft.text, draft.uploads) or not same_thread:
        raise Conflict(
            f"message_id {draft.message_id} was used for another message: use a new one.",
            code="message_id_used",
        )
