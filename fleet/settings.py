"""The settings of the ``branchline`` command: ``BRANCHLINE_*`` over ``branchline.toml`` over defaults.

Reads the environment and one file, once; nobody else in ``fleet`` looks for settings elsewhere. Who may
work on what (projects and users) stands in the same file and is read as ``contracts.config.FleetConfig``.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from contracts.config import LOCAL, FleetConfig
from fleet.problem import USAGE, Problem

ROOT = Path(__file__).resolve().parents[1]
"""The checkout that this command runs from."""

CONFIG_NAME = "branchline.toml"


class Settings(BaseSettings):
    """Everything that can be set about the fleet on one machine."""

    model_config = SettingsConfigDict(
        env_prefix="BRANCHLINE_", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    home: Path = Field(default=ROOT / ".branchline", description="Folder of all local state.")
    host: str = Field(default="127.0.0.1", description="Address that the chat and the API listen on.")
    port: int = Field(default=8080, ge=1, le=65535, description="Port of the chat and the API.")
    preview_port: int = Field(default=4321, ge=1, le=65535, description="Port of the first worker's preview.")
    preview_host: str = Field(default="127.0.0.1", description="Address that previews listen on.")
    url: str | None = Field(default=None, description="Where send, threads, tail and stop find the fleet.")
    token: SecretStr | None = Field(default=None, description="Bearer token of the API, if it asks for one.")
    client: str = Field(default=LOCAL, min_length=1, description="Client of a project given by --repo.")
    user: str = Field(default=LOCAL, min_length=1, description="Name of the person at this machine.")
    project: str | None = Field(default=None, description="Project of a request that names none.")
    table: str = Field(default="branchline", description="Name of the DynamoDB table.")
    login: Literal["none", "accounts", "github", "both"] = Field(
        default="none", description="How people sign in; none is for this machine alone."
    )
    runtime: Literal["process", "podman", "docker"] = Field(
        default="process", description="What a worker runs in; a container has walls and limits."
    )
    image: str = Field(
        default="localhost/branchline-worker:latest", description="Image of workers in containers."
    )
    worker_memory: str = Field(
        default="3g", pattern=r"^\d+[bkmg]?$", description="Memory of a worker in a container."
    )
    worker_processes: int = Field(
        default=1024, ge=64, description="Processes and threads of a worker in a container, at most."
    )
    worker_processors: float = Field(
        default=2.0, gt=0, description="Processors that a worker in a container may keep busy."
    )
    region: str = Field(default="us-east-1", description="AWS region; on one machine only a name.")
    shutdown_seconds: float = Field(
        default=60.0, ge=0, description="Seconds a worker gets to save its work when the fleet stops."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line, then environment, then the file; ``.env`` and secret folders are not read."""
        del dotenv_settings, file_secret_settings
        path = config_path()
        plain = {k: v for k, v in (read_toml(path) if path else {}).items() if not isinstance(v, dict)}
        return init_settings, env_settings, InitSettingsSource(settings_cls, plain)

    @property
    def address(self) -> str:
        """Base URL of the API, without a slash at the end."""
        return (self.url or self.local_address).rstrip("/")

    @property
    def local_address(self) -> str:
        """Where the dispatcher of this machine is reached from this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        return f"http://{host}:{self.port}"


def load(**given: Any) -> Settings:
    """The effective settings; ``given`` wins where it is not None. Raises Problem with one sentence."""
    try:
        settings = Settings(**{k: v for k, v in given.items() if v is not None})
    except ValidationError as error:
        raise Problem(_sentence(error), code=USAGE) from None
    return settings.model_copy(update={"home": settings.home.expanduser().resolve()})


def config_path() -> Path | None:
    """The configuration file: ``BRANCHLINE_CONFIG``, else ``branchline.toml`` here or in the checkout."""
    named = os.environ.get("BRANCHLINE_CONFIG")
    if named:
        path = Path(named).expanduser().absolute()
        if not path.is_file():
            raise Problem(
                f"BRANCHLINE_CONFIG names {path}, which is not a file; correct it or unset it.", code=USAGE
            )
        return path
    return next((p for p in (Path.cwd() / CONFIG_NAME, ROOT / CONFIG_NAME) if p.is_file()), None)


def read_toml(path: Path) -> dict[str, Any]:
    """The file's tables. Raises Problem when it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Problem(f"{path} cannot be read: {error}. Correct the file.", code=USAGE) from None


def fleet_config() -> FleetConfig | None:
    """Projects and users of the configuration file; None without a file or without a project in it."""
    path = config_path()
    if path is None:
        return None
    try:
        config = FleetConfig.model_validate(read_toml(path))
    except ValidationError as error:
        raise Problem(f"{path}: {_sentence(error)}", code=USAGE) from None
    return config if config.project else None


def redacted(settings: Settings, environment: Mapping[str, str]) -> dict[str, Any]:
    """Settings and the other variables that matter, fit to be printed: secrets only say that they are set."""
    plain = settings.model_dump(mode="json")
    plain["token"] = "(set)" if settings.token else None
    plain["address"] = settings.address
    plain["config"] = str(config_path()) if config_path() else None
    others = {k: _shown(k, v) for k, v in sorted(environment.items()) if _of_interest(k)}
    return {"settings": plain, "environment": others}


_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "HEADERS")
_PREFIXES = ("BRANCHLINE_", "ANTHROPIC_", "CLAUDE_CODE_USE_", "SLACK_", "GITHUB_")


def is_secret(name: str) -> bool:
    """Whether a variable's name says that its value must not be shown."""
    return any(word in name.upper() for word in _SECRET_WORDS)


def without_credentials(url: str) -> str:
    """A repository's or server's URL without user and password."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def _of_interest(name: str) -> bool:
    return name.startswith(_PREFIXES) or name in ("CLAUDE_CODE_OAUTH_TOKEN", "AUTO_SHUTDOWN_MINUTES")


def _shown(name: str, value: str) -> str:
    return "(set)" if is_secret(name) else without_credentials(value)


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"the setting {place or 'file'} is wrong: {first['msg']}. Correct it (BRANCHLINE_{place.upper()})."
