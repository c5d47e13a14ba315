"""What of this machine workers in containers reach over HTTP: their repositories, and tokens for others.

A container cannot see this machine's folders, and its files belong to another user, so a mounted one would
not do: nobody there could push. Each worker has a password of its own, for its own project's repository
and no other. Of the dispatcher nothing is passed on but the one address where git's tokens are.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from contracts.words import WorkerId
from fleet.serving import served
from fleet.standin import github_git

TOKEN_PATH = "/internal/token"  # noqa: S105 - an address
RepositoryOf = Callable[[WorkerId], Path | None]
_DOORS = ("/info/refs", "/git-upload-pack", "/git-receive-pack")
_MOST_BYTES = 1 << 16
_PASSED = ("authorization", "content-type")


def password(secret: str, worker: WorkerId) -> str:
    """What ``worker`` shows; ``secret`` is the fleet's."""
    return f"{worker}:{hmac.new(secret.encode(), worker.encode(), hashlib.sha256).hexdigest()}"


def app(*, repository_of: RepositoryOf, secret: str, token_url: str = "") -> Starlette:
    """``/{path of a repository}/info/refs`` and so on, whatever the user's name; and ``TOKEN_PATH``."""

    async def answer(request: Request) -> Response:
        worker = _who(request, secret)
        if worker is None:
            headers = {"WWW-Authenticate": 'Basic realm="branchline"'}
            return Response(status_code=401, headers=headers)
        path = "/" + request.path_params["path"]
        door = next((end for end in _DOORS if path.endswith(end)), None)
        folder = Path(path.removesuffix(door or ""))
        if door is None or folder != repository_of(worker):
            return Response(status_code=404)
        done = await asyncio.to_thread(
            github_git.serve,
            folder,
            method=request.method,
            tail=door,
            query=request.url.query,
            content_type=request.headers.get("content-type", ""),
            encoding=request.headers.get("content-encoding", ""),
            body=await request.body(),
        )
        return Response(done.body, status_code=done.status, headers=dict(done.headers))

    async def token(request: Request) -> Response:
        return await _passed_on(request, to=token_url)

    tokens = [Route(TOKEN_PATH, token, methods=["POST"])] if token_url else []
    return Starlette(routes=[*tokens, Route("/{path:path}", answer, methods=["GET", "POST"])])


def serving(
    repository_of: RepositoryOf, *, secret: str, token_url: str = ""
) -> AbstractAsyncContextManager[str]:
    """The same on a free port of the loopback; its URL."""
    return served(app(repository_of=repository_of, secret=secret, token_url=token_url))


async def _passed_on(request: Request, *, to: str) -> Response:
    """The dispatcher's answer; it checks by itself who asks."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_BYTES:
            return Response(status_code=413)
    headers = {name: request.headers[name] for name in _PASSED if name in request.headers}
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            done = await client.post(to, content=body, headers=headers)
    except httpx.HTTPError:
        return Response(status_code=503)
    return Response(done.content, status_code=done.status_code, media_type=done.headers.get("content-type"))


def _who(request: Request, secret: str) -> WorkerId | None:
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    try:
        _, _, shown = base64.b64decode(given).decode().partition(":")
    except ValueError:
        return None
    worker = WorkerId(shown.rpartition(":")[0])
    knows = secrets.compare_digest(shown.encode(), password(secret, worker).encode())
    return worker if kind.lower() == "basic" and knows else None
