"""``POST /slack/events`` and ``/slack/interactive``: signature, meaning, taking in, acknowledgement.

Nothing is read before its signature is, nothing is acknowledged before it is durable, and what only one
person sees is done after the acknowledgement. Decides nothing about messages.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog
from fastapi import APIRouter, Request
from slack_sdk.signature import Clock, SignatureVerifier
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from dispatcher.errors import DispatcherError, Invalid, TooLarge
from dispatcher.seams import Intake, People, Places
from dispatcher.settings import Settings
from dispatcher.slack_admit import Log
from dispatcher.slack_parse import Challenge, parse
from dispatcher.slack_settings import SlackSettings
from dispatcher.slack_take import Aside, SlackTaking

_log = structlog.get_logger(__name__)
BODY_LIMIT = 1024 * 1024
"""Bytes. Slack's longest message has 40,000 characters, which its events carry twice."""


class Unsigned(DispatcherError):
    """The request does not come from Slack, or not now."""

    status = 401
    code = "invalid_signature"


class Voice(Protocol):
    """How one person is told something. Neither call raises."""

    async def whisper(self, *, channel: str, user: str, text: str, root: str | None) -> None:
        """A sentence for nobody else."""

    async def react(self, *, channel: str, ts: str, name: str) -> None:
        """A reaction on a message."""


class SlackIn:
    """The routes. ``log`` reads what is recorded (the dispatcher's table)."""

    def __init__(
        self,
        *,
        settings: Settings,
        slack: SlackSettings,
        ingest: Intake,
        people: People,
        places: Places,
        log: Log,
        voice: Voice,
        clock: Clock | None = None,
    ) -> None:
        secret = slack.signing_secret.get_secret_value()
        self._verifier = SignatureVerifier(secret, clock=clock or Clock()) if secret.strip() else None
        self.taking = SlackTaking(settings=settings, ingest=ingest, people=people, places=places, log=log)
        self._voice = voice

    def router(self) -> APIRouter:
        """Both addresses; which of the two a request comes to makes no difference."""
        router = APIRouter()
        for address in ("/slack/events", "/slack/interactive"):
            router.add_api_route(address, self.receive, methods=["POST"])
        return router

    async def receive(self, request: Request) -> Response:
        """Take a request in. Raises Unsigned, TooLarge, Unavailable (503: Slack sends it again)."""
        raw = await _raw(request)
        self._check(raw, request.headers)
        meaning = parse(raw)
        if isinstance(meaning, Challenge):
            return JSONResponse({"challenge": meaning.challenge})
        asides = await self.taking.take(meaning)
        return Response(status_code=200, background=BackgroundTask(tell, asides, voice=self._voice))

    def _check(self, raw: bytes, headers: Mapping[str, str]) -> None:
        if self._verifier is None or not _is_signed(self._verifier, raw, headers):
            _log.warning(
                "slack signature refused", timestamp=headers.get("x-slack-request-timestamp", "")[:20]
            )
            raise Unsigned(
                "The request is not signed by Slack or older than five minutes:"
                " check SLACK_SIGNING_SECRET and this machine's clock."
            )


def _is_signed(verifier: SignatureVerifier, raw: bytes, headers: Mapping[str, str]) -> bool:
    """Whether the signature holds; one that cannot even be compared does not."""
    try:
        return verifier.is_valid_request(raw, dict(headers))
    except (ValueError, TypeError, OverflowError):
        return False


async def _raw(request: Request) -> bytes:
    kept = bytearray()
    try:
        async for chunk in request.stream():
            kept += chunk
            if len(kept) > BODY_LIMIT:
                raise TooLarge(f"The body is longer than {BODY_LIMIT} bytes.", code="body_too_large")
    except ClientDisconnect:
        raise Invalid("The body ended too early: send it again.", code="invalid_body") from None
    return bytes(kept)


async def tell(asides: Sequence[Aside], *, voice: Voice) -> None:
    """Say what is for one person, and set the reactions."""
    for aside in asides:
        if aside.reaction:
            await voice.react(channel=aside.channel, ts=aside.ts, name=aside.reaction)
        if aside.text:
            root = None if aside.root == aside.ts else aside.root
            await voice.whisper(channel=aside.channel, user=aside.user, text=aside.text, root=root)
