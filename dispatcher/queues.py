"""The workers' queues in SQS: made at first contact, rung with pointers; and their dead-letter queues, read.

Receives nothing that a worker could still receive. A pointer that is lost costs time, not work: the record is
what counts.
"""

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from contracts import names
from contracts.messages import Pointer
from contracts.words import WorkerId
from dispatcher.aws import translated
from dispatcher.errors import QueueMissing, Unavailable
from dispatcher.verdicts import Letter

if TYPE_CHECKING:
    from types_aiobotocore_sqs.client import SQSClient
    from types_aiobotocore_sqs.literals import QueueAttributeNameType
    from types_aiobotocore_sqs.type_defs import MessageTypeDef

VISIBILITY_SECONDS = 60
POLL_SECONDS = 20
RECEIVES = 20
"""A pointer that was received this often without an end goes to the dead letters."""
RETENTION_SECONDS = 14 * 24 * 3600
HIDDEN_SECONDS = 30
"""How long a dead letter that is being looked at is hidden from other readers; given back before, if kept."""
_COUNTS: "tuple[QueueAttributeNameType, ...]" = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
)


class Queues:
    """SQS, as a sender sees it."""

    def __init__(self, client: "SQSClient") -> None:
        self._client = client
        self._dead: dict[WorkerId, str] = {}

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

    # ---------------------------------------------------------------- dead letters

    async def dead_count(self, worker: WorkerId) -> int:
        """About how many dead letters the worker has, hidden ones included; one cheap request."""
        try:
            with translated():
                shown = await self._client.get_queue_attributes(
                    QueueUrl=await self._dead_url(worker), AttributeNames=list(_COUNTS)
                )
        except QueueMissing:
            self._dead.pop(worker, None)
            return 0
        return sum(int(shown["Attributes"].get(name, "0")) for name in _COUNTS)

    async def dead(self, worker: WorkerId, *, most: int) -> list[Letter]:
        """The worker's dead letters, at least as many as ``most`` if there are so many, each once.

        They are hidden from other readers for ``HIDDEN_SECONDS``: give back what is kept.
        """
        expected = min(await self.dead_count(worker), most)
        found: dict[str, Letter] = {}
        while len(found) < expected:
            with translated():
                got = await self._client.receive_message(
                    QueueUrl=await self._dead_url(worker),
                    MaxNumberOfMessages=10,
                    WaitTimeSeconds=1,  # 0 would ask only some of SQS's servers
                    VisibilityTimeout=HIDDEN_SECONDS,
                    MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
                )
            letters = [_letter(m) for m in got.get("Messages", [])]
            fresh = [x for x in letters if x.letter_id not in found]
            found.update((x.letter_id, x) for x in letters)  # the latest receipt is the one that counts
            if not fresh:
                break
        return list(found.values())

    async def give_back(self, worker: WorkerId, letters: Iterable[Letter]) -> None:
        """Show these letters to others again. What cannot be given back comes back by itself."""
        with suppress(Unavailable, ClientError):
            for letter in letters:
                with translated():
                    await self._client.change_message_visibility(
                        QueueUrl=await self._dead_url(worker),
                        ReceiptHandle=letter.receipt,
                        VisibilityTimeout=0,
                    )

    async def forget(self, worker: WorkerId, letter: Letter) -> None:
        """Delete a dead letter; one that is gone already is no error. Raises Unavailable."""
        with translated(), suppress(self._client.exceptions.ReceiptHandleIsInvalid):
            await self._client.delete_message(
                QueueUrl=await self._dead_url(worker), ReceiptHandle=letter.receipt
            )

    async def _dead_url(self, worker: WorkerId) -> str:
        if worker not in self._dead:
            found = await self._client.get_queue_url(QueueName=names.dead_letters(worker))
            self._dead[worker] = found["QueueUrl"]
        return self._dead[worker]


def _letter(message: "MessageTypeDef") -> Letter:
    attributes = message.get("Attributes", {})
    return Letter(
        letter_id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        body=message["Body"],
        sent=datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
        receives=int(attributes["ApproximateReceiveCount"]),
    )
