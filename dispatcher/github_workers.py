"""Whose worker does what, by the configuration. Pure."""

from contracts.words import WorkerId
from dispatcher import route
from dispatcher.settings import Settings


class ConfiguredWorkers:
    """Users and projects of the settings. Of users that the file does not name, only the local one may."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def worker(self, *, project: str, user: str) -> WorkerId | None:
        """The worker of a user and project; None when the project is unknown or the user may not use it."""
        known = self._settings.projects.get(project)
        if known is None or not self._may(user, project):
            return None
        return route.worker_of(name=project, project=known, user=user).worker_id

    def _may(self, user: str, project: str) -> bool:
        named = self._settings.fleet.user.get(user)
        return user == self._settings.user if named is None else project in named.projects
