"""One queue of dead letters in SQS: counted, looked at, given back, put away. Reads none of them."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from dispatcher.aws import translated
from dispatcher.errors import QueueMissing, Unavailable
from dispatcher.verdicts import Letter

if TYPE_CHECKING:
    from types_aiobotocore_sqs.client import SQSClient
    from types_aiobotocore_sqs.literals import QueueAttributeNameType
    from types_aiobotocore_sqs.type_defs import MessageTypeDef

HIDDEN_SECONDS = 30
"""How long a dead letter that is being looked at is hidden from other readers; given back before, if kept."""
_COUNTS: "tuple[QueueAttributeNameType, ...]" = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
)


class DeadQueue:
    """A queue by its name. One that does not exist is one without letters."""

    def __init__(self, client: "SQSClient", *, name: str) -> None:
        self._client = client
        self._name = name
        self._known: str | None = None

    async def count(self) -> int:
        """About how many letters there are, hidden ones included; one cheap request. Raises Unavailable."""
        try:
            with translated():
                shown = await self._client.get_queue_attributes(
                    QueueUrl=await self._url(), AttributeNames=list(_COUNTS)
                )
        except QueueMissing:
            self._known = None
            return 0
        return sum(int(shown["Attributes"].get(name, "0")) for name in _COUNTS)

    async def letters(self, *, most: int) -> list[Letter]:
        """The letters, at least as many as ``most`` if there are so many, each once. Raises Unavailable.

        They are hidden from other readers for ``HIDDEN_SECONDS``: give back what is kept.
        """
        expected = min(await self.count(), most)
        found: dict[str, Letter] = {}
        while len(found) < expected:
            with translated():
                got = await self._client.receive_message(
                    QueueUrl=await self._url(),
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

    async def give_back(self, letters: Iterable[Letter]) -> None:
        """Show these letters to others again. What cannot be given back comes back by itself."""
        with suppress(Unavailable, ClientError):
            for letter in letters:
                with translated():
                    await self._client.change_message_visibility(
                        QueueUrl=await self._url(), ReceiptHandle=letter.receipt, VisibilityTimeout=0
                    )

    async def forget(self, letter: Letter) -> None:
        """Delete a letter; one that is gone already is no error. Raises Unavailable."""
        with translated(), suppress(self._client.exceptions.ReceiptHandleIsInvalid):
            await self._client.delete_message(QueueUrl=await self._url(), ReceiptHandle=letter.receipt)

    async def _url(self) -> str:
        if self._known is None:
            self._known = (await self._client.get_queue_url(QueueName=self._name))["QueueUrl"]
        return self._known


def _letter(message: "MessageTypeDef") -> Letter:
    attributes = message.get("Attributes", {})
    return Letter(
        letter_id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        body=message["Body"],
        sent=datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
        receives=int(attributes["ApproximateReceiveCount"]),
    )
