"""The settings of a fleet on AWS: one frozen object. ``BRANCHLINE_AWS_*`` over ``[aws]`` over defaults.

The file is ``branchline.toml`` or what ``BRANCHLINE_CONFIG`` names. Imports nothing of AWS, so that
``branchline deploy`` and the cost table read the same object as the stacks. A key that is not known is
refused: a setting that was misspelled would cost money.
"""

import os
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

DEFAULT_FILE = "branchline.toml"
_CHECKOUT = Path(__file__).resolve().parents[1]

TABLE = "branchline"
QUEUES = "branchline-"
"""What the names of all queues begin with (``contracts.names.queue``)."""
WORKER_ROLES = "/branchline/worker/"
"""Path of the roles that the dispatcher makes for workers."""
CLUSTER = "branchline"
TASK = "branchline-worker"
CONTAINER = "worker"
REPOSITORY = "branchline-worker"
BOUNDARY = "branchline-worker-boundary"
MODEL_SECRET = "branchline/model"  # noqa: S105 - a name
GITHUB_SECRET = "branchline/github"  # noqa: S105
DISPATCHER_SECRET = "branchline-dispatcher"  # noqa: S105
OPERATOR_SECRET = "branchline-operator"  # noqa: S105
EDGE_SECRET = "branchline-edge"  # noqa: S105
PAGE, BESIDE = "branchline-page", "branchline-beside"
"""The function that answers, and the one that sweeps, posts replies and starts workers."""
DISPATCHER_LOGS, WORKER_LOGS = "/branchline/dispatcher", "/branchline/workers"
PREVIEW_PORT = 4321
PREVIEW_RIGHTS = {
    "GetItem": ("worker#*", "accounts", "links", "family#*", "token#*", "signin-keys"),
    "Query": ("workers",),
    "PutItem": ("signin-keys",),
}
"""Partitions of the table by what the Lambda of previews may do there: see where a preview listens, whether a
ticket is good, and whether who has it may still come in. The key of a week is made by whoever signs first."""
STOP_SECONDS = 110
"""What a worker needs to save its work (60 s) and room; Fargate waits 120 at most."""

Cpu = Literal[512, 1024, 2048, 4096]
_NAMES = {"BRANCHLINE_PUBLIC_URL", "BRANCHLINE_PUBLIC_HOST", "BRANCHLINE_EDGE_KEY"}
_MEMORY = {512: (1024, 4096), 1024: (2048, 8192), 2048: (4096, 16384), 4096: (8192, 30720)}


