"""Where workers run when ECS starts them: ``BRANCHLINE_LAUNCHER=ecs`` and the names of what a stack made."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_ARN = re.compile(r"arn:(?P<partition>[a-z-]+):iam::(?P<account>\d{12}):policy/.+")
_NEEDED = ("ecs_cluster", "ecs_task", "ecs_subnets", "ecs_security_group", "worker_boundary")


class EcsSettings(BaseSettings):
    """Read from the environment alone: they name parts of a stack, and nobody writes those by hand."""

    model_config = SettingsConfigDict(
        env_prefix="BRANCHLINE_", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    launcher: Literal["http", "ecs"] = Field(
        default="http", description="What starts workers: what `launcher_url` names, if anything, or ECS."
    )
    ecs_cluster: str = Field(default="", description="Name of the cluster.")
    ecs_task: str = Field(
        default="", description="Family of the task definition, whose latest one is started."
    )
    ecs_subnets: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Subnets of the workers, separated by commas."
    )
    ecs_security_group: str = Field(default="", description="Security group of the workers.")
    worker_boundary: str = Field(
        default="", description="ARN of the permissions boundary of the workers' roles."
    )
    token_url: str = Field(
        default="",
        description="Where workers ask for tokens of the GitHub App: /internal/token of this dispatcher.",
    )
    start_function: str = Field(
        default="", description="Name of the function that starts workers in place of this one, if any."
    )
    worker_role_path: str = Field(
        default="/branchline/worker/",
        pattern=r"^/([!-~]+/)?$",
        description="Path below which the workers' roles are made.",
    )

    warm_pool: int = Field(default=0, ge=0, le=50, description="Tasks that wait without a worker.")

    @field_validator("ecs_subnets", mode="before")
    @classmethod
    def _split(cls, given: object) -> object:
        return [s for part in given.split(",") if (s := part.strip())] if isinstance(given, str) else given

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.launcher == "ecs":
            missing = [f"BRANCHLINE_{name.upper()}" for name in _NEEDED if not getattr(self, name)]
            if missing:
                raise ValueError(f"ECS needs {', '.join(missing)} as well")
            if not _ARN.fullmatch(self.worker_boundary):
                raise ValueError("BRANCHLINE_WORKER_BOUNDARY is no ARN of a policy of an account")
        return self

    @property
    def account(self) -> tuple[str, str]:
        """Partition and id of the account, as the boundary names them."""
        found = _ARN.fullmatch(self.worker_boundary)
        if found is None:
            raise ValueError("BRANCHLINE_WORKER_BOUNDARY is no ARN of a policy of an account")
        return found["partition"], found["account"]
