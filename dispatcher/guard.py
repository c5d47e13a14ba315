"""Keeps web pages of other origins out, before a request reaches a route.

A page in somebody's browser can send requests to this machine, and can give its own name the address of
this machine (DNS rebinding). The first names itself in ``Origin``, the second in ``Host``.
"""

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from dispatcher.answers import error_answer
from dispatcher.errors import Refused


class Guard:
    """ASGI middleware. ``loopback``: this server listens for its own machine only."""

    def __init__(self, app: ASGIApp, *, loopback: bool) -> None:
        self._app = app
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with 403."""
        problem = self._problem(Headers(scope=scope)) if scope["type"] == "http" else None
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await error_answer(Refused(problem))(scope, receive, send)

    def _problem(self, headers: Headers) -> str | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._loopback and not is_loopback(_name(host)):
            return "This server answers on localhost only: open it as http://127.0.0.1 or http://localhost."
        if origin is not None and (not host or _place(origin) != host.lower()):
            return "Web pages of other origins may not use this server."
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


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
