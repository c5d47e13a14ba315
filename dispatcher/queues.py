"""The workers' queues in SQS: made at first contact, rung with pointers; and where their dead letters are.

Receives nothing that a worker could still receive. A pointer that is lost costs time, not work: the record is
what counts.
"""

import asyncio
import json
from typing import TYPE_CHECKING

from contracts import names
from contracts.messages import Pointer
from contracts.words import WorkerId
from dispatcher.aws import translated
from dispatcher.dead_queue import DeadQueue

if TYPE_CHECKING:
    from types_aiobotocore_sqs.client import SQSClient
    from types_aiobotocore_sqs.literals import QueueAttributeNameType

VISIBILITY_SECONDS = 60
POLL_SECONDS = 20
RECEIVES = 20
"""A pointer that was received this often without an end goes to the dead letters."""
RETENTION_SECONDS = 14 * 24 * 3600


class Queues:
    """SQS, as a sender sees it."""

    def __init__(self, client: "SQSClient") -> None:
        self._client = client
        self._dead: dict[WorkerId, DeadQueue] = {}

    async def make(self, worker: WorkerId) -> str:
        """Make the worker's queue and its dead-letter queue, or bring those there are into shape; the URL."""
        with translated():
            dead = await self._client.create_queue(QueueName=names.dead_letters(worker))
            shown = await self._client.get_queue_attributes(
                QueueUrl=dead["QueueUrl"], AttributeNames=["QueueArn"]
            )
            made = await self._client.create_queue(QueueName=names.queue(worker))
            redrive = {
                "deadLetterTargetArn": shown["Attributes"]["QueueArn"],
                "maxReceiveCount": str(RECEIVES),
            }
            retention: dict[QueueAttributeNameType, str] = {"MessageRetentionPeriod": str(RETENTION_SECONDS)}
            await self._client.set_queue_attributes(QueueUrl=dead["QueueUrl"], Attributes=retention)
            await self._client.set_queue_attributes(
                QueueUrl=made["QueueUrl"],
                Attributes={
                    "VisibilityTimeout": str(VISIBILITY_SECONDS),
                    "ReceiveMessageWaitTimeSeconds": str(POLL_SECONDS),
                    "RedrivePolicy": json.dumps(redrive),
                    **retention,
                },
            )
        return made["QueueUrl"]

    async def send(self, *, url: str, pointer: Pointer) -> None:
        """Ring with a pointer. Raises QueueMissing, Unavailable."""
        with translated():
            await self._client.send_message(
                QueueUrl=url, MessageBody=pointer.model_dump_json(exclude_none=True)
            )

    async def check(self) -> None:
        """One cheap request. Raises Unavailable when SQS does not answer within 3 seconds."""
        with translated():
            async with asyncio.timeout(3):
                await self._client.list_queues(MaxResults=1)

    def dead(self, worker: WorkerId) -> DeadQueue:
        """The worker's dead letters."""
        if worker not in self._dead:
            self._dead[worker] = DeadQueue(self._client, name=names.dead_letters(worker))
        return self._dead[worker]
