"""Which queues are the worker's: the bindings in the table, followed while it runs.

Reads only; who may bind a queue is the dispatcher's and the operator's business.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from contracts import records
from contracts.records import BindingRecord
from contracts.words import WorkerId
from worker.aws import FAULTS, Aws
from worker.log import get_logger

log = get_logger()


class Discovery:
    """Tells ``follow`` the bindings at once and after every change, looked for every ``seconds``."""

    def __init__(
        self,
        *,
        aws: Aws,
        table: str,
        worker: WorkerId,
        seconds: float,
        follow: Callable[[Sequence[BindingRecord]], None],
    ) -> None:
        self._aws, self._table, self._worker = aws, table, worker
        self._seconds, self._follow = seconds, follow

    async def run(self) -> None:
        """Until cancelled. A failed look changes nothing."""
        while True:
            try:
                self._follow(await self.look())
            except FAULTS as error:
                log.warning("discovery_failed", error=str(error))
            await asyncio.sleep(self._seconds)

    async def look(self) -> list[BindingRecord]:
        """All bindings of the worker, read consistently."""
        pages = self._aws.dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={
                ":pk": {"S": records.worker_pk(self._worker)},
                ":sk": {"S": "binding#"},
            },
            ConsistentRead=True,
        )
        return [b async for page in pages for item in page["Items"] if (b := _read(item)) is not None]


def _read(item: Mapping[str, Any]) -> BindingRecord | None:
    """One binding; a row that cannot be read is passed over, the others count."""
    try:
        return BindingRecord.read(item)
    except ValidationError as error:
        log.error("binding_unreadable", key=str(item.get("sk")), error=str(error))
        return None
