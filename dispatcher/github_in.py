"""``POST /github/webhook``: signature, what it means, who may ask, take it in, answer.

GitHub never sends again by itself, so whatever may still fail happens before the 2xx: a delivery that could
not be taken in is answered with 503 and found by ``scripts/redeliver``. Nothing is recorded for a webhook
whose signature is wrong. Posts nothing but the eyes and at most one refusal per place.
"""

import asyncio
from collections import OrderedDict

import structlog
from fastapi import APIRouter, Request
from gidgethub import ValidationFailure, sansio
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from dispatcher.errors import DispatcherError, Invalid, TooLarge, Unavailable
from dispatcher.github_parse import Ignored, parse
from dispatcher.github_settings import GitHubSettings
from dispatcher.github_take import Take
from dispatcher.posting import Later, Undeliverable

_log = structlog.get_logger(__name__)
_BODY_LIMIT = 8 * 1024 * 1024
"""Bytes. GitHub sends up to 25 MB, but nothing with a comment in it comes near this."""
_SECONDS = 8.0
"""GitHub waits 10 seconds for the answer."""
_REMEMBERED = 2_000


class Unsigned(DispatcherError):
    """The signature is missing or wrong."""

    status = 401
    code = "wrong_signature"


class GitHubIn:
    """The webhook. ``take`` does what an admitted trigger asks for."""

    def __init__(self, *, settings: GitHubSettings, take: Take) -> None:
        self._secret = settings.webhook_secret.get_secret_value()
        self._handle = settings.handle
        self._take = take
        # Saves calls for deliveries that come again; what keeps a message single is its id in the table.
        self._seen: OrderedDict[str, None] = OrderedDict()
        if not self._secret:
            raise ValueError("GITHUB_WEBHOOK_SECRET is empty: without it anybody could send webhooks")

    def router(self) -> APIRouter:
        """The one route."""
        router = APIRouter()
        router.add_api_route("/github/webhook", self.webhook, methods=["POST"])
        return router

    async def webhook(self, request: Request) -> Response:
        """401 for a wrong signature, 200 for what asks for nothing, 202 for what was taken in or refused."""
        raw = await _body(request)
        self._check(raw, signature=request.headers.get("x-hub-signature-256", ""))
        event = request.headers.get("x-github-event", "")
        delivery = request.headers.get("x-github-delivery", "")
        if delivery and delivery in self._seen:
            return _answer(200, "duplicate")
        status, word = await self._meant(event, raw)
        self._remember(delivery)
        _log.info("github webhook", github_event=event, delivery=delivery, result=word)
        return _answer(status, word)

    async def _meant(self, event: str, raw: bytes) -> tuple[int, str]:
        try:
            meaning = parse(event=event, body=raw, handle=self._handle)
        except ValueError as error:
            raise Invalid(f"The body is {error}.", code="invalid_body") from None
        if isinstance(meaning, Ignored):
            return 200, f"ignored: {meaning.reason}"
        try:
            async with asyncio.timeout(_SECONDS):
                return 202, await self._take.take(meaning)
        except TimeoutError as error:
            raise Unavailable("Taking this in took too long: deliver it again.") from error
        except (Later, Undeliverable) as error:
            raise Unavailable(f"{error} Deliver it again.") from error

    def _check(self, raw: bytes, *, signature: str) -> None:
        # The library takes SHA-1 signatures, too, and its comparison stumbles over letters beyond ASCII.
        if not signature.startswith("sha256=") or not signature.isascii():
            raise Unsigned("The signature is missing: send X-Hub-Signature-256.")
        try:
            sansio.validate_event(raw, signature=signature, secret=self._secret)
        except ValidationFailure:
            raise Unsigned("The signature does not fit: check the webhook secret.") from None

    def _remember(self, delivery: str) -> None:
        if delivery:
            self._seen[delivery] = None
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)


async def _body(request: Request) -> bytes:
    kept = bytearray()
    try:
        async for chunk in request.stream():
            kept += chunk
            if len(kept) > _BODY_LIMIT:
                raise TooLarge("The webhook is larger than any with a comment in it.", code="body_too_large")
    except ClientDisconnect:
        raise Invalid("The body ended too early: deliver it again.", code="invalid_body") from None
    return bytes(kept)


def _answer(status: int, word: str) -> Response:
    return JSONResponse({"status": word}, status_code=status)
