"""What the dispatcher is told about GitHub: one frozen object, read once from the environment.

Kept apart from ``dispatcher.settings``, because ``scripts/redeliver`` needs these and nothing else.
"""

from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

HANDLE = "@branchline"
API = "https://api.github.com"


def _env(name: str) -> AliasChoices:
    return AliasChoices(name, name.lower())


class GitHubSettings(BaseSettings):
    """All optional: without a webhook secret, an App id and its key there is no GitHub frontend."""

    model_config = SettingsConfigDict(
        env_prefix="BRANCHLINE_", env_ignore_empty=True, frozen=True, extra="ignore", populate_by_name=True
    )

    webhook_secret: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=_env("GITHUB_WEBHOOK_SECRET"),
        description="The App's webhook secret; every delivery is signed with it.",
    )
    app_id: str = Field(
        default="", validation_alias=_env("GITHUB_APP_ID"), description="The App's id or client id."
    )
    private_key: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=_env("GITHUB_APP_PRIVATE_KEY"),
        description="The App's private key in PEM; line ends may be written as \\n.",
    )
    github_api_url: str = Field(default=API, description="Base URL of GitHub's REST API.")
    handle: str = Field(default=HANDLE, min_length=2, description="The word that calls; with its @.")
    github_draft: bool = Field(default=True, description="Whether pull requests are opened as drafts.")
    public_url: str | None = Field(
        default=None, description="Where people reach the chat page; without it comments do not link to it."
    )

    @property
    def is_app(self) -> bool:
        """Whether there is an App to speak as."""
        return bool(self.app_id and self.private_key.get_secret_value())

    @property
    def is_ready(self) -> bool:
        """Whether webhooks can be taken and answered."""
        return self.is_app and bool(self.webhook_secret.get_secret_value())

    @property
    def pem(self) -> str:
        """The private key with real line ends."""
        return self.private_key.get_secret_value().replace("\\n", "\n")


def repo_of(remote: str, *, api_url: str) -> str | None:
    """``owner/name`` of a remote that lives on the GitHub whose API is at ``api_url``; None for any other."""
    there, here = urlsplit(remote), urlsplit(api_url)
    host = "github.com" if here.netloc == "api.github.com" else here.netloc
    if there.scheme not in ("https", "http") or there.netloc.rpartition("@")[2].lower() != host.lower():
        return None
    if there.scheme == "http" and here.scheme != "http":
        return None
    parts = there.path.strip("/").removesuffix(".git").split("/")
    return "/".join(parts).lower() if len(parts) == 2 and all(parts) else None
