"""Settings of a Lambda that are nobody's to read: kept in Secrets Manager and not in its configuration.

``BRANCHLINE_SECRET`` names a secret that holds a JSON object, variable to value (tokens of chats, keys). They
are read once, while the environment is made, and become variables unless they are set already. Logs no value.
"""

import asyncio
import json
import os
from collections.abc import MutableMapping

import structlog

from dispatcher import aws
from dispatcher.errors import Unavailable

_log = structlog.get_logger(__name__)
NAME = "BRANCHLINE_SECRET"


def into_environment(environ: MutableMapping[str, str] = os.environ) -> None:
    """Read the secret, if there is one. Raises Unavailable, and ValueError for one that is no such object."""
    name = environ.get(NAME)
    if not name:
        return
    given = parse(asyncio.run(_read(name)))
    for variable, value in given.items():
        environ.setdefault(variable, value)
    _log.info("secret read", variables=sorted(given))


def parse(text: str) -> dict[str, str]:
    """Variable to value. Raises ValueError, which says nothing of what is in the secret."""
    try:
        plain = json.loads(text)
    except ValueError:
        plain = None
    if not isinstance(plain, dict) or not all(isinstance(value, str) for value in plain.values()):
        raise ValueError(f"the secret that {NAME} names is no JSON object of strings")
    return plain


async def _read(name: str) -> str:
    async with aws.service("secretsmanager") as client:
        try:
            with aws.translated():
                got = await client.get_secret_value(SecretId=name)
        except Unavailable as error:
            refused = f"The secret {name} cannot be read: check its name, and what the function may read."
            raise Unavailable(refused) from error.__cause__
    return str(got.get("SecretString", ""))
