"""The pull request of a thread's branch, for a person who asks for it on the page: found, else opened.

Says what to do where there is none; which repository is asked is decided by the configuration alone. GitHub's
libraries are imported only where there is an App to speak as.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack

import aiohttp
from pydantic import BaseModel, ConfigDict

from contracts.config import ProjectConfig
from contracts.places import LinkKind, canonical
from contracts.records import ThreadRecord
from dispatcher.errors import Conflict
from dispatcher.github_settings import GitHubSettings

_NO_REPO = (
    "The project {project} has no repository on GitHub: write github_repos into [project.{project}] of "
    "branchline.toml, and push its branches there."
)
_NO_APP = (
    "There is no GitHub App to open a pull request with: set GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY "
    "(docs/github.md)."
)
_BODY = "Work of the Branchline thread `{thread_id}`."


class ThreadPull(BaseModel):
    """A pull request as a person follows it."""

    model_config = ConfigDict(frozen=True)

    url: str
    number: int


OpenPull = Callable[[Mapping[str, ProjectConfig], ThreadRecord], Awaitable[ThreadPull]]
"""Finds or opens the pull request of a thread whose project is on GitHub."""


class PullOfThread:
    """Pull requests of threads. ``open_``: None where there is no App."""

    def __init__(self, *, projects: Mapping[str, ProjectConfig], open_: OpenPull | None) -> None:
        self._projects = projects
        self._open = open_

    async def of(self, row: ThreadRecord) -> ThreadPull:
        """The thread's pull request. Raises Conflict (``not_github``, ``nothing_pushed``), Unavailable."""
        project = self._projects.get(row.project)
        if project is None or not project.github_repos:
            raise Conflict(_NO_REPO.format(project=row.project), code="not_github")
        if self._open is None:
            raise Conflict(_NO_APP, code="not_github")
        return await self._open(self._projects, row)


async def connected(stack: AsyncExitStack) -> OpenPull | None:
    """Speaks as the App until ``stack`` is closed; None where there is none."""
    settings = GitHubSettings()
    if not settings.is_app:
        return None
    from dispatcher.github_thread import opener  # only where there is an App

    return opener(settings, session=await stack.enter_async_context(aiohttp.ClientSession()))


def repo_for(project: ProjectConfig, *, own: str | None) -> str:
    """The repository whose pull requests are meant: ``own``, which the worker pushes to, else the first."""
    known = [canonical(LinkKind.GITHUB_REPO, name) for name in project.github_repos]
    return own if own in known else known[0]


def body_of(row: ThreadRecord) -> str:
    """What stands in a pull request that is opened."""
    return _BODY.format(thread_id=row.thread_id)
