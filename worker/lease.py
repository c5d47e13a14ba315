"""Who owns the worker id: a lease in the worker's row, renewed by a rising number.

A lease is judged by what is seen to change, on this machine's monotonic clock, and never by comparing
timestamps of two machines (as the DynamoDB lock client and client-go do). Every change of owner raises the
epoch, the fencing token of all writes and pushes. This module must not decide what to do about a loss.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping

from botocore.exceptions import ClientError
from tenacity import retry, retry_if_exception, stop_after_delay, wait_random_exponential

from contracts import records
from contracts.records import WorkerRecord
from contracts.words import WorkerId
from worker.aws import FAULTS, Aws, passing
from worker.errors import LeaseHeld, LeaseLost, WorkerError
from worker.log import get_logger

log = get_logger()

_again = retry(
    retry=retry_if_exception(passing),
    wait=wait_random_exponential(multiplier=0.1, max=3),
    stop=stop_after_delay(30),
    reraise=True,
)
LEAST_TRY = 1.0
"""Seconds a renewal may take even when the lease is over: after a freeze it asks who owns the id now."""


class DynamoLease:
    """Owner and epoch of one worker id. ``seconds`` is how long an owner may be silent."""

    def __init__(
        self,
        *,
        aws: Aws,
        table: str,
        worker: WorkerId,
        seconds: float,
        place: str,
        renewed: Callable[[], None] = lambda: None,
    ) -> None:
        self._renewed = renewed
        self._aws, self._table, self._worker = aws, table, worker
        self._seconds, self._place = seconds, place
        self._proved = 0.0
        self.owner = uuid.uuid4().hex
        self.epoch = 0
        self.lost = asyncio.Event()
        self.taken = False
        """Whether another owner was seen, and not only that this one could not prove itself any more."""

    async def acquire(self, *, evict: Callable[[], Awaitable[bool]]) -> WorkerRecord:
        """Become the owner; the row as it is then.

        ``evict`` is asked when the last owner sat on this very disk: it returns True when that owner is
        known to be dead. Raises LeaseHeld when a living owner is seen, WorkerError when there is no row.
        """
        seen = await self._row()
        if seen.owner is not None and not (seen.place == self._place and await evict()):
            await self._watch(seen)
        return await self._take(seen)

    async def _watch(self, seen: WorkerRecord) -> None:
        """Return when the owner was silent for a whole lease; raise LeaseHeld as soon as it is not."""
        until = time.monotonic() + self._seconds
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, self._seconds / 10))
            row = await self._row()
            if row.owner is None:
                return
            if (row.owner, row.beat, row.epoch) != (seen.owner, seen.beat, seen.epoch):
                raise LeaseHeld(
                    f"{self._worker} is owned by another worker (epoch {row.epoch}), which is alive; "
                    "this one leaves.",
                    epoch=row.epoch,
                )

    @_again
    async def _take(self, seen: WorkerRecord) -> WorkerRecord:
        began = time.monotonic()
        condition, values = "epoch = :seen", {":seen": {"N": str(seen.epoch)}}
        if seen.owner is not None:
            # A beat since the last look means that the owner lives after all (or released and came back).
            condition += " AND (attribute_not_exists(#owner) OR beat = :beat)"
            values[":beat"] = {"N": str(seen.beat)}
        else:
            condition += " AND attribute_not_exists(#owner)"
        try:
            answer = await self._aws.dynamodb.update_item(
                TableName=self._table,
                Key=records.worker_key(self._worker),
                UpdateExpression=(
                    "SET epoch = :epoch, #owner = :owner, beat = :one, place = :place, #state = :up"
                ),
                ConditionExpression=condition,
                ExpressionAttributeNames={"#owner": "owner", "#state": "state"},
                ExpressionAttributeValues={
                    **values,
                    ":epoch": {"N": str(seen.epoch + 1)},
                    ":owner": {"S": self.owner},
                    ":one": {"N": "1"},
                    ":place": {"S": self._place},
                    ":up": {"S": "up"},
                },
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            now = await self._row()
            if now.owner == self.owner:  # an earlier try had landed, only its answer got lost
                self._proved, self.epoch = began, now.epoch
                return now
            raise LeaseHeld(
                f"{self._worker} was taken by another worker a moment ago; this one leaves.",
                epoch=seen.epoch + 1,
            ) from None
        self._proved, self.epoch = began, seen.epoch + 1
        return WorkerRecord.read(answer["Attributes"])

    async def keep(self) -> None:
        """Renew until the lease is lost (``lost`` is set then) or the caller cancels."""
        while not self.lost.is_set():
            await asyncio.sleep(self._seconds / 3)
            try:
                async with asyncio.timeout(max(self._left(), LEAST_TRY)):
                    await self.prove()
                self._renewed()
            except LeaseLost:
                self.taken = True
                self.lost.set()
            except FAULTS as error:
                log.warning("lease_not_renewed", error=str(error))
                if self.lapsed():
                    self.lost.set()

    async def prove(self) -> None:
        """Return if this is the owner now. Raises LeaseLost."""
        began = time.monotonic()
        await self._write("SET beat = beat + :one", {":one": {"N": "1"}})
        self._proved = began

    async def inquire(self) -> None:
        """After a loss that was learned elsewhere (a refused write or push): ask once who owns the id."""
        try:
            async with asyncio.timeout(LEAST_TRY):
                await self.prove()
        except LeaseLost:
            self.taken = True
        except FAULTS as error:
            log.warning("owner_not_known", error=str(error))

    def _left(self) -> float:
        return self._proved + self._seconds - time.monotonic()

    def lapsed(self) -> bool:
        """Whether this worker can no longer prove that it is the owner."""
        return self.lost.is_set() or self._left() <= 0

    async def cold(self) -> None:
        """Say that this worker is about to leave. Raises LeaseLost."""
        await self._write("SET #state = :state", {":state": {"S": "cold"}}, {"#state": "state"})

    async def warm(self) -> None:
        """Take ``cold`` back. Raises LeaseLost."""
        await self._write("SET #state = :state", {":state": {"S": "up"}}, {"#state": "state"})

    async def release(self) -> None:
        """Give the id up, so that the next owner need not wait. Raises LeaseLost."""
        gone = "#owner, preview_url, preview_problem"
        await self._write(
            f"SET #state = :state REMOVE {gone}", {":state": {"S": "cold"}}, {"#state": "state"}
        )

    async def show(self, shown: Mapping[str, str | None]) -> None:
        """Set fields of the row that say what the preview shows; None removes one. Raises LeaseLost."""
        sets = [f"{name} = :{name}" for name, value in shown.items() if value is not None]
        gone = [name for name, value in shown.items() if value is None]
        clauses = (("SET ", sets), ("REMOVE ", gone))
        update = " ".join(word + ", ".join(parts) for word, parts in clauses if parts)
        await self._write(update, {f":{name}": {"S": value} for name, value in shown.items() if value})

    @_again
    async def _row(self) -> WorkerRecord:
        answer = await self._aws.dynamodb.get_item(
            TableName=self._table, Key=records.worker_key(self._worker), ConsistentRead=True
        )
        if "Item" not in answer:
            raise WorkerError(
                f"There is no worker {self._worker} in the table {self._table}: "
                "its row is made when the first message for it is accepted. Check CONTAINER_ID."
            )
        return WorkerRecord.read(answer["Item"])

    async def _write(
        self, update: str, values: dict[str, dict[str, str]], names: dict[str, str] | None = None
    ) -> None:
        try:
            await self._aws.dynamodb.update_item(
                TableName=self._table,
                Key=records.worker_key(self._worker),
                UpdateExpression=update,
                ConditionExpression="epoch = :epoch AND #owner = :owner",
                ExpressionAttributeNames={"#owner": "owner", **(names or {})},
                ExpressionAttributeValues={
                    **values,
                    ":epoch": {"N": str(self.epoch)},
                    ":owner": {"S": self.owner},
                },
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                raise LeaseLost(f"{self._worker} has another owner now.") from None
            raise
