"""The processes of a fleet on one machine: which program, with which arguments and which environment.

Builds ``Part`` objects; starts nothing.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from contracts.words import WorkerId
from dispatcher.worker_tokens import PATH, TokenDoor
from fleet import environment, operator
from fleet.child import Part, answers, ready_line
from fleet.environment import Env
from fleet.home import Home
from fleet.problem import Problem
from fleet.project import Project
from fleet.runtime import Containers
from fleet.settings import ROOT, Settings
from fleet.simulation import Simulation

DISPATCHER_GRACE = 10.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What does not change while the fleet runs. ``outside`` is the environment ``up`` was started in.

    ``containers``: what workers run in, if not in processes of this machine, and ``paths_url`` where they
    reach its repositories. ``simulation``: Slack and GitHub are simulated.
    """

    settings: Settings
    home: Home
    project: Project
    outside: Mapping[str, str]
    simulation: Simulation | None = None
    containers: Containers | None = None
    paths_url: str = ""

    @property
    def offline(self) -> bool:
        """Whether the offline model is used."""
        return not environment.model_is_configured(self.outside)


def engine(plan: Plan, *, port: int) -> Part:
    """The embedded engine, in an interpreter of its own."""
    python = plan.home.engine_python
    if not python.exists():
        raise Problem(f"the engine's environment is missing ({python}); run ./scripts/up, which makes it.")
    main = ROOT / "fleet" / "engine" / "main.py"
    key = plan.home.credentials()["AWS_ACCESS_KEY_ID"]
    place = ("--port", str(port), "--state", str(plan.home.engine_state))
    walls = ("--parent-pid", str(os.getpid()))
    return Part(
        name="engine",
        argv=(str(python), str(main), *place, *walls),
        env={**environment.minimal(plan.outside), "BRANCHLINE_ENGINE_KEY": key},
        cwd=ROOT,
        ready=ready_line,
    )


def model(plan: Plan, *, port: int) -> Part:
    """The offline model."""
    return Part(
        name="model",
        argv=(sys.executable, "-m", "fleet.model", "--port", str(port)),
        env=environment.minimal(plan.outside),
        cwd=ROOT,
        ready=ready_line,
    )


def standin(plan: Plan) -> Part:
    """The simulated Slack and GitHub; what they have to know stands in the home."""
    return Part(
        name="standin",
        argv=(sys.executable, "-m", "fleet.standin"),
        env=environment.minimal(plan.outside),
        cwd=ROOT,
        ready=ready_line,
    )


def dispatcher(plan: Plan, *, engine_url: str, launcher_url: str, launcher_token: str) -> Part:
    """The dispatcher: chat page, API and frontends."""
    settings = plan.settings
    own = {
        "BRANCHLINE_HOST": settings.host,
        "BRANCHLINE_PORT": str(settings.port),
        "BRANCHLINE_PREVIEW_PORT": str(settings.preview_port),
        "BRANCHLINE_LAUNCHER_URL": launcher_url,
        "BRANCHLINE_LAUNCHER_TOKEN": launcher_token,
        "BRANCHLINE_DIE_WITH_PARENT": "1",
        **_who(plan.project),
        **operator.for_dispatcher(plan.home, plan.outside),
        **(plan.simulation.for_dispatcher() if plan.simulation is not None else {}),
        **({"BRANCHLINE_OFFLINE_MODEL": "1"} if plan.offline else {}),
    }
    return Part(
        name="dispatcher",
        argv=(sys.executable, "-m", "dispatcher"),
        env=environment.for_dispatcher(plan.outside) | _engine(plan, url=engine_url) | own,
        cwd=ROOT,
        ready=answers(f"{settings.local_address}/healthz"),
        grace=DISPATCHER_GRACE,
    )


def worker(
    plan: Plan,
    *,
    worker_id: WorkerId,
    preview_port: int,
    engine_url: str,
    model_url: str | None,
    launcher_token: str,
) -> Part:
    """One worker. Its checkout and its sessions stay in the home."""
    own = {
        "CONTAINER_ID": worker_id,
        "WORKSPACE_PATH": str(plan.home.workspaces),
        "BRANCHLINE_PREVIEW_PORT": str(preview_port),
        "BRANCHLINE_PREVIEW_HOST": plan.settings.preview_host,
        "BRANCHLINE_DIE_WITH_PARENT": "1",
        **({"BRANCHLINE_OFFLINE_MODEL": "1"} if plan.offline else {}),
        **(_tokens(plan, worker_id, launcher_token) if plan.outside.get("GITHUB_APP_ID") else {}),
    }
    outside = environment.for_worker(plan.outside, offline_url=model_url)
    part = Part(
        name=f"worker-{worker_id}",
        argv=(sys.executable, "-m", "worker"),
        env=outside | _engine(plan, url=engine_url) | own,
        cwd=ROOT,
        grace=plan.settings.shutdown_seconds,
    )
    if plan.containers is None:
        return part
    return plan.containers.worker(part, worker_id=worker_id, port=preview_port, paths_url=plan.paths_url)


def _tokens(plan: Plan, worker_id: WorkerId, launcher_token: str) -> Env:
    """Where a worker asks for a token of the GitHub App, and how it proves who it is."""
    return TokenDoor(url=f"{plan.settings.local_address}{PATH}", key=launcher_token).variables(worker_id)


def _engine(plan: Plan, *, url: str) -> Env:
    settings = plan.settings
    return environment.of_engine(
        url=url, region=settings.region, table=settings.table, credentials=plan.home.credentials()
    )


def _who(project: Project) -> Env:
    config = {"BRANCHLINE_CONFIG": str(project.config)} if project.config is not None else {}
    repo = {} if project.configured else {"BRANCHLINE_REPO": project.repo}
    return {"BRANCHLINE_PROJECT": project.name, **repo, **config}
