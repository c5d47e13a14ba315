"""Sessions: a short token that says who asks, and a long one that is good once for the next pair.

A long one that comes twice was stolen from one of the two who brought it, and nobody knows from which: the
whole family of that sign-in ends. Neither token is stored, only the digest of the long one.
"""

import base64
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from dispatcher import signin_records as rows
from dispatcher.errors import Overtaken, SignIn, Unavailable
from dispatcher.signin_keys import Keys
from dispatcher.signin_store import ABSENT, Part, Store

SESSION_SECONDS = 15 * 60
REFRESH_SECONDS = 30 * 24 * 3600
_AUDIENCE = "branchline session"
_TRIES = 4
ENDED = "Your sign-in has ended: sign in again."


class Proof(BaseModel):
    """How one has shown who one is. ``mark``: what it went by, so that a change of it ends the session."""

    model_config = ConfigDict(frozen=True)

    how: Literal["password", "github"]
    mark: str


class Session(BaseModel):
    """Who asks. ``form``: what their page sends with everything that changes something."""

    model_config = ConfigDict(frozen=True)

    user: str
    form: str


class Issued(Session):
    """What a browser gets to keep; both are secrets."""

    token: str
    refresh: str

    def __repr__(self) -> str:
        return f"Issued(user={self.user!r})"


class Reused(SignIn):
    """A refresh token came a second time. ``user``: whose family has ended."""

    def __init__(self, user: str) -> None:
        super().__init__(ENDED)
        self.user = user


class Sessions:
    """``still``: whether a proof is still good for a user; ``now``: Unix time in seconds."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        *,
        still: Callable[[str, Proof], Awaitable[bool]],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._keys = keys
        self._still = still
        self._now = now

    async def begin(self, user: str, proof: Proof) -> Issued:
        """Sign somebody in. Raises Unavailable."""
        family, refresh = secrets.token_hex(32), secrets.token_urlsafe(32)
        until = self._now() + REFRESH_SECONDS
        head = {"user": user, "ended": False, "until": int(until)}
        await self._store.write(
            [
                self._store.putting(rows.family_key(family), head, expires=until, condition=ABSENT),
                self._fresh(refresh, user=user, family=family, proof=proof, until=until),
            ]
        )
        return await self._issued(user, family=family, refresh=refresh)

    async def read(self, token: str) -> Session | None:
        """The session of a short token; None when it is not good (any more)."""
        claims = await self._keys.read(token, audience=_AUDIENCE)
        if claims is None or not isinstance(claims.get("sid"), str):
            return None
        return Session(user=str(claims["sub"]), form=_form(claims["sid"]))

    async def refresh(self, token: str) -> Issued:
        """The next pair. Raises SignIn, Reused, Unavailable."""
        for _ in range(_TRIES):
            row = await self._good(token)
            family, user = str(row["family"]), str(row["user"])
            proof, fresh = Proof(how=row["how"], mark=row["mark"]), secrets.token_urlsafe(32)
            if not await self._still(user, proof):
                await self._end(family)
                raise SignIn(ENDED)
            until = self._now() + REFRESH_SECONDS
            try:
                await self._store.write(
                    [
                        self._store.setting(
                            rows.refresh_key(token),
                            {"used": True},
                            condition="#used = :no",
                            values={":no": False},
                        ),
                        self._fresh(fresh, user=user, family=family, proof=proof, until=until),
                        self._living(family, {"ended": False, "until": int(until), "expires": int(until)}),
                    ]
                )
            except Overtaken:
                continue  # read again: it was used, its family has ended, or somebody was in the way
            return await self._issued(user, family=family, refresh=fresh)
        raise Unavailable("Your sign-in could not be renewed: try again in a moment.")

    async def end(self, token: str) -> str | None:
        """Sign out whoever brings this long token, everywhere that came from that sign-in; who it was."""
        row = await self._store.get(rows.refresh_key(token))
        if row is None:
            return None
        await self._end(str(row["family"]))
        return str(row["user"])

    async def _good(self, token: str) -> dict[str, Any]:
        row = await self._store.get(rows.refresh_key(token))
        if row is None or self._now() >= row["until"]:
            raise SignIn(ENDED)
        head = await self._store.get(rows.family_key(str(row["family"])))
        if head is None or head["ended"]:
            raise SignIn(ENDED)
        if row["used"]:
            await self._end(str(row["family"]))
            raise Reused(str(row["user"]))
        return row

    async def _end(self, family: str) -> None:
        try:
            await self._store.write([self._living(family, {"ended": True})])
        except Overtaken:
            return  # it has ended

    def _living(self, family: str, plain: dict[str, Any]) -> Part:
        return self._store.setting(
            rows.family_key(family), plain, condition="#ended = :no", values={":no": False}
        )

    def _fresh(self, token: str, *, user: str, family: str, proof: Proof, until: float) -> Part:
        row = {"user": user, "family": family, "used": False, "until": int(until), **proof.model_dump()}
        return self._store.putting(rows.refresh_key(token), row, expires=until, condition=ABSENT)

    async def _issued(self, user: str, *, family: str, refresh: str) -> Issued:
        claims = {"sub": user, "sid": family}
        token = await self._keys.sign(claims, audience=_AUDIENCE, seconds=SESSION_SECONDS)
        return Issued(user=user, form=_form(family), token=token, refresh=refresh)


def _form(family: str) -> str:
    """The token of the form: the same for as long as one is signed in, known to nobody else."""
    made = hashlib.sha256(b"branchline form " + family.encode()).digest()
    return base64.urlsafe_b64encode(made).decode().rstrip("=")
