"""Where the rows of signing in stand in the one table. Keys and digests only; what they mean says
``docs/decisions/records.md``. Nothing that opens a door is a key in clear: tokens are looked up by digest."""

import hashlib
import secrets
from datetime import UTC, datetime

from contracts.records import Item, key

TOKEN_PREFIX = "blt_"  # noqa: S105 - what tokens begin with, none itself
ACCOUNTS = "accounts"
"""Partition of all accounts, by user."""
TOKENS = "tokens"
"""Partition that lists all bearer tokens, by user and name."""
KEYS = "signin-keys"
"""Partition of the keys that sessions are signed with, by key id."""


def digest(secret: str) -> str:
    """SHA-256 of a secret of high entropy, in hex: what is stored of it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_token() -> str:
    """A bearer token: 256 bits of chance behind a prefix that scanners for leaked secrets can look for."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def account_key(user: str) -> Item:
    """One account."""
    return key(ACCOUNTS, user)


def failures_key(user: str) -> Item:
    """How often one has failed to sign in under this name; a digest, because a name may be anything."""
    return key(f"login-failures#{digest(user)}", "failures")


def signing_key(kid: str) -> Item:
    """One key of sessions."""
    return key(KEYS, kid)


def refresh_key(token: str) -> Item:
    """One refresh token."""
    return key(f"refresh#{digest(token)}", "refresh")


def family_key(family: str) -> Item:
    """All refresh tokens that came from one sign-in."""
    return family_key_of(digest(family))


def family_key_of(family_digest: str) -> Item:
    """The same, for who must not know what the sign-in is known by."""
    return key(f"family#{family_digest}", "family")


def token_key(token_digest: str) -> Item:
    """A bearer token, for whoever brings it."""
    return key(f"token#{token_digest}", "token")


def listed_token_key(user: str, name: str) -> Item:
    """A bearer token, for the list. ``name`` holds no ``#``."""
    return key(TOKENS, f"{user}#{name}")


def audit_pk(time: float) -> str:
    """The partition of the audit lines of a month (UTC)."""
    return f"audit#{datetime.fromtimestamp(time, UTC):%Y-%m}"
