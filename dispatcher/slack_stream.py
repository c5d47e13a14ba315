"""Slack's streams as far as all may be said twice: begun, given rows, ended; and no trouble without them.

A refusal of a stream is never one of the post: what cannot be streamed is posted or edited instead. What is
remembered here (which posts are streams, where there are none) saves calls and decides nothing: after a
restart Slack says it again.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from dispatcher.errors import DispatcherError
from dispatcher.posting import Later, Wanted
from dispatcher.slack_errors import is_refused, said
from dispatcher.slack_marks import metadata

_log = structlog.get_logger(__name__)
Call = Callable[[str, Awaitable[AsyncSlackResponse]], Awaitable[AsyncSlackResponse]]
LONGEST_SECONDS = 240.0
"""How long a stream is kept open. Slack ends it after five minutes, and would show that as an error."""
REST_SECONDS = 600.0
"""For how long nothing is streamed in a channel after Slack refused to, or did not say whether it did."""
_REMEMBERED = 10_000
_EVERYWHERE = "*"


class Streams:
    """``call(method, request)`` makes a request and raises our errors; ``clock`` is monotonic, in seconds."""

    def __init__(
        self, *, client: AsyncWebClient, call: Call, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._call = call
        self._clock = clock
        self._since: OrderedDict[str, float] = OrderedDict()
        self._over: OrderedDict[str, float] = OrderedDict()
        self._rest: dict[str, float] = {}

    async def begin(self, address: str, wanted: Wanted) -> str | None:
        """Begin a post as a stream; its id. None: it is none, and has to be posted. Raises Later when nobody
        knows what Slack did."""
        stream = wanted.body.get("stream")
        _, channel, root = address.split("/")
        if stream is None or not stream["begin"] or self._rests(channel):
            return None
        below = [{"type": "blocks", "blocks": stream["blocks"]}] if stream["blocks"] else []
        chunks: list[Any] = [*stream["rows"], *below]
        request = self._client.chat_startStream(
            channel=channel, thread_ts=root, task_display_mode="plan", chunks=chunks, **stream["to"]
        )
        try:
            answer = await self._call("chat.startStream", request)
        except DispatcherError as error:
            self._gave_up(channel, error)
            return None
        made = str(answer["ts"])
        _remember(self._since, made, self._clock())
        return made

    async def take(self, address: str, post_id: str, wanted: Wanted) -> bool:
        """Show something in a stream. False: this is no stream (any more), and can be edited.

        Raises Later.
        """
        stream = wanted.body.get("stream")
        if stream is None or post_id in self._over:
            return False
        if stream["open"] and not self._is_old(post_id):
            return await self._append(address, post_id, stream["rows"])
        if post_id in self._since:
            await self.end(address, post_id, wanted)
        return False

    async def end(self, address: str, post_id: str, wanted: Wanted) -> None:
        """End a stream; one that has ended already is none the worse. Raises Later."""
        rows = (wanted.body.get("stream") or {}).get("rows")
        request = self._client.chat_stopStream(
            channel=address.split("/")[1], ts=post_id, chunks=rows, metadata=metadata(key=wanted.key)
        )
        await self._tried("chat.stopStream", request)
        self.is_none(post_id)

    def is_none(self, post_id: str) -> None:
        """A post was not begun as a stream, or is none any more."""
        self._since.pop(post_id, None)
        _remember(self._over, post_id, self._clock())

    async def _append(self, address: str, post_id: str, rows: list[Any]) -> bool:
        request = self._client.chat_appendStream(channel=address.split("/")[1], ts=post_id, chunks=rows)
        if not await self._tried("chat.appendStream", request):
            self.is_none(post_id)
            return False
        if post_id not in self._since:
            _remember(self._since, post_id, self._clock())
        return True

    async def _tried(self, method: str, request: Awaitable[AsyncSlackResponse]) -> bool:
        """Whether Slack did it. Raises Later when it did not say, or wants to be asked later."""
        try:
            await self._call(method, request)
        except DispatcherError as error:
            if not is_refused(error):
                raise
            _log.info("slack stream is over", method=method, problem=said(error))
            return False
        return True

    def _gave_up(self, channel: str, error: DispatcherError) -> None:
        """Nothing is streamed for a while. Raises the error when the stream may have begun for all that."""
        _log.info("slack streams nothing", channel=channel, problem=said(error) or str(error))
        limit = error.seconds if isinstance(error, Later) else None
        if limit is not None:
            self._rest[_EVERYWHERE] = self._clock() + limit
            return
        self._rest[channel] = self._clock() + REST_SECONDS
        if not is_refused(error):
            raise error

    def _rests(self, channel: str) -> bool:
        now = self._clock()
        self._rest = {name: until for name, until in self._rest.items() if until > now}
        return channel in self._rest or _EVERYWHERE in self._rest

    def _is_old(self, post_id: str) -> bool:
        return self._clock() - self._since.get(post_id, self._clock()) >= LONGEST_SECONDS


def _remember(where: OrderedDict[str, float], post_id: str, at: float) -> None:
    where[post_id] = at
    if len(where) > _REMEMBERED:
        where.popitem(last=False)
