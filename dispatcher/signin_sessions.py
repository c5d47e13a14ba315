"""Sessions: a short token that says who asks, and a long one that is good once for the next pair.

A long one that comes twice was stolen from one of the two who brought it, and nobody knows from which: the
whole family of that sign-in ends. Neither token is stored, only the digest of the long one.

A short one is looked up as well, each time: what is signed cannot be taken back, and a sign-out has to hold
at once, whichever dispatcher hears of it.
"""

import asyncio
import base64
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

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
    """How one has shown who one is. ``mark``: what it went by, so that a change of it ends the session;
    ``account``: the mark of the account that one has beside it, for the same."""

    model_config = ConfigDict(frozen=True)

    how: Literal["password", "github"]
    mark: str
    account: str | None = None


class Session(BaseModel):
    """Who asks. ``family``: the sign-in that it comes from, a secret; ``proof``: how that was done."""

    model_config = ConfigDict(frozen=True)

    user: str
    family: str
    proof: Proof

    @property
    def key(self) -> str:
        """By which others may ask about the sign-in; no secret."""
        return rows.digest(self.family)

    @property
    def form(self) -> str:
        """What their page sends with everything that changes something."""
        return _form(self.family)


class Issued(BaseModel):
    """What a browser gets to keep; both are secrets."""

    model_config = ConfigDict(frozen=True)

    user: str
    form: str
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
        return await self._issued(user, family=family, proof=proof, refresh=refresh)

    async def read(self, token: str) -> Session | None:
        """The session of a short token; None when it is not good (any more). Raises Unavailable."""
        claims = await self._keys.read(token, audience=_AUDIENCE)
        try:
            found = _session(claims) if claims else None
        except ValidationError:
            return None
        if found is None or not await self.is_on(found.user, key=found.key, proof=found.proof):
            return None
        return found

    async def is_on(self, user: str, *, key: str, proof: Proof) -> bool:
        """Whether nobody has ended the sign-in of this ``key`` and who began it would still get in so.

        Raises Unavailable.
        """
        head, still = await asyncio.gather(self._store.get(rows.family_key_of(key)), self._still(user, proof))
        return still and head is not None and not head["ended"]

    async def refresh(self, token: str) -> Issued:
        """The next pair. Raises SignIn, Reused, Unavailable."""
        for _ in range(_TRIES):
            row = await self._good(token)
            family, user = str(row["family"]), str(row["user"])
            proof = Proof(how=row["how"], mark=row["mark"], account=row.get("account"))
            fresh = secrets.token_urlsafe(32)
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
            return await self._issued(user, family=family, proof=proof, refresh=fresh)
        raise Unavailable("Your sign-in could not be renewed: try again in a moment.")

    async def end(self, *, refresh: str | None, token: str | None) -> str | None:
        """Sign out whoever brings one of the two, everywhere that came from that sign-in; who it was."""
        row = await self._store.get(rows.refresh_key(refresh)) if refresh else None
        session = await self.read(token) if token else None
        if session is not None:
            await self._end(session.family)
        if row is not None:
            await self._end(str(row["family"]))
            return str(row["user"])
        return session.user if session else None

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

    async def _issued(self, user: str, *, family: str, proof: Proof, refresh: str) -> Issued:
        claims = {"sub": user, "sid": family, "proof": proof.model_dump()}
        token = await self._keys.sign(claims, audience=_AUDIENCE, seconds=SESSION_SECONDS)
        return Issued(user=user, form=_form(family), token=token, refresh=refresh)


def _session(claims: dict[str, Any]) -> Session:
    """Raises ValidationError for a token of an earlier version."""
    return Session.model_validate(
        {"user": claims["sub"], "family": claims.get("sid"), "proof": claims.get("proof")}
    )


def _form(family: str) -> str:
    """The token of the form: the same for as long as one is signed in, known to nobody else."""
    made = hashlib.sha256(b"branchline form " + family.encode()).digest()
    return base64.urlsafe_b64encode(made).decode().rstrip("=")
