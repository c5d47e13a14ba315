"""Repositories of this machine for workers in containers, which cannot see its folders: git over HTTP.

Serves the repositories it is given and no others, to whoever knows the secret. A container's files belong to
another user, so a mounted folder would not do: nobody there could push.
"""

import asyncio
import base64
import secrets
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fleet.serving import served
from fleet.standin import github_git

_DOORS = ("/info/refs", "/git-upload-pack", "/git-receive-pack")


def app(*, repositories: Collection[Path], secret: str) -> Starlette:
    """``/{path of a repository}/info/refs`` and so on; the secret is the password, whatever the user."""

    async def answer(request: Request) -> Response:
        if not _knows(request, secret):
            headers = {"WWW-Authenticate": 'Basic realm="branchline"'}
            return Response(status_code=401, headers=headers)
        path = "/" + request.path_params["path"]
        door = next((end for end in _DOORS if path.endswith(end)), None)
        folder = Path(path.removesuffix(door or ""))
        if door is None or folder not in repositories:
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

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])


def serving(repositories: Collection[Path], *, secret: str) -> AbstractAsyncContextManager[str]:
    """The same on a free port of the loopback; its URL."""
    return served(app(repositories=repositories, secret=secret))


def _knows(request: Request, secret: str) -> bool:
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    try:
        _, _, password = base64.b64decode(given).partition(b":")
    except ValueError:
        return False
    return kind.lower() == "basic" and secrets.compare_digest(password, secret.encode())
