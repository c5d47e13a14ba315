"""What must not stand in a file or variable that goes along: whoever may read the Lambda could read it.

Looks at names, at addresses and at what looks like a token. Says where something was found, never what.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cdk.settings import AwsSettings
from fleet.problem import USAGE, Problem
from fleet.settings import is_secret
from worker.redact import Redactor

_USERINFO = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<who>[^/\s@'\"]+)@", re.IGNORECASE)
_KEPT = "give it as a variable of this command instead, then it is kept in Secrets Manager"
_OF_WORKERS = (
    "workers are given theirs from Secrets Manager: name the variable in aws.model_key, or set"
    " aws.github_secret, and set it for this command instead"
)
_ADDRESS = (
    "write the address without it; workers sign in to GitHub with an App or with aws.github_secret"
    " (docs/github.md)"
)


def refuse_secrets_of(path: Path, table: Mapping[str, Any]) -> None:
    """Raise Problem when the file holds a secret, however deep."""
    for place, told in _leaves(table):
        _refuse(place, told, where=str(path), named=place not in _SETTINGS)


def refuse_secrets_in(settings: AwsSettings) -> None:
    """The same for the variables of dispatcher and workers, wherever they were set."""
    for part in ("environment", "worker_environment"):
        for name, told in getattr(settings, part).items():
            _refuse(f"aws.{part}.{name}", told, where=f"the setting aws.{part}", named=True)


def refuse_secrets_of_address(url: str) -> None:
    """The same for ``--repo``."""
    _refuse("--repo", url, where="--repo", named=False)


_SETTINGS = frozenset(f"aws.{name}" for name in AwsSettings.model_fields)
"""Settings that speak of secrets and hold none (``aws.model_key`` is the name of a variable)."""


def _refuse(place: str, told: Any, *, where: str, named: bool) -> None:
    name, text = place.rpartition(".")[2], str(told)
    if any(m["scheme"].lower() in ("http", "https") or ":" in m["who"] for m in _USERINFO.finditer(text)):
        raise Problem(
            f"{where} holds an address with a name or password in it ({place}): {_ADDRESS}.", code=USAGE
        )
    is_one = (named and is_secret(name) and not _is_plain(told)) or Redactor()(text) != text
    if is_one:
        instead = _OF_WORKERS if place.startswith("aws.worker_environment.") else _KEPT
        raise Problem(f"{where} holds {place}, and it is readable where it goes: {instead}.", code=USAGE)


def _is_plain(told: Any) -> bool:
    """A number or a switch, such as a limit of tokens, is no secret; nor is nothing."""
    return not isinstance(told, str) or not told or told.lower() in ("true", "false") or told.isdigit()


def _leaves(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no table, with its whole name."""
    for name, told in table.items():
        place = f"{above}{name}"
        if isinstance(told, Mapping):
            yield from _leaves(told, f"{place}.")
        elif isinstance(told, list):
            for one in told:
                yield from (
                    _leaves({place: one}) if not isinstance(one, Mapping) else _leaves(one, f"{place}.")
                )
        else:
            yield place, told
