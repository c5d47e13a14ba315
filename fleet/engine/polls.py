"""Long polls that wake at once and never take a message for a client that is gone.

ministack's ReceiveMessage sleeps in steps of 0.1 s and does not notice a closed connection. Here a poll
tries, and then sleeps on a future of its queue until a send, a returned message or the exact moment the next
delay or visibility ends. Before each try it looks at its own connection. Also here: the two places where
ministack's receipt handles differ from what AWS documents for standard queues.
"""

import asyncio
import contextvars
import json
import select
import time
import uuid
from collections.abc import Callable
from typing import Any

import seam

Data = dict[str, Any]
Result = dict[str, Any]
WAKING = (
    *("SendMessage", "SendMessageBatch", "ChangeMessageVisibility", "ChangeMessageVisibilityBatch"),
    *("DeleteMessage", "DeleteMessageBatch", "SetQueueAttributes", "DeleteQueue"),
)

connection: contextvars.ContextVar[asyncio.StreamWriter | None] = contextvars.ContextVar(
    "connection", default=None
)


class ClientGone(Exception):
    """The poll's client has closed its connection; nobody waits for the answer."""


def client_is_gone() -> bool:
    """Whether the peer of this request's connection has closed its side.

    Asked of the kernel rather than of the event loop, because the close of one client and the send of
    another may arrive in the same turn of the loop.
    """
    writer = connection.get()
    if writer is None:
        return False
    if writer.is_closing():
        return True
    watch = select.poll()
    watch.register(writer.get_extra_info("socket").fileno(), getattr(select, "POLLRDHUP", 0))
    return bool(watch.poll(0))


class Polls:
    """The pending ReceiveMessage calls of every queue."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[asyncio.Future[None], None]] = {}
        self._stopping = False
        self._receive_once: Callable[[Data, str], Any] = seam.sqs()._act_receive_message

    def install(self) -> None:
        """Put the actions of this file in place of ministack's."""
        actions = seam.sqs()._HANDLERS
        actions["DeleteMessage"] = _delete_message
        actions["DeleteMessageBatch"] = _delete_message_batch
        actions["ChangeMessageVisibility"] = _change_visibility
        actions.update({name: self._waking(actions[name]) for name in WAKING})
        actions["ReceiveMessage"] = self._receive

    def stop(self) -> None:
        """Let every poll, pending or to come, answer at once with what is there."""
        self._stopping = True
        for name in list(self._waiting):
            self._wake(name)

    def _waking(self, action: Callable[[Data, str], Result]) -> Callable[[Data, str], Result]:
        def run(data: Data, url: str) -> Result:
            name = _name(seam.sqs()._get_q(data.get("QueueUrl", url)))
            result = action(data, url)
            self._wake(name)
            return result

        return run

    def _wake(self, name: str) -> None:
        for future in self._waiting.get(name, ()):
            if not future.done():
                future.set_result(None)

    async def _receive(self, data: Data, url: str) -> Result:
        """ReceiveMessage. Raises ClientGone, and then has taken nothing."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _wait_seconds(seam.sqs()._get_q(data.get("QueueUrl", url)), data)
        while True:
            if client_is_gone():
                raise ClientGone
            queue = seam.sqs()._get_q(data.get("QueueUrl", url))
            result: Result = await self._receive_once({**data, "WaitTimeSeconds": 0}, url)
            self._wake_dead_letters(queue)
            if result or self._stopping or loop.time() >= deadline:
                return result
            await self._sleep(name=_name(queue), until=min(deadline, _next_change(queue, now=loop.time())))

    def _wake_dead_letters(self, queue: Data) -> None:
        """A receive may have moved messages to the dead-letter queue, whose polls cannot know."""
        policy = queue["attributes"].get("RedrivePolicy")
        target = json.loads(policy).get("deadLetterTargetArn") if policy else None
        if target in self._waiting and seam.sqs()._queue_by_arn(target)["messages"]:
            self._wake(target)

    async def _sleep(self, *, name: str, until: float) -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.setdefault(name, {})[future] = None
        timer = loop.call_at(until, _finish, future)
        try:
            await future
        finally:
            timer.cancel()
            del self._waiting[name][future]
            if not self._waiting[name]:
                del self._waiting[name]


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _name(queue: Data) -> str:
    return str(queue["attributes"]["QueueArn"])


def _wait_seconds(queue: Data, data: Data) -> int:
    asked = data.get("WaitTimeSeconds")
    wait = int(asked if asked is not None else queue["attributes"].get("ReceiveMessageWaitTimeSeconds", "0"))
    if not 0 <= wait <= 20:
        raise seam.sqs()._Err("InvalidParameterValue", f"WaitTimeSeconds must be 0 to 20, not {wait}.")
    return wait


def _next_change(queue: Data, *, now: float) -> float:
    """The loop time at which the next hidden message becomes visible by itself."""
    wall = time.time()
    hidden = [m["visible_at"] - wall for m in queue["messages"] if m["visible_at"] > wall]
    return now + min(hidden, default=float("inf"))


def _looks_issued(handle: str) -> bool:
    try:
        uuid.UUID(handle)
    except ValueError:
        return False
    return True


def _delete_message(data: Data, url: str) -> Result:
    """AWS accepts any handle it once gave out for a standard queue; an outdated one deletes nothing."""
    module = seam.sqs()
    queue = module._get_q(data.get("QueueUrl", url))
    try:
        return dict(module._act_delete_message(data, url))
    except module._Err as error:
        outdated = error.code == "ReceiptHandleIsInvalid" and _looks_issued(data.get("ReceiptHandle", ""))
        if outdated and not queue["is_fifo"]:
            return {}
        raise


def _delete_message_batch(data: Data, url: str) -> Result:
    module = seam.sqs()
    queue = module._get_q(data.get("QueueUrl", url))
    result = module._act_delete_message_batch(data, url)
    handles = {entry["Id"]: entry.get("ReceiptHandle", "") for entry in data["Entries"]}
    if queue["is_fifo"]:
        return dict(result)
    outdated = [entry for entry in result["Failed"] if _looks_issued(handles[entry["Id"]])]
    return {
        "Successful": result["Successful"] + [{"Id": entry["Id"]} for entry in outdated],
        "Failed": [entry for entry in result["Failed"] if entry not in outdated],
    }


def _change_visibility(data: Data, url: str) -> Result:
    """AWS refuses to extend what is visible again: the receiver has lost it."""
    module = seam.sqs()
    queue = module._get_q(data.get("QueueUrl", url))
    handle = data.get("ReceiptHandle")
    for message in queue["messages"]:
        if handle and message["receipt_handle"] == handle and message["visible_at"] <= time.time():
            raise module._Err("MessageNotInflight", "The message referred to isn't in flight.")
    return dict(module._act_change_visibility(data, url))
