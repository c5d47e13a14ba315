"""The control API of the stand-ins: how ``branchline simulate`` makes people do things and looks at places.

Behind a key, on loopback. Does nothing by itself; a sentence comes back for what cannot be done.
"""

import asyncio
import hmac
from collections.abc import Callable
from typing import Any

from aiohttp import web

from fleet.standin.github_stage import GitHubStage
from fleet.standin.slack_stage import SlackStage
from fleet.standin.slack_world import Json

FAULTS = ("limited", "error", "lost")
STREAM_FAULT = "expired"
"""Slack's alone."""


def application(*, key: str, slack: SlackStage, github: GitHubStage) -> web.Application:
    """The routes. ``POST /{frontend}/say|press|replay|fault``, ``GET /{frontend}/show``."""

    @web.middleware
    async def guarded(request: web.Request, handler: Any) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {key}".encode()):
            return _problem(401, "the key is wrong")
        return await _answered(handler, request)

    control = _Control(slack=slack, github=github)
    app = web.Application(middlewares=[guarded])
    for path in ("/slack", "/github"):
        app.router.add_post(f"{path}/{{what}}", control.act)
        app.router.add_get(f"{path}/ready", control.ready)
        app.router.add_get(f"{path}/show", control.show)
    return app


async def _answered(handler: Any, request: web.Request) -> web.StreamResponse:
    try:
        answer: web.StreamResponse = await handler(request)
    except LookupError as error:
        return _problem(404, str(error.args[0]))
    except (ValueError, TypeError, AttributeError) as error:
        return _problem(400, f"this cannot be read: {error}")
    return answer


class _Control:
    def __init__(self, *, slack: SlackStage, github: GitHubStage) -> None:
        self._slack = slack
        self._github = github

    async def act(self, request: web.Request) -> web.Response:
        given: Json = await request.json()
        do = self._action(request.path, given)
        return web.json_response(await asyncio.to_thread(do))

    async def ready(self, _: web.Request) -> web.Response:
        return web.json_response({})

    async def show(self, request: web.Request) -> web.Response:
        query = request.query
        place, message = query.get("place"), query.get("message")
        if request.path.startswith("/github"):
            return web.json_response(self._github.shown(place=place, message=message))
        whispers = int(query["whispers"]) if "whispers" in query else None
        return web.json_response(self._slack.shown(place=place, message=message, whispers=whispers))

    def _action(self, path: str, given: Json) -> Callable[[], Json]:
        stage = self._github if path.startswith("/github") else self._slack
        person, place = str(given.get("person", "")), given.get("place")
        match path.rpartition("/")[2]:
            case "say":
                text, pull = str(given.get("text", "")), given.get("pull")
                if pull is not None and isinstance(stage, GitHubStage):
                    return lambda: stage.say_on_pull(person=person, text=text, branch=str(pull))
                return lambda: stage.say(person=person, text=text, place=place)
            case "press" if isinstance(stage, SlackStage):
                button = str(given.get("button", ""))
                return lambda: stage.press(person=person, button=button, place=place)
            case "replay":
                times = int(given.get("times", 1))
                return lambda: stage.replay(times)
            case "fault" if given.get("kind") in _faults(stage):
                kind = str(given.get("kind"))
                return lambda: stage.fault(kind)
            case what:
                raise ValueError(f"{what} is nothing that can be done here")


def _faults(stage: SlackStage | GitHubStage) -> tuple[str, ...]:
    return (*FAULTS, STREAM_FAULT) if isinstance(stage, SlackStage) else FAULTS


def _problem(status: int, sentence: str) -> web.Response:
    return web.json_response({"error": sentence}, status=status)
