"""Slack as a frontend: when it is on, and its parts put together. The only place that knows all of them."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from dispatcher.frontends import Chat, Frontdoor, Inside
from dispatcher.slack_in import SlackIn
from dispatcher.slack_post import SlackPoster
from dispatcher.slack_render import SlackDialect
from dispatcher.slack_settings import SlackSettings


def is_on() -> bool:
    """Whether there is a bot to speak as, and a way to hear: signed requests or Socket Mode."""
    slack = SlackSettings()
    return slack.takes_http or slack.takes_socket


async def build(inside: Inside) -> Chat:
    """The routes, the posts and, with an app token, the socket."""
    slack = SlackSettings()
    poster = SlackPoster(
        token=slack.bot_token.get_secret_value(), base_url=slack.slack_api_url, session=inside.session
    )
    incoming = SlackIn(
        settings=inside.settings,
        slack=slack,
        ingest=inside.ingest,
        people=inside.people,
        places=inside.places,
        log=inside.table,
        voice=poster,
    )
    _beside(inside, poster.run())
    if slack.takes_socket:
        from dispatcher.slack_socket import SlackSocket  # a WebSocket client, for nobody else

        socket = SlackSocket(slack=slack, taking=incoming.taking, voice=poster, session=inside.session)
        _beside(inside, socket.run())
    return Chat(
        dialect=SlackDialect(streams=slack.slack_streams),
        poster=poster,
        router=incoming.router() if slack.takes_http else None,
    )


def _beside(inside: Inside, work: Coroutine[Any, Any, None]) -> None:
    """Let this run until the dispatcher stops."""
    running = asyncio.create_task(work)

    async def end() -> None:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    inside.stack.push_async_callback(end)


DOOR = Frontdoor(is_on=is_on, build=build)
