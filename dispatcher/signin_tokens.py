"""Bearer tokens for programs: named, scoped, revocable, and stored as a digest. One is shown once, when it is
made. What its user may do now is not decided here."""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from dispatcher import signin_records as rows
from dispatcher.access import Scope
from dispatcher.errors import Conflict, Invalid, NotFound, Overtaken
from dispatcher.signin_store import ABSENT, Store

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DAY = 24 * 3600


class TokenRecord(BaseModel):
    """What is known of a token. ``expires``: Unix time in seconds, None for never."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    user: str
    scopes: frozenset[Scope]
    created: int
    expires: int | None = None
    digest: str

    @property
    def shown(self) -> dict[str, Any]:
        """As people see it."""
        return {
            "name": self.name,
            "user": self.user,
            "scopes": sorted(self.scopes),
            "created": _iso(self.created),
            "expires": None if self.expires is None else _iso(self.expires),
        }


class Tokens:
    """``now``: Unix time in seconds."""

    def __init__(self, store: Store, *, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now

    async def of(self, token_digest: str) -> TokenRecord | None:
        """The token of this SHA-256, if it is good now."""
        row = await self._store.get(rows.token_key(token_digest))
        found = TokenRecord.model_validate(row) if row else None
        if found is None or (found.expires is not None and self._now() >= found.expires):
            return None
        return found

    async def make(
        self, *, name: str, user: str, scopes: frozenset[Scope], days: int | None
    ) -> tuple[str, TokenRecord]:
        """A new token, and what is kept of it. Raises Invalid, Conflict."""
        if not _NAME.fullmatch(name):
            raise Invalid("A token's name has 1 to 64 letters, digits and . _ -", code="invalid_name")
        token, now = rows.new_token(), int(self._now())
        expires = None if days is None else now + days * _DAY
        made = TokenRecord(
            name=name, user=user, scopes=scopes, created=now, expires=expires, digest=rows.digest(token)
        )
        plain = made.model_dump(mode="json", exclude={"expires"})
        places = (rows.token_key(made.digest), rows.listed_token_key(user, name))
        try:
            await self._store.write(
                [self._store.putting(place, plain, expires=expires, condition=ABSENT) for place in places]
            )
        except Overtaken:
            raise Conflict(
                f"{user} has a token of the name {name} already: revoke it, or take another name.",
                code="token_exists",
            ) from None
        return token, made

    async def listed(self, user: str | None) -> list[TokenRecord]:
        """All tokens that are good, or those of one user."""
        found = [TokenRecord.model_validate(row) for row in await self._store.all(rows.TOKENS)]
        now = self._now()
        return [t for t in found if user in (None, t.user) and (t.expires is None or now < t.expires)]

    async def revoke(self, *, name: str, user: str) -> TokenRecord:
        """End a token; what it was. Raises NotFound."""
        place = rows.listed_token_key(user, name)
        row = await self._store.get(place)
        if row is None:
            raise NotFound(f"{user} has no token of the name {name}.", code="unknown_token")
        gone = TokenRecord.model_validate(row)
        # The entry that opens first: when this is cut short, the list still shows what is to be repeated.
        await self._store.take(rows.token_key(gone.digest))
        await self._store.take(place)
        return gone


def _iso(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat()
