"""Accounts of this fleet: a password for a user whom the settings name, and one-time codes if wanted.

Whoever gets the password wrong, and whoever has no account, gets the same answer after the same time. Knows
nothing of sessions; what is typed is written nowhere.
"""

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from dispatcher import signin_codes as codes
from dispatcher import signin_records as rows
from dispatcher.errors import Conflict, Invalid, NotFound, Overtaken, SignIn
from dispatcher.signin_codes import Seal
from dispatcher.signin_lockout import Lockout
from dispatcher.signin_passwords import Passwords
from dispatcher.signin_sessions import Proof
from dispatcher.signin_store import ABSENT, Store

_WRONG = "User, password or code is wrong."
_THERE = "attribute_exists(pk)"
_TRIES = 4
_CONFIRM_SECONDS = 15 * 60
"""How long one may take until the authenticator shows its first code."""


class Accounts:
    """``seal``: None without a key for it, then nobody has codes; ``now``: Unix time in seconds."""

    def __init__(
        self, store: Store, *, seal: Seal | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._seal = seal
        self._now = now
        self._passwords = Passwords()
        self._lockout = Lockout(store, now=now)

    async def check(self, user: str, password: str, *, code: str | None) -> Proof:
        """Whether it is they. Raises SignIn (wrong_credentials, code_needed), TooMany, Unavailable."""
        await self._lockout.begin(user)
        row = await self._store.get(rows.account_key(user)) if user else None
        stored = str(row["password"]) if row else None
        if not await self._passwords.is_right(password, stored=stored) or row is None:
            raise SignIn(_WRONG, code="wrong_credentials")
        if row.get("totp"):
            await self._check_code(user, row, code=code)
        await self._lockout.clear(user)
        return Proof(how="password", mark=str(row["changed"]))

    async def has(self, user: str) -> bool:
        """Whether there is such an account."""
        return bool(user) and await self._store.get(rows.account_key(user)) is not None

    async def is_still(self, user: str, mark: str) -> bool:
        """Whether the password is the one that a session began with."""
        row = await self._store.get(rows.account_key(user))
        return row is not None and str(row["changed"]) == mark

    async def listed(self) -> list[dict[str, Any]]:
        """All accounts: ``user``, ``totp``, ``created``."""
        found = await self._store.all(rows.ACCOUNTS)
        return [{"user": r["user"], "totp": bool(r.get("totp")), "created": r["created"]} for r in found]

    async def add(self, user: str, password: str) -> None:
        """Make an account. Raises Invalid, Conflict."""
        hashed = await self._passwords.hash(password)
        created = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="seconds")
        row = {"user": user, "password": hashed, "changed": _mark(), "created": created, "totp_step": 0}
        try:
            await self._store.put(rows.account_key(user), row, condition=ABSENT)
        except Overtaken:
            raise Conflict(
                f"{user} has an account already: change its password instead.", code="account_exists"
            ) from None

    async def change(self, user: str, password: str) -> None:
        """Give an account a new password; every session of the old one ends. Raises Invalid, NotFound."""
        hashed = await self._passwords.hash(password)
        await self._set(user, {"password": hashed, "changed": _mark()})
        await self._lockout.clear(user)

    async def asks_codes(self, user: str) -> bool | None:
        """Whether this account is asked for codes; None without an account."""
        row = await self._store.get(rows.account_key(user))
        return None if row is None else bool(row.get("totp"))

    async def mark_of(self, user: str) -> str | None:
        """What the present password and codes of an account are known by; None without an account."""
        row = await self._store.get(rows.account_key(user))
        return None if row is None else str(row["changed"])

    async def renew(self, user: str, password: str, *, seen: Proof) -> Proof:
        """One's own new password, in place of what was ``seen``. Raises Invalid, Conflict."""
        return await self._renewed(user, {"password": await self._passwords.hash(password)}, seen=seen.mark)

    async def begin_codes(self, user: str) -> str:
        """What the authenticator is to read; no code is asked for yet. Raises Invalid, NotFound."""
        seed = codes.new_seed()
        until = int(self._now()) + _CONFIRM_SECONDS
        await self._set(user, {"totp_next": self._sealing().close(seed), "totp_next_until": until})
        return codes.address(seed, user=user)

    async def confirm_codes(self, user: str, code: str) -> Proof:
        """Ask for codes from now on, because the authenticator shows them. Raises Invalid, Conflict."""
        row = await self._store.get(rows.account_key(user))
        sealed = row.get("totp_next") if row else None
        if row is None or not sealed or self._now() >= row["totp_next_until"]:
            raise Conflict("There is no code to confirm (any more): begin again.", code="nothing_to_confirm")
        step = codes.step_of(code, seed=self._sealing().open(str(sealed)), now=self._now())
        if step is None:
            raise Invalid("The code is not right: type what is shown now.", code="wrong_code")
        plain = {"totp": sealed, "totp_step": step, "totp_next": None}
        return await self._renewed(user, plain, seen=str(row["changed"]))

    async def without_codes(self, user: str, *, seen: Proof) -> Proof:
        """No codes any more. Raises Conflict."""
        return await self._renewed(user, {"totp": None, "totp_next": None}, seen=seen.mark)

    async def codes(self, user: str, *, on: bool) -> str | None:
        """Ask for one-time codes from now on, or not; with ``on`` what the authenticator reads.

        Raises Invalid without a key to seal with, and NotFound.
        """
        if not on:
            await self._set(user, {"totp": None})
            return None
        seed = codes.new_seed()
        await self._set(user, {"totp": self._sealing().close(seed), "totp_step": 0})
        return codes.address(seed, user=user)

    async def remove(self, user: str) -> None:
        """Delete an account; its sessions end. Raises NotFound."""
        if await self._store.take(rows.account_key(user)) is None:
            raise _unknown(user)
        await self._lockout.clear(user)

    async def _check_code(self, user: str, row: dict[str, Any], *, code: str | None) -> None:
        if not code:
            await self._lockout.give_back(user)
            raise SignIn("Type the code that your authenticator shows.", code="code_needed")
        if self._seal is None:
            raise Invalid(
                "One-time codes cannot be checked: BRANCHLINE_SEAL_KEY is missing.", code="no_seal_key"
            )
        step = codes.step_of(code, seed=self._seal.open(str(row["totp"])), now=self._now())
        if step is None or step <= row["totp_step"]:
            raise SignIn(_WRONG, code="wrong_credentials")
        # Good once: whoever comes second with the same code finds its step used.
        part = self._store.setting(
            rows.account_key(user),
            {"totp_step": step},
            condition="#totp_step < :step",
            values={":step": step},
        )
        try:
            await self._store.write([part])
        except Overtaken:
            raise SignIn(_WRONG, code="wrong_credentials") from None

    def _sealing(self) -> Seal:
        if self._seal is None:
            raise Invalid(
                "One-time codes need a key to keep their seeds under: set BRANCHLINE_SEAL_KEY.",
                code="no_seal_key",
            )
        return self._seal

    async def _renewed(self, user: str, plain: dict[str, Any], *, seen: str) -> Proof:
        """Change what one signs in with; every session that began with what was seen ends."""
        mark = _mark()
        part = self._store.setting(
            rows.account_key(user),
            {**plain, "changed": mark},
            condition="#changed = :seen",
            values={":seen": seen},
        )
        for _ in range(_TRIES):
            with suppress(Overtaken):
                await self._store.write([part])
                return Proof(how="password", mark=mark)
        raise Conflict("This was changed elsewhere at the same time: try again.", code="changed_meanwhile")

    async def _set(self, user: str, plain: dict[str, Any]) -> None:
        part = self._store.setting(rows.account_key(user), plain, condition=_THERE, values={})
        for _ in range(_TRIES):
            try:
                await self._store.write([part])
            except Overtaken:
                if not await self.has(user):
                    break
            else:
                return
        raise _unknown(user)


def _mark() -> str:
    """What a password is known by: another password, another mark."""
    return secrets.token_hex(8)


def _unknown(user: str) -> NotFound:
    return NotFound(f"{user} has no account: branchline account list shows who has.", code="unknown_account")
