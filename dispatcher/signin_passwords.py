"""Passwords as Argon2id. A password that is checked against no account costs the same as one that is.

Runs beside the event loop, and few at a time: each takes 64 MiB and a good part of a core.
"""

import asyncio
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dispatcher.errors import Invalid

SHORTEST = 10
LONGEST = 256
_AT_ONCE = 2
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$" + "A" * 22 + "$" + "A" * 43
"""The hash of no password that anybody knows."""


class Passwords:
    """Makes and checks hashes."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4)
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def hash(self, password: str) -> str:
        """What is stored of a new password. Raises Invalid for one that is too short or too long."""
        if not SHORTEST <= len(password) <= LONGEST:
            raise Invalid(f"A password has {SHORTEST} to {LONGEST} characters.", code="invalid_password")
        async with self._turn:
            return await asyncio.to_thread(self._hasher.hash, _same(password))

    async def is_right(self, password: str, *, stored: str | None) -> bool:
        """Whether this is the password; ``stored`` None: of an account that there is not."""
        async with self._turn:
            good = await asyncio.to_thread(self._verify, _same(password[:LONGEST]), stored or _NOBODY)
        return good and stored is not None

    def _verify(self, password: str, stored: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False


def _same(password: str) -> str:
    """One spelling for what different keyboards send for the same characters."""
    return unicodedata.normalize("NFKC", password)
