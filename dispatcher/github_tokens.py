"""``POST /internal/token``: a worker's git gets a token for its own repository, and for no other.

A worker proves who it is with a secret that its launcher gave it: a MAC over its worker id, made with a key
that only launcher and dispatcher hold. Which repository that is says the configuration, never the worker.
See ``docs/decisions/github-tokens.md``.
"""

import hmac
from collections.abc import Mapping

import structlog
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import JSONResponse, Response

from contracts import names
from contracts.config import ProjectConfig
from contracts.words import ClientId, ProjectId, UserId, WorkerId
from dispatcher import body
from dispatcher.errors import DispatcherError, NotFound, Unavailable
from dispatcher.github_app import PUSHING, GitHubApp
from dispatcher.github_settings import repo_of
from dispatcher.posting import Later, Undeliverable
from dispatcher.worker_tokens import PATH, worker_secret

_log = structlog.get_logger(__name__)


class Unproven(DispatcherError):
    """The caller did not prove to be this worker."""

    status = 401
    code = "wrong_secret"


class Asking(BaseModel):
    """Who asks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    worker_id: str


def repo_of_worker(worker: WorkerId, *, projects: Mapping[str, ProjectConfig]) -> str | None:
    """The remote that the configuration gives to the worker's project."""
    for name, project in projects.items():
        mine = names.worker_id(client=ClientId(project.client), project=ProjectId(name), user=UserId("x"))
        if mine.rpartition("-")[0] == worker.rpartition("-")[0]:
            return project.repo
    return None


class GitHubTokens:
    """The route. ``key`` as for ``worker_secret``."""

    def __init__(self, *, app: GitHubApp, key: str, projects: Mapping[str, ProjectConfig]) -> None:
        self._app = app
        self._key = key
        self._projects = projects

    def router(self) -> APIRouter:
        """The one route."""
        router = APIRouter()
        router.add_api_route(PATH, self.token, methods=["POST"])
        return router

    async def token(self, request: Request) -> Response:
        """``{"token", "expires_at"}``. 401 without proof, 404 for a repository that is none of the App's."""
        asking = await body.read(request, Asking)
        worker = WorkerId(asking.worker_id)
        given = request.headers.get("authorization", "").encode()
        expected = f"Bearer {worker_secret(self._key, worker)}".encode()
        if not hmac.compare_digest(given, expected):
            raise Unproven("Only the worker itself may ask for its token.")
        remote = repo_of_worker(worker, projects=self._projects)
        repo = repo_of(remote, api_url=self._app.api_url) if remote else None
        if repo is None:
            raise NotFound("The worker's repository is not on this GitHub.", code="no_repository")
        try:
            made = await self._app.token(repo, permissions=PUSHING)
        except Later as error:
            raise Unavailable(str(error)) from error
        except Undeliverable as error:
            _log.warning("no token", worker_id=worker, repo=repo, problem=str(error))
            raise NotFound(str(error), code="no_token") from error
        return JSONResponse({"token": made.value, "expires_at": made.expires.isoformat()})
