"""Under which name each worker's preview is opened: an origin of its own, whose scripts reach nothing else.

``preview-{digest of the worker id}`` before ``localhost`` (which browsers take for this machine) or before
the public name. Pure: knows no worker and no request.
"""

import re
from urllib.parse import SplitResult, urlsplit

from contracts import names
from contracts.words import WorkerId
from dispatcher.settings import Settings

_LABEL = re.compile(r"preview(-[0-9a-z-]*)?")
_LOCAL = "localhost"


def label(worker: WorkerId) -> str:
    """The first part of the name: always the same for a worker, and another for each."""
    return f"preview-{names.digest(worker)[:12]}"


class PreviewNames:
    """``public_host``: the name under which people reach this server from elsewhere, if previews may be
    opened there; without it they are opened on this machine only."""

    def __init__(self, *, public_host: str | None = None) -> None:
        self._public = public_host.lower() if public_host else None

    @classmethod
    def of(cls, settings: Settings) -> "PreviewNames":
        """Under a public name there are previews only where people sign in."""
        return cls(public_host=settings.outside_host if settings.signs_in else None)

    def label_of(self, host: str) -> str | None:
        """The first part of a ``Host`` that is meant for a preview, whether there is such a one or not."""
        first, _, base = _split(host)
        return first if base in (_LOCAL, self._public) and _LABEL.fullmatch(first) else None

    def origin(self, worker: WorkerId, *, asked: str) -> str | None:
        """Where a preview is opened by somebody who reaches this server as ``asked`` (a ``Host``); None when
        there is no name for it."""
        place = _place(asked)
        name = (place.hostname or "").lower()
        if name == _LOCAL or name.endswith(f".{_LOCAL}") or name in ("127.0.0.1", "::1"):
            return f"http://{label(worker)}.{_LOCAL}{_port(place)}"
        return f"https://{label(worker)}.{self._public}" if self._public else None

    def own_origin(self, host: str) -> str:
        """The origin of a ``Host`` that ``label_of`` knows."""
        place = _place(host)
        scheme = "http" if _split(host)[2] == _LOCAL else "https"
        return f"{scheme}://{place.hostname}{_port(place)}"

    def page_origins(self, host: str) -> list[str]:
        """Where the page is that may show what is under such a ``Host`` in a frame."""
        _, port, base = _split(host)
        if base == _LOCAL:
            return [f"http://127.0.0.1{port}", f"http://{_LOCAL}{port}"]
        return [f"https://{base}{port}"]


def _split(host: str) -> tuple[str, str, str]:
    place = _place(host)
    first, _, base = (place.hostname or "").lower().partition(".")
    return first, _port(place), base


def _place(host: str) -> SplitResult:
    try:
        place = urlsplit(f"//{host}")
        _ = place.port  # is looked at only when it is asked for
    except ValueError:
        return urlsplit("")
    return place


def _port(place: SplitResult) -> str:
    return f":{place.port}" if place.port is not None else ""
