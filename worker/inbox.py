"""Deliveries: polls the worker's queues, holds what came, renews it, gives it back or deletes it.

A delivery only points at a record, so losing, doubling or reordering deliveries changes nothing but time.
A receive in flight is never cancelled: what it was about to hand out would be leased to nobody. To leave,
the inbox rings its own queues, which makes pending long polls return at once. No decision about turns here.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from contracts.faults import fault
from contracts.messages import Pointer
from contracts.records import BindingRecord
from contracts.words import ThreadId
from worker.aws import FAULTS, Aws, passing
from worker.log import get_logger

log = get_logger()

HOLD_LIMIT = 11 * 3600.0
"""SQS lets a delivery be held for 12 hours (seconds); before that it is sent anew and deleted."""
POISON_SECONDS = 5
DRAIN_POLL = 1.0
"""Seconds: a receive that does not wait asks only some of SQS's servers, and may find a full queue empty."""


_again = retry(
    retry=retry_if_exception(passing),
    wait=wait_random_exponential(multiplier=0.2, max=5),
    stop=stop_after_attempt(4),
    reraise=True,
)


@dataclass(kw_only=True, eq=False)
class Delivery:
    """One receipt. ``received`` is monotonic, in seconds."""

    queue_url: str
    receipt: str
    body: str
    pointer: Pointer
    received: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> tuple[ThreadId, int] | None:
        """The message it points at; None for a stop or a mere ring."""
        p = self.pointer
        if p.kind == "message" and p.thread_id is not None and p.sequence is not None:
            return (p.thread_id, p.sequence)
        return None


