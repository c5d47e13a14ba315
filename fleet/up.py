"""``branchline up``: from an empty folder to a running fleet, step by step, and down again.

Puts the pieces together; each piece is somewhere else. Every step that can fail says what to do.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace

import httpx

from contracts.words import WorkerId
from dispatcher.guard import is_loopback
from fleet import parts, ports, processes, simulation
from fleet.child import Part
from fleet.home import Home, Lock
from fleet.parts import Plan
from fleet.problem import USAGE, Problem
from fleet.project import choose
from fleet.runtime import PREVIEWS, Containers, containers
from fleet.screen import Screen
from fleet.settings import Settings, fleet_config
from fleet.simulation import Simulation
from fleet.supervisor import Parts, Stop, Supervisor

_LEFTOVER_SECONDS = 10.0
_PREVIEW_PATIENCE = 60.0
_PREVIEW_LOOK_SECONDS = 0.5


async def up(
    *,
    settings: Settings,
    repo: str | None,
    outside: Mapping[str, str],
    screen: Screen,
    simulate: bool = False,
) -> None:
    """Run the fleet until a signal asks to stop; ``simulate``: with stand-ins for Slack and GitHub.

    Raises Problem.
    """
    if simulate:
        simulation.refuse_real(outside)
    _check_sign_in(settings)
    stop = Stop()
    stop.listen()
    home = Home(settings.home)
    home.create()
    lock = Lock(home)
    await _only_one(lock, settings=settings)
    try:
        _end_leftovers(home, screen=screen)
        _check_ports(settings)
        with screen.step("preparing the project"):
            project = await asyncio.to_thread(choose, repo=repo, home=home, settings=settings)
        boxes = await asyncio.to_thread(containers, settings, home=home, project=project)
        plan = Plan(settings=settings, home=home, project=project, outside=outside, containers=boxes)
        if boxes is not None:
            await asyncio.to_thread(_end_containers, boxes, screen=screen)
        if simulate:
            plan = replace(plan, simulation=await asyncio.to_thread(_simulation, plan))
        else:
            simulation.switch_off(home)
        if not stop.asked.is_set():
            await _run_within(plan, screen=screen, stop=stop)
        screen.say("Branchline has stopped.")
    finally:
        lock.drop()


def _simulation(plan: Plan) -> Simulation:
    return simulation.prepare(
        plan.home,
        project=plan.project,
        config=fleet_config(),
        dispatcher=plan.settings.local_address,
        outside=plan.outside,
    )


async def _only_one(lock: Lock, *, settings: Settings) -> None:
    if lock.take():
        return
    pid = lock.holder()
    state = (
        ""
        if await _healthy(settings.local_address)
        else f", but {settings.local_address} does not answer (yet)"
    )
    raise Problem(
        f"already running (pid {pid}) with the state in {settings.home}{state}; "
        f"stop it with `kill {pid}`, or set BRANCHLINE_HOME to run another one.",
        code=USAGE,
    )


async def _healthy(address: str) -> bool:
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=3) as client:
            return (await client.get(f"{address}/healthz")).is_success
    except httpx.HTTPError:
        return False


def _end_leftovers(home: Home, *, screen: Screen) -> None:
    if not processes.leftovers(home.path):
        return
    with screen.step("ending processes that an earlier run has left"):
        processes.end(lambda: processes.leftovers(home.path), grace=_LEFTOVER_SECONDS)


def _end_containers(found: Containers, *, screen: Screen) -> None:
    with screen.step("looking for containers that an earlier run has left"):
        found.end_leftovers(grace=_LEFTOVER_SECONDS)


def _check_sign_in(settings: Settings) -> None:
    if settings.login == "none" and not is_loopback(settings.host):
        raise Problem(
            f"{settings.host} can be reached from other machines, so people have to sign in: set"
            " BRANCHLINE_LOGIN to accounts, github or both (docs/signin.md), or BRANCHLINE_HOST"
            " back to 127.0.0.1.",
            code=USAGE,
        )


def _check_ports(settings: Settings) -> None:
    ports.require(
        settings.port, what="the chat", variable="BRANCHLINE_PORT", option="--port", host=settings.host
    )
    if settings.runtime != "process":  # each gets one that is free
        return
    ports.require(
        settings.preview_port,
        what="the preview",
        variable="BRANCHLINE_PREVIEW_PORT",
        option="--preview-port",
        host=settings.preview_host,
    )


async def _run_within(plan: Plan, *, screen: Screen, stop: Stop) -> None:
    """Run with what workers in containers need around them."""
    if plan.containers is None:
        return await _run(plan, screen=screen, stop=stop)
    try:
        async with plan.containers.serving() as url:
            await _run(replace(plan, paths_url=url), screen=screen, stop=stop)
    finally:
        await asyncio.to_thread(plan.containers.end_leftovers, grace=0)


async def _run(plan: Plan, *, screen: Screen, stop: Stop) -> None:
    if plan.offline:
        screen.say("No model is configured: the OFFLINE MODEL answers (scripted).", style="bold yellow")
    preview_port = plan.containers.first_port if plan.containers else plan.settings.preview_port
    supervisor = Supervisor(
        home=plan.home,
        parts=_parts(plan),
        screen=screen,
        stop=stop,
        preview_port=preview_port,
        previews=PREVIEWS if plan.containers else None,
    )
    preview_url = f"http://127.0.0.1:{preview_port}"
    watching: set[asyncio.Task[None]] = set()

    def started() -> None:
        screen.overview(plan, preview_url=preview_url)
        watching.add(asyncio.create_task(_tell_preview(preview_url, port=preview_port, screen=screen)))

    try:
        await supervisor.run(plan.project.worker_id, started=started)
    finally:
        for task in watching:
            task.cancel()


def _parts(plan: Plan) -> Parts:
    kept = plan.home.recall("ports")
    model_port = _same_port(kept.get("model"))
    engine_port = _same_port(kept.get("engine"))
    # Queue URLs hold the engine's port, and sessions may hold the model's: both stay while they can.
    plan.home.remember("ports", {"engine": engine_port, "model": model_port})

    def worker(
        worker_id: WorkerId, preview_port: int, engine_url: str, model_url: str | None, launcher_token: str
    ) -> Part:
        return parts.worker(
            plan,
            worker_id=worker_id,
            preview_port=preview_port,
            engine_url=engine_url,
            model_url=model_url,
            launcher_token=launcher_token,
        )

    return Parts(
        engine=parts.engine(plan, port=engine_port),
        model=parts.model(plan, port=model_port) if plan.offline else None,
        standin=parts.standin(plan) if plan.simulation is not None else None,
        dispatcher=lambda engine_url, url, token: parts.dispatcher(
            plan, engine_url=engine_url, launcher_url=url, launcher_token=token
        ),
        worker=worker,
    )


def _same_port(kept: object) -> int:
    return kept if isinstance(kept, int) and ports.is_free(kept) else ports.any_free()


async def _tell_preview(url: str, *, port: int, screen: Screen) -> None:
    patience = time.monotonic() + _PREVIEW_PATIENCE
    told = False
    while True:
        if not told and time.monotonic() > patience:
            told = True
            screen.say(
                "The preview is not up yet: it installs packages, or the project has none "
                "(the worker's log says which)."
            )
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(_PREVIEW_LOOK_SECONDS)
            continue
        writer.close()
        screen.say(f"The preview is up: {url}", style="green")
        return
