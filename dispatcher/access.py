"""Who asks, and what they may do. Pure: how one becomes somebody is decided by whoever signs people in.

Must not tell a thread that one may not see from one that does not exist.
"""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from contracts.records import ThreadRecord
from dispatcher.errors import NotFound, Refused


class Scope(StrEnum):
    """What a principal may do; each stands for itself."""

    READ = "read"
    WRITE = "write"
    OPERATE = "operate"


class Principal(BaseModel):
    """Who asks. ``user``: the name in the configuration; ``projects``: those they belong to, None for all."""

    model_config = ConfigDict(frozen=True)

    user: str
    kind: Literal["local", "session", "token"]
    projects: frozenset[str] | None = None
    scopes: frozenset[Scope] = frozenset(Scope)

    def needs(self, scope: Scope) -> None:
        """Raise Refused without this scope."""
        if scope not in self.scopes:
            raise Refused(f'This needs the scope "{scope}", which your sign-in or token does not have.')

    def belongs(self, project: str) -> bool:
        """Whether this project is one of theirs."""
        return self.projects is None or project in self.projects

    def checked(self, row: ThreadRecord) -> ThreadRecord:
        """The thread's row. Raises NotFound for one of a project that is not theirs."""
        if not self.belongs(row.project):
            raise unknown_thread(row.thread_id)
        return row

    def checked_project(self, name: str) -> str:
        """The project's name. Raises NotFound for one that is not theirs."""
        if not self.belongs(name):
            known = ", ".join(sorted(self.projects or ())) or "none"
            raise NotFound(f"There is no project {name!r}: yours are {known}.", code="unknown_project")
        return name


def principal(request: HTTPConnection) -> Principal:
    """Who asks, as the middleware found out. A request that passed no middleware is nobody's."""
    found = getattr(request.state, "principal", None)
    if not isinstance(found, Principal):
        raise Refused("Sign in first.")
    return found


def unknown_thread(thread_id: str) -> NotFound:
    """The one answer for a thread that is not there and for one that is not theirs."""
    return NotFound(f"There is no thread {thread_id}: make it with POST /v1/threads.", code="unknown_thread")


class AsLocal:
    """ASGI middleware of a fleet without sign-in: whoever reaches it is the person at this machine."""

    def __init__(self, app: ASGIApp, *, user: str) -> None:
        self._app = app
        self._principal = Principal(user=user, kind="local")

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Pass the request on with its principal."""
        scope.setdefault("state", {})["principal"] = self._principal
        await self._app(scope, receive, send)
