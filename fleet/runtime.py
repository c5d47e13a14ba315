"""What a worker of this fleet runs in: a process of this machine, or a container with walls and limits.

Chooses once, at the start of ``up``, and says what to do when the choice is not to be had. Builds the call
for a container from the one for a process; starts nothing.
"""

import secrets
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from contracts.words import WorkerId
from fleet import authorities, boxed, boxes, ports, remotes
from fleet.boxed import Box, Limits
from fleet.boxes import Engine
from fleet.child import Part
from fleet.home import Home
from fleet.problem import USAGE, Problem
from fleet.project import Project
from fleet.settings import Settings, fleet_config

PREVIEWS = range(33000, 34000)
"""Ports of this machine for the previews of workers in containers."""

_INSIDE = ("CONTAINER_ID", "AUTO_SHUTDOWN_MINUTES", "GITHUB_TOKEN", "MAX_THINKING_TOKENS", "API_TIMEOUT_MS")
_INSIDE_PREFIXES = ("AWS_", "ANTHROPIC_", "CLAUDE_CODE_", "BRANCHLINE_", "VERTEX_REGION_")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_NPM = ("npm_config_registry", "NPM_CONFIG_REGISTRY", "npm_config_offline")
_OUTSIDE = ("BRANCHLINE_HOME", "BRANCHLINE_CONFIG", "BRANCHLINE_DIE_WITH_PARENT", "BRANCHLINE_PART")
"""Names that say nothing, or something else, in a container."""


@dataclass(frozen=True, kw_only=True)
class Containers:
    """Workers in containers of ``engine``. ``secret``: for the repositories of this machine."""

    engine: Engine
    home: Home
    image: str
    limits: Limits
    repositories: frozenset[Path]
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def first_port(self) -> int:
        """The first worker's preview port. Raises Problem."""
        port = ports.next_free(PREVIEWS.start)
        if port not in PREVIEWS:
            raise Problem(
                f"no port from {PREVIEWS.start} to {PREVIEWS.stop - 1} is free; stop some containers."
            )
        return port

    def serving(self) -> AbstractAsyncContextManager[str]:
        """The repositories, reachable while the block lasts; its URL on this machine."""
        return remotes.serving(self.repositories, secret=self.secret)

    def end_leftovers(self, *, grace: float) -> int:
        """Stop and remove what an earlier run of this home has left; how many."""
        return boxed.end(self.engine, self.home.path, grace=grace)

    def worker(self, part: Part, *, worker_id: WorkerId, port: int, paths_url: str) -> Part:
        """The worker's process ``part`` in a container of its own."""
        own = boxed.own_network(self.engine)
        files = authorities.lent(part.env, folder=self.home.path / "authorities")
        told = {
            **{name: value for name, value in part.env.items() if _goes_inside(name)},
            "BRANCHLINE_PREVIEW_PORT": str(boxed.INSIDE_PORT if own else port),
            "BRANCHLINE_PREVIEW_HOST": "0.0.0.0" if own else "127.0.0.1",  # noqa: S104 - behind the mapping
            "BRANCHLINE_PREVIEW_URL": f"http://127.0.0.1:{port}",
            "BRANCHLINE_PATHS_URL": paths_url,
            "BRANCHLINE_PATHS_SECRET": self.secret,
        }
        told = {name: boxed.inside(value, engine=self.engine) if name in _ADDRESSES else value
                for name, value in told.items()}  # fmt: skip
        name = boxed.name_of(self.home.path, worker_id)
        # Their paths are of no use to the engine itself, which may need the same variables.
        named = {*told, *(f"{path.stem}={place}" for path, place in files.items())}
        box = Box(
            name=name, volume=name, home=boxed.mark_of(self.home.path), image=self.image, port=port,
            env=named, limits=self.limits, grace=part.grace, files=files,
        )  # fmt: skip
        # Podman itself needs its own variables; the container gets those that are named.
        return replace(part, argv=boxed.run_argv(self.engine, box), env={**self.engine.env, **told})


_ADDRESSES = ("AWS_ENDPOINT_URL", "ANTHROPIC_BASE_URL", "BRANCHLINE_TOKEN_URL", "BRANCHLINE_PATHS_URL")


def containers(settings: Settings, *, home: Home, project: Project) -> Containers | None:
    """What the settings ask for; None for processes. Raises Problem that says what to do."""
    if settings.runtime == "process":
        return None
    engine = boxes.find(state=home.path, wanted=settings.runtime)
    if not engine.has_image(settings.image):
        raise Problem(
            f"{engine.name} has no image {settings.image}; build it with ./scripts/build"
            " (--local-base where no registry of images is reached), or use --runtime process.",
            code=USAGE,
        )
    limits = Limits(
        memory=settings.worker_memory, pids=settings.worker_processes, cpus=settings.worker_processors
    )
    places = frozenset(_repositories(project))
    return Containers(engine=engine, home=home, image=settings.image, limits=limits, repositories=places)


def _repositories(project: Project) -> list[Path]:
    config = fleet_config()
    named = [project.repo, *(each.repo for each in (config.project.values() if config else ()))]
    return [Path(repo) for repo in named if repo.startswith("/")]


def _goes_inside(name: str) -> bool:
    if name in _OUTSIDE:
        return False
    return name in (*_INSIDE, *_PROXIES, *_NPM) or name.startswith(_INSIDE_PREFIXES)
