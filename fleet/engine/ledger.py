"""Makes table and queue writes durable: nothing is acknowledged before it is in the journal.

ministack's actions are plain functions, so on one event loop an action and its record cannot be separated
by another action. `_at_once` turns that observation into a check: an action that would wait is an error.
"""

import asyncio
import json
import sys
import time
from collections.abc import Coroutine
from typing import Any

import seam
from journal import Journal, Record, encode
from records import Applier, Effect, frame, item_keys, pictures, queue_record, table_record, token_record

Response = tuple[int, dict[str, str], bytes | str]

ITEM_WRITES = {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"}
TABLE_WRITES = {
    *("CreateTable", "DeleteTable", "UpdateTable", "UpdateTimeToLive", "TagResource", "UntagResource"),
    "UpdateContinuousBackups",
}
TABLE_READS = {
    *("GetItem", "BatchGetItem", "TransactGetItems", "Query", "Scan", "DescribeTable", "ListTables"),
    *("DescribeTimeToLive", "DescribeContinuousBackups", "DescribeEndpoints", "DescribeLimits"),
    "ListTagsOfResource",
}
QUEUE_WRITES = {
    *("CreateQueue", "DeleteQueue", "SetQueueAttributes", "TagQueue", "UntagQueue", "AddPermission"),
    "RemovePermission",
}
REAP_SLICE = 100


class Stop(Exception):
    """Memory and journal may differ: the engine must end, so that a restart reads the journal."""


def refusal(*, code: str, message: str, status: int = 400) -> Response:
    """An error in the JSON protocol."""
    headers = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-errortype": code}
    return status, headers, json.dumps({"__type": code, "message": message})


def _at_once(coroutine: Coroutine[Any, Any, Response]) -> Response:
    try:
        coroutine.send(None)
    except StopIteration as end:
        response: Response = end.value
        return response
    coroutine.close()
    raise Stop("a table action waited in the middle: the engine's wrapper does not fit this ministack")


class Ledger:
    """Runs writes and journals their results. One per process, used on the event loop only."""

    def __init__(self, *, journal: Journal, compact_bytes: int) -> None:
        self._journal = journal
        self._compact_bytes = compact_bytes
        self._effects: list[Effect] = []
        self._before: list[Effect] = []
        self._compaction: asyncio.Task[None] | None = None
        plain_set, plain_remove = seam.watch_items(on_set=self._on_set, on_remove=self._on_remove)
        self._applier = Applier(set_item=plain_set, remove_item=plain_remove)

    def restore(self) -> int:
        """Replay the journal and compact it. Returns the number of records replayed. Raises JournalError."""
        count = self._journal.open(self._applier.apply)
        if count:
            for picture in self._begin_compaction():
                self._journal.write_next(encode(picture()))
            self._journal.finish_compaction()
        return count

    def _on_set(self, table: dict[str, Any], pk: str, sk: str, item: Any) -> None:
        self._note(table=table, pk=pk, sk=sk, item=item)

    def _on_remove(self, table: dict[str, Any], pk: str, sk: str) -> None:
        self._note(table=table, pk=pk, sk=sk, item=None)

    def _note(self, *, table: dict[str, Any], pk: str, sk: str, item: Any) -> None:
        old = table["items"].get(pk, {}).get(sk)
        if old is None and item is None:
            return
        self._effects.append([table["TableArn"], pk, sk, item])
        self._before.append([table["TableArn"], pk, sk, old])

    def _forget(self) -> None:
        self._effects, self._before = [], []

    def table_action(
        self, *, action: str, data: dict[str, Any], call: Coroutine[Any, Any, Response]
    ) -> Response:
        """Run one DynamoDB action; its result is in the journal before this returns."""
        if action not in ITEM_WRITES | TABLE_WRITES | TABLE_READS:
            call.close()
            return refusal(code="UnknownOperationException", message=f"The embedded engine has no {action}.")
        self._forget()
        try:
            response = _at_once(call)
        except Stop:
            raise
        except Exception as error:
            self._undo({})
            response = refusal(code="InternalServerError", message=repr(error), status=500)
        if action in TABLE_WRITES:
            self._commit_table(data)
            return response
        return self._commit_items(data=data, response=response)

    def _commit_items(self, *, data: dict[str, Any], response: Response) -> Response:
        if not self._effects:
            return response
        record: Record = {"items": self._effects, **self._token(data)}
        try:
            self._append(record)
        except OSError as error:
            self._undo(record)
            message = f"The write was not kept: {error.strerror or error}. Make room on the engine's disk."
            return refusal(code="InternalServerError", message=message, status=500)
        return response

    def _token(self, data: dict[str, Any]) -> Record:
        token = data.get("ClientRequestToken")
        scope = seam.responses()
        return token_record((scope.get_account_id(), scope.get_region(), token)) if token else {}

    def _undo(self, record: Record) -> None:
        for effect in reversed(self._before):
            self._applier.apply_effect(effect)
        self._forget()
        if "token" in record:
            self._applier.apply({"token": record["token"], "state": None})

    def _commit_table(self, data: dict[str, Any]) -> None:
        """Journal the table as it is now, whether or not the action said that it worked."""
        reference = data.get("TableName") or data.get("ResourceArn", "")
        name = seam.dynamodb()._normalize_table_name(reference)
        scope = seam.responses()
        self._append_or_stop(table_record((scope.get_account_id(), scope.get_region(), name)))

    def queue_action(self, *, action: str, data: dict[str, Any]) -> None:
        """Journal the queue that the successful `action` created, changed or deleted."""
        if action not in QUEUE_WRITES:
            return
        scope = seam.responses()
        account, name = seam.sqs()._queue_ref_from_urlish(data.get("QueueUrl") or data.get("QueueName", ""))
        self._append_or_stop(queue_record((account or scope.get_account_id(), scope.get_region(), name)))

    def _append_or_stop(self, record: Record) -> None:
        try:
            self._append(record)
        except OSError as error:
            raise Stop(f"cannot write the journal ({error}): make room on the engine's disk") from error

    def _append(self, record: Record) -> None:
        self._journal.append(record)
        grown = self._journal.size - self._journal.compacted_size
        if grown > max(self._compact_bytes, 2 * self._journal.compacted_size) and self._compaction is None:
            self._compaction = asyncio.get_running_loop().create_task(self._compact())

    def _begin_compaction(self) -> Any:
        """Start the next file with tables, queues and tokens; return what remains, picture by picture.

        From here on appends go to both files. A picture is taken and written without a pause, so whatever
        was written before it is inside it and whatever comes after follows it in the file.
        """
        self._journal.begin_compaction()
        for record in frame():
            self._journal.write_next(encode(record))
        return pictures(item_keys())

    async def _compact(self) -> None:
        try:
            for picture in self._begin_compaction():
                self._journal.write_next(encode(picture()))
                await asyncio.sleep(0)
            # Off the loop, so that only the little that is written meanwhile is left to sync on it.
            await asyncio.to_thread(self._journal.sync_next)
            self._journal.finish_compaction()
        finally:
            self._compaction = None

    async def reap(self, *, every_seconds: float) -> None:
        """Delete items past their time to live, for ever, in slices that do not hold up requests."""
        while True:
            await asyncio.sleep(every_seconds)
            for key, setting in list(seam.dynamodb()._ttl_settings.all_items()):
                table = seam.dynamodb()._tables.get_scoped(*key)
                if table and setting.get("TimeToLiveStatus") == "ENABLED":
                    await self._reap_table(table=table, attribute=setting["AttributeName"])

    async def _reap_table(self, *, table: dict[str, Any], attribute: str) -> None:
        keys = [(pk, sk) for pk, bucket in table["items"].items() for sk in bucket]
        for start in range(0, len(keys), REAP_SLICE):
            self._reap_slice(table=table, attribute=attribute, keys=keys[start : start + REAP_SLICE])
            await asyncio.sleep(0)

    def _reap_slice(self, *, table: dict[str, Any], attribute: str, keys: list[tuple[str, str]]) -> None:
        self._forget()
        now = time.time()
        for pk, sk in keys:
            item = table["items"].get(pk, {}).get(sk)
            if item is not None and _expired(item.get(attribute), now=now):
                seam.dynamodb()._remove_item(table, pk, sk)
        _, _, problem = self._commit_items(data={}, response=(200, {}, ""))
        if problem:
            print(f"engine: {problem!r}", file=sys.stderr)

    def close(self) -> None:
        """Give the state directory back; an unfinished compaction leaves nothing behind that counts."""
        self._journal.close()


def _expired(value: dict[str, str] | None, *, now: float) -> bool:
    try:
        return value is not None and float(value["N"]) <= now
    except (KeyError, ValueError):
        return False
