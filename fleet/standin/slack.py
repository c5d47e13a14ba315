"""A Slack workspace on loopback: the Web API that we call, Socket Mode, and people who write.

For tests, the chaos bench and a first try without an account. It runs in a thread of its own, so it serves
programs of any kind; everything here may be called from other threads. It can be unkind on purpose
(``Fault``). It never reaches out, but for the events that ``deliver`` is told to send.
"""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import WSMsgType, web

from fleet.standin.slack_people import SECRET, SlackPeople, signed
from fleet.standin.slack_world import Json, Refusal, World

BOT_TOKEN = "xoxb-standin"  # noqa: S105 - protects nothing
APP_TOKEN = "xapp-standin"  # noqa: S105
__all__ = ["APP_TOKEN", "BOT_TOKEN", "SECRET", "Call", "Fault", "SlackStandIn", "signed"]
_BODY_LIMIT = 32 * 1024 * 1024


@dataclass(kw_only=True)
class Fault:
    """What goes wrong with the next ``times`` calls of a method (``*``: of any; several: spaces between).

    ``kind``: ``limited`` (429, ``Retry-After: seconds``), ``error`` (200, ``ok: false`` with ``code``),
    ``status`` (``status`` with no JSON), ``before`` (the connection breaks, nothing is done), ``lost`` (it is
    done, and then the connection breaks), ``slow`` (done and answered after ``seconds``), ``expired`` (the
    stream that is named has been open for too long).
    """

    method: str
    kind: str
    times: int = 1
    seconds: float = 1.0
    code: str = "internal_error"
    status: int = 500
    channel: str | None = None


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of the API: when (monotonic seconds), what, and how it was answered."""

    at: float
    method: str
    given: Json
    answer: str


class SlackStandIn(SlackPeople):
    """A context manager; ``url`` is for ``BRANCHLINE_SLACK_API_URL``. ``token`` is the bot's."""

    def __init__(self, *, port: int = 0, secret: str = SECRET, token: str = BOT_TOKEN) -> None:
        super().__init__(World(public=lambda: self.root), lock=threading.RLock(), secret=secret)
        self.token = token
        self.calls: list[Call] = []
        self.revoked = False
        self._port = port
        self._faults: list[Fault] = []
        self._sockets: list[web.WebSocketResponse] = []
        self._acknowledged: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="slack-standin")
        self._runner: web.AppRunner | None = None

    # ---------------------------------------------------------------- life

    def start(self) -> Self:
        """Listen; returns when it does."""
        self._thread.start()
        self._run(self._listen())
        return self

    def stop(self) -> None:
        """Close everything; returns when the thread is gone."""
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def root(self) -> str:
        """Base address."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """Base URL of the Web API."""
        return f"{self.root}/api/"

    # ---------------------------------------------------------------- control

    def fail(self, fault: Fault) -> None:
        """Be unkind, from now on and for so often as the fault says."""
        with self._lock:
            self._faults.append(fault)

    def heal(self) -> None:
        """Be kind again."""
        with self._lock:
            self._faults.clear()
            self.revoked = False

    def count(self, method: str) -> int:
        """How often a method was called."""
        with self._lock:
            return sum(call.method == method for call in self.calls)

    def push(self, body: Json, *, envelope: str) -> None:
        """Send an envelope through Socket Mode. Raises LookupError when nobody is connected."""
        kind = "interactive" if body.get("type") == "block_actions" else "events_api"
        told = {"envelope_id": envelope, "type": kind, "payload": body, "accepts_response_payload": False}
        self._run(self._push(json.dumps(told)))

    def acknowledged(self, envelope: str) -> bool:
        """Whether an envelope was acknowledged."""
        return envelope in self._acknowledged

    def connected(self) -> int:
        """How many Socket Mode connections are open."""
        return len(self._sockets)

    # ---------------------------------------------------------------- server

    def _run(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(timeout=30)

    async def _listen(self) -> None:
        app = web.Application(client_max_size=_BODY_LIMIT)
        app.router.add_route("*", "/api/{method}", self._api)
        app.router.add_post("/upload/{file}", self._upload)
        app.router.add_get("/socket", self._socket)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def _close(self) -> None:
        for socket in list(self._sockets):
            await socket.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method, given = request.match_info["method"], await _arguments(request)
        fault = self._due(method, given)
        if fault is not None and fault.kind in ("before", "status", "limited", "error"):
            return self._unkind(request, fault, method=method, given=given)
        if fault is not None and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        if fault is not None and fault.kind == "expired":
            with self._lock:
                self.world.expire(given["channel"], given["ts"])
        answer = self._answer(method, given, token=request.headers.get("Authorization", ""))
        self._note(method, given, "lost" if fault and fault.kind == "lost" else answer.get("error", "ok"))
        if fault is not None and fault.kind == "lost":
            return _broken(request)
        return web.json_response(answer)

    def _due(self, method: str, given: Json) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                there = fault.channel in (None, given.get("channel"))
                if fault.times > 0 and (fault.method == "*" or method in fault.method.split()) and there:
                    fault.times -= 1
                    return fault
        return None

    def _unkind(self, request: web.Request, fault: Fault, *, method: str, given: Json) -> web.StreamResponse:
        self._note(method, given, fault.kind)
        match fault.kind:
            case "limited":
                headers = {"Retry-After": f"{fault.seconds:g}"}
                return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)
            case "status":
                return web.Response(status=fault.status, text="<html>no</html>", content_type="text/html")
            case "error":
                return web.json_response({"ok": False, "error": fault.code})
            case _:
                return _broken(request)

    def _answer(self, method: str, given: Json, *, token: str) -> Json:
        if method == "apps.connections.open":
            return {"ok": True, "url": f"ws://127.0.0.1:{self._port}/socket"}
        call: Callable[[Json], Json] | None = getattr(self.world, method.replace(".", "_"), None)
        if call is None or not method.replace(".", "").isalnum():
            return {"ok": False, "error": "unknown_method"}
        if self.revoked or token != f"Bearer {self.token}":
            return {"ok": False, "error": "token_revoked" if self.revoked else "invalid_auth"}
        try:
            with self._lock:
                return {"ok": True, **call(given)}
        except Refusal as refusal:
            return {"ok": False, "error": refusal.code}
        except KeyError:
            return {"ok": False, "error": "invalid_arguments"}

    def _note(self, method: str, given: Json, answer: str) -> None:
        with self._lock:
            self.calls.append(Call(at=time.monotonic(), method=method, given=given, answer=answer))

    async def _upload(self, request: web.Request) -> web.Response:
        self.world.uploads[request.match_info["file"]] = await request.read()
        return web.Response(text="OK")

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(json.dumps({"type": "hello", "num_connections": 1}))
        self._sockets.append(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT and message.data.startswith("{"):
                    self._acknowledged.add(json.loads(message.data).get("envelope_id", ""))
        finally:
            self._sockets.remove(socket)
        return socket

    async def _push(self, text: str) -> None:
        if not self._sockets:
            raise LookupError("nobody is connected through Socket Mode")
        await self._sockets[-1].send_str(text)


async def _arguments(request: web.Request) -> Json:
    """What a call was given, whichever way: query, form or JSON."""
    given: Json = dict(request.query)
    if request.content_type == "application/json":
        return given | (await request.json() if request.body_exists else {})
    return given | dict(await request.post())


def _broken(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
