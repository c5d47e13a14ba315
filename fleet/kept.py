"""Keeping one part alive: start it again with back-off when it dies, stop it when asked.

Knows nothing of what the part does; whether an exit code asks for another start is the caller's word.
"""

import asyncio
import random
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from fleet.child import Child, Part, how_it_ended
from fleet.home import Home
from fleet.problem import Problem

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class BackOff:
    """Seconds between a death and the next start: doubled up to ``most``, ``first`` again after ``calm``."""

    first: float = 0.5
    most: float = 30.0
    calm: float = 60.0

    def delay(self, *, deaths: int) -> float:
        """Before the next start after this many deaths in a row (1 and up), with some noise."""
        plain: float = min(self.first * 2 ** min(deaths - 1, 20), self.most)
        return plain * random.uniform(0.8, 1.0)  # noqa: S311


def always(code: int) -> bool:
    """For parts that must never end."""
    del code
    return True


def after_a_crash(code: int) -> bool:
    """For parts that may leave: exit code 0 is a decision."""
    return code != 0


class Kept:
    """One part, at most one process of it at a time."""

    def __init__(
        self,
        part: Part,
        *,
        home: Home,
        say: Say,
        again: Callable[[int], bool] = always,
        back_off: BackOff | None = None,
        renew: Callable[[], Part] | None = None,
    ) -> None:
        """``renew``: what to start from the second time on, when that may change. It may raise Problem."""
        self.part = part
        self._renew = renew
        self._fresh = True
        self._home = home
        self._say = say
        self._again = again
        self._back_off = back_off or BackOff()
        self._child: Child | None = None
        self._watch: asyncio.Task[None] | None = None
        self._now = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._closing = False

    @property
    def running(self) -> bool:
        """Whether a process of the part is alive now."""
        return self._child is not None and self._child.alive

    @property
    def pid(self) -> int | None:
        """The living process's id."""
        return self._child.pid if self._child is not None and self._child.alive else None

    async def start(self) -> str | None:
        """Start the part and wait until it is ready; its address. Raises Problem."""
        self._child = child = await self._spawn()
        address = await child.become_ready()
        self._watch = asyncio.create_task(self._keep(child), name=f"keep {self.part.name}")
        return address

    async def ensure(self) -> bool:
        """Have a process alive now, also while one is waited for; whether this started it. Raises Problem."""
        async with self._one_at_a_time:
            if self.running or self._closing:
                return False
            if self._watch is not None and not self._watch.done():
                self._now.set()
                return True
            await self.start()
            return True

    async def stop(self, *, hurry: asyncio.Event) -> None:
        """Ask the process to leave; kill it after the part's grace, or at once when ``hurry`` is set."""
        self._closing = True
        self._now.set()
        child = self._child
        if child is not None and child.alive:
            child.send(signal.SIGTERM)
            await _first(child.wait(), hurry.wait(), seconds=self.part.grace)
            child.send(signal.SIGKILL)
            await child.wait()
        if self._watch is not None:
            await self._watch

    async def _keep(self, child: Child) -> None:
        deaths = 0
        while True:
            code = await child.wait()
            if self._closing or not self._again(code):
                return
            lived = time.monotonic() - child.started
            deaths = 1 if lived > self._back_off.calm else deaths + 1
            await self._pause(f"ended ({how_it_ended(code)})", deaths=deaths)
            if self._closing:
                return
            child = self._child = await self._respawn(deaths=deaths)

    async def _respawn(self, *, deaths: int) -> Child:
        while True:
            try:
                return await self._spawn()
            except (Problem, OSError) as error:
                deaths += 1
                await self._pause(f"could not be started ({error})", deaths=deaths)

    async def _spawn(self) -> Child:
        if self._renew is not None and not self._fresh:
            self.part = self._renew()
        self._fresh = False
        return await Child.spawn(self.part, home=self._home)

    async def _pause(self, what: str, *, deaths: int) -> None:
        delay = self._back_off.delay(deaths=deaths)
        log = self._home.logs / f"{self.part.name}.log"
        self._say(f"The {self.part.name} {what}; it starts again in {delay:.1f} s. Log: {log}")
        self._now.clear()
        try:
            await asyncio.wait_for(self._now.wait(), delay)
        except TimeoutError:
            return


async def _first(*waits: Coroutine[Any, Any, Any], seconds: float) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
