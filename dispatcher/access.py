"""Who asks, and what they may do. Pure: how one becomes somebody is decided by whoever signs people in.

Must not tell a thread that one may not see from one that does not exist.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict
from starlette.requests import HTTPConnection, Request

from contracts.records import ThreadRecord
from dispatcher.errors import NotFound, Refused, SignIn

SIGN_IN = "Sign in first, or send a token that is good: Authorization: Bearer blt_…"


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

    def default(self, project: str | None) -> str | None:
        """The project that they mean without naming one: the fleet's if it is theirs, else their only one.

        Raises NotFound when there is none to be meant.
        """
        mine = self.projects
        if mine is None or project in mine:
            return project
        if len(mine) == 1:
            return next(iter(mine))
        return None if project is None else self.checked_project(project)


def principal(request: HTTPConnection) -> Principal:
    """Who asks, as the middleware found out. A request that passed no middleware is nobody's."""
    found = getattr(request.state, "principal", None)
    if not isinstance(found, Principal):
        raise SignIn(SIGN_IN)
    return found


def needs(scope: Scope) -> Callable[[Request], None]:
    """A dependency of routes that are only for principals with this scope. Raises SignIn, Refused."""

    def check(request: Request) -> None:
        principal(request).needs(scope)

    return check


def unknown_thread(thread_id: str) -> NotFound:
    """The one answer for a thread that is not there and for one that is not theirs."""
    return NotFound(f"There is no thread {thread_id}: make it with POST /v1/threads.", code="unknown_thread")
