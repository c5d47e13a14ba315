"""The life of a running fleet: engine, model and dispatcher kept alive, workers by need, and an orderly end.

Knows the order in which things start and stop, and that nothing may be left behind. What the parts are
comes from outside (``PartsOf``), so that the same life can be led by small stand-ins.
"""

import asyncio
import contextlib
import ctypes
import secrets
import signal
from collections.abc import Callable
from dataclasses import dataclass

from contracts.words import WorkerId
from fleet import processes
from fleet.child import Part
from fleet.home import Home
from fleet.kept import BackOff, Kept
from fleet.launcher import Launcher, api
from fleet.screen import Screen
from fleet.serving import served

_PROGRESS_SECONDS = 5.0
_REAP_SECONDS = 2.0
_PR_SET_CHILD_SUBREAPER = 36
_ENGINE_BACK_OFF = BackOff(most=6.0)
"""Everybody waits for the engine: 15 s after it can be started again, all work."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """How to make the parts. Engine and model announce their addresses; ``model`` is None for a real one."""

    engine: Part
    model: Part | None
    dispatcher: Callable[[str, str, str], Part]
    """From the engine's URL, the launcher's URL and its token."""
    worker: Callable[[WorkerId, int, str, str | None, str], Part]
    """From the worker id, its preview port, engine URL, offline model URL and the launcher's token."""
    standin: Part | None = None
    """What stands in for Slack and GitHub, if anything does."""


class Stop:
    """Requests to stop: the first one asks, a second Ctrl-C or SIGTERM hurries."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()

    def listen(self) -> None:
        """Take the signals of this process from now on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on, number)

    def _on(self, number: signal.Signals) -> None:
        # A closing terminal sends SIGHUP twice; that is one request, not an impatient person.
        if self.asked.is_set() and number != signal.SIGHUP:
            self.hurry.set()
        self.asked.set()


class Supervisor:
    """Starts the parts of one home and stops them again."""

    def __init__(
        self,
        *,
        home: Home,
        parts: Parts,
        screen: Screen,
        stop: Stop,
        preview_port: int,
        previews: range | None = None,
        back_off: BackOff | None = None,
    ) -> None:
        self._home = home
        self._parts = parts
        self._screen = screen
        self._stop = stop
        self._preview_port = preview_port
        self._previews = previews
        self._back_off = back_off
        self._kept: list[Kept] = []
        self.launcher: Launcher | None = None

    async def run(self, worker_id: WorkerId, *, started: Callable[[], None]) -> None:
        """Start everything, call ``started``, and stay until a stop is asked for. Raises Problem.

        However this ends, no process of the home is left.
        """
        adopt_orphans()
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._leave)
            reaping = asyncio.create_task(_reap_orphans())
            stack.callback(reaping.cancel)
            life = asyncio.create_task(self._live(stack, worker_id, started))
            asked = asyncio.create_task(self._stop.asked.wait())
            await asyncio.wait((life, asked), return_when=asyncio.FIRST_COMPLETED)
            for task in (life, asked):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await life

    async def _live(
        self, stack: contextlib.AsyncExitStack, worker_id: WorkerId, started: Callable[[], None]
    ) -> None:
        model_url = None
        if self._parts.model is not None:
            model_url = await self._start(self._parts.model, "starting the offline model")
        engine_url = await self._start(
            self._parts.engine,
            "starting the engine (SQS and DynamoDB)",
            back_off=self._back_off or _ENGINE_BACK_OFF,
        )
        if self._parts.standin is not None:
            await self._start(self._parts.standin, "starting the simulated Slack and GitHub")
        token = secrets.token_urlsafe(32)
        launcher = self.launcher = Launcher(
            home=self._home,
            make=lambda worker, port: self._parts.worker(worker, port, engine_url or "", model_url, token),
            preview_port=self._preview_port,
            previews=self._previews,
            say=self._warn,
            back_off=self._back_off,
        )
        url = await stack.enter_async_context(served(api(launcher, token=token)))
        dispatcher = self._parts.dispatcher(engine_url or "", url, token)
        await self._start(dispatcher, "starting the dispatcher (chat and API)")
        with self._screen.step("starting the worker"):
            await launcher.ensure(worker_id)
        started()
        await asyncio.Event().wait()

    async def _start(self, part: Part, words: str, *, back_off: BackOff | None = None) -> str | None:
        kept = Kept(part, home=self._home, say=self._warn, back_off=back_off or self._back_off)
        self._kept.append(kept)
        with self._screen.step(words):
            return await kept.start()

    def _warn(self, text: str) -> None:
        self._screen.say(text, style="yellow")

    async def _leave(self) -> None:
        """Workers first, because they save their work with the help of the others."""
        if self.launcher is not None:
            await self._stop_workers(self.launcher)
        for kept in reversed(self._kept):
            await kept.stop(hurry=self._stop.hurry)
        # The sweep also finds what a part has started in a session of its own.
        processes.end(self._left, grace=0)
        left = self._left()
        if left:
            self._warn(f"These processes could not be ended: {sorted(left)}. End them with kill -9.")

    async def _stop_workers(self, launcher: Launcher) -> None:
        if launcher.alive():
            self._screen.say("Stopping: the workers save their work first. Ctrl-C again stops at once.")
        progress = asyncio.create_task(self._tell_progress(launcher))
        try:
            await launcher.stop(hurry=self._stop.hurry)
        finally:
            progress.cancel()

    async def _tell_progress(self, launcher: Launcher) -> None:
        waited = 0.0
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            waited += _PROGRESS_SECONDS
            names = ", ".join(launcher.alive())
            self._screen.say(f"Still saving after {waited:.0f} s: {names}")

    def _left(self) -> set[int]:
        return processes.leftovers(self._home.path) | processes.descendants()


def adopt_orphans() -> None:
    """Become the parent of orphans below us, so that the last sweep finds them whatever they have done."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


async def _reap_orphans() -> None:
    """Ask for the status of orphans that ended below us; ours are asked for where they were started."""
    before: set[int] = set()
    while True:
        await asyncio.sleep(_REAP_SECONDS)
        now = processes.zombies()
        processes.reap(now & before)
        before = now
