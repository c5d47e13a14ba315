"""Local workers: one process for each worker id, started when somebody asks, and the small API to ask with.

The dispatcher asks ``POST /workers/{worker_id}`` ("have one running") and ``GET`` ("is one running?"), with a
bearer token. Nothing here knows of messages. A worker that left with exit code 0 stays away until asked for.
"""

import asyncio
import secrets
import time
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contracts.words import WorkerId
from fleet import ports
from fleet.child import Part
from fleet.home import Home
from fleet.kept import BackOff, Kept, Say, after_a_crash
from fleet.problem import Problem

_STARTING_SECONDS = 30.0

MakeWorker = Callable[[WorkerId, int], Part]
"""The part for a worker id and its preview's port."""


class Launcher:
    """All workers of this machine."""

    def __init__(
        self,
        *,
        home: Home,
        make: MakeWorker,
        preview_port: int,
        say: Say,
        back_off: BackOff | None = None,
        previews: range | None = None,
    ) -> None:
        """``previews``: ports to choose a worker's from at each of its starts, as others use them, too."""
        self._home = home
        self._make = make
        self._first_port = preview_port
        self._previews = previews
        self.say = say
        self._back_off = back_off
        self._workers: dict[WorkerId, Kept] = {}
        self._ports: dict[WorkerId, int] = {}
        self._asked: dict[WorkerId, float] = {}
        self._wanted: set[WorkerId] = set()
        self._closing = False

    async def ensure(self, worker_id: WorkerId) -> bool:
        """Have this worker running; whether it was started just now. Raises Problem."""
        kept = self._workers.get(worker_id) or self._new(worker_id)
        if kept.running:
            self._remember_wish(worker_id)
            return False
        self._asked[worker_id] = time.monotonic()
        return await kept.ensure()

    def running(self, worker_id: WorkerId) -> bool:
        """Whether a process of this worker is alive."""
        kept = self._workers.get(worker_id)
        return kept is not None and kept.running

    def port(self, worker_id: WorkerId) -> int:
        """The port of this worker's preview: the configured one for the first, then the next free ones."""
        if worker_id not in self._ports:
            taken = set(self._ports.values())
            free = ports.next_free(self._first_port, taken=taken) if taken else self._first_port
            self._ports[worker_id] = free
        return self._ports[worker_id]

    def _part(self, worker_id: WorkerId) -> Part:
        if self._previews is not None:
            others = {port for worker, port in self._ports.items() if worker != worker_id}
            before = self._ports.get(worker_id)
            self._ports[worker_id] = ports.free_in(self._previews, taken=others, wanted=before)
        return self._make(worker_id, self.port(worker_id))

    def part(self, worker_id: WorkerId) -> Part:
        """What was started last for a worker. Raises KeyError for one that never was."""
        return self._workers[worker_id].part

    def alive(self) -> dict[WorkerId, int]:
        """Process ids of the workers that run now."""
        return {worker_id: kept.pid for worker_id, kept in self._workers.items() if kept.pid is not None}

    async def stop(self, *, hurry: asyncio.Event) -> None:
        """Stop all workers at the same time and start none any more."""
        self._closing = True
        await asyncio.gather(*(kept.stop(hurry=hurry) for kept in self._workers.values()))

    @property
    def closing(self) -> bool:
        """Whether no worker is started any more."""
        return self._closing

    def _new(self, worker_id: WorkerId) -> Kept:
        kept = Kept(
            self._part(worker_id),
            home=self._home,
            say=self.say,
            again=lambda code: after_a_crash(code) or self._take_wish(worker_id),
            back_off=self._back_off,
            renew=None if self._previews is None else lambda: self._part(worker_id),
        )
        self._workers[worker_id] = kept
        return kept

    def _remember_wish(self, worker_id: WorkerId) -> None:
        # Who asks for a worker that has run for a while has seen its row cold: the process is about to
        # leave and may have looked for messages already. It is started again when it is gone. Wishes of
        # the first seconds come from a row that the starting worker has not yet taken.
        if time.monotonic() - self._asked.get(worker_id, 0.0) > _STARTING_SECONDS:
            self._wanted.add(worker_id)

    def _take_wish(self, worker_id: WorkerId) -> bool:
        wanted = worker_id in self._wanted
        self._wanted.discard(worker_id)
        return wanted and not self._closing


def api(launcher: Launcher, *, token: str) -> Starlette:
    """The launcher's API; every request needs the bearer token."""

    async def worker(request: Request) -> Response:
        given = request.headers.get("authorization", "")
        if not secrets.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return JSONResponse({"error": "a valid bearer token is needed"}, status_code=401)
        worker_id = WorkerId(request.path_params["worker_id"])
        if request.method == "POST":
            return await _ensure(launcher, worker_id=worker_id)
        return JSONResponse({"running": launcher.running(worker_id)})

    return Starlette(routes=[Route("/workers/{worker_id}", worker, methods=["GET", "POST"])])


async def _ensure(launcher: Launcher, *, worker_id: WorkerId) -> Response:
    if launcher.closing:
        return JSONResponse({"error": "the fleet is stopping"}, status_code=503)
    try:
        started = await launcher.ensure(worker_id)
    except Problem as problem:
        launcher.say(f"The worker {worker_id} cannot be started: {problem.sentence}")
        return JSONResponse({"error": problem.sentence}, status_code=503)
    return JSONResponse({"running": True, "started": started})
