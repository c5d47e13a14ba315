"""A frontend in memory behind the port ``Poster``: what stands in its places, and what it refuses."""

import asyncio
import itertools
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from contracts.places import PlaceRecord
from contracts.words import Frontend
from dispatcher.posting import Gone, Wanted
from dispatcher.view import MessageView, ThreadView

_ids = itertools.count()
Hook = Callable[[str, str], Awaitable[None]]


async def nothing(_: str, __: str) -> None:
    """No hook."""


@dataclass
class Standing:
    """A post that was made."""

    post_id: str
    key: str
    body: dict[str, Any]


@dataclass
class MemoryPoster:
    """``refusals``: raised by the next calls, one each; per address. ``before`` and ``after`` are awaited
    around the moment in which a call takes effect, with the call's name and the post's key; an error in
    ``after`` is an answer that got lost. ``calls``: every call as (name, address, key), in order."""

    frontend: Frontend = Frontend.SLACK
    posts: dict[str, list[Standing]] = field(default_factory=lambda: defaultdict(list))
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    refusals: dict[str, deque[Exception]] = field(default_factory=lambda: defaultdict(deque))
    before: Hook = nothing
    after: Hook = nothing
    at: Callable[[], float] | None = None
    times: list[tuple[str, float]] = field(default_factory=list)

    async def find(self, address: str, key: str, *, known: Collection[str] = ()) -> str | None:
        await self._begin("find", address, key)
        found = next((p.post_id for p in self.posts[address] if p.key == key), None)
        await self.after("find", key)
        return found

    async def create(self, address: str, wanted: Wanted) -> str:
        await self._begin("create", address, wanted.key)
        post = Standing(post_id=f"id-{next(_ids)}", key=wanted.key, body=dict(wanted.body))
        self.posts[address].append(post)
        await self.after("create", wanted.key)
        return post.post_id

    async def update(self, address: str, post_id: str, wanted: Wanted) -> None:
        await self._begin("update", address, wanted.key)
        post = next((p for p in self.posts[address] if p.post_id == post_id), None)
        if post is None:
            raise Gone("The post was deleted.")
        post.body = dict(wanted.body)
        await self.after("update", wanted.key)

    async def _begin(self, call: str, address: str, key: str) -> None:
        self.calls.append((call, address, key))
        if self.at is not None:
            self.times.append((call, self.at()))
        await asyncio.sleep(0)
        if self.refusals[address]:
            raise self.refusals[address].popleft()
        await self.before(call, key)

    def keys(self, address: str) -> list[str]:
        """The keys of all posts in a place, in the order in which they were made."""
        return [post.key for post in self.posts[address]]

    def body(self, address: str, key: str) -> dict[str, Any]:
        """What a post looks like now. Fails when there are two of it."""
        (post,) = (p for p in self.posts[address] if p.key == key)
        return post.body


class PlainDialect:
    """A living post for each message, and its answer when there is one. ``broken``: texts that break it."""

    def __init__(self, *broken: str) -> None:
        self.broken = set(broken)

    def wanted(self, view: ThreadView, place: PlaceRecord) -> list[Wanted]:
        return [post for message in view.messages for post in self._of(message)]

    def _of(self, message: MessageView) -> list[Wanted]:
        if message.text in self.broken:
            raise ValueError("this cannot be rendered")
        message_id = message.message_id
        state = {"stage": message.stage.value, "said": "" if message.is_over else message.said}
        posts = [
            Wanted(key=f"living:{message_id}", body=state, message_id=message_id, at_once=not message.said)
        ]
        if message.final is not None:
            answer = {"text": message.final.text}
            posts.append(Wanted(key=f"answer:{message_id}:1", body=answer, message_id=message_id, final=True))
        return posts
