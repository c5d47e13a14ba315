"""Headers that every answer carries. The policy of the page stays with the page; what is none may do nothing
in a browser.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dispatcher.preview_names import PreviewNames
from dispatcher.signin_cookies import Cookies

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    # A preview under the public name is the same site to a browser, and another origin.
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_HSTS = "max-age=31536000"
_NOT_KEPT = ("/v1/", "/auth/")


class SafeHeaders:
    """ASGI middleware. What a route has set itself stays, but for JSON that must not be kept anywhere.

    ``previews``: names under which nothing is added, because the site of a preview is shown as it is.
    """

    def __init__(self, app: ASGIApp, *, cookies: Cookies, previews: PreviewNames) -> None:
        self._app = app
        self._cookies = cookies
        self._previews = previews

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; the answer gets its headers on the way back."""
        if scope["type"] != "http" or self._is_preview(scope):
            await self._app(scope, receive, send)
            return
        secure = self._cookies.is_secure(HTTPConnection(scope))

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add(MutableHeaders(scope=message), path=scope["path"], secure=secure)
            await send(message)

        await self._app(scope, receive, sending)

    def _is_preview(self, scope: Scope) -> bool:
        return self._previews.label_of(Headers(scope=scope).get("host", "")) is not None


def _add(headers: MutableHeaders, *, path: str, secure: bool) -> None:
    for name, value in _ALWAYS.items():
        headers.setdefault(name, value)
    if secure:
        headers.setdefault("Strict-Transport-Security", _HSTS)
    if path.startswith(_NOT_KEPT):
        if headers.get("content-type", "").startswith("application/json"):
            headers["Cache-Control"] = "no-store"
        headers.setdefault("Cache-Control", "no-store")
