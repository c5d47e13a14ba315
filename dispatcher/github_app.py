"""Who we are on GitHub: the App's own proof, and tokens for one repository with the least they need.

Tokens are kept in memory until shortly before they end and are never written anywhere. Which repository a
caller may have a token for is not decided here.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import aiohttp
from gidgethub.aiohttp import GitHubAPI

from dispatcher.github_errors import Missing, translated
from dispatcher.posting import Undeliverable

AGENT = "branchline"
PUSHING: Mapping[str, str] = {"contents": "write"}
"""What git of a worker needs: fetch and push."""
TALKING: Mapping[str, str] = {
    "issues": "write",
    "pull_requests": "write",
    "checks": "write",
    "contents": "read",
}
"""What comments, pull requests and check runs need. Reading metadata comes with every token."""
MARGIN = 600.0
"""Seconds before its end from which on a token is not given out any more: a long push must fit in."""
_LIFE = 3600.0


@dataclass(frozen=True, kw_only=True)
class Token:
    """``value`` is good until ``expires`` (UTC) for one repository."""

    value: str
    expires: datetime

    def __repr__(self) -> str:
        return f"Token(expires={self.expires.isoformat()})"


@dataclass(frozen=True, kw_only=True)
class _Kept:
    token: Token
    until: float


class GitHubApp:
    """The App. ``session`` makes the requests, ``api_url`` is GitHub's or that of an Enterprise server."""

    def __init__(
        self, *, session: aiohttp.ClientSession, app_id: str, private_key: str, api_url: str
    ) -> None:
        self.app_id = app_id
        self.api_url = api_url
        self._api = GitHubAPI(
            session, AGENT, app_id=app_id, private_key=private_key, base_url=api_url.rstrip("/")
        )
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    @property
    def api(self) -> GitHubAPI:
        """Calls as the App itself (not as one of its installations)."""
        return self._api

    async def token(self, repo: str, *, permissions: Mapping[str, str]) -> Token:
        """A token for ``owner/name`` alone, at least ``MARGIN`` seconds from its end.

        Raises Later, and Undeliverable when the App is not installed there or may not do this.
        """
        key = _key(repo, permissions)
        async with self._locks.setdefault(key, asyncio.Lock()):
            kept = self._kept.get(key)
            if kept is None or kept.until <= time.monotonic():
                kept = self._kept[key] = await self._mint(repo, permissions)
            return kept.token

    def kept(self, repo: str, *, permissions: Mapping[str, str]) -> Token | None:
        """The token that is kept, if there is one, however old."""
        kept = self._kept.get(_key(repo, permissions))
        return kept.token if kept else None

    def forget(self, repo: str) -> None:
        """Mint anew next time: GitHub does not accept what is kept for this repository."""
        for key in [k for k in self._kept if k[0] == repo.lower()]:
            del self._kept[key]

    async def _mint(self, repo: str, permissions: Mapping[str, str]) -> _Kept:
        async with translated(f"speak for the App in {repo}"):
            installed = await self._installation(repo)
            granted = _granted(permissions, of=installed.get("permissions"))
            asked = time.monotonic()
            made = await self._api.post(
                "/app/installations/{id}/access_tokens",
                {"id": str(installed["id"])},
                data={"repositories": [repo.partition("/")[2]], "permissions": granted},
            )
            token = Token(value=made["token"], expires=datetime.fromisoformat(made["expires_at"]))
        left = min(token.expires.timestamp() - time.time(), _LIFE)
        return _Kept(token=token, until=asked + left - MARGIN)

    async def _installation(self, repo: str) -> dict[str, Any]:
        owner, _, name = repo.partition("/")
        found = await self._api.getitem("/repos/{owner}/{name}/installation", {"owner": owner, "name": name})
        return cast(dict[str, Any], found)


def _key(repo: str, permissions: Mapping[str, str]) -> tuple[str, str]:
    return repo.lower(), ",".join(sorted(permissions))


def _granted(permissions: Mapping[str, str], *, of: Mapping[str, str] | None) -> dict[str, str]:
    """What of ``permissions`` the installation has: asking for more is refused as a whole."""
    if of is None:
        return dict(permissions)
    ranks = ("read", "write", "admin")
    got = {
        name: min(level, of[name], key=ranks.index)
        for name, level in permissions.items()
        if of.get(name) in ranks
    }
    if not got:
        raise Undeliverable("The App was given none of the permissions it needs: see docs/github.md.")
    return got


__all__ = ["MARGIN", "PUSHING", "TALKING", "GitHubApp", "Missing", "Token"]
