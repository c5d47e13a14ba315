"""The dispatcher's settings: one frozen object, read once. ``BRANCHLINE_*`` over the file over defaults.

The file is ``branchline.toml`` or what ``BRANCHLINE_CONFIG`` names. Its tables ``[project.NAME]`` and
``[user.NAME]`` become ``fleet``; its other keys are the fields below. Other processes read the same file,
so keys that are not known here are ignored.
"""

import os
import tomllib
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from contracts.config import LOCAL, FleetConfig, ProjectConfig

if TYPE_CHECKING:
    from pydantic_settings.sources.types import Traversable

DEFAULT_FILE = "branchline.toml"


class _File(TomlConfigSettingsSource):
    """Moves the two tables of names out of the way of the settings ``project`` and ``user``."""

    def _read_file(self, file_path: "Path | Traversable") -> dict[str, Any]:
        try:
            plain = super()._read_file(file_path)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{file_path} is not valid TOML: {error}") from error
        tables = {k: plain.pop(k) for k in ("project", "user") if isinstance(plain.get(k), dict)}
        return {**plain, "fleet": tables}


class Settings(BaseSettings):
    """Everything the dispatcher can be told. Times in seconds."""

    model_config = SettingsConfigDict(
        env_prefix="BRANCHLINE_", env_ignore_empty=True, frozen=True, extra="ignore", populate_by_name=True
    )

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. On any but a loopback address everybody who reaches it may post.",
    )
    public_host: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9.-]+$",
        description="Host name of a tunnel to this machine, without scheme and port. The chats' addresses"
        " answer under it; page and API do not, because they have no sign-in.",
    )
    port: int = Field(
        default=8080, ge=0, le=65535, description="TCP port of page and API; 0 picks a free one."
    )
    preview_port: int = Field(
        default=4321, ge=1, le=65535, description="TCP port of the preview, for the link on the page."
    )
    table: str = Field(default="branchline", description="Name of the DynamoDB table; made when absent.")
    launcher_url: str | None = Field(
        default=None, description="Base URL of the launcher that starts workers; without it nothing is woken."
    )
    launcher_token: SecretStr = Field(
        default=SecretStr(""), description="Bearer token that the launcher asks for."
    )
    client: str = Field(default=LOCAL, min_length=1, description="Client of the project given by `repo`.")
    user: str = Field(
        default=LOCAL, min_length=1, description="Name of the person behind the API and the local page."
    )
    repo: str | None = Field(
        default=None, description="Path or URL of the repository of the one project without a file."
    )
    project: str | None = Field(
        default=None,
        description="Name of the project of `repo`, and of the project that a request without one means.",
    )
    offline_model: bool = Field(
        default=False, description="Whether workers run against the offline model; the page says so."
    )
    die_with_parent: bool = Field(
        default=False, description="Whether this process ends when the one that started it dies (Linux)."
    )
    sweep_seconds: float = Field(
        default=60.0, gt=0, description="Seconds between two looks for workers with work that do not run."
    )
    fleet: FleetConfig = Field(
        default=FleetConfig(),
        validation_alias=AliasChoices("fleet"),
        description="Projects and users as the file names them.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library names it
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments over environment over file."""
        return init_settings, env_settings, _File(settings_cls, toml_file=_file())

    @cached_property
    def projects(self) -> dict[str, ProjectConfig]:
        """Every project by name: the file's, and the one of ``repo`` (which replaces one of its name)."""
        known = dict(self.fleet.project)
        if self.repo is not None:
            name = self.project or _name_of(self.repo)
            given = known.get(name) or ProjectConfig(client=self.client, repo=self.repo)
            known[name] = given.model_copy(update={"repo": self.repo})
        return known

    @cached_property
    def default_project(self) -> str | None:
        """The project a request means that names none; None when it has to name one."""
        if self.project is not None:
            return self.project
        if self.repo is not None:
            return _name_of(self.repo)
        return next(iter(self.projects)) if len(self.projects) == 1 else None


def _file() -> Path:
    named = os.environ.get("BRANCHLINE_CONFIG")
    if named and not Path(named).is_file():
        raise FileNotFoundError(f"BRANCHLINE_CONFIG names {named}, which is not a file: correct or unset it.")
    return Path(named or DEFAULT_FILE)


def _name_of(repo: str) -> str:
    return PurePosixPath(repo.rstrip("/")).name.removesuffix(".git") or "project"
