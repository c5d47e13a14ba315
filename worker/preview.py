"""The dev server beside the turns: installs what a branch needs, starts Astro, watches it.

No turn waits for it, and whatever goes wrong ends as a sentence in ``state`` and another try.
What to do next is decided in ``worker.preview_plan``; this module looks and acts.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from worker import preview_net, preview_site, spawning
from worker.log import get_logger
from worker.node import NodeMissing, NodeTools, find_node
from worker.ports import PreviewState
from worker.preview_plan import Facts, Install, Pace, Site, Start, Stop, Wait, backoff, next_action
from worker.preview_process import MARK, Group, Output, environment, sweep
from worker.redact import Redactor

_TAKEN = "Port {port} is taken by another program: stop it, or set BRANCHLINE_PREVIEW_PORT to a free one."


class DevServer:
    """The preview of the checkout at ``path``, on ``http://{host}:{port}``. Implements ``ports.Preview``.

    ``command``: the project's own way to serve itself, run by a shell with ``PORT`` and ``HOST`` set; None:
    Astro if the project depends on it; ``"none"``: no preview. ``node``: the Node.js to use, else one is
    found. ``marker``: the same for each start of this worker, so that leftovers of a killed one are known.
    ``on_ready``: awaited each time the server has come up. ``on_change``: called when ``state`` or the
    checkout may be another; it must not wait. ``log_dir``: takes ``preview.log`` and launchers.
    ``allowed_hosts``: names under which a browser may ask besides ``localhost`` and addresses.
    """

    def __init__(
        self,
        *,
        path: Path,
        port: int,
        marker: str,
        redact: Redactor,
        log_dir: Path,
        on_ready: Callable[[PreviewState], Awaitable[None]],
        on_change: Callable[[], None] = lambda: None,
        host: str = "127.0.0.1",
        command: str | None = None,
        node: Path | None = None,
        allowed_hosts: tuple[str, ...] = (),
        pace: Pace | None = None,
    ) -> None:
        self._path, self._port, self._host = path, port, host
        self._command, self._node_path, self._allowed_hosts = command, node, allowed_hosts
        self._marker, self._log_dir = marker, log_dir
        self._on_ready, self._on_change = on_ready, on_change
        self._pace = pace or Pace()
        self._output = Output(path=log_dir / "preview.log", redactor=redact)
        self._probe = preview_net.Probe(host=host, port=port)
        self._wake = asyncio.Event()
        self._look = True
        self._state = PreviewState(ready=False, url=None)
        self._node: NodeTools | None = None
        self._group: Group | None = None
        self._facts = Facts(now=0.0, site=Site(kind="none"), installed=None, serving=None)

    @property
    def state(self) -> PreviewState:
        """Whether the preview can be opened now, where, and else why not."""
        return self._state

    @property
    def url(self) -> str:
        """Where the preview listens when it does."""
        return f"http://{'127.0.0.1' if self._host == '0.0.0.0' else self._host}:{self._port}"  # noqa: S104

    def switched(self) -> None:
        """The checkout changed (a switch, the end of a turn): look at it again, in the background."""
        self._look = True
        self._note(failures=0, not_before=0.0)
        self._wake.set()
        self._on_change()

    async def connections(self) -> int:
        """Open client connections to the preview port, without our own; 0 where that cannot be told."""
        group = self._group
        pids = await asyncio.to_thread(group.pids) if group is not None else []
        if spawning.separated():
            ports = await asyncio.to_thread(
                spawning.call, preview_net.clients_of, port=self._port, name=MARK, value=self._marker
            )
        else:
            ports = await asyncio.to_thread(preview_net.clients, port=self._port, server_pids=pids)
        return sum(1 for port in ports if port not in self._probe.recent)

    async def run(self) -> None:
        """Start and watch the server until cancelled; then every process of it is dead."""
        await asyncio.to_thread(sweep, self._marker)
        try:
            while True:
                await self._step_or_fail()
        finally:
            sweep(self._marker)
            await self._end_group()
            self._set(PreviewState(ready=False, url=None))
            self._output.close()

    # ------------------------------------------------------------ looking

    async def _step_or_fail(self) -> None:
        try:
            await self._step()
        except OSError as error:  # a full disk, a checkout that went away
            await self._end_group()
            self._failed(f"The preview cannot go on: {error}.")
            self._look = True
            await self._wait_for(None, seconds=backoff(self._facts.failures, pace=self._pace))

    async def _step(self) -> None:
        if self._group is not None and self._group.exit_status is not None:
            await self._stopped(f"it ended with status {self._group.exit_status}")
        if self._look:
            await self._look_at_checkout()
        await self._refresh()
        action = next_action(self._facts, pace=self._pace)
        match action:
            case Install():
                await self._install()
            case Start():
                await self._start()
            case Stop(failed=True):
                await self._stopped("it did not answer")
            case Stop():
                await self._end_group()
            case Wait():
                await self._wait(action)

    async def _look_at_checkout(self) -> None:
        self._look = False
        site = await asyncio.to_thread(preview_site.look, self._path, command=self._command)
        node_problem = await self._find_node() if site.kind != "none" and site.dependencies else None
        if node_problem and site.kind == "shell":
            site, node_problem = replace(site, dependencies=""), None
        self._note(node_problem=node_problem)
        if site == self._facts.site:
            return
        self._note(site=site, reinstalled=False)
        serving = self._facts.serving
        if serving is not None and serving.kind == site.kind and await self._are_installed(site):
            self._note(serving=site)

    async def _find_node(self) -> str | None:
        try:
            self._node = self._node or await asyncio.to_thread(
                find_node, state_dir=self._log_dir, node=self._node_path
            )
        except NodeMissing as problem:
            return str(problem)
        return None

    async def _are_installed(self, site: Site) -> bool:
        there = await asyncio.to_thread(preview_site.installed, self._path, wanted=site.dependencies)
        return there == site.dependencies

    async def _refresh(self) -> None:
        self._note(now=time.monotonic())
        if self._facts.serving is not None or self._facts.site.kind == "none":
            return
        site = self._facts.site
        taken = preview_net.is_taken(host=self._host, port=self._port)
        there = await self._are_installed(site)
        self._note(
            installed=site.dependencies if there else None,
            port_problem=_TAKEN.format(port=self._port) if taken else None,
        )

    def _note(self, **changed: Any) -> None:
        self._facts = replace(self._facts, **changed)

    # ------------------------------------------------------------ acting

    async def _start(self) -> None:
        self._show("The preview is starting.")
        if await self._start_group(self._argv()):
            self._note(serving=self._facts.site, answered=False, misses=0, started_at=time.monotonic())

    def _argv(self) -> tuple[str, ...]:
        if self._facts.site.kind == "shell" or self._node is None:
            return ("/bin/sh", "-c", self._command or "")
        script = preview_site.astro_script(self._path)
        # Without --ignore-lock Astro refuses to start when a lock was left over by a killed one.
        address = ("--ignore-lock", "--host", self._host, "--port", str(self._port))
        hosts = (f"--allowed-hosts={','.join(self._allowed_hosts)}",) if self._allowed_hosts else ()
        return (str(self._node.node), str(script), "dev", *address, *hosts)

    async def _start_group(self, argv: tuple[str, ...]) -> bool:
        bin_dir = self._node.bin_dir if self._node is not None else None
        env = environment(
            own=os.environ, marker=self._marker, bin_dir=bin_dir, port=self._port, host=self._host
        )
        try:
            self._group = await Group.start(argv=argv, cwd=self._path, env=env, output=self._output)
        except OSError as error:
            self._failed(f"The preview could not be started: {error.strerror}.")
            return False
        return True

    async def _install(self) -> None:
        if self._node is None:
            return
        wanted = self._facts.site.dependencies
        self._show("The preview's dependencies are being installed.")
        started = time.monotonic()
        await asyncio.to_thread(spawning.call, preview_site.forget_installed, self._path)
        if not await self._start_group((*self._node.npm_argv, *preview_site.install_argv(self._path))):
            return
        status = await self._installing(until=started + self._pace.install_within)
        await self._end_group()
        self._note(reinstalled=self._facts.reinstalled or self._facts.failures > 0)
        if status == 0 and not self._look:
            spawning.call(preview_site.stamp_installed, self._path, dependencies=wanted)
            get_logger().info("preview.installed", seconds=round(time.monotonic() - started, 1))
        elif status:
            self._failed(f"The preview's dependencies could not be installed: {self._output.complaint}")

    async def _installing(self, *, until: float) -> int | None:
        """npm's exit status; None when it was left behind by a switch to other dependencies."""
        assert self._group is not None  # noqa: S101
        while not self._group.ended.done():
            left = until - time.monotonic()
            if left <= 0:
                return 1
            await self._wait_for(self._group, seconds=left)
            if self._look and await self._changed():
                return None
        self._look = self._look and await self._changed()
        return self._group.ended.result()

    async def _changed(self) -> bool:
        site = await asyncio.to_thread(preview_site.look, self._path, command=self._command)
        return site != self._facts.site

    async def _wait(self, action: Wait) -> None:
        if action.problem is not None:
            self._show(action.problem)
        elif self._facts.site.kind == "none":
            self._set(PreviewState(ready=False, url=None))
        await self._wait_for(self._group, seconds=action.seconds)
        if self._facts.serving is not None and self._group is not None and self._group.exit_status is None:
            await self._look_at_server()

    async def _wait_for(self, group: Group | None, *, seconds: float | None) -> None:
        """Until the checkout changed, the process ended or the time is over."""
        woken = asyncio.create_task(self._wake.wait())
        try:
            await asyncio.wait(
                {woken, group.ended} if group is not None else {woken},
                timeout=seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            woken.cancel()
        self._wake.clear()

    async def _look_at_server(self) -> None:
        answered = await self._probe.answers(within=self._pace.probe_within)
        if not answered:
            self._note(misses=self._facts.misses + self._facts.answered)
            return
        self._note(misses=0)
        if not self._facts.answered:
            await self._came_up()
        elif time.monotonic() - self._facts.started_at > self._pace.steady_after:
            self._note(failures=0)

    async def _came_up(self) -> None:
        now = time.monotonic()
        get_logger().info("preview.ready", seconds=round(now - self._facts.started_at, 2))
        self._note(answered=True, started_at=now)
        self._set(PreviewState(ready=True, url=self.url))
        try:
            await self._on_ready(self._state)
        except Exception:
            get_logger().exception("preview.announcement_failed")

    async def _stopped(self, why: str) -> None:
        await self._end_group()
        self._failed(f"The preview stopped, {why}: {self._output.complaint}")

    async def _end_group(self) -> None:
        group, self._group = self._group, None
        self._note(serving=None)
        if group is not None:
            await group.kill()
        self._output.end()

    def _failed(self, problem: str) -> None:
        failures = self._facts.failures + 1
        wait = backoff(failures, pace=self._pace)
        self._note(failures=failures, not_before=time.monotonic() + wait)
        get_logger().warning("preview.failed", problem=problem, failures=failures, retry_in=wait)
        self._show(problem)

    def _set(self, state: PreviewState) -> None:
        self._state = state
        self._on_change()

    def _show(self, problem: str) -> None:
        self._set(PreviewState(ready=False, url=None, problem=problem))
