"""The dispatcher's settings: one frozen object, read once. ``BRANCHLINE_*`` over the file over defaults.

The file is ``branchline.toml`` or what ``BRANCHLINE_CONFIG`` names. Its tables ``[project.NAME]`` and
``[user.NAME]`` become ``fleet``; its other keys are the fields below. Other processes read the same file,
so keys that are not known here are ignored.
"""

import os
import tomllib
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

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
        description="Address to listen on. On any but a loopback address people have to sign in.",
    )
    public_host: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9.-]+$",
        description="Host name of a tunnel to this machine, without scheme and port. The chats' addresses"
        " answer under it; page and API do so where people sign in.",
    )
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]+)?/?$",
        description="Where people reach the page from outside, such as https://fleet.example.",
    )
    edge_key: SecretStr = Field(
        default=SecretStr(""),
        description="What CloudFront shows with each request, so that the name and the address of the viewer"
        " are believed that it brings; without it nobody is believed.",
    )
    login: Literal["none", "accounts", "github", "both"] = Field(
        default="none", description="How people sign in; none is for this machine alone."
    )
    github_client_id: str = Field(default="", description="Client id of the GitHub OAuth app, for sign-in.")
    github_client_secret: SecretStr = Field(
        default=SecretStr(""), description="Client secret of the GitHub OAuth app."
    )
    github_url: str = Field(
        default="https://github.com", description="Where people sign in with GitHub; for Enterprise servers."
    )
    github_api_url: str = Field(
        default="https://api.github.com", description="Base URL of GitHub's REST API."
    )
    operator_token_hash: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of a bearer token that may do everything: the way in before there are accounts.",
    )
    seal_key: SecretStr = Field(
        default=SecretStr(""),
        description="With it the seeds of one-time codes are encrypted; without it there are no such codes.",
    )
    sign_ins_per_minute: int = Field(
        default=10,
        ge=1,
        description="How often a user may try to sign in from an address within a minute.",
    )
    posts_per_minute: int = Field(
        default=120, ge=1, description="How often one signed-in person or token may post within a minute."
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
    replies_queue: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="URL of the queue of replies, where it is made with the rest of a stack and not by us.",
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

    @property
    def signs_in(self) -> bool:
        """Whether people sign in at all."""
        return self.login != "none"

    @property
    def has_edge(self) -> bool:
        """Whether CloudFront is before this server: then there is a name for each preview."""
        return bool(self.edge_key.get_secret_value())

    @property
    def passwords(self) -> bool:
        """Whether people sign in with accounts of this fleet."""
        return self.login in ("accounts", "both")

    @property
    def github_login(self) -> bool:
        """Whether people sign in with GitHub."""
        return self.login in ("github", "both")

    @cached_property
    def outside_host(self) -> str | None:
        """The one name under which this machine is reached from outside, in lower case."""
        name = self.public_host or (urlsplit(self.public_url).hostname if self.public_url else None)
        return name.lower() if name else None

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
