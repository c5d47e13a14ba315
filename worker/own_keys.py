"""Keys that this worker's user has brought, read once at its start with its own role: the model's, GitHub's.

They take the place of those that all workers are given. Whoever has brought a key must never spend another's
money, so only a secret that is not there leads back to the fleet's key; whatever else AWS may say is asked
again for a while, and then this worker does not start. The keys stay in this process's memory: no log, no
record, no environment but Claude Code's, and of that only the model's.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aioboto3
from aiobotocore.config import AioConfig
from botocore.exceptions import ClientError
from pydantic import SecretStr
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential

from contracts.names import KeyKind, worker_secret
from contracts.words import WorkerId
from worker.aws import FAULTS
from worker.errors import KeyUnreadable
from worker.log import get_logger
from worker.settings import Settings

log = get_logger()
_SECONDS = 20.0
"""How long a key is asked for again: a role that was made just now is not known everywhere yet."""
_LONGEST = 45.0
_KEY = re.compile(r"[!-~]{8,}")
"""What may be one: shorter ones would not be redacted, and a line break would end it for who reads it."""
_THROUGH_FILES = ("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN")
_CREDENTIALS = (*_THROUGH_FILES, "ANTHROPIC_AUTH_TOKEN", "AWS_BEARER_TOKEN_BEDROCK")


@dataclass(frozen=True, kw_only=True)
class OwnKeys:
    """What the user has brought; None for what they have not. ``variable``: where the model's key goes."""

    model: SecretStr | None = None
    github: SecretStr | None = None
    variable: str = "ANTHROPIC_API_KEY"

    @property
    def values(self) -> list[str]:
        """What must never be seen."""
        return [key.get_secret_value() for key in (self.model, self.github) if key is not None]

    def instead(self, model_env: Mapping[str, str]) -> dict[str, str]:
        """How the model is reached with the user's key, and with no other; unchanged without one."""
        if self.model is None:
            return dict(model_env)
        rest = {k: v for k, v in model_env.items() if k not in _CREDENTIALS}
        # An empty one covers up what this process has under that name: the launcher hands it on otherwise.
        return {**rest, **dict.fromkeys(_THROUGH_FILES, ""), self.variable: self.model.get_secret_value()}


async def read_own_keys(settings: Settings) -> OwnKeys:
    """The keys of this worker's user; none where the settings do not say that there may be any.

    Takes 45 seconds at most. Raises KeyUnreadable.
    """
    if settings.own_keys is None:
        return OwnKeys()
    worker = WorkerId(settings.container_id)
    try:
        async with asyncio.timeout(_LONGEST), _connect() as client:
            model = await _key(client, worker, begins=settings.own_keys, kind="model")
            github = await _key(client, worker, begins=settings.own_keys, kind="github")
    except FAULTS as error:
        raise KeyUnreadable(f"The keys of this worker's user could not be read: {_told(error)}.") from error
    log.info("own_keys_read", model=model is not None, github=github is not None)
    return OwnKeys(model=model, github=github, variable=settings.own_model_key)


def _connect() -> Any:
    once = {"mode": "standard", "total_max_attempts": 1}
    config = AioConfig(connect_timeout=3, read_timeout=5, retries=once)
    return aioboto3.Session().client("secretsmanager", config=config)


async def _key(client: Any, worker: WorkerId, *, begins: str, kind: KeyKind) -> SecretStr | None:
    name = worker_secret(worker, kind=kind)
    try:
        key = await _patiently(client, begins + name)
    except FAULTS as error:
        raise KeyUnreadable(
            f"The user's own key {name} could not be read ({_told(error)}), and no other is used instead:"
            " look at the secret and at the role of this worker."
        ) from error
    if key is not None and not _KEY.fullmatch(key):
        raise KeyUnreadable(f"The secret {name} holds no key: set it again, as one line of text.")
    return SecretStr(key) if key is not None else None


async def _patiently(client: Any, secret: str) -> str | None:
    """What the secret holds; None when there is no such secret."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(FAULTS),
        wait=wait_exponential(multiplier=0.25, max=4),
        stop=stop_after_delay(_SECONDS),
        reraise=True,
    )
    async for each in retrying:
        with each:
            try:
                said = await client.get_secret_value(SecretId=secret)
            except client.exceptions.ResourceNotFoundException:
                return None
            return str(said.get("SecretString", "")).strip()
    raise AssertionError("tenacity either returns or raises")


def _told(error: BaseException) -> str:
    """Why, in a word: what AWS writes besides may name more than a log needs."""
    code = error.response.get("Error", {}).get("Code") if isinstance(error, ClientError) else None
    return str(code or type(error).__name__)