class SqsInbox:
    """All queues of one worker. ``ring`` is called whenever something arrived.

    ``visibility`` and ``poll`` are in seconds; a held delivery is renewed every third of ``visibility``.
    """

    def __init__(
        self, *, aws: Aws, ring: Callable[[], None], visibility: float = 60, poll: float = 20
    ) -> None:
        self._sqs = aws.sqs
        self._ring, self._visibility, self._poll = ring, visibility, poll
        self._held: set[Delivery] = set()
        self._queues: dict[str, asyncio.Task[None]] = {}
        self._bound: frozenset[str] = frozenset()
        self._chores: set[asyncio.Task[None]] = set()
        self._leaving = asyncio.Event()

    # ------------------------------------------------------------ queues

    def follow(self, bindings: Sequence[BindingRecord]) -> None:
        """Poll exactly these queues from now on; one that is gone is emptied first."""
        if self._leaving.is_set():
            return
        before, self._bound = self._bound, frozenset(b.queue_url for b in bindings)
        for url in before - self._bound:
            self._wake(url)
        for url in self._bound:
            if url not in self._queues or self._queues[url].done():
                log.info("queue_followed", queue=url)
                self._queues[url] = asyncio.create_task(self._follow_queue(url), name=f"poll {url}")
        for url in [u for u, t in self._queues.items() if t.done() and u not in self._bound]:
            del self._queues[url]

    async def _follow_queue(self, url: str) -> None:
        pause = 1.0
        while not self._leaving.is_set():
            bound = url in self._bound
            try:
                arrived = await self._receive(url, wait=self._poll if bound else DRAIN_POLL)
                pause = 1.0
            except FAULTS as error:
                log.warning("receive_failed", queue=url, error=str(error), again_in=pause)
                if not bound:
                    return
                await self._rest(pause)
                pause = min(pause * 2, 20.0)
                self._ring()  # whatever was missed meanwhile stands in the records
                continue
            if not bound and not arrived:
                log.info("queue_drained", queue=url)
                return

    async def _rest(self, seconds: float) -> None:
        """Wait so long, or until the inbox is asked to leave."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._leaving.wait()

    async def _receive(self, url: str, *, wait: float) -> int:
        answer = await self._sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=int(wait),
            VisibilityTimeout=max(1, int(self._visibility)),
        )
        messages = answer.get("Messages", [])
        for message in messages:
            self._take(url, receipt=message["ReceiptHandle"], body=message["Body"])
        if messages:
            self._ring()
        return len(messages)

    def _take(self, url: str, *, receipt: str, body: str) -> None:
        try:
            pointer = Pointer.model_validate_json(body)
        except ValidationError:
            # Given back soon, it walks through the redrive count into the dead-letter queue.
            log.error("poison", queue=url, size=len(body))
            self._chore(self._change(url, receipt, POISON_SECONDS))
            return
        fault("received")
        self._held.add(Delivery(queue_url=url, receipt=receipt, body=body, pointer=pointer))

    # ------------------------------------------------------------ deliveries

    @property
    def held(self) -> int:
        """How many deliveries are held now."""
        return len(self._held)

    def settle(self, *, open_keys: Collection[tuple[ThreadId, int]], before: float) -> None:
        """Delete what was received before ``before`` (monotonic, seconds) and points at nothing open."""
        for delivery in [d for d in self._held if d.received < before and d.key not in open_keys]:
            fault("before_delete")
            self._held.discard(delivery)
            self._chore(self._delete(delivery))

    async def keep(self) -> None:
        """Renew what is held, until cancelled."""
        while True:
            await asyncio.sleep(self._visibility / 3)
            for delivery in list(self._held):
                await self._renew(delivery)

    async def _renew(self, delivery: Delivery) -> None:
        try:
            if time.monotonic() - delivery.received > HOLD_LIMIT:
                await self._sqs.send_message(QueueUrl=delivery.queue_url, MessageBody=delivery.body)
                self._held.discard(delivery)
                await self._delete(delivery)
            else:
                await self._change(delivery.queue_url, delivery.receipt, max(1, int(self._visibility)))
        except FAULTS as error:
            log.warning("not_renewed", queue=delivery.queue_url, error=str(error))
            if not passing(error):
                self._held.discard(delivery)  # SQS does not know it any more; it comes again or is gone

    async def leave(self, *, within: float | None = None) -> None:
        """Stop receiving, wait for receives in flight, give every held delivery back (visibility 0).

        Takes at most ``within`` seconds (default: a whole poll and a little); what is under way then is
        given up, and its deliveries come back by their visibility.
        """
        until = time.monotonic() + (self._poll + 5 if within is None else within)
        self._leaving.set()
        pending = [t for t in self._queues.values() if not t.done()]
        for url, task in self._queues.items():
            if not task.done():
                self._wake(url)
        await _ended(pending, until=until)
        for delivery in self._held:
            wake = delivery.pointer.kind == "wake"
            self._chore(self._delete(delivery) if wake else self._give_back(delivery))
        self._held.clear()
        await _ended(list(self._chores), until=until)

    def _wake(self, url: str) -> None:
        """Make the long poll that is pending on this queue return at once."""
        self._chore(self._send(url, Pointer(kind="wake").model_dump_json()))

    async def _give_back(self, delivery: Delivery) -> None:
        await self._change(delivery.queue_url, delivery.receipt, 0)

    @_again
    async def _delete(self, delivery: Delivery) -> None:
        await self._sqs.delete_message(QueueUrl=delivery.queue_url, ReceiptHandle=delivery.receipt)

    @_again
    async def _change(self, url: str, receipt: str, seconds: int) -> None:
        await self._sqs.change_message_visibility(
            QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=seconds
        )

    @_again
    async def _send(self, url: str, body: str) -> None:
        await self._sqs.send_message(QueueUrl=url, MessageBody=body)

    def _chore(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._quietly(work))
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _quietly(self, work: Coroutine[Any, Any, None]) -> None:
        """A delivery that cannot be changed comes back by itself; that is worth a line and no more."""
        try:
            await work
        except FAULTS as error:
            log.warning("delivery_not_changed", error=str(error))


async def _ended(tasks: list["asyncio.Task[None]"], *, until: float) -> None:
    """Wait for these until a moment (monotonic), then cancel them."""
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=max(until - time.monotonic(), 0))
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
