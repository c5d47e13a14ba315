"""One polite comment per issue or pull request for those who are not let in, and never a second.

That it was said is recorded before it is said: a crash in between costs a sentence, never a repetition.
"""

from enum import StrEnum
from typing import Any, Protocol

import structlog

from contracts import records
from contracts.records import Item
from contracts.words import Frontend
from dispatcher.errors import Overtaken
from dispatcher.github_api import GitHub
from dispatcher.github_parse import Trigger
from dispatcher.github_render import marker
from dispatcher.posting import Later, Undeliverable

_log = structlog.get_logger(__name__)


class Refusal(StrEnum):
    """Why somebody is not let in."""

    NO_WRITE = "no write access"
    NO_PROJECT = "repository of no project"
    NO_USER = "login of nobody"
    NO_ACCESS = "not their project"
    NOT_USABLE = "text not usable"


_WORDS = {
    Refusal.NO_WRITE: "Thanks for writing, {login}. I work for people with write access to this repository"
    " only: one of them can call me here.",
    Refusal.NO_PROJECT: "Thanks for writing, {login}. This repository belongs to none of my projects yet:"
    " whoever runs me can add `{repo}` to `github_repos` of a project.",
    Refusal.NO_USER: "Thanks for writing, {login}. I do not know whose worker is yours: whoever runs me"
    " can add your login to `github` of a user.",
    Refusal.NO_ACCESS: "Thanks for writing, {login}. Your user may not use this repository's project: whoever"
    " runs me can add it to `projects` of your user.",
    Refusal.NOT_USABLE: "Thanks for writing, {login}. I cannot use this text: it is empty or too long.",
}


class Records(Protocol):
    """Where it is recorded."""

    name: str

    async def write(self, parts: list[Any]) -> None:
        """All parts or none. Raises Overtaken, Unavailable."""


class Refusals:
    """Says no, once per place."""

    def __init__(self, *, github: GitHub, table: Records) -> None:
        self._github = github
        self._table = table

    async def refuse(self, trigger: Trigger, why: Refusal) -> str:
        """Refuse; a comment is made only when none was made in this place. Raises Unavailable."""
        _log.info("github refused", place=trigger.address, login=trigger.login, why=str(why))
        if await self._is_first(trigger.address):
            words = _WORDS[why].format(login=trigger.login, repo=trigger.repo)
            try:
                body = f"{marker('refusal')}\n\n{words}"
                await self._github.comment(trigger.repo, trigger.number, body=body)
            except (Later, Undeliverable) as error:
                _log.warning("refusal not posted", place=trigger.address, problem=str(error))
        return f"refused: {why}"

    async def _is_first(self, address: str) -> bool:
        item = {**_key(address), "v": {"N": "1"}}
        put = {
            "TableName": self._table.name,
            "Item": item,
            "ConditionExpression": "attribute_not_exists(pk)",
        }
        try:
            await self._table.write([{"Put": put}])
        except Overtaken:
            return False
        return True


def _key(address: str) -> Item:
    return records.key(f"place#{Frontend.GITHUB}#{address}", "refused")
