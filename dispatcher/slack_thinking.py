"""The line in which Slack says that the bot is at work: Slack takes it away after two minutes of silence.

Kept in memory only: when it is lost, nobody misses more than a line in grey.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

RENEW_SECONDS = 50.0
"""Less than half of the two minutes, so that a look once a minute is enough, too."""
LONGEST_SECONDS = 3600.0
"""How long a line is kept without a post that asks for it; another dispatcher may have ended it."""


@dataclass
class _Line:
    text: str
    sent: float
    wanted: float


class Thinking:
    """``send(address, text)`` sets the line (empty: takes it away) and never raises; ``clock`` in seconds."""

    def __init__(
        self,
        *,
        send: Callable[[str, str], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._clock = clock
        self._lines: dict[str, _Line] = {}

    async def show(self, address: str, text: str) -> None:
        """What the line should say from now on; sent when it is news or about to vanish."""
        line, now = self._lines.get(address), self._clock()
        if not text:
            if self._lines.pop(address, None):
                await self._send(address, "")
            return
        if line is not None:
            line.wanted = now
        if line is None or line.text != text or now - line.sent >= RENEW_SECONDS:
            self._lines[address] = _Line(text=text, sent=now, wanted=now)
            await self._send(address, text)

    async def renew(self) -> None:
        """Send each line again that Slack is about to take away."""
        for address, line in list(self._lines.items()):
            now = self._clock()
            if now - line.wanted > LONGEST_SECONDS:
                self._lines.pop(address, None)
            elif now - line.sent >= RENEW_SECONDS:
                line.sent = now
                await self._send(address, line.text)

    async def run(self) -> None:
        """Renew the lines until cancelled."""
        while True:
            await asyncio.sleep(RENEW_SECONDS / 6)
            await self.renew()
