"""Where records live in the one DynamoDB table, and the shapes of those that change.

Dispatcher and worker both build their requests from here, so that neither knows the other. The layout and
who may write what stands in ``docs/decisions/records.md``. Pure: builds and reads request fragments, never
sends one. All of a worker's keys begin with ``worker#{id}`` or ``thread#{id}#``, so that a policy on
leading keys can wall workers off from each other; but when it removes a deleted thread, a worker also deletes
its ``id#{id}#``, ``directory#``, ``place#`` and ``unshown`` records.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from contracts.events import EVENT, Event
from contracts.messages import Author, Message, Upload
from contracts.words import (
    Action,
    Frontend,
    MessageId,
    Mode,
    Outcome,
    StopReason,
    ThreadId,
    TurnId,
    TurnState,
    WorkerId,
)

Item = dict[str, Any]
"""A DynamoDB item in the wire form of attribute values: ``{"pk": {"S": "..."}}``."""

TABLE_SCHEMA: dict[str, Any] = {
    "KeySchema": [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ],
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "sk", "AttributeType": "S"},
    ],
    "BillingMode": "PAY_PER_REQUEST",
}
TTL_ATTRIBUTE = "expires"

WORKERS = "workers"
"""Partition that lists every worker id, one item each (``sk`` is the id)."""


def worker_pk(worker: WorkerId) -> str:
    """Partition of a worker: its row, bindings, threads and open records."""
    return f"worker#{worker}"


def thread_pk(worker: WorkerId, thread_id: ThreadId) -> str:
    """Partition of a thread: its messages and its log."""
    return f"thread#{worker}#{thread_id}"


def key(pk: str, sk: str) -> Item:
    """A primary key in wire form."""
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def worker_key(worker: WorkerId) -> Item:
    """The worker's row: lease, state, stack."""
    return key(worker_pk(worker), "worker")


def binding_key(worker: WorkerId, name: str) -> Item:
    """One queue of the worker."""
    return key(worker_pk(worker), f"binding#{name}")


def thread_key(worker: WorkerId, thread_id: ThreadId) -> Item:
    """The thread's row: counters, title, state."""
    return key(worker_pk(worker), f"thread#{thread_id}")


def open_key(worker: WorkerId, thread_id: ThreadId, sequence: int) -> Item:
    """The turn record of a message that has no outcome yet."""
    return key(worker_pk(worker), f"open#{thread_id}#{sequence:012d}")


def stop_key(worker: WorkerId, thread_id: ThreadId) -> Item:
    """A stop that was asked for and is not yet carried out."""
    return key(worker_pk(worker), f"open#{thread_id}#stop")


def delete_key(worker: WorkerId, thread_id: ThreadId) -> Item:
    """A thread that is to be removed with all its data, and is not yet."""
    return key(worker_pk(worker), f"open#{thread_id}#delete")


def message_key(worker: WorkerId, thread_id: ThreadId, sequence: int) -> Item:
    """The message itself and, at last, its outcome."""
    return key(thread_pk(worker, thread_id), f"message#{sequence:012d}")


def event_key(worker: WorkerId, thread_id: ThreadId, number: int) -> Item:
    """One event of the thread's log."""
    return key(thread_pk(worker, thread_id), f"event#{number:012d}")


def id_key(worker: WorkerId, frontend: Frontend, message_digest: str) -> Item:
    """What a message id was used for (``message_digest``: ``names.digest`` of the id)."""
    return key(f"id#{worker}#{frontend}#{message_digest}", "id")


def directory_key(thread_id: ThreadId) -> Item:
    """Which worker a thread belongs to."""
    return key(f"directory#{thread_id}", "directory")


