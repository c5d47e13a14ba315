"""What the dispatcher is told about Slack: one frozen object, read once from the environment.

Kept apart from ``dispatcher.settings``: a fleet without Slack needs none of this.
"""

from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

API = "https://slack.com/api/"


def _env(name: str) -> AliasChoices:
    return AliasChoices(name, name.lower())


class SlackSettings(BaseSettings):
    """All optional: without a bot token there is no Slack frontend."""

    model_config = SettingsConfigDict(
        env_prefix="BRANCHLINE_", env_ignore_empty=True, frozen=True, extra="ignore", populate_by_name=True
    )

    signing_secret: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=_env("SLACK_SIGNING_SECRET"),
        description="The app's signing secret; every request of Slack's is signed with it.",
    )
    bot_token: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=_env("SLACK_BOT_TOKEN"),
        description="The bot's token (xoxb-...), with which everything is posted.",
    )
    app_token: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=_env("SLACK_APP_TOKEN"),
        description="App-level token (xapp-...) for Socket Mode; without it events come over HTTP.",
    )
    slack_streams: Literal["off", "direct", "all"] = Field(
        default="direct",
        description="Where a message is streamed while it is worked on: off, direct (messages), all.",
    )
    slack_api_url: str = Field(default=API, description="Base URL of Slack's Web API.")

    @property
    def can_post(self) -> bool:
        """Whether there is a bot to speak as."""
        return bool(self.bot_token.get_secret_value())

    @property
    def takes_http(self) -> bool:
        """Whether requests on ``/slack/...`` can be checked and answered."""
        return self.can_post and bool(self.signing_secret.get_secret_value())

    @property
    def takes_socket(self) -> bool:
        """Whether events are fetched through Socket Mode."""
        return self.can_post and bool(self.app_token.get_secret_value())
