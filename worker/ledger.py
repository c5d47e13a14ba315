"""The records in DynamoDB: every write of the worker, each a transaction under owner and epoch.

The layout and the transactions stand in ``docs/decisions/records.md``. Event numbers come from the thread's
row, in the transaction that uses them. No decision about turns here, and no batching (see ``outbox``).
"""

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from botocore.exceptions import ClientError
from pydantic import ValidationError

from contracts import records
from contracts.events import EVENT, Event
from contracts.messages import Message, first_line
from contracts.records import Item, MessageRecord, OpenRecord, StopRecord, ThreadRecord, WorkerRecord
from contracts.words import ThreadId, TurnState, WorkerId
from worker.aws import FAULTS, Aws
from worker.errors import LeaseLost, WorkerError
from worker.fitting import batches, fit
from worker.forgetting import Forgetting
from worker.log import get_logger
from worker.ports import Draft, Ending

log = get_logger()

Part = dict[str, Any]
_HOPELESS = {"ValidationException", "ResourceNotFoundException", "AccessDeniedException"}
T = TypeVar("T")


class DynamoLedger:
    """The records of one worker. ``lapsed`` tells when the lease can no longer be proved, ``hurried`` when
    this process has to leave and may no longer wait for records that are out of reach. ``told`` hears of the
    types of the events that were just written to a thread's log; it must not wait or raise."""

    def __init__(
        self,
        *,
        aws: Aws,
        table: str,
        worker: WorkerId,
        owner: str,
        epoch: Callable[[], int],
        lapsed: Callable[[], bool],
        hurried: Callable[[], bool] = lambda: False,
        redact: Callable[[Any], Any],
        told: Callable[[ThreadId, Sequence[str]], None] = lambda *_: None,
        retention_days: int = 0,
    ) -> None:
        self._dynamodb, self._table, self._worker = aws.dynamodb, table, worker
        self._owner, self._epoch, self._redact = owner, epoch, redact
        self._lapsed, self._hurried, self._told = lapsed, hurried, told
        self._retention = retention_days * 86400
        self._last: dict[ThreadId, int] = {}
        self._locks: dict[ThreadId, asyncio.Lock] = {}
        self._forgetting = Forgetting(
            dynamodb=aws.dynamodb,
            table=table,
            worker=worker,
            owned=self._owned,
            patiently=self._patiently,
            transact=self._transact,
        )

    # ------------------------------------------------------------ reads

    async def look(self) -> tuple[list[OpenRecord], list[StopRecord]]:
        """All turn records without outcome and all stops, read consistently."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={
                ":pk": {"S": records.worker_pk(self._worker)},
                ":sk": {"S": "open#"},
            },
            ConsistentRead=True,
        )
        return _readable([item async for page in pages for item in page["Items"]])

    async def stack(self) -> tuple[ThreadId, ...]:
        """The stack of threads as last recorded, top first."""
        item = await self._get(records.worker_key(self._worker))
        return WorkerRecord.read(item).stack

    async def threads(self) -> dict[ThreadId, datetime]:
        """All threads whose records are not removed, and when each was touched last; read consistently, all
        of them or an error."""
        return await self._patiently(self._threads)

    async def _threads(self) -> dict[ThreadId, datetime]:
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={
                ":pk": {"S": records.worker_pk(self._worker)},
                ":sk": {"S": "thread#"},
            },
            ProjectionExpression="thread_id, updated",
            ConsistentRead=True,
        )
        rows = [item async for page in pages for item in page["Items"]]
        return {ThreadId(r["thread_id"]["S"]): datetime.fromisoformat(r["updated"]["S"]) for r in rows}

    async def message(self, *, thread_id: ThreadId, sequence: int) -> Message:
        """The message itself."""
        item = await self._get(records.message_key(self._worker, thread_id, sequence))
        return MessageRecord.read(item).message()

    async def _get(self, key: Item) -> Mapping[str, Any]:
        async def once() -> Mapping[str, Any]:
            answer = await self._dynamodb.get_item(TableName=self._table, Key=key, ConsistentRead=True)
            if "Item" not in answer:
                raise WorkerError(f"The record {key['sk']['S']} of {key['pk']['S']} is missing.")
            return answer["Item"]

        return await self._patiently(once)

    # ------------------------------------------------------------ writes

    async def lift(self, record: OpenRecord, *, stack: tuple[ThreadId, ...]) -> None:
        """Record that this message has lifted its thread, and the stack that came of it."""
        lifted = record.model_copy(update={"lifted": True})
        await self._transact([self._stack(stack), self._open(lifted)])

    async def append(self, thread_id: ThreadId, drafts: Sequence[Draft]) -> None:
        """Write events of one thread, in order, with the thread's next numbers."""
        for batch in batches(drafts):
            await self._write(thread_id, [self._owned()], batch)

    async def update(self, record: OpenRecord, drafts: Sequence[Draft]) -> None:
        """Write the turn record as given (start, park) together with events of its thread."""
        state = "running" if record.state is TurnState.RUNNING else "parked"
        await self._write(record.thread_id, [self._owned(), self._open(record)], drafts, state=state)

    async def finish(
        self,
        endings: Sequence[Ending],
        *,
        stack: tuple[ThreadId, ...],
        drafts: Sequence[Draft],
        cost_usd: float = 0.0,
    ) -> None:
        """Record the outcomes of messages of one thread, once, with their final events and the stack."""
        thread_id = endings[0].record.thread_id
        parts = [self._stack(stack)]
        for ending in endings:
            parts += self._outcome(ending)
        state = "waiting" if thread_id in stack else "idle"
        await self._write(thread_id, parts, drafts, state=state, cost_usd=cost_usd, line=self._line(drafts))

    def _line(self, drafts: Sequence[Draft]) -> str | None:
        """What lists show of an answer; redacted as a whole, because half a secret looks like none."""
        text = next((str(d.data["text"]) for d in drafts if "text" in d.data), None)
        return first_line(str(self._redact(text))) if text else None

    async def clear_stop(self, *, thread_id: ThreadId, through: int) -> None:
        """Forget a stop that was carried out, unless a later one has taken its place."""
        delete = {
            "Delete": {
                "TableName": self._table,
                "Key": records.stop_key(self._worker, thread_id),
                "ConditionExpression": "attribute_not_exists(pk) OR through = :through",
                "ExpressionAttributeValues": {":through": {"N": str(through)}},
            }
        }

        async def replaced() -> bool:
            return True

        await self._transact([self._owned(), delete], settled=replaced)

    async def is_deleted(self, thread_id: ThreadId) -> bool:
        """Whether the thread is to be removed and is not yet."""
        return await self._forgetting.is_due(thread_id)

    async def forget(self, thread_id: ThreadId) -> None:
        """Remove every record of a thread that is to be removed, the one that says so last."""
        await self._forgetting.forget(thread_id)
        self._last.pop(thread_id, None)

    async def write(self, parts: Sequence[Part]) -> bool:
        """One transaction of parts that others made, under owner and epoch; False when a condition of theirs
        failed. Raises LeaseLost."""

        async def failed() -> bool:
            return False

        return await self._transact([self._owned(), *parts], settled=failed)

    async def patiently(self, once: Callable[[], Awaitable[T]]) -> T:
        """What ``once`` reads, tried until it works or the lease is over. Raises LeaseLost."""
        return await self._patiently(once)

    # ------------------------------------------------------------ parts

    def _owned(self) -> Part:
        return records.owned(table=self._table, worker=self._worker, owner=self._owner, epoch=self._epoch())

    def _stack(self, stack: tuple[ThreadId, ...]) -> Part:
        check = self._owned()["ConditionCheck"]
        check["ExpressionAttributeValues"][":stack"] = {"L": [{"S": t} for t in stack]}
        return {"Update": {**check, "UpdateExpression": "SET stack = :stack"}}

    def _open(self, record: OpenRecord) -> Part:
        """The turn record must still be there: one that has its outcome is never written again."""
        key = records.open_key(self._worker, record.thread_id, record.sequence)
        return {
            "Put": {
                "TableName": self._table,
                "Item": record.write(key),
                "ConditionExpression": "attribute_exists(pk)",
            }
        }

    def _outcome(self, ending: Ending) -> list[Part]:
        record = ending.record
        where = (self._worker, record.thread_id, record.sequence)
        return [
            {
                "Update": {
                    "TableName": self._table,
                    "Key": records.message_key(*where),
                    "UpdateExpression": "SET outcome = :outcome, turn_id = :turn, answered = :time",
                    "ConditionExpression": "attribute_exists(pk) AND attribute_not_exists(outcome)",
                    "ExpressionAttributeValues": {
                        ":outcome": {"S": ending.outcome},
                        ":turn": {"S": ending.turn_id},
                        ":time": {"S": datetime.now(UTC).isoformat()},
                    },
                }
            },
            {"Delete": {"TableName": self._table, "Key": records.open_key(*where)}},
        ]

    def _thread(
        self,
        thread_id: ThreadId,
        *,
        last: int,
        count: int,
        state: str | None,
        cost_usd: float,
        line: str | None,
    ) -> Part:
        sets = ["last_event = :new", "updated = :time"]
        values: Item = {
            ":old": {"N": str(last)},
            ":new": {"N": str(last + count)},
            ":time": {"S": datetime.now(UTC).isoformat()},
        }
        names = {}
        if state:
            sets.append("#state = :state")
            values[":state"], names = {"S": state}, {"#state": "state"}
        if line:
            sets.append("last_line = :line")
            values[":line"] = {"S": line}
        if cost_usd:
            sets.append("cost_usd = cost_usd + :cost")
            values[":cost"] = {"N": repr(cost_usd)}
        update = {
            "TableName": self._table,
            "Key": records.thread_key(self._worker, thread_id),
            "UpdateExpression": "SET " + ", ".join(sets),
            "ConditionExpression": "last_event = :old",
            "ExpressionAttributeValues": values,
        }
        return {"Update": update | ({"ExpressionAttributeNames": names} if names else {})}

    # ------------------------------------------------------------ transactions

    async def _write(
        self,
        thread_id: ThreadId,
        parts: Sequence[Part],
        drafts: Sequence[Draft],
        *,
        state: str | None = None,
        cost_usd: float = 0.0,
        line: str | None = None,
    ) -> None:
        """One transaction: ``parts``, the thread's row, the events. Renumbered when somebody was first."""
        async with self._locks.setdefault(thread_id, asyncio.Lock()):
            tried: set[int] = set()
            while True:
                last = await self._last_event(thread_id)
                if last in tried:
                    raise WorkerError(f"The records of {thread_id} contradict this worker; see its log.")
                tried.add(last)
                events = self._number(thread_id, drafts, last=last)
                puts = [self._event(e) for e in events]
                row = self._thread(
                    thread_id, last=last, count=len(events), state=state, cost_usd=cost_usd, line=line
                )

                async def landed(events: list[Event] = events) -> bool:
                    return bool(events) and await self._stands(events[-1])

                if await self._transact([*parts, row, *puts], settled=landed):
                    self._last[thread_id] = last + len(events)
                    break
                del self._last[thread_id]
        self._told(thread_id, [d.type for d in drafts])

    async def _transact(
        self, parts: Sequence[Any], *, settled: Callable[[], Awaitable[bool]] | None = None
    ) -> bool:
        """True when the transaction landed, now or (by ``settled``) in an earlier try; False when a
        condition failed that is not the owner's. ``parts[0]`` carries owner and epoch."""
        token = str(uuid.uuid4())  # makes repeats of this very transaction idempotent for ten minutes

        async def once() -> bool:
            try:
                await self._dynamodb.transact_write_items(TransactItems=parts, ClientRequestToken=token)
            except ClientError as error:
                reasons = [r.get("Code") for r in error.response.get("CancellationReasons", [])]
                if "ConditionalCheckFailed" not in reasons:
                    raise
                if reasons[0] == "ConditionalCheckFailed":
                    raise LeaseLost(f"{self._worker} has another owner now.") from None
                if settled is None:
                    raise
                return await settled()
            return True

        return await self._patiently(once)

    async def _patiently(self, once: Callable[[], Awaitable[T]]) -> T:
        """Try until it works; give up with the lease, or at once when trying again cannot help."""
        pause = 0.05
        while True:
            try:
                return await once()
            except FAULTS as error:
                if _hopeless(error):
                    raise
                if self._lapsed() or (self._hurried() and pause > 1):
                    raise LeaseLost(
                        f"{self._worker}: the records are out of reach, the lease is over."
                    ) from None
                if pause > 1:
                    log.warning("records_out_of_reach", error=str(error), again_in=round(pause, 1))
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter, not a secret
            pause = min(pause * 2, 5.0)

    async def _last_event(self, thread_id: ThreadId) -> int:
        if thread_id not in self._last:
            item = await self._get(records.thread_key(self._worker, thread_id))
            self._last[thread_id] = ThreadRecord.read(item).last_event
        return self._last[thread_id]

    async def _stands(self, event: Event) -> bool:
        answer = await self._dynamodb.get_item(
            TableName=self._table,
            Key=records.event_key(self._worker, event.thread_id, event.id),
            ConsistentRead=True,
        )
        return "Item" in answer and records.read_event(answer["Item"]) == event

    def _number(self, thread_id: ThreadId, drafts: Sequence[Draft], *, last: int) -> list[Event]:
        now = datetime.now(UTC)
        return [
            EVENT.validate_python(
                {
                    "type": d.type,
                    "id": last + n,
                    "thread_id": thread_id,
                    "time": now,
                    "data": fit(self._redact(dict(d.data))),  # cut last: half a secret looks like none
                }
                | ({"message_id": d.message_id} if d.message_id else {})
                | ({"turn_id": d.turn_id} if d.turn_id else {})
            )
            for n, d in enumerate(drafts, start=1)
        ]

    def _event(self, event: Event) -> Part:
        expires = int(time.time()) + self._retention if self._retention else None
        return records.put_event(table=self._table, worker=self._worker, event=event, expires=expires)


def _readable(items: Sequence[Mapping[str, Any]]) -> tuple[list[OpenRecord], list[StopRecord]]:
    """What can be read; a record of a newer or a broken writer must not hide the others."""
    turns: list[OpenRecord] = []
    stops: list[StopRecord] = []
    for item in items:
        try:
            found, asked = records.read_open([item])
        except ValidationError as error:
            log.error("record_unreadable", key=str(item.get("sk")), error=str(error))
            continue
        turns += found
        stops += asked
    return turns, stops


def _hopeless(error: BaseException) -> bool:
    """Whether the same request can never succeed (a condition that failed for good included)."""
    if not isinstance(error, ClientError):
        return False
    reasons = [r.get("Code") for r in error.response.get("CancellationReasons", [])]
    return error.response["Error"]["Code"] in _HOPELESS or bool(
        {"ConditionalCheckFailed", "ValidationError"} & set(reasons)
    )
