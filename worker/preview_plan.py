"""What the preview does next, decided from facts alone.

No process, no file and no clock in here: the caller looks, asks, and does what it is told.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["astro", "shell", "none"]

SUSPECT_DEPENDENCIES = 3
"""Failures in a row after which the dependencies are installed afresh, once."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How patient the preview is. All in seconds but ``max_misses``."""

    probe_every: float = 10.0
    """Between two looks at a server that answers."""
    starting_every: float = 0.1
    """Between two looks at a server that has not answered yet."""
    probe_within: float = 20.0
    """What one answer may take; the first one compiles the page."""
    start_within: float = 120.0
    """From the start of a server to its first answer."""
    max_misses: int = 3
    """Unanswered looks in a row after which a server that has answered before counts as hung."""
    steady_after: float = 60.0
    """A server that has answered for so long is forgiven its earlier failures."""
    port_every: float = 5.0
    """Between two tries to get a port that another program has."""
    backoff_first: float = 0.5
    backoff_cap: float = 30.0
    """Before the next start after a failure: doubled each time, up to the cap."""
    install_within: float = 900.0


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the checkout asks for. ``dependencies`` identifies what must be installed ("" for nothing)."""

    kind: Kind
    dependencies: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that a decision rests on. Times in seconds of one monotonic clock.

    ``installed``: the dependencies that are there, None when that is unknown. ``serving``: the site the
    running server was started for, None when none runs. ``answered``: it has answered since its start.
    """

    now: float
    site: Site
    installed: str | None
    serving: Site | None
    node_problem: str | None = None
    port_problem: str | None = None
    answered: bool = False
    started_at: float = 0.0
    misses: int = 0
    failures: int = 0
    reinstalled: bool = False
    not_before: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Install:
    """Install the dependencies; a running server is stopped before."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """Start the server."""


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Kill the server. ``failed``: it is to blame, and the next start waits a little longer."""

    failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Do nothing for ``seconds`` (None: until something happens), probing a running server afterwards."""

    seconds: float | None
    problem: str | None = None


Action = Install | Start | Stop | Wait


def next_action(facts: Facts, *, pace: Pace) -> Action:
    """The one thing to do now."""
    if facts.serving is not None and facts.serving != facts.site:
        return Stop()
    if facts.site.kind == "none":
        return Wait(seconds=None)
    if facts.node_problem is not None:
        return Wait(seconds=None, problem=facts.node_problem)
    if facts.serving is not None:
        return _watch(facts, pace=pace)
    if facts.now < facts.not_before:
        return Wait(seconds=facts.not_before - facts.now)
    if _must_install(facts):
        return Install()
    if facts.port_problem is not None:
        return Wait(seconds=pace.port_every, problem=facts.port_problem)
    return Start()


def backoff(failures: int, *, pace: Pace) -> float:
    """Seconds to wait before the next try after so many failures in a row."""
    doublings = min(max(failures - 1, 0), 30)
    return min(pace.backoff_cap, pace.backoff_first * 2.0**doublings) if failures else 0.0


def _must_install(facts: Facts) -> bool:
    if not facts.site.dependencies:
        return False
    suspect = facts.failures >= SUSPECT_DEPENDENCIES and not facts.reinstalled
    return facts.installed != facts.site.dependencies or suspect


def _watch(facts: Facts, *, pace: Pace) -> Action:
    if not facts.answered:
        late = facts.now - facts.started_at > pace.start_within
        return Stop(failed=True) if late else Wait(seconds=pace.starting_every)
    hung = facts.misses >= pace.max_misses
    return Stop(failed=True) if hung else Wait(seconds=pace.probe_every)
