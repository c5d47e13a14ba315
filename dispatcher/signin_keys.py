"""Signs what a browser keeps for us, and checks it: JWTs with a key that all dispatchers share.

A new key each week, named by the week; the one before it still opens what it has signed, then it goes.
Must not put anything secret into a token: whoever holds one can read it.
"""

import base64
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from dispatcher import signin_records as rows
from dispatcher.errors import Overtaken, Unavailable
from dispatcher.signin_store import ABSENT, Store

WEEK = 7 * 24 * 3600
_ALGORITHM = "HS256"
_KEPT_SECONDS = 2 * WEEK
"""How long a key stays in the table after its week began: its own week, and longer than any token lives."""
_REQUIRED = ("sub", "aud", "iat", "exp")


class Keys:
    """``now``: Unix time in seconds."""

    def __init__(self, store: Store, *, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now
        self._known: dict[str, bytes] = {}

    async def sign(self, claims: Mapping[str, Any], *, audience: str, seconds: float) -> str:
        """A JWT that is good for ``seconds`` and for this audience. ``claims`` holds ``sub``."""
        import jwt  # takes long, and most starts of a Lambda do without

        now = self._now()
        kid = str(int(now // WEEK))
        whole = {**claims, "aud": audience, "iat": int(now), "exp": int(now + seconds)}
        secret = await self._find(kid) or await self._make(kid)
        return jwt.encode(whole, secret, algorithm=_ALGORITHM, headers={"kid": kid})

    async def read(self, token: str, *, audience: str) -> dict[str, Any] | None:
        """The claims, or None for a token that is not ours, not for this audience or not good any more."""
        import jwt

        try:
            kid: Any = jwt.get_unverified_header(token).get("kid")
            secret = await self._find(kid) if self._may_be(kid) else None
            if secret is None:
                return None
            # Time is checked below, against our own clock.
            options: Any = {"require": list(_REQUIRED), "verify_exp": False, "verify_iat": False}
            claims: dict[str, Any] = jwt.decode(
                token, secret, algorithms=[_ALGORITHM], audience=audience, options=options
            )
        except (jwt.InvalidTokenError, ValueError):
            return None
        expires = claims["exp"]
        return claims if isinstance(expires, int) and self._now() < expires else None

    def _may_be(self, kid: Any) -> bool:
        """Whether a key of this id can have signed what is still good; clocks may differ a little."""
        week = int(self._now() // WEEK)
        return kid in (str(week - 1), str(week), str(week + 1))

    async def _find(self, kid: str) -> bytes | None:
        if kid not in self._known:
            row = await self._store.get(rows.signing_key(kid))
            if row is None:
                return None
            self._known[kid] = base64.b64decode(row["secret"])
        return self._known[kid]

    async def _make(self, kid: str) -> bytes:
        secret = base64.b64encode(secrets.token_bytes(32)).decode()
        row = {"kid": kid, "secret": secret, "created": int(self._now())}
        expires = int(kid) * WEEK + _KEPT_SECONDS
        with suppress(Overtaken):  # another dispatcher was first, so its key is the key
            await self._store.put(rows.signing_key(kid), row, expires=expires, condition=ABSENT)
        found = await self._find(kid)
        if found is None:
            raise Unavailable("The key of sessions could not be made: try again in a moment.")
        self._known = {k: v for k, v in self._known.items() if self._may_be(k)}
        return found
