"""Slack's Web API as a ``Poster``, and the small things beside it: whispers, reactions, the thinking line.

Every post carries its key in Slack's message metadata, or while it is streamed a mark, so that one whose
answer was lost is found again. The client never repeats a request by itself: only whoever holds the place's
record may, after a look. No decision about what is posted.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import structlog
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from contracts.words import Frontend
from dispatcher import slack_marks as marks
from dispatcher.errors import DispatcherError
from dispatcher.posting import Later, Wanted
from dispatcher.slack_errors import HARMLESS, LOCKED, STREAMING, TOO_LONG, is_failure, said, translated
from dispatcher.slack_parse import ts_of
from dispatcher.slack_stream import Streams
from dispatcher.slack_thinking import Thinking

_log = structlog.get_logger(__name__)
_BOUND_SECONDS = 14.0
_REQUEST_SECONDS = 12
_ASIDE_SECONDS = 2.5
_PAGE = 200
_PLAIN_LIMIT = 3500


class SlackPoster:
    """Posts in Slack threads; an address is ``TEAM/CHANNEL/TS``.

    ``session`` belongs to the caller; ``bound`` is the longest that a post may take, in seconds.
    """

    frontend = Frontend.SLACK

    def __init__(
        self,
        *,
        token: str,
        base_url: str,
        session: aiohttp.ClientSession,
        clock: Callable[[], float] = time.monotonic,
        bound: float = _BOUND_SECONDS,
    ) -> None:
        # A connection that broke after the request was sent may have done its work: no repeating here.
        self._client = AsyncWebClient(
            token=token, base_url=base_url, session=session, timeout=_REQUEST_SECONDS, retry_handlers=[]
        )
        self.thinking = Thinking(send=self._think, clock=clock)
        self._streams = Streams(client=self._client, call=self._call, clock=clock)
        self._bound = bound
        self._instead: dict[str, str] = {}

    # ---------------------------------------------------------------- Poster

    async def find(self, address: str, key: str, *, known: Collection[str] = ()) -> str | None:
        """The id of the post with this key: its ``ts``, or for a file's key the file's id.

        A place has one intent at a time: should Slack not keep the mark, a stream of ours that nobody knows
        is the one.
        """
        adrift: list[dict[str, Any]] = []
        async with self._bounded("conversations.replies"):
            async for message in self._replies(address):
                if found := marks.id_of(message, key=key):
                    return found
                if marks.is_unmarked_stream(message) and message["ts"] not in known:
                    adrift.append(message)
            if adrift and key.startswith("living:"):
                return marks.newest_of(adrift, user=(await self.who())["user_id"])
        return None

    async def create(self, address: str, wanted: Wanted) -> str:
        """Make the post; its id. A post that Slack finds too long is made without its blocks."""
        async with self._bounded("chat.postMessage"):
            if "file" in wanted.body:
                return await self._upload(address, wanted)
            made = await self._streams.begin(address, wanted)
            if made is None:
                made = await self._post(address, wanted, metadata=marks.metadata(key=wanted.key))
                self._streams.is_none(made)
        await self._beside(address, wanted, reactions=wanted.reactions)
        return made

    async def update(self, address: str, post_id: str, wanted: Wanted) -> None:
        """Make a post look like this. One that Slack does not let us edit is followed by a new one, once."""
        if "file" in wanted.body:
            return
        async with self._bounded("chat.update"):
            try:
                await self._show(address, post_id, wanted)
            except DispatcherError as error:
                if said(error) not in LOCKED or post_id in self._instead:
                    raise
                await self._replace(address, post_id, wanted)
        await self._beside(address, wanted)

    # ---------------------------------------------------------------- beside the posts

    async def whisper(self, *, channel: str, user: str, text: str, root: str | None) -> None:
        """A sentence for one person, in a thread or (``root`` is None) in the channel. Never raises."""
        call = self._client.chat_postEphemeral(channel=channel, user=user, text=text, thread_ts=root)
        await self._aside("chat.postEphemeral", call)

    async def react(self, *, channel: str, ts: str, name: str) -> None:
        """A reaction on somebody's message. Never raises."""
        await self._aside(
            "reactions.add", self._client.reactions_add(channel=channel, timestamp=ts, name=name)
        )

    async def who(self) -> dict[str, Any]:
        """Who the token belongs to (``team_id``, ``user_id``). Raises Later, Undeliverable."""
        answer = await self._call("auth.test", self._client.auth_test())
        return {name: answer[name] for name in ("team_id", "user_id")}

    async def run(self) -> None:
        """Keep the thinking lines until cancelled."""
        await self.thinking.run()

    # ---------------------------------------------------------------- requests

    async def _post(self, address: str, wanted: Wanted, *, metadata: dict[str, Any]) -> str:
        async def post(**body: Any) -> AsyncSlackResponse:
            call = self._client.chat_postMessage(
                channel=_channel(address),
                thread_ts=_root(address),
                metadata=metadata,
                unfurl_links=False,
                unfurl_media=False,
                **body,
            )
            return await self._call("chat.postMessage", call)

        answer = await _with_or_without_blocks(post, wanted)
        return str(answer["ts"])

    async def _show(self, address: str, post_id: str, wanted: Wanted) -> None:
        """In the stream that the post is, if it is one and goes on; by an edit of all of it else."""
        if (instead := self._instead.get(post_id)) is not None:
            return await self._edit(address, instead, wanted)
        if await self._streams.take(address, post_id, wanted):
            return None
        more = {"metadata": marks.metadata(key=wanted.key)} if "stream" in wanted.body else {}
        try:
            await self._edit(address, post_id, wanted, **more)
        except DispatcherError as error:
            if said(error) != STREAMING:
                raise
            await self._streams.end(address, post_id, wanted)
            await self._edit(address, post_id, wanted, **more)
        return None

    async def _edit(self, address: str, post_id: str, wanted: Wanted, **more: Any) -> None:
        async def edit(**body: Any) -> AsyncSlackResponse:
            call = self._client.chat_update(channel=_channel(address), ts=post_id, **body, **more)
            return await self._call("chat.update", call)

        await _with_or_without_blocks(edit, wanted)

    async def _replace(self, address: str, post_id: str, wanted: Wanted) -> None:
        _log.info("slack post cannot be edited", address=address, key=wanted.key)
        async for message in self._replies(address):
            if marks.payload(message).get("instead_of") == post_id:
                self._instead[post_id] = str(message["ts"])
                return await self._edit(address, self._instead[post_id], wanted)
        metadata = marks.metadata(key=wanted.key, instead_of=post_id)
        self._instead[post_id] = await self._post(address, wanted, metadata=metadata)
        return None

    async def _upload(self, address: str, wanted: Wanted) -> str:
        file = wanted.body["file"]
        upload = self._client.files_upload_v2(
            filename=marks.file_name(wanted.key),
            title=file["name"],
            content=file["content"].encode(),
            channel=_channel(address),
            thread_ts=_root(address),
        )
        answer = await self._call("files.completeUploadExternal", upload)
        return str(answer["files"][0]["id"])

    async def _replies(self, address: str) -> AsyncIterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            answer = await self._call(
                "conversations.replies",
                self._client.conversations_replies(
                    channel=_channel(address),
                    ts=_root(address),
                    include_all_metadata=True,
                    limit=_PAGE,
                    cursor=cursor,
                ),
            )
            for message in answer["messages"]:
                yield message
            cursor = (answer.get("response_metadata") or {}).get("next_cursor") or None
            if cursor is None:
                return

    async def _beside(self, address: str, wanted: Wanted, *, reactions: tuple[str, ...] = ()) -> None:
        """What belongs to a post and may be lost: its reactions and the thinking line."""
        ts = ts_of(wanted.message_id or "", channel=_channel(address))
        for name in reactions if ts else ():
            await self.react(channel=_channel(address), ts=str(ts), name=name)
        if "status" in wanted.body:
            await self.thinking.show(address, str(wanted.body["status"]))

    async def _think(self, address: str, text: str) -> None:
        call = self._client.assistant_threads_setStatus(
            channel_id=_channel(address), thread_ts=_root(address), status=text
        )
        await self._aside("assistant.threads.setStatus", call)

    async def _aside(self, method: str, call: Awaitable[AsyncSlackResponse]) -> None:
        try:
            async with asyncio.timeout(_ASIDE_SECONDS):
                await self._call(method, call)
        except (DispatcherError, TimeoutError) as error:
            if said(error) not in HARMLESS:
                _log.info("slack aside lost", method=method, problem=str(error) or "no answer in time")

    @asynccontextmanager
    async def _bounded(self, method: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._bound):
                yield
        except TimeoutError as error:
            raise Later(f"Slack did not answer {method} in time.") from error

    async def _call(self, method: str, call: Awaitable[AsyncSlackResponse]) -> AsyncSlackResponse:
        """One call of the API. Raises Later, Undeliverable, Gone."""
        try:
            return await call
        except Exception as error:
            if not is_failure(error):
                raise
            raise translated(error, method=method) from error


async def _with_or_without_blocks(
    send: Callable[..., Awaitable[AsyncSlackResponse]], wanted: Wanted
) -> AsyncSlackResponse:
    """Send a post as it should look; as plain text when Slack does not take that."""
    text, blocks = str(wanted.body["text"]), wanted.body.get("blocks") or []
    try:
        return await send(text=text, blocks=blocks)
    except DispatcherError as error:
        if said(error) not in TOO_LONG:
            raise
        _log.warning("slack refuses blocks", key=wanted.key, problem=said(error))
    return await send(text=_plain(blocks) or text, blocks=[])


def _plain(blocks: list[dict[str, Any]]) -> str:
    """What the sections of a post say, cut to what a plain post takes."""
    told = [block["text"]["text"] for block in blocks if block.get("type") == "section"]
    return "\n\n".join(told)[:_PLAIN_LIMIT]


def _channel(address: str) -> str:
    return address.split("/")[1]


def _root(address: str) -> str:
    return address.split("/")[2]
