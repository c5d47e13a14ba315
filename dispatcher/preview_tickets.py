"""How somebody who is signed in on the page is let in under a preview's name, where its cookies are not.

A ticket lives for a minute and opens one worker's preview; it is given in the address, becomes a cookie of
that name and is gone from the address. Holds nothing: both are signed, with keys that all dispatchers share
and that outlive a restart. Both name what their owner was let in by, so that they end with it; whether it has
ended is asked elsewhere. Every method raises ``errors.Unavailable`` when the keys cannot be read.
"""

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Protocol

from pydantic import ValidationError

from contracts.words import WorkerId
from dispatcher.standing import Standing

PARAMETER = "branchline_ticket"
"""Name of the ticket in an address."""
TICKET_SECONDS = 60
COOKIE_SECONDS = 8 * 3600
_TICKET, _COOKIE = "preview-ticket", "preview"


class Signer(Protocol):
    """Signs claims and knows its own signature again, as ``signin_keys.Keys`` does."""

    async def sign(self, claims: Mapping[str, Any], *, audience: str, seconds: float) -> str:
        """A token that says so, for that long. Raises Unavailable."""

    async def read(self, token: str, *, audience: str) -> Mapping[str, Any] | None:
        """What the token says; None when it is not ours, is for another audience, or its time is over.
        Raises Unavailable."""


class Tickets:
    """Gives tickets out, and takes them for cookies."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    async def ticket(self, *, worker: WorkerId, by: Standing) -> str:
        """A ticket for this worker's preview, for whoever was let in by this."""
        return await self._sign(worker=worker, by=by, audience=_TICKET, seconds=TICKET_SECONDS)

    async def cookie(self, ticket: str, *, worker: WorkerId, secure: bool) -> str | None:
        """The ``Set-Cookie`` for a ticket of this worker; None for any other."""
        by = await self._known(ticket, worker=worker, audience=_TICKET)
        if by is None:
            return None
        value = await self._sign(worker=worker, by=by, audience=_COOKIE, seconds=COOKIE_SECONDS)
        # On one machine page and preview are two sites to a browser; it takes Secure from localhost as well.
        site = "SameSite=Lax" if secure else "SameSite=None; Partitioned"
        rest = f"Max-Age={COOKIE_SECONDS}; Path=/; HttpOnly; Secure; {site}"
        return f"{cookie_name(secure=secure)}={value}; {rest}"

    async def admits(self, cookies: str, *, worker: WorkerId, secure: bool) -> Standing | None:
        """By what a request's ``Cookie`` opens this worker's preview, if that has not ended; else None."""
        given = read_cookies(cookies).get(cookie_name(secure=secure))
        return await self._known(given, worker=worker, audience=_COOKIE) if given else None

    async def _sign(self, *, worker: WorkerId, by: Standing, audience: str, seconds: int) -> str:
        claims = {"sub": by.user, "worker": worker, "by": by.model_dump(mode="json")}
        return await self._signer.sign(claims, audience=audience, seconds=seconds)

    async def _known(self, token: str, *, worker: WorkerId, audience: str) -> Standing | None:
        claims = await self._signer.read(token, audience=audience)
        if claims is None or claims.get("worker") != worker:
            return None
        try:
            return Standing.model_validate(claims.get("by"))
        except ValidationError:
            return None  # of an earlier version


def cookie_name(*, secure: bool) -> str:
    """``secure``: under a public name, where the prefix keeps other names from setting it."""
    return "__Host-branchline-preview" if secure else "branchline-preview"


def is_ours(name: str) -> bool:
    """Whether a cookie of this name is the product's, and nothing that a site may see or set."""
    return name.strip().lower().removeprefix("__host-").removeprefix("__secure-").startswith("branchline")


def read_cookies(header: str) -> dict[str, str]:
    """A ``Cookie`` header by name; what cannot be read is left out."""
    found: dict[str, str] = {}
    for part in header.split(";"):
        try:
            found |= {name: morsel.value for name, morsel in SimpleCookie(part.strip()).items()}
        except CookieError:
            continue
    return found
