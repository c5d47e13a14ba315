"""Socket Mode: Slack's events over a connection that we open, for a machine without a public address.

The same meaning and the same taking in as over HTTP; an envelope is acknowledged when its message is durable,
so one that was not is sent again by Slack. There is no signature: the connection itself is the proof.
"""

import asyncio
import logging

import aiohttp
import structlog
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from dispatcher.errors import DispatcherError
from dispatcher.slack_in import Voice, tell
from dispatcher.slack_parse import Ignored, Meaning, parse_action, parse_event
from dispatcher.slack_settings import SlackSettings
from dispatcher.slack_take import SlackTaking

_log = structlog.get_logger(__name__)


class SlackSocket:
    """One connection; the library opens it again whenever it breaks."""

    def __init__(
        self, *, slack: SlackSettings, taking: SlackTaking, voice: Voice, session: aiohttp.ClientSession
    ) -> None:
        self._slack = slack
        self._taking = taking
        self._voice = voice
        self._session = session

    async def run(self) -> None:
        """Take in what comes until cancelled."""
        # Its tracebacks of lost connections say nothing that the next attempt does not.
        quiet = logging.getLogger("slack_sdk.socket_mode")
        quiet.setLevel(logging.CRITICAL)
        client = SocketModeClient(
            app_token=self._slack.app_token.get_secret_value(),
            web_client=AsyncWebClient(base_url=self._slack.slack_api_url, session=self._session),
            logger=quiet,
        )
        client.socket_mode_request_listeners.append(self._listen)
        try:
            await client.connect()  # type: ignore[no-untyped-call]
            _log.info("slack socket open")
            await asyncio.Event().wait()
        finally:
            await client.close()  # type: ignore[no-untyped-call]

    async def _listen(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        try:
            asides = await self._taking.take(_meaning(request))
        except DispatcherError as error:
            _log.warning("slack envelope not taken", problem=str(error))
            return  # without an acknowledgement Slack sends it again
        await client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))
        await tell(asides, voice=self._voice)


def _meaning(request: SocketModeRequest) -> Meaning:
    match request.type:
        case "events_api":
            return parse_event(request.payload)
        case "interactive":
            return parse_action(request.payload)
        case other:
            return Ignored(reason=f"envelope {str(other)[:40]}")
