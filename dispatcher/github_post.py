"""Makes comments on GitHub look as they should: the ``Poster`` of this frontend.

A comment of ours begins with a marker that names its key, so that one whose making got no answer is found
again. A check run is shown when the App may; that it may not holds nothing back.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import aclosing, asynccontextmanager
from typing import Any

import structlog

from contracts.words import Frontend
from dispatcher.github_api import GitHub
from dispatcher.github_errors import Missing
from dispatcher.github_pull import Pulls
from dispatcher.github_render import LIMIT, marker
from dispatcher.posting import Later, Undeliverable, Wanted

_log = structlog.get_logger(__name__)
_SECONDS = 19.0


class GitHubPoster:
    """Posts as the App. Addresses are ``owner/name#number``, ids those of issue comments."""

    frontend = Frontend.GITHUB

    def __init__(self, *, github: GitHub, pulls: Pulls) -> None:
        self._github = github
        self._pulls = pulls
        self._checked: dict[str, Any] = {}

    async def find(
        self,
        address: str,
        key: str,
        *,
        known: Collection[str] = (),  # noqa: ARG002 - the marker in a comment is enough
    ) -> str | None:
        """The id of our comment with this key. Raises Later, Undeliverable."""
        async with _bounded():
            return await self._find(address, key)

    async def create(self, address: str, wanted: Wanted) -> str:
        """Write the comment; its id. Raises Later, Undeliverable."""
        async with _bounded():
            body = await self._composed(address, wanted)
            made = await self._github.comment(*place(address), body=body)
            await self._check(address, wanted)
            return made

    async def update(self, address: str, post_id: str, wanted: Wanted) -> None:
        """Edit the comment. One that a person deleted is written again: its answer is still wanted.

        Raises Later, Undeliverable.
        """
        repo, number = place(address)
        async with _bounded():
            body = await self._composed(address, wanted)
            try:
                await self._github.edit_comment(repo, post_id, body=body)
            except Missing:
                other = await self._find(address, wanted.key)
                if other is None:
                    await self._github.comment(repo, number, body=body)
                else:
                    await self._github.edit_comment(repo, other, body=body)
            await self._check(address, wanted)

    async def _find(self, address: str, key: str) -> str | None:
        async with aclosing(self._github.comments(*place(address))) as comments:
            async for comment in comments:
                if self._is_ours(comment) and str(comment.get("body", "")).startswith(marker(key)):
                    return str(comment["id"])
        return None

    def _is_ours(self, comment: dict[str, Any]) -> bool:
        """Anybody can write the marker; only the App can write as the App."""
        by = comment.get("performed_via_github_app") or {}
        return self._github.app.app_id in (str(by.get("id", "")), str(by.get("client_id", "")))

    async def _composed(self, address: str, wanted: Wanted) -> str:
        lines = [marker(wanted.key), str(wanted.body["text"])]
        if wanted.body.get("pull"):
            lines.append(await self._pulls.line(*place(address), wanted.body["pull"]))
        return "\n\n".join(lines)[:LIMIT]

    async def _check(self, address: str, wanted: Wanted) -> None:
        plain = wanted.body.get("check")
        if not plain or self._checked.get(address) == plain:
            return
        try:
            await self._github.check(place(address)[0], plain)
            self._checked[address] = plain
        except (Later, Undeliverable) as error:
            _log.info("no check run", place=address, problem=str(error))


def place(address: str) -> tuple[str, int]:
    """Repository and number of an address."""
    repo, _, number = address.rpartition("#")
    return repo, int(number)


@asynccontextmanager
async def _bounded() -> AsyncIterator[None]:
    """A whole call within its time. Raises Later when it took longer."""
    try:
        async with asyncio.timeout(_SECONDS):
            yield
    except TimeoutError:
        raise Later("GitHub takes too long to answer.") from None
