"""What a worker of this fleet runs in: a process of this machine, or a container with walls and limits.

Chooses once, at the start of ``up``, and says what to do when the choice is not to be had. Builds the call
for a container from the one for a process; starts nothing.
"""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from contracts import names
from contracts.config import LOCAL
from contracts.words import ClientId, ProjectId, UserId, WorkerId
from fleet import authorities, boxed, boxes, ports, remotes
from fleet.boxed import Box, Limits
from fleet.boxes import Engine
from fleet.child import Part
from fleet.home import Home
from fleet.passages import Passages
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
    """Workers in containers of ``engine``. ``repositories``: of this machine, by the worker's client and
    project (``owner_of``), and ``secret`` for them. ``token_url``: where the dispatcher has git's tokens."""

    engine: Engine
    home: Home
    image: str
    limits: Limits
    repositories: Mapping[str, Path]
    token_url: str = ""
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @cached_property
    def passages(self) -> Passages:
        """The way from the containers to single ports of this machine."""
        return Passages(self.home.path / "passages")

    @property
    def first_port(self) -> int:
        """The first worker's preview port. Raises Problem."""
        return ports.free_in(PREVIEWS)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """What workers reach of this machine, reachable while the block lasts; the repositories' URL here."""
        served = remotes.serving(self._repository, secret=self.secret, token_url=self.token_url)
        async with self.passages.serving(), served as url:
            yield url

    def _repository(self, worker: WorkerId) -> Path | None:
        return self.repositories.get(owner_of(worker))

    def end_leftovers(self, *, grace: float) -> int:
        """Stop and remove what an earlier run of this home has left; how many."""
        return boxed.end(self.engine, self.home.path, grace=grace)

    def worker(self, part: Part, *, worker_id: WorkerId, port: int, paths_url: str) -> Part:
        """The worker's process ``part`` in a container of its own."""
        files = authorities.lent(part.env, folder=self.home.path / "authorities")
        told = {
            **{name: value for name, value in part.env.items() if _goes_inside(name)},
            "BRANCHLINE_PREVIEW_PORT": str(boxed.INSIDE_PORT),
            "BRANCHLINE_PREVIEW_HOST": "0.0.0.0",  # noqa: S104 - behind the mapping
            "BRANCHLINE_PREVIEW_URL": f"http://127.0.0.1:{port}",
            "BRANCHLINE_PATHS_URL": paths_url,
            "BRANCHLINE_PATHS_SECRET": remotes.password(self.secret, worker_id),
        }
        if "BRANCHLINE_TOKEN_URL" in told:  # at the dispatcher itself, all of its API would be in reach
            told["BRANCHLINE_TOKEN_URL"] = f"{paths_url}{remotes.TOKEN_PATH}"
        passages: dict[int, str] = {}
        for address in _ADDRESSES & told.keys():
            told[address] = self._reached(told[address], passages=passages)
        grace = part.grace + _ENDING if part.grace else 0.0
        name = boxed.name_of(self.home.path, worker_id)
        # Their paths are of no use to the engine itself, which may need the same variables.
        named = {*told, *(f"{path.stem}={place}" for path, place in files.items())}
        box = Box(
            name=name, volume=name, home=boxed.mark_of(self.home.path), image=self.image, port=port,
            env=named, limits=self.limits, grace=grace, files=files, passages=passages,
            machine=self.passages.folder,
        )  # fmt: skip
        # Podman itself needs its own variables; the container gets those that are named.
        return replace(
            part, argv=boxed.run_argv(self.engine, box), env={**self.engine.env, **told}, grace=grace
        )

    def _reached(self, url: str, *, passages: dict[int, str]) -> str:
        """An address as it is in the container. One of this machine's loopback gets a passage, under the
        same port if the worker may listen there: queues' URLs hold the engine's."""
        place = urlsplit(url)
        if place.hostname not in ("127.0.0.1", "localhost"):
            return url
        port = place.port or (443 if place.scheme == "https" else 80)
        there = port if port >= _UNPRIVILEGED and port != boxed.INSIDE_PORT else _ELSEWHERE + port
        passages[there] = self.passages.to(port)
        host = "127.0.0.1" if place.scheme == "http" else place.hostname  # a certificate names the name
        return place._replace(netloc=f"{host}:{there}").geturl()


_ADDRESSES = frozenset((
    "AWS_ENDPOINT_URL", "ANTHROPIC_BASE_URL", "ANTHROPIC_BEDROCK_BASE_URL", "ANTHROPIC_VERTEX_BASE_URL",
    "BRANCHLINE_TOKEN_URL", "BRANCHLINE_PATHS_URL", "npm_config_registry", "NPM_CONFIG_REGISTRY",
))  # fmt: skip
_ENDING = boxed.GRACE - 60.0
"""Seconds by which a container gets more than the worker in it, whose own limit is 60."""
_UNPRIVILEGED, _ELSEWHERE = 1024, 40_000


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
    return Containers(
        engine=engine, home=home, image=settings.image, limits=limits, repositories=_repositories(project),
        token_url=f"{settings.local_address}{remotes.TOKEN_PATH}",
    )  # fmt: skip


def owner_of(worker: WorkerId) -> str:
    """Client and project of a worker, whoever its user is."""
    return worker.rpartition("-")[0]


def _repositories(project: Project) -> dict[str, Path]:
    config = fleet_config()
    named = {(each.client, name): each.repo for name, each in (config.project.items() if config else ())}
    named[project.client, project.name] = project.repo
    return {_owner(*owner): Path(repo) for owner, repo in named.items() if repo.startswith("/")}


def _owner(client: str, project: str) -> str:
    one = names.worker_id(client=ClientId(client), project=ProjectId(project), user=UserId(LOCAL))
    return owner_of(one)


def _goes_inside(name: str) -> bool:
    if name in _OUTSIDE:
        return False
    return name in (*_INSIDE, *_PROXIES, *_NPM) or name.startswith(_INSIDE_PREFIXES)
