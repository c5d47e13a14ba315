"""How a delivery becomes a dead letter, for the tests of those: it is received too often."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from contracts import names
from tests.fakes.engine import aws_client, wait_until
from tests.integration.dispatcher_lab import WORKER, Lab


class Post:
    """Both queues of the lab's worker, from behind the dispatcher."""

    def __init__(self, sqs: Any) -> None:
        self._sqs = sqs
        self.live = sqs.get_queue_url(QueueName=names.queue(WORKER))["QueueUrl"]
        self.dead = sqs.get_queue_url(QueueName=names.dead_letters(WORKER))["QueueUrl"]

    def send(self, body: str) -> None:
        """Put anything into the worker's queue."""
        self._sqs.send_message(QueueUrl=self.live, MessageBody=body)

    def bury(self) -> None:
        """Receive all that is in the worker's queue until it is dead: a worker that never gets through."""
        doomed = self._received()
        wait_until(lambda: not doomed & self._received(), seconds=30)

    def _received(self) -> set[str]:
        got = self._sqs.receive_message(
            QueueUrl=self.live, MaxNumberOfMessages=10, VisibilityTimeout=0, WaitTimeSeconds=0
        )
        return {m["MessageId"] for m in got.get("Messages", [])}

    def resend(self, body: str) -> None:
        """Put a second letter of this body where the dead ones are, as a standard queue may."""
        self._sqs.send_message(QueueUrl=self.dead, MessageBody=body)

    def counts(self, url: str) -> int:
        """Messages in a queue, hidden ones included."""
        wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)["Attributes"]
        return sum(int(found[name]) for name in wanted)

    def dead_count(self) -> int:
        return self.counts(self.dead)

    def live_count(self) -> int:
        return self.counts(self.live)


@contextmanager
def post_of(lab: Lab) -> Iterator[Post]:
    """The lab's queues for the length of a block."""
    with aws_client("sqs", url=lab.engine.url, account=lab.account) as sqs:
        yield Post(sqs)


def pointer(thread: str, sequence: int, message: str) -> str:
    """The body of a pointer to a message."""
    return json.dumps({"kind": "message", "thread_id": thread, "sequence": sequence, "message_id": message})
