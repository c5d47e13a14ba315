"""The stand-ins of Slack and GitHub as a run with replies needs them: they know which dispatcher asks, can
have it killed around a post, and write down every request. What they answer is the stand-ins' own business.
"""

import asyncio
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from fleet.standin.github import GitHubStandin, _Reply
from fleet.standin.slack import SlackStandIn
from fleet.standin.slack_world import Json
from tests.chaos.history import History

WAYS = ("late", "posted", "answered")
"""When the one who posts is killed: before its request is carried out, which happens all the same; after it
was carried out, before the answer; a few milliseconds after the answer."""
_LATE = (0.1, 3.0)
_MOMENT = 0.03
_SLACK_NEW = ("chat.postMessage", "files.completeUploadExternal")
_SLACK_POSTS = (*_SLACK_NEW, "chat.update")
_GITHUB_NEW = re.compile(r"POST .*/issues/\d+/comments")
_GITHUB_POSTS = re.compile(r"POST .*/issues/\d+/comments|PATCH .*/issues/comments/\d+")
_CALLER = re.compile(r"/by-(\d+)(/.*)")


@dataclass(kw_only=True)
class Traps:
    """Traps for those who post. ``kill`` ends the dispatcher with this port. Safe from any thread."""

    history: History
    kill: Callable[[int], None]
    dice: random.Random
    sprung: Counter[str] = field(default_factory=Counter)
    _armed: list[tuple[str, bool]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def arm(self, way: str, *, only_new: bool) -> None:
        """The next who posts (``only_new``: something new, no edit) is killed that way."""
        with self._lock:
            self._armed.append((way, only_new))

    def disarm(self) -> None:
        with self._lock:
            self._armed.clear()

    def take(self, *, is_new: bool) -> str | None:
        """The way in which this one is to be killed, if it is."""
        with self._lock:
            fits = next((trap for trap in self._armed if is_new or not trap[1]), None)
            if fits is not None:
                self._armed.remove(fits)
        return fits[0] if fits else None

    def spring(self, way: str, *, port: int, what: str) -> None:
        self.history.add("trap", way, port=port, request=what)
        self.sprung[f"at a post, {way}"] += 1
        self.kill(port)

    def moment(self) -> float:
        return self.dice.uniform(0, _MOMENT)

    def late(self) -> float:
        return self.dice.uniform(*_LATE)


class WatchedSlack(SlackStandIn):
    """``token_of`` is the bot's token as a dispatcher is given it, so that requests say whose they are."""

    def __init__(self, traps: Traps) -> None:
        super().__init__()
        self._traps = traps

    def token_of(self, port: int) -> str:
        return f"{self.token}-{port}"

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method, port = request.match_info["method"], self._port_of(request.headers.get("Authorization", ""))
        await request.read()  # its sender may be dead before it is carried out
        way = self._traps.take(is_new=method in _SLACK_NEW) if method in _SLACK_POSTS else None
        if way == "late":
            self._traps.spring(way, port=port, what=method)
            await asyncio.sleep(self._traps.late())
        calls = len(self.calls)
        answer = await super()._api(request)
        self._write_down(method, port, self.calls[calls:])
        if way == "posted":
            self._traps.spring(way, port=port, what=method)
        elif way == "answered":
            asyncio.get_running_loop().call_later(
                self._traps.moment(), lambda: self._traps.spring(way, port=port, what=method)
            )
        return answer

    def _answer(self, method: str, given: Json, *, token: str) -> Json:
        known = self._port_of(token)
        return super()._answer(method, given, token=f"Bearer {self.token}" if known else token)

    def _port_of(self, authorization: str) -> int:
        given = authorization.removeprefix(f"Bearer {self.token}-")
        return int(given) if given.isdecimal() else 0

    def _write_down(self, method: str, port: int, calls: list[Any]) -> None:
        for call in calls:
            key = str(call.given.get("metadata", ""))[-60:] or call.given.get("ts", "")
            self._traps.history.add("slack", method, port=port, about=key, answer=call.answer)


class WatchedGitHub(GitHubStandin):
    """Dispatchers come through addresses of their own (``url_of``). ``slow``: how many of the next posts are
    carried out after seconds only."""

    def __init__(self, traps: Traps) -> None:
        self._traps = traps
        self.slow = 0
        super().__init__()
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # whoever asked is dead

    def url_of(self, port: int) -> str:
        return f"{self.url}/by-{port}"

    def heal(self) -> None:
        """Be kind again."""
        self._faults.clear()
        self.slow = 0

    def reply(self, *, method: str, target: str, headers: dict[str, str], body: bytes) -> _Reply | None:
        known = _CALLER.fullmatch(target)
        port, target = (int(known[1]), known[2]) if known else (0, target)
        line = f"{method} {target}"
        way = None
        if _GITHUB_POSTS.fullmatch(line):
            way = self._traps.take(is_new=_GITHUB_NEW.fullmatch(line) is not None)
            self._hold_up(way, port=port, line=line)
        told = super().reply(method=method, target=target, headers=headers, body=body)
        self._traps.history.add("github", line, port=port, answer=told.status if told else "lost")
        if way == "posted":
            self._traps.spring(way, port=port, what=line)
        elif way == "answered":
            threading.Timer(
                self._traps.moment(), lambda: self._traps.spring(way, port=port, what=line)
            ).start()
        return None if way in ("late", "posted") else told

    def _hold_up(self, way: str | None, *, port: int, line: str) -> None:
        if way == "late":
            self._traps.spring(way, port=port, what=line)
            time.sleep(self._traps.late())
        elif self.slow > 0:
            self.slow -= 1
            time.sleep(self._traps.late())
