"""A small dev server for tests of what passes a preview on: it says what it was asked, in ways to choose."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

from tests.fakes.preview import free_port


class Site:
    """What it was asked so far, and how many of its sockets and answers are open."""

    def __init__(self, *, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.asked: list[dict[str, Any]] = []
        self.open = 0
        self.more = asyncio.Event()
        self.received = 0

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2**30)
        app.router.add_get("/socket", self._socket)
        app.router.add_get("/stream", self._stream)
        app.router.add_get("/broken", self._broken)
        app.router.add_get("/to", self._redirect)
        app.router.add_get("/cookies", self._cookies)
        app.router.add_post("/upload", self._upload)
        app.router.add_get("/page", self._page)
        app.router.add_route("*", "/{any:.*}", self._echo)
        return app

    async def _echo(self, request: web.Request) -> web.Response:
        said = {
            "method": request.method,
            "path": request.raw_path,
            "headers": {k.lower(): v for k, v in request.headers.items()},
            "body": (await request.read()).decode(),
        }
        self.asked.append(said)
        headers = {"X-Frame-Options": "DENY", "X-Site": "yes", "Strict-Transport-Security": "max-age=9"}
        return web.Response(text=json.dumps(said), content_type="application/json", headers=headers)

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("vite-hmr",))
        await socket.prepare(request)
        self.open += 1
        self.asked.append({"headers": {k.lower(): v for k, v in request.headers.items()}})
        try:
            async for message in socket:
                if message.type is WSMsgType.BINARY:
                    await socket.send_bytes(message.data[::-1])
                elif message.data == "bye":
                    await socket.close(code=4001)
                else:
                    await socket.send_str(f"heard {message.data}")
        finally:
            self.open -= 1
        return socket

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        self.open += 1
        try:
            await answer.write(b"first\n")
            while True:
                try:
                    async with asyncio.timeout(0.02):
                        await self.more.wait()
                    break
                except TimeoutError:
                    await answer.write(b".")  # fails once nobody reads any more
            await answer.write(b"second\n")
        finally:
            self.open -= 1
        return answer

    async def _broken(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return answer

    async def _redirect(self, request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": request.query["where"]})

    async def _cookies(self, _: web.Request) -> web.Response:
        answer = web.Response(text="set")
        answer.headers.add("Set-Cookie", "a=1; Domain=localhost; Path=/; HttpOnly")
        answer.headers.add("Set-Cookie", "branchline-preview=stolen; Path=/")
        answer.headers.add("Set-Cookie", "__Host-branchline-session=stolen; Path=/; Secure")
        return answer

    async def _page(self, _: web.Request) -> web.Response:
        self.asked.append({"path": "/page"})
        text = "<html><h1>Caf\u00e9</h1></html>".encode("latin-1")
        return web.Response(body=text, headers={"Content-Type": "text/html; charset=iso-8859-1"})

    async def _upload(self, request: web.Request) -> web.Response:
        self.received = 0
        async for piece in request.content.iter_any():
            self.received += len(piece)
        return web.Response(text=str(self.received))


@asynccontextmanager
async def running_site(site: Site | None = None) -> AsyncIterator[Site]:
    """A site that listens for the length of a block."""
    site = site or Site()
    runner = web.AppRunner(site.app(), shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", site.port, reuse_address=True).start()
    try:
        yield site
    finally:
        await runner.cleanup()
