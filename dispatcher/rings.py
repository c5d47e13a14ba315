"""The queue of replies in SQS: rung by workers and by the dispatcher, received by whoever makes the posts.

A ring says only "look at this thread": it may be lost, doubled or late, and the sweep rings again. Made only
when a chat frontend is configured. Knows nothing of what a look is.
"""

import asyncio
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.places import REPLIES_DEAD, REPLIES_QUEUE, ReplyPointer
from contracts.words import ThreadId, WorkerId
from dispatcher.aws import POLL_SECONDS, translated
from dispatcher.dead_queue import DeadQueue
from dispatcher.errors import DispatcherError, QueueMissing
from dispatcher.queues import RETENTION_SECONDS

if TYPE_CHECKING:
    from types_aiobotocore_sqs.client import SQSClient
    from types_aiobotocore_sqs.literals import QueueAttributeNameType
    from types_aiobotocore_sqs.type_defs import MessageTypeDef

_log = structlog.get_logger(__name__)
RECEIVES = 20
"""A ring whose look broke this often goes to the dead letters."""
VISIBILITY_SECONDS = 60
_LONGEST_DELAY = 900
_RING_SECONDS = 3.0


class Ring(BaseModel):
    """One receipt. ``pointer`` is None for a body that nobody can read; ``receives`` counts this one."""

    model_config = ConfigDict(frozen=True)

    receipt: str
    pointer: ReplyPointer | None
    receives: int

    @property
    def is_last(self) -> bool:
        """Whether the queue will not hand it out again."""
        return self.receives >= RECEIVES


class Rings:
    """The replies queue, by sender and receiver; ``dead`` are the rings whose looks broke too often.

    ``polls``: a client that waits for an answer longer than a long poll lasts, for who receives. ``url``: of
    a queue that others made; it is neither made nor changed here.
    """

    def __init__(
        self, client: "SQSClient", *, polls: "SQSClient | None" = None, url: str | None = None
    ) -> None:
        self._client = client
        self._polls = polls or client
        self._given = url
        self._url: str | None = None
        self._lock = asyncio.Lock()
        self.dead = DeadQueue(client, name=REPLIES_DEAD)

    async def url(self) -> str:
        """The queue's URL; the queue and its dead letters are made when that has not been done yet.

        Raises Unavailable.
        """
        if self._given is not None:
            return self._given
        async with self._lock:
            if self._url is None:
                self._url = await self._make()
        return self._url

    async def ring(self, worker: WorkerId, thread_id: ThreadId, *, delay: float = 0.0) -> None:
        """Ask for a look at a thread, in ``delay`` seconds (at most 15 minutes). Never raises: the sweep does
        it again."""
        try:
            async with asyncio.timeout(_RING_SECONDS):
                await self._send(ReplyPointer(worker_id=worker, thread_id=thread_id), delay=delay)
        except (DispatcherError, TimeoutError) as error:
            _log.warning("replies not rung", worker_id=worker, thread_id=thread_id, problem=repr(error))

    async def receive(self) -> list[Ring]:
        """The next rings, waited for a while. Raises Unavailable."""
        url = await self.url()
        try:
            with translated():
                got = await self._polls.receive_message(
                    QueueUrl=url,
                    MaxNumberOfMessages=10,
                    WaitTimeSeconds=POLL_SECONDS,
                    MessageSystemAttributeNames=["ApproximateReceiveCount"],
                )
        except QueueMissing:
            self._url = None
            raise
        return [_ring(message) for message in got.get("Messages", [])]

    async def done(self, rings: Iterable[Ring]) -> None:
        """Delete these. One that cannot be deleted comes back and finds nothing to do."""
        url = await self.url()
        for ring in rings:
            with translated():
                await self._client.delete_message(QueueUrl=url, ReceiptHandle=ring.receipt)

    async def hide(self, rings: Iterable[Ring], *, seconds: float) -> None:
        """Hand these out again after so long. Raises Unavailable; then they come back by their visibility."""
        url = await self.url()
        for ring in rings:
            with translated():
                await self._client.change_message_visibility(
                    QueueUrl=url, ReceiptHandle=ring.receipt, VisibilityTimeout=int(seconds)
                )

    async def _send(self, pointer: ReplyPointer, *, delay: float) -> None:
        url = await self.url()
        seconds = min(max(int(delay), 0), _LONGEST_DELAY)
        try:
            with translated():
                await self._client.send_message(
                    QueueUrl=url, MessageBody=pointer.model_dump_json(), DelaySeconds=seconds
                )
        except QueueMissing:
            self._url = None  # made again by the next ring
            raise

    async def _make(self) -> str:
        with translated():
            dead = await self._client.create_queue(QueueName=REPLIES_DEAD)
            shown = await self._client.get_queue_attributes(
                QueueUrl=dead["QueueUrl"], AttributeNames=["QueueArn"]
            )
            made = await self._client.create_queue(QueueName=REPLIES_QUEUE)
            redrive = {
                "deadLetterTargetArn": shown["Attributes"]["QueueArn"],
                "maxReceiveCount": str(RECEIVES),
            }
            kept: dict[QueueAttributeNameType, str] = {"MessageRetentionPeriod": str(RETENTION_SECONDS)}
            await self._client.set_queue_attributes(QueueUrl=dead["QueueUrl"], Attributes=kept)
            await self._client.set_queue_attributes(
                QueueUrl=made["QueueUrl"],
                Attributes={
                    "VisibilityTimeout": str(VISIBILITY_SECONDS),
                    "ReceiveMessageWaitTimeSeconds": str(POLL_SECONDS),
                    "RedrivePolicy": json.dumps(redrive),
                    **kept,
                },
            )
        return made["QueueUrl"]


def _ring(message: "MessageTypeDef") -> Ring:
    try:
        pointer = ReplyPointer.model_validate_json(message["Body"])
    except ValidationError:
        pointer = None
    receives = int(message.get("Attributes", {}).get("ApproximateReceiveCount", "1"))
    return Ring(receipt=message["ReceiptHandle"], pointer=pointer, receives=receives)