class AwsSettings(BaseSettings):
    """Everything that can be chosen about a fleet on AWS."""

    model_config = SettingsConfigDict(
        env_prefix="BRANCHLINE_AWS_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    workspace: Literal["ephemeral", "efs"] = Field(
        default="ephemeral",
        description="Where checkouts live: on the task's own disk, or on one that all workers see.",
    )
    disk_gb: int = Field(default=20, ge=20, le=200, description="Disk of a worker in GiB; 20 are free.")
    cpu: Cpu = Field(default=1024, description="CPU units of a worker; 1024 are one vCPU.")
    memory: int = Field(default=4096, ge=1024, multiple_of=1024, description="Memory of a worker in MiB.")
    idle_minutes: int = Field(
        default=20, ge=1, description="Minutes without work after which a worker leaves."
    )
    warm_pool: int = Field(
        default=0,
        ge=0,
        le=50,
        description="Tasks that wait for a worker to become; each costs as a worker that never leaves.",
    )
    most_workers: int = Field(
        default=20, ge=1, description="More workers than this at once raise the alarm of cost."
    )
    egress_ports: tuple[int, ...] = Field(
        default=(443,), description="TCP ports that workers may reach in the internet."
    )
    model_key: Literal["ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "AWS_BEARER_TOKEN_BEDROCK"] = Field(
        default="ANTHROPIC_API_KEY", description="Variable under which workers find the model's key."
    )
    own_keys: Literal["off", "allowed", "required"] = Field(
        default="off",
        description="Whether workers look for keys that their user has brought (`branchline keys`), and"
        " whether the fleet has a key of the model for those who have not; with `required` it has none.",
    )
    github_secret: bool = Field(
        default=False,
        description="Whether workers push with the token in branchline/github. Not with a GitHub App.",
    )
    worker_environment: dict[str, str] = Field(
        default_factory=dict,
        description="Further variables of workers, such as ANTHROPIC_BASE_URL. No secrets.",
    )
    login: Literal["accounts", "github", "both"] = Field(
        default="accounts", description="How people sign in."
    )
    environment: dict[str, str] = Field(
        default_factory=dict,
        description="Further variables of the dispatcher, such as BRANCHLINE_PUBLIC_URL.",
    )
    domain: str | None = Field(
        default=None,
        pattern=r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$",
        description="Name of the page, such as chat.example.com; below it each preview has one. Without a"
        " domain the page has the function's address, and there are no previews.",
    )
    certificate: str | None = Field(
        default=None,
        pattern=r"^arn:aws:acm:us-east-1:[0-9]{12}:certificate/[0-9a-f-]+$",
        description="ARN of a certificate for the domain and *.domain, in us-east-1 as CloudFront wants it.",
    )
    hosted_zone: str | None = Field(
        default=None,
        pattern=r"^Z[A-Z0-9]+$",
        description="Id of the zone in Route 53 that the records of the domain are made in. Without it you"
        " make them elsewhere.",
    )
    lambda_memory: int = Field(
        default=1024, ge=256, le=10240, description="Memory of the dispatcher in MB; CPU comes with it."
    )
    stream_seconds: int = Field(
        default=60,
        ge=30,
        le=900,
        description="Longest answer of the dispatcher, and so of a stream of events: one that nobody reads"
        " any more is paid for until then.",
    )
    reserved_concurrency: int | None = Field(
        default=None,
        ge=1,
        description="Most answers at once; others are refused. Without it the account's limit.",
    )
    beside_concurrency: int = Field(
        default=10,
        ge=0,
        description="Lambdas kept for sweep, starts and replies, whatever else goes on; 0 keeps none.",
    )
    log_days: Literal[1, 3, 7, 14, 30, 60, 90, 180, 365] = Field(
        default=30, description="Days logs are kept."
    )
    watch: bool = Field(default=True, description="Whether there are alarms and a dashboard.")
    alarm_email: str | None = Field(
        default=None, pattern=r"^[^@\s]+@[^@\s]+$", description="Who is told of alarms."
    )
    budget_dollars: float | None = Field(
        default=None,
        gt=0,
        description="Dollars a month of the whole account after which `alarm_email` is told.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        least, most = _MEMORY[self.cpu]
        if not least <= self.memory <= most:
            raise ValueError(f"{self.cpu} CPU units come with {least} to {most} MiB of memory")
        if self.warm_pool and self.workspace == "efs":
            raise ValueError('a warm pool needs workspace = "ephemeral": what waits may mount nothing yet')
        if self.budget_dollars is not None and self.alarm_email is None:
            raise ValueError("a budget needs alarm_email, whom it tells")
        return self

    @model_validator(mode="after")
    def _has_a_name(self) -> Self:
        if (self.domain is None) != (self.certificate is None):
            raise ValueError("domain and certificate belong together: set both, or none")
        if self.hosted_zone is not None and self.domain is None:
            raise ValueError("hosted_zone is for the records of a domain: set domain as well")
        if self.domain is not None and (twice := sorted(_NAMES & self.environment.keys())):
            raise ValueError(f"{twice[0]} comes from domain: take it out of environment")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments over environment over the file's table; ``.env`` and secret folders are not read."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, InitSettingsSource(settings_cls, _table(config_file()))


def config_file() -> Path | None:
    """The configuration file, if there is one: as ``fleet.settings.config_path`` finds it."""
    named = os.environ.get("BRANCHLINE_CONFIG")
    places = (Path(named),) if named else (Path(DEFAULT_FILE), _CHECKOUT / DEFAULT_FILE)
    return next((path for path in places if path.is_file()), None)


def _table(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    table = tomllib.loads(path.read_text(encoding="utf-8")).get("aws", {})
    if not isinstance(table, dict):
        raise ValueError(f"{path}: aws has to be a table, [aws].")
    return table
