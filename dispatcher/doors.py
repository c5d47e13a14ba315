"""The chat frontends there are. One that is switched off costs nothing: its libraries are not imported."""

from dispatcher.frontends import Chat, Frontdoor, Inside
from dispatcher.github_settings import GitHubSettings
from dispatcher.slack_settings import SlackSettings


def _slack_is_on() -> bool:
    slack = SlackSettings()
    return slack.takes_http or slack.takes_socket


async def _slack(inside: Inside) -> Chat:
    from dispatcher.slack_door import build

    return await build(inside)


def _github_is_on() -> bool:
    return GitHubSettings().is_ready


async def _github(inside: Inside) -> Chat:
    from dispatcher.github_door import build

    return await build(inside)


ALL = (
    Frontdoor(is_on=_slack_is_on, build=_slack),
    Frontdoor(is_on=_github_is_on, build=_github),
)
