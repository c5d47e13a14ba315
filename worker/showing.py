"""Says in the worker's row where its preview is, and whose branch it shows, whenever that changed.

Runs beside the turns and costs nothing while nothing changes: whoever changes something only rings. What is
told last is what holds; what came in between is left out. Decides nothing about the preview itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from contracts.records import WorkerRecord
from contracts.words import ThreadId
from worker.aws import FAULTS
from worker.errors import LeaseLost
from worker.log import get_logger
from worker.ports import PreviewState

log = get_logger()

Shown = dict[str, str | None]
_FIELDS = ("preview_url", "preview_problem", "shows")
_LONGEST_PROBLEM = 600
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0


class Showing:
    """``row``: as it was taken over; ``write`` sets fields of it under the epoch. ``state`` and ``shows`` are
    asked when there may be news. ``url``: where the preview is reached, when that is not where it listens."""

    def __init__(
        self,
        *,
        row: WorkerRecord,
        write: Callable[[Mapping[str, str | None]], Awaitable[None]],
        state: Callable[[], PreviewState],
        shows: Callable[[], ThreadId | None],
        url: str | None = None,
    ) -> None:
        self._told: Shown = {name: getattr(row, name) for name in _FIELDS}
        self._write, self._state, self._shows, self._url = write, state, shows, url
        self._news = asyncio.Event()
        self._news.set()  # what the last owner said is not known to hold any more

    def ring(self) -> None:
        """Something may be another than it was."""
        self._news.set()

    async def run(self) -> None:
        """Tell until cancelled or until another owns the worker id. Storage that is away is waited for."""
        pause = _FIRST_PAUSE
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self._tell()
                pause = _FIRST_PAUSE
            except LeaseLost:
                return
            except FAULTS as error:
                log.warning("preview_not_told", error=str(error), again_in=pause)
                self._news.set()
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _tell(self) -> None:
        now = self._now()
        changed = {name: value for name, value in now.items() if value != self._told[name]}
        if changed:
            await self._write(changed)
            self._told |= changed

    def _now(self) -> Shown:
        state = self._state()
        return {
            "preview_url": (self._url or state.url) if state.ready else None,
            "preview_problem": (state.problem or "")[:_LONGEST_PROBLEM] or None,
            "shows": self._shows(),
        }
