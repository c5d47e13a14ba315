"""Keeps web pages of other origins out, before a request reaches a route.

A page in somebody's browser can send requests to this machine, and can give its own name the address of
this machine (DNS rebinding). The first names itself in ``Origin``, the second in ``Host``. A tunnel's name is
not trusted further than its requests are checked: page and API only where people sign in.
"""

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from dispatcher.answers import error_answer
from dispatcher.errors import Refused
from dispatcher.preview_names import PreviewNames

CHECKED = ("/healthz", "/slack/", "/github/", "/internal/")
"""What addresses begin with that check by themselves who asks, or say nothing that matters."""
_ELSEWHERE = "This server answers on localhost only: open it as http://127.0.0.1 or http://localhost."
_CHATS_ONLY = "Under this name there are the addresses of the chats only: page and API are on localhost."
_FOREIGN = "Web pages of other origins may not use this server."


class Guard:
    """ASGI middleware. ``loopback``: this server listens for its own machine only; then ``public_host`` is
    the one other name that it answers to, and only where who asks is checked; ``signed_in``: everywhere.
    ``previews``: names that are answered as well, because whoever answers under them checks who asks."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        loopback: bool,
        public_host: str | None = None,
        signed_in: bool = False,
        previews: PreviewNames | None = None,
    ) -> None:
        self._app = app
        self._previews = previews
        self._loopback = loopback
        self._public_host = public_host.lower() if public_host else None
        self._signed_in = signed_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with 403."""
        asks = scope["type"] in ("http", "websocket")
        problem = self._problem(Headers(scope=scope), path=scope["path"]) if asks else None
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await error_answer(Refused(problem))(scope, receive, send)

    def _problem(self, headers: Headers, *, path: str) -> str | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        name = host_of(host)
        is_preview = self._previews is not None and self._previews.label_of(host) is not None
        if self._loopback and not is_loopback(name) and not is_preview:
            if self._public_host is None or name.lower() != self._public_host:
                return _ELSEWHERE
            if not self._signed_in and not path.startswith(CHECKED):
                return _CHATS_ONLY
        if origin is not None and (not host or _place(origin) != host.lower()):
            return _FOREIGN
        return None


def is_loopback(name: str) -> bool:
    """Whether a host name or address means the machine itself."""
    if name.lower() == "localhost" or name.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def host_of(host: str) -> str:
    """The name or address of a ``Host`` header, without its port and in lower case; "" for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
