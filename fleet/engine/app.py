"""The ASGI application: admit, read, act, answer. The only file that knows HTTP.

Requests go straight to the ministack module of the service they are signed for. ministack's own application
in front of it (admin pages, reset, CORS for everyone, a Docker reaper) is never reached.
"""

import asyncio
import contextlib
import json
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from urllib.parse import parse_qs

import polls
import seam
from guard import Caller, Guard, Refused, body_limit
from ledger import Ledger, Response, Stop, refusal

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Disconnected(Exception):
    """The client left before its request was complete."""


class App:
    """Callable by an ASGI server. `on_ready` runs when requests are answered, `on_stop` when it must end."""

    def __init__(
        self,
        *,
        guard: Guard,
        ledger: Ledger,
        services: frozenset[str],
        on_ready: Callable[[], None],
        on_stop: Callable[[str], None],
    ) -> None:
        self._guard = guard
        self._ledger = ledger
        self._services = services
        self._on_ready = on_ready
        self._on_stop = on_stop

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            with contextlib.suppress(Disconnected, polls.ClientGone):
                await _answer(send, await self._respond(scope, receive))
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._on_ready()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _respond(self, scope: Message, receive: Receive) -> Response:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        try:
            caller = self._guard.admit(method=scope["method"], headers=headers)
            if caller.service not in self._services:
                message = f"The embedded engine has no {caller.service}: start it with --services to add it."
                raise Refused(status=400, code="UnknownOperationException", message=message)
            body = await _read(receive, limit=body_limit(caller.service))
        except Refused as refused:
            return refusal(code=refused.code, message=refused.message, status=refused.status)
        return await self._act(caller=caller, scope=scope, headers=headers, body=body, receive=receive)

    async def _act(
        self, *, caller: Caller, scope: Message, headers: dict[str, str], body: bytes, receive: Receive
    ) -> Response:
        seam.responses().set_request_account_id(caller.key)
        seam.responses().set_request_region(caller.region)
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        module = seam.service_module(caller.service)
        if module is None:
            return refusal(code="UnknownOperationException", message=f"There is no service {caller.service}.")
        call = module.handle_request(scope["method"], scope["path"], headers, body, query)
        try:
            if caller.service == "dynamodb":
                return self._act_on_tables(headers=headers, body=body, call=call)
            if caller.service == "sqs":
                return await self._act_on_queues(headers=headers, body=body, call=call, receive=receive)
            answer: Response = await call
        except Stop as stop:
            self._on_stop(str(stop))
            raise Disconnected from stop
        return answer

    def _act_on_tables(self, *, headers: dict[str, str], body: bytes, call: Any) -> Response:
        data = _json_object(body)
        if data is None:
            call.close()
            return refusal(code="SerializationException", message="The body is not a JSON object.")
        return self._ledger.table_action(action=_action(headers), data=data, call=call)

    async def _act_on_queues(
        self, *, headers: dict[str, str], body: bytes, call: Any, receive: Receive
    ) -> Response:
        data = _json_object(body)
        if data is None or not headers.get("x-amz-target", "").startswith("AmazonSQS."):
            call.close()
            return refusal(code="InvalidAction", message="The engine speaks the JSON protocol of SQS only.")
        action = _action(headers)
        response: Response = await (_while_connected(call, receive) if action == "ReceiveMessage" else call)
        if response[0] < 300:
            self._ledger.queue_action(action=action, data=data)
        return response


async def _while_connected(call: Coroutine[Any, Any, Response], receive: Receive) -> Response:
    """Run `call`, and cancel it when the client disconnects. Raises ClientGone then."""
    work = asyncio.ensure_future(call)
    watch = asyncio.ensure_future(receive())
    try:
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise polls.ClientGone
        return work.result()
    finally:
        for task in (work, watch):
            task.cancel()


def _action(headers: dict[str, str]) -> str:
    return headers.get("x-amz-target", "").rpartition(".")[2]


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(body or b"{}")
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


async def _read(receive: Receive, *, limit: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        body += message.get("body", b"")
        if len(body) > limit:
            raise Refused(
                status=413, code="RequestEntityTooLarge", message=f"At most {limit} bytes are accepted."
            )
        if not message.get("more_body", False):
            return bytes(body)


async def _answer(send: Send, response: Response) -> None:
    status, headers, body = response
    payload = body if isinstance(body, bytes) else body.encode()
    headers = {name.lower(): value for name, value in headers.items()}
    headers |= {"content-length": str(len(payload)), "x-amzn-requestid": str(uuid.uuid4())}
    kept = [
        (k.encode(), v.encode("latin-1")) for k, v in headers.items() if not k.startswith("access-control-")
    ]
    await send({"type": "http.response.start", "status": status, "headers": kept})
    await send({"type": "http.response.body", "body": payload})
