"""A WebSocket passed on to a site: what one side says the other hears, and when one leaves both do.

Dev servers tell an open page over it what changed. Decides nothing about who may ask.
"""

import asyncio

import aiohttp
import structlog
from multidict import CIMultiDict
from starlette.types import Receive, Scope, Send
from yarl import URL

_log = structlog.get_logger(__name__)

MOST_SAID = 4 * 1024 * 1024
"""Bytes of one message."""
_TIMES = aiohttp.ClientWSTimeout(ws_close=2)
_CONNECT_SECONDS = 10
_GOING_AWAY, _NO_STATUS, _ABNORMAL, _BROKEN, _TLS = 1001, 1005, 1006, 1011, 1015


async def pass_on(
    session: aiohttp.ClientSession,
    *,
    url: URL,
    headers: CIMultiDict[str],
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Connect both sides until one of them leaves. A site that does not answer is a refusal."""
    await receive()  # "websocket.connect"
    for name in [name for name in headers if name.lower().startswith("sec-websocket-")]:
        headers.popall(name, None)
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            site = await session.ws_connect(
                url,
                headers=headers,
                protocols=scope.get("subprotocols", ()),
                max_msg_size=MOST_SAID,
                timeout=_TIMES,
            )
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        _log.info("preview socket not passed on", problem=repr(error))
        await send({"type": "websocket.close", "code": _BROKEN})
        return
    async with site:
        await send({"type": "websocket.accept", "subprotocol": site.protocol})
        await _both_ways(site, receive=receive, send=send)


async def _both_ways(site: aiohttp.ClientWebSocketResponse, *, receive: Receive, send: Send) -> None:
    inwards = asyncio.create_task(_inwards(site, receive))
    outwards = asyncio.create_task(_outwards(site, send))
    try:
        done, _ = await asyncio.wait({inwards, outwards}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (inwards, outwards):
            task.cancel()
        await asyncio.wait({inwards, outwards})
    for task in done:
        if task.exception() is not None:
            _log.info("preview socket broke", problem=repr(task.exception()))
    if inwards in done:
        await site.close(code=_GOING_AWAY)
    else:
        await send({"type": "websocket.close", "code": _sendable(site.close_code)})


async def _inwards(site: aiohttp.ClientWebSocketResponse, receive: Receive) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        if (text := message.get("text")) is not None:
            await site.send_str(text)
        else:
            await site.send_bytes(message["bytes"])


async def _outwards(site: aiohttp.ClientWebSocketResponse, send: Send) -> None:
    async for message in site:
        if message.type is aiohttp.WSMsgType.TEXT:
            await send({"type": "websocket.send", "text": message.data})
        elif message.type is aiohttp.WSMsgType.BINARY:
            await send({"type": "websocket.send", "bytes": message.data})


def _sendable(code: int | None) -> int:
    """A code that may be sent; some only say that none was."""
    if code is None or code in (_NO_STATUS, _ABNORMAL, _TLS):
        return _GOING_AWAY
    return code
