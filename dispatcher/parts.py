"""The parts of the transaction that makes a message durable: pure functions from what was read to requests.

Everything of a message that can be large is its text, and no string is escaped in here: a DynamoDB item is
measured in bytes of UTF-8, so a text of ``TEXT_LIMIT`` bytes always fits. Sends nothing.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from contracts import names, records
from contracts.events import Event, MessageReceived, ReceivedData
from contracts.messages import Author, Upload, first_line
from contracts.records import MessageRecord, OpenRecord, ThreadRecord, WorkerRecord
from contracts.words import Action, Frontend, MessageId, Mode, Outcome, ThreadId, TurnId, WorkerId
from dispatcher.errors import NotFound

TITLE_LIMIT = 80
"""Longest title of a thread, in characters."""
_MOVED = {"last_sequence", "last_event", "updated", "state", "last_line"}
_AS_READ = "#last_sequence = :sequence_read AND #last_event = :event_read AND attribute_not_exists(deleting)"


class Draft(BaseModel):
    """A message before it has a sequence.

    ``asked_project`` is what its sender named, if anything; ``project`` and ``user`` are those of a new
    thread, absent for one that was found in the directory. ``onto``: the branch of people's that a new
    thread's work goes onto; ``onto_is_closed``: the work on this message does not, whatever the thread's
    does.
    ``uploads``: ids of files that the author has sent.
    """

    model_config = ConfigDict(frozen=True)

    worker_id: WorkerId
    project: str | None
    user: str | None = None
    asked_project: str | None
    thread_id: ThreadId
    thread_is_given: bool
    thread_must_exist: bool = False
    message_id: MessageId
    text: str
    mode: Mode
    action: Action | None = None
    frontend: Frontend
    author: Author
    onto: str | None = None
    onto_is_closed: bool = False
    uploads: tuple[str, ...] = ()


def title(text: str) -> str:
    """A new thread's title: the first line with something in it, cut to ``TITLE_LIMIT`` characters."""
    return first_line(text, limit=TITLE_LIMIT)


def text_digest(text: str, uploads: Sequence[str] = ()) -> str:
    """SHA-256 in hex of a text and the files with it: what decides whether a repeated id came with the same.
    No text holds a NUL, so two that differ never read the same."""
    return hashlib.sha256("\0".join((text, *uploads)).encode()).hexdigest()


def to_message(draft: Draft, *, sequence: int, uploads: Sequence[Upload] = ()) -> MessageRecord:
    """The message as it is recorded, received now."""
    return MessageRecord(
        id=draft.message_id,
        thread_id=draft.thread_id,
        sequence=sequence,
        text=draft.text,
        mode=draft.mode,
        action=draft.action,
        frontend=draft.frontend,
        author=draft.author,
        received=datetime.now(UTC),
        uploads=tuple(uploads),
    )


def transaction(
    *, table: str, draft: Draft, message: MessageRecord, row: ThreadRecord | None
) -> list[dict[str, Any]]:
    """The parts that record a message in a thread whose row was read as ``row`` (None: a new thread)."""
    worker, thread_id = draft.worker_id, message.thread_id
    event = received(message, number=row.last_event + 1 if row else 1)
    used = {
        "v": 1,
        "message_id": message.id,
        "thread_id": thread_id,
        "sequence": message.sequence,
        "text_digest": text_digest(message.text, draft.uploads),
    }
    opened = OpenRecord(
        thread_id=thread_id,
        sequence=message.sequence,
        message_id=message.id,
        mode=message.mode,
        frontend=message.frontend,
        received=message.received,
        onto=None if draft.onto_is_closed else (row.onto if row else draft.onto),
    )
    places = {
        "message": records.message_key(worker, thread_id, message.sequence),
        "open": records.open_key(worker, thread_id, message.sequence),
        "id": records.id_key(worker, message.frontend, names.digest(message.id)),
    }
    return [
        put_absent(table=table, item={**places["id"], **records.encode(used)}),
        count_thread(table=table, draft=draft, message=message, event=event, row=row),
        put_absent(table=table, item=message.write(places["message"])),
        put_absent(table=table, item=opened.write(places["open"])),
        records.put_event(table=table, worker=worker, event=event),
    ]


def received(message: MessageRecord, *, number: int) -> MessageReceived:
    """The event that tells readers of the log about a message."""
    return MessageReceived(
        id=number,
        thread_id=message.thread_id,
        time=message.received,
        message_id=message.id,
        data=ReceivedData(
            text=message.text,
            author=message.author,
            frontend=message.frontend,
            mode=message.mode,
            sequence=message.sequence,
            action=message.action,
            uploads=message.uploads,
        ),
    )