class _Record(BaseModel):
    """Records carry ``v``; unknown fields of a newer writer are ignored, missing ones have defaults."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    v: int = 1

    @classmethod
    def read(cls, item: Mapping[str, Any]) -> Self:
        """From an item in wire form. Raises pydantic.ValidationError."""
        return cls.model_validate(decode(item))

    def write(self, primary: Item) -> Item:
        """To an item in wire form; fields that are None are left out."""
        return {**primary, **encode(self.model_dump(mode="json", exclude_none=True))}


class WorkerRecord(_Record):
    """Who owns the worker id now. ``owner`` is absent when nobody does; ``epoch`` only ever rises.

    ``repo`` is the remote that the checkout is cloned from and pushed to, ``place`` names the owner's disk,
    ``lineage`` this row: a row that was deleted and made again has another, and its epochs start again.
    ``replies_url`` is the queue to ring after an event, absent without a chat frontend. The owner says where
    its preview listens (``preview_url``), else why it does not, and whose branch is checked out (``shows``).
    """

    worker_id: WorkerId
    client: str
    project: str
    user: str
    repo: str
    preview_command: str | None = None
    trusted: bool = False
    workflows: bool = False
    replies_url: str | None = None
    lineage: str = ""
    state: Literal["cold", "up"] = "cold"
    epoch: int = 0
    owner: str | None = None
    beat: int = 0
    place: str | None = None
    stack: tuple[ThreadId, ...] = ()
    preview_url: str | None = None
    preview_problem: str | None = None
    shows: ThreadId | None = None


class BindingRecord(_Record):
    """A queue the worker polls. ``name`` is unique within the worker."""

    name: str
    queue_url: str


class ThreadRecord(_Record):
    """A thread as lists show it, and its two counters: the last sequence and the last event given out.

    ``onto`` is the branch of people's that its work goes onto as well, if there is one. ``user`` is whose
    worker it belongs to, absent in rows of earlier versions; ``last_line`` the first line of what was said in
    it last. ``deleting``: it is gone for every reader, and its worker removes what is left of it.
    """

    thread_id: ThreadId
    worker_id: WorkerId
    project: str
    user: str | None = None
    title: str
    last_line: str = ""
    frontend: Frontend
    branch: str
    onto: str | None = None
    created: datetime
    updated: datetime
    last_sequence: int = 0
    last_event: int = 0
    state: Literal["idle", "waiting", "running", "parked"] = "idle"
    cost_usd: float = 0.0
    deleting: bool | None = None


class OpenRecord(_Record):
    """The turn record: what is known of the work on one message until it has an outcome.

    ``attempts`` counts real starts, ``interruptions`` how often the turn was parked for another thread.
    ``base`` is the commit the turn started from, ``lifted`` whether it has lifted its thread already,
    ``model`` which kind of model began it, ``place`` the disk on which it last ran, ``onto`` the branch of
    people's that the work on this message goes onto.
    """

    thread_id: ThreadId
    sequence: int
    message_id: MessageId
    mode: Mode = Mode.QUEUE
    frontend: Frontend = Frontend.API
    received: datetime
    lifted: bool = False
    state: Literal[TurnState.WAITING, TurnState.RUNNING, TurnState.PARKED] = TurnState.WAITING
    attempts: int = 0
    interruptions: int = 0
    base: str | None = None
    model: Literal["offline", "real"] | None = None
    place: str | None = None
    onto: str | None = None
    reason: StopReason | None = None
    resumes_at: float | None = None


class MessageRecord(_Record):
    """A message and, at last, its outcome. The text is an attribute of its own, so it is stored unescaped."""

    id: MessageId
    thread_id: ThreadId
    sequence: int
    text: str
    mode: Mode = Mode.QUEUE
    action: Action | None = None
    frontend: Frontend = Frontend.API
    author: Author
    received: datetime
    uploads: tuple[Upload, ...] = ()
    outcome: Outcome | None = None
    turn_id: TurnId | None = None
    answered: datetime | None = None

    def message(self) -> Message:
        """The message without what became of it."""
        return Message.model_validate(self.model_dump(exclude={"v", "outcome", "turn_id", "answered"}))


class StopRecord(_Record):
    """A stop of everything unanswered up to and including ``through``; with ``delete`` the whole thread goes
    after that."""

    thread_id: ThreadId
    through: int
    delete: bool = False


def read_open(items: Sequence[Mapping[str, Any]]) -> tuple[list[OpenRecord], list[StopRecord]]:
    """Split the items of the ``open#`` range into turn records and stops, deletions among them.

    Kinds of a newer writer are passed over: a turn record is one whose key ends with its sequence.
    """
    kinds = [(i["sk"]["S"].rpartition("#")[2], i) for i in items]
    turns = [OpenRecord.read(i) for kind, i in kinds if kind.isdecimal()]
    return turns, [StopRecord.read(i) for kind, i in kinds if kind in ("stop", "delete")]


def put_event(*, table: str, worker: WorkerId, event: Event, expires: int | None = None) -> dict[str, Any]:
    """The transaction's part that appends one event; it fails if the number is taken."""
    body = event.model_dump(mode="json")
    item: Item = {**event_key(worker, event.thread_id, event.id), "type": {"S": event.type}}
    if "text" in body["data"]:
        # JSON would escape it to up to six times its size; an item holds 400 KB.
        item["text"] = {"S": body["data"].pop("text")}
    item["body"] = {"S": json.dumps(body, ensure_ascii=False)}
    if expires is not None:
        item[TTL_ATTRIBUTE] = {"N": str(expires)}
    return {
        "Put": {"TableName": table, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"},
    }


def read_event(item: Mapping[str, Any]) -> Event:
    """The event that ``put_event`` wrote."""
    body = json.loads(item["body"]["S"])
    if "text" in item:
        body["data"]["text"] = item["text"]["S"]
    return EVENT.validate_python(body)


def owned(*, table: str, worker: WorkerId, owner: str, epoch: int) -> dict[str, Any]:
    """The transaction's part that makes it fail unless this owner still holds this epoch."""
    return {
        "ConditionCheck": {
            "TableName": table,
            "Key": worker_key(worker),
            "ConditionExpression": "epoch = :epoch AND #owner = :owner",
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": {":epoch": {"N": str(epoch)}, ":owner": {"S": owner}},
        }
    }


def encode(plain: Mapping[str, Any]) -> Item:
    """Plain values (str, int, float, bool, None, list, dict) as DynamoDB attribute values."""
    return {name: _encode(value) for name, value in plain.items()}


def decode(item: Mapping[str, Any]) -> dict[str, Any]:
    """DynamoDB attribute values as plain values; numbers become int or float."""
    return {name: _decode(value) for name, value in item.items()}


def _encode(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case int() | float():
            return {"N": repr(value)}
        case str():
            return {"S": str(value)}
        case list() | tuple():
            return {"L": [_encode(v) for v in value]}
        case Mapping():
            return {"M": encode(value)}
    raise TypeError(f"no attribute value for {type(value).__name__}")


def _decode(value: Mapping[str, Any]) -> Any:
    ((kind, inner),) = value.items()
    match kind:
        case "N":
            number = Decimal(inner)
            return int(number) if number == number.to_integral_value() else float(number)
        case "NULL":
            return None
        case "L":
            return [_decode(v) for v in inner]
        case "M":
            return decode(inner)
        case _:
            return inner
