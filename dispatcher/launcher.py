"""What starts workers, as the dispatcher sees it: ask for one by its id, and ask whether it runs."""

from typing import Any, Protocol
from urllib.parse import quote

import aiohttp

from contracts.words import WorkerId
from dispatcher.errors import Unavailable


class Launcher(Protocol):
    """Starts a worker that does not run. Every method raises Unavailable when it cannot tell."""

    async def ensure(self, worker_id: WorkerId) -> bool:
        """Make sure that the worker runs; true if it was just started. Safe to repeat."""

    async def running(self, worker_id: WorkerId) -> bool:
        """Whether the worker runs (or is being started) by the launcher's own word."""


class NoLauncher:
    """Workers are started by somebody else."""

    async def ensure(self, worker_id: WorkerId) -> bool:  # noqa: ARG002 - the protocol's name
        """Start nothing."""
        return False

    async def running(self, worker_id: WorkerId) -> bool:  # noqa: ARG002
        """Assume that whoever starts the workers has done so."""
        return True


class HttpLauncher:
    """A launcher behind HTTP: ``POST`` and ``GET {url}/workers/{worker_id}`` with a bearer token."""

    def __init__(self, *, url: str, token: str, session: aiohttp.ClientSession) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._session = session

    async def ensure(self, worker_id: WorkerId) -> bool:
        """Make sure that the worker runs; true if it was just started."""
        return bool((await self._ask("POST", worker_id)).get("started", False))

    async def running(self, worker_id: WorkerId) -> bool:
        """Whether the worker runs."""
        return bool((await self._ask("GET", worker_id)).get("running", False))

    async def _ask(self, method: str, worker_id: WorkerId) -> dict[str, Any]:
        address = f"{self._url}/workers/{quote(worker_id, safe='')}"
        try:
            async with self._session.request(
                method, address, headers=self._headers, timeout=aiohttp.ClientTimeout(total=5)
            ) as answer:
                answer.raise_for_status()
                plain = await answer.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unavailable("The launcher of workers did not answer.") from error
        if not isinstance(plain, dict):
            raise Unavailable("The launcher of workers gave an answer that is none.")
        return plain