def count_thread(
    *, table: str, draft: Draft, message: MessageRecord, event: Event, row: ThreadRecord | None
) -> dict[str, Any]:
    """The part that gives out sequence and event number: makes the thread's row or counts on.

    Raises NotFound for a thread that lost its row since it was found.
    """
    counted: dict[str, Any] = {
        "last_sequence": message.sequence,
        "last_event": event.id,
        "updated": event.time,
        "last_line": first_line(message.text),
    }
    if row is not None:
        state = "waiting" if row.state == "idle" else row.state
        return update_thread(
            table=table, before=row, after=row.model_copy(update={**counted, "state": state})
        )
    if draft.project is None:
        raise NotFound(f"Thread {draft.thread_id} is gone: use another thread_id.", code="unknown_thread")
    fresh = ThreadRecord(
        thread_id=message.thread_id,
        worker_id=draft.worker_id,
        project=draft.project,
        user=draft.user,
        title=title(message.text),
        frontend=message.frontend,
        branch=names.branch(message.thread_id),
        onto=draft.onto,
        created=event.time,
        state="waiting",
        **counted,
    )
    return put_absent(table=table, item=fresh.write(records.thread_key(draft.worker_id, message.thread_id)))


def update_thread(*, table: str, before: ThreadRecord, after: ThreadRecord) -> dict[str, Any]:
    """The part that moves counters, time, state and last line from what was read to what follows from it. A
    thread that is being deleted takes nothing in."""
    new = records.encode(after.model_dump(mode="json", include=_MOVED))
    return {
        "Update": {
            "TableName": table,
            "Key": records.thread_key(before.worker_id, before.thread_id),
            "UpdateExpression": "SET " + ", ".join(f"#{n} = :{n}" for n in new),
            "ConditionExpression": _AS_READ,
            "ExpressionAttributeNames": {f"#{n}": n for n in new},
            "ExpressionAttributeValues": {
                **{f":{n}": value for n, value in new.items()},
                ":sequence_read": {"N": str(before.last_sequence)},
                ":event_read": {"N": str(before.last_event)},
            },
        }
    }


def end_message(
    *, table: str, worker: WorkerId, record: OpenRecord, turn_id: TurnId, outcome: Outcome, time: datetime
) -> list[dict[str, Any]]:
    """The parts that give a message its outcome, once, and only if its turn record is as it was read."""
    where = (worker, record.thread_id, record.sequence)
    told = records.encode({":outcome": outcome, ":turn": turn_id, ":time": time.isoformat()})
    as_read = records.encode({":state": record.state, ":attempts": record.attempts})
    return [
        {
            "Update": {
                "TableName": table,
                "Key": records.message_key(*where),
                "UpdateExpression": "SET outcome = :outcome, turn_id = :turn, answered = :time",
                "ConditionExpression": "attribute_exists(pk) AND attribute_not_exists(outcome)",
                "ExpressionAttributeValues": told,
            }
        },
        {
            "Delete": {
                "TableName": table,
                "Key": records.open_key(*where),
                "ConditionExpression": "#state = :state AND attempts = :attempts",
                "ExpressionAttributeNames": {"#state": "state"},
                "ExpressionAttributeValues": as_read,
            }
        },
    ]


def no_owner(*, table: str, row: WorkerRecord) -> dict[str, Any]:
    """The part that fails when a worker has taken the id since its row was read, and that fences off one that
    only seemed to be dead."""
    return {
        "Update": {
            "TableName": table,
            "Key": records.worker_key(row.worker_id),
            "UpdateExpression": "SET epoch = :next",
            "ConditionExpression": "epoch = :epoch",
            "ExpressionAttributeValues": {
                ":epoch": {"N": str(row.epoch)},
                ":next": {"N": str(row.epoch + 1)},
            },
        }
    }


def put_directory(*, table: str, draft: Draft) -> dict[str, Any]:
    """The part that says which worker a new thread belongs to."""
    plain = {"v": 1, "thread_id": draft.thread_id, "worker_id": draft.worker_id}
    return put_absent(table=table, item={**records.directory_key(draft.thread_id), **records.encode(plain)})


def put_absent(*, table: str, item: records.Item) -> dict[str, Any]:
    """The part that makes a record, once."""
    return {
        "Put": {"TableName": table, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"},
    }
