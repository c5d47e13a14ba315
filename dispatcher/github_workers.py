"""Whose worker does what on GitHub: by the configuration, and by the links that a person has made.

Whoever asks has write access to the repository; that was asked of GitHub before.
"""

from typing import Protocol

from contracts.places import LinkKind, LinkRecord
from contracts.words import WorkerId
from dispatcher import route
from dispatcher.settings import Settings


class Links(Protocol):
    """Who is who outside."""

    async def link(self, kind: LinkKind, name: str) -> LinkRecord | None:
        """The link of an outside name. Raises Unavailable."""


class KnownWorkers:
    """Users of the file may use the projects that it gives them. Others may when a person has linked their
    login while the fleet runs: then write access to a project's repository is enough."""

    def __init__(self, settings: Settings, *, links: Links) -> None:
        self._settings = settings
        self._links = links

    async def worker(self, *, project: str, user: str, login: str) -> WorkerId | None:
        """The worker of a project and of the user whom ``login`` is linked with.

        None when the project is unknown or the user may not use it. Raises Unavailable.
        """
        known = self._settings.projects.get(project)
        if known is None or not await self._may(user, project=project, login=login):
            return None
        return route.worker_of(name=project, project=known, user=user).worker_id

    async def _may(self, user: str, *, project: str, login: str) -> bool:
        named = self._settings.fleet.user.get(user)
        if named is not None:
            return project in named.projects
        if user == self._settings.user:
            return True
        # A link of the file that is left over from an older one lets nobody in.
        link = await self._links.link(LinkKind.GITHUB_USER, login)
        return link is not None and link.source == "person" and link.target == user
