"""The worker's settings: one frozen object, read once in ``__main__`` from the environment.

Every field says what it is and in which unit. Nothing else in the worker may read the environment.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

_SECRET_NAME = re.compile(r"(TOKEN|SECRET|PASSWORD|API_KEY|PRIVATE_KEY|ACCESS_KEY)", re.IGNORECASE)
_MODEL_NAME = re.compile(r"ANTHROPIC_\w+|CLAUDE_CODE_\w+|DISABLE_PROMPT_CACHING\w*")
_BEDROCK = ("AWS_BEARER_TOKEN_BEDROCK", "AWS_REGION", "AWS_DEFAULT_REGION")


def _env(name: str) -> AliasChoices:
    return AliasChoices(name, name.lower())


class Settings(BaseSettings):
    """What a worker is told from outside."""

    model_config = SettingsConfigDict(
        env_prefix="BRANCHLINE_", frozen=True, extra="ignore", populate_by_name=True
    )

    container_id: str = Field(validation_alias=_env("CONTAINER_ID"), min_length=1)
    """The worker id, ``{client}-{project}-{user}`` with each part escaped."""
    client_id: str | None = Field(default=None, validation_alias=_env("CLIENT_ID"))
    """Client; read from the worker's row when not given."""
    project_id: str | None = Field(default=None, validation_alias=_env("PROJECT_ID"))
    """Project; read from the worker's row when not given."""
    user_id: str | None = Field(default=None, validation_alias=_env("USER_ID"))
    """User; read from the worker's row when not given."""
    workspace_path: Path = Field(default=Path("/workspace"), validation_alias=_env("WORKSPACE_PATH"))
    """Folder under which checkouts and the worker's own files live."""
    auto_shutdown_minutes: float = Field(default=20, gt=0, validation_alias=_env("AUTO_SHUTDOWN_MINUTES"))
    """Minutes without a message or an open preview after which the worker leaves."""
    github_token: SecretStr | None = Field(default=None, validation_alias=_env("GITHUB_TOKEN"))
    """Token for git over https; reaches git through a credential helper and nothing else."""
    token_url: str | None = None
    """Where to ask for such a token instead, one for this worker's repository that lasts an hour."""
    token_secret: SecretStr | None = None
    """Proves to `token_url` which worker asks."""

    own_keys: str | None = None
    """What ARNs of secrets begin with here; then keys of this worker's user are looked for at the start."""
    own_model_key: str = "ANTHROPIC_API_KEY"
    """Variable in which Claude Code gets the model's key of the user's own."""

    paths_url: str | None = None
    """Where repositories that the records name by a path are reached, when this machine has no such paths."""
    paths_secret: SecretStr | None = None
    """The password there."""
    table: str = "branchline"
    """Name of the DynamoDB table."""
    preview_port: int = Field(default=4321, ge=1, le=65535)
    """TCP port of the preview."""
    preview_host: str = "127.0.0.1"
    """Address the preview binds."""
    preview_url: str | None = None
    """Where the dispatcher reaches the preview, when that is not where it listens (behind a port mapping)."""
    metadata_url: str | None = Field(default=None, validation_alias=_env("ECS_CONTAINER_METADATA_URI_V4"))
    """Where a task of Fargate asks for its own address; set by ECS."""
    public_host: str | None = None
    """Name under which people reach the dispatcher; previews have names below it."""
    spawner: Path | None = None
    """Socket of the container's spawner; what runs in the checkout then runs as another user."""
    alive: Path | None = None
    """File that is touched with each renewal of the lease: its age is this worker's health."""
    lease_seconds: float = Field(default=15, gt=0)
    """Seconds an owner may be silent before another may take the worker id; renewed every third of it."""
    visibility_seconds: float = Field(default=60, ge=1)
    """Seconds a delivery stays hidden; renewed every third of it while the worker holds it."""
    poll_seconds: float = Field(default=20, ge=0, le=20)
    """Seconds a receive waits for a message (SQS takes at most 20)."""
    look_seconds: float = Field(default=60, gt=0)
    """Seconds after which the records are read although nothing rang."""
    discovery_seconds: float = Field(default=5, gt=0)
    """Seconds between two looks at the bindings."""
    hang_seconds: float = Field(default=600, gt=0)
    """Seconds without a sign of life after which Claude Code counts as hung."""
    upload_days: float = Field(default=30, gt=0)
    """Days without news in a thread after which files that came with its messages leave this disk."""
    sessions: Literal["disk", "records"] = "disk"
    """Where Claude Code's sessions are kept: on this disk alone, or in the records too, if the disk ends."""
    session_days: float = Field(default=30, gt=0)
    """Days after its last turn for which a session is kept in the records at least; twice that at most."""
    max_retries: int = Field(default=4, ge=0)
    """How often Claude Code asks the model again after an error before it gives up."""
    offline_model: bool = False
    """Whether the model is the scripted one for the first run."""
    cli_path: Path | None = None
    """Executable to run instead of the Claude Code that comes with the SDK."""
    pass_env: tuple[str, ...] = ()
    """Names of further environment variables that Claude Code may see (a JSON list)."""
    log_level: str = "info"
    """Least level that is logged: debug, info, warning, error."""

    @property
    def preview_hosts(self) -> tuple[str, ...]:
        """Names under which the dev server must answer besides those of this machine, which it knows."""
        return (f".{self.public_host}",) if self.public_host else ()

    @property
    def own_files(self) -> Path:
        """Folder of this worker's own files, outside of every checkout."""
        return self.workspace_path / ".branchline" / self.container_id

    @property
    def agent_files(self) -> Path:
        """Folder of what Claude Code and the preview may read and partly write: the same, while they run as
        this process's own user."""
        if self.spawner is None:
            return self.own_files
        return self.workspace_path / ".branchline-agent" / self.container_id


def model_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What Claude Code needs to reach its model, and nothing that could reach anything else.

    With Bedrock that is a bearer token for it, never this process's AWS role.
    """
    chosen = {k: v for k, v in environ.items() if _MODEL_NAME.fullmatch(k)}
    if environ.get("CLAUDE_CODE_USE_BEDROCK"):
        chosen |= {k: environ[k] for k in _BEDROCK if k in environ}
    return chosen


def secrets(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Values in the environment that must never be seen in a log, an event, a reply or a commit."""
    return [v for k, v in environ.items() if v and _SECRET_NAME.search(k)]
