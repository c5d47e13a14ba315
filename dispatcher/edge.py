"""Under which name, and from where, somebody came who came through CloudFront.

A function URL is asked by its own name whatever the viewer asked for, so CloudFront brings the viewer's name
and address in headers, and shows by a key that it was CloudFront who wrote them. Without the key they are
taken away and not believed. Decides nothing else: who may see what is asked behind this, of everybody.
"""

import hmac

from starlette.types import ASGIApp, Receive, Scope, Send

KEY, VIEWER, HOST = b"x-branchline-edge", b"x-branchline-viewer", b"x-forwarded-host"
_OURS = {KEY, VIEWER, HOST}


class Edge:
    """ASGI middleware, before all others. ``key``: what CloudFront shows; not empty."""

    def __init__(self, app: ASGIApp, *, key: str) -> None:
        self._app, self._key = app, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, as its viewer made it."""
        if scope["type"] in ("http", "websocket"):
            scope = self._as_made(scope)
        await self._app(scope, receive, send)

    def _as_made(self, scope: Scope) -> Scope:
        given = {name: value for name, value in scope["headers"] if name in _OURS}
        kept = [(name, value) for name, value in scope["headers"] if name not in _OURS]
        host = given.get(HOST)
        if not host or not hmac.compare_digest(given.get(KEY, b""), self._key):
            return {**scope, "headers": kept}
        kept = [(b"host", host), *((name, value) for name, value in kept if name != b"host")]
        return {**scope, "headers": kept, "client": (given.get(VIEWER, b"").decode("latin-1"), 0)}
