"""Headers that every answer carries. The policy of the page's content stays with the page."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dispatcher.guard import host_of
from dispatcher.signin_cookies import Cookies

_ALWAYS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_HSTS = "max-age=31536000"
_NOT_KEPT = ("/v1/", "/auth/")
_PREVIEW = "preview."
"""What a preview's name begins with: the site in it is shown as it is."""


class SafeHeaders:
    """ASGI middleware. What a route has set itself stays, but for JSON that must not be kept anywhere."""

    def __init__(self, app: ASGIApp, *, cookies: Cookies) -> None:
        self._app = app
        self._cookies = cookies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; the answer gets its headers on the way back."""
        if scope["type"] != "http" or _host(scope).startswith(_PREVIEW):
            await self._app(scope, receive, send)
            return
        secure = self._cookies.is_secure(HTTPConnection(scope))

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add(MutableHeaders(scope=message), path=scope["path"], secure=secure)
            await send(message)

        await self._app(scope, receive, sending)


def _add(headers: MutableHeaders, *, path: str, secure: bool) -> None:
    for name, value in _ALWAYS.items():
        headers.setdefault(name, value)
    if secure:
        headers.setdefault("Strict-Transport-Security", _HSTS)
    if path.startswith(_NOT_KEPT):
        if headers.get("content-type", "").startswith("application/json"):
            headers["Cache-Control"] = "no-store"
        headers.setdefault("Cache-Control", "no-store")


def _host(scope: Scope) -> str:
    return host_of(Headers(scope=scope).get("host", ""))
