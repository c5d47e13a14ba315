"""Makes the posts of one place stand, whoever dies or tries the same at the same time.

The rules and the cases are in ``docs/decisions/chat-frontends.md``: an intent is written before a post is
made, and one that is left over is searched for at the frontend before it is made again. Two numbers carry
the promise that nothing is posted twice: a post is begun within ``START_SECONDS`` of its intent and takes at
most ``CALL_SECONDS``, and nobody takes an intent over before ``TAKE_OVER_SECONDS``.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import structlog

from contracts.places import PlaceRecord
from dispatcher import due
from dispatcher.errors import Overtaken
from dispatcher.pace import Pace
from dispatcher.places import Places
from dispatcher.posting import Dialect, Gone, Later, Poster, Undeliverable, Wanted
from dispatcher.view import ThreadView

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")

START_SECONDS = 5.0
CALL_SECONDS = 20.0
TAKE_OVER_SECONDS = 30.0
_OVERTAKEN_SECONDS = 0.1
_REMEMBERED = 10_000


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How a place was left. ``again`` is in seconds: when there is more to do without another ring."""

    place: PlaceRecord
    again: float | None = None


class Stand:
    """One frontend's places. ``now`` is a monotonic clock, in seconds."""

    def __init__(self, *, places: Places, dialect: Dialect, poster: Poster, now: Callable[[], float]) -> None:
        self.places = places
        self.dialect = dialect
        self.poster = poster
        self.now = now
        self.pace = Pace(now)
        self.doubtful: set[tuple[str, str]] = set()
        """Posts (address, key) that may look otherwise than recorded; they are edited again."""
        self._watched: OrderedDict[str, tuple[int, float]] = OrderedDict()

    async def make(self, place: PlaceRecord, view: ThreadView) -> Standing:
        """Do what can be done now. Raises Unavailable, and whatever the dialect raises."""
        held = self.pace.wait(place.address)
        if held > 0:
            return Standing(place=place, again=held)
        visit = _Visit(stand=self, place=place, view=view)
        try:
            again = await visit.make()
        except Overtaken:
            again = _OVERTAKEN_SECONDS
        except Later as error:
            again = self.pace.refused(place.address, error)
            _log.info("post held back", address=place.address, seconds=again, problem=str(error))
        except Undeliverable as error:
            return await self.give_up(visit.place, str(error))
        return Standing(place=visit.place, again=again)

    async def give_up(self, place: PlaceRecord, why: str) -> Standing:
        """Post nothing in this place any more, until somebody writes there."""
        _log.error("place is undeliverable", frontend=place.frontend, address=place.address, problem=why)
        try:
            marked = await self.places.save(place, place.model_copy(update={"undeliverable": why}))
        except Overtaken:
            return Standing(place=place, again=_OVERTAKEN_SECONDS)
        return Standing(place=marked)

    def watch(self, place: PlaceRecord, *, since: float | None = None) -> float:
        """Seconds until the intent in this very version may be taken over; 0 or less when it may be."""
        seen = self._watched.get(place.address)
        if seen is None or seen[0] != place.version:
            seen = self._watched[place.address] = (place.version, self.now() if since is None else since)
            if len(self._watched) > _REMEMBERED:
                self._watched.popitem(last=False)
        return seen[1] + TAKE_OVER_SECONDS - self.now()


class _Visit:
    """One pass over one place; ``place`` is always the version that was written or read last."""

    def __init__(self, *, stand: Stand, place: PlaceRecord, view: ThreadView) -> None:
        self._stand = stand
        self.place = place
        self._view = view

    async def make(self) -> float | None:
        """Seconds until there is more to do, if there is. Raises Overtaken, Later, Undeliverable."""
        if self.place.intent is not None:
            left = self._stand.watch(self.place)
            if left > 0:
                return left
            await self._take_over(self.place.intent)
        wanted = self._stand.dialect.wanted(self._view, self.place)
        again = await self._make_all(self._outstanding(wanted))
        after = due.settled(self.place, wanted=wanted, view=self._view)
        if (after.through, after.done) != (self.place.through, self.place.done):
            await self._save(after)
        return again

    def _outstanding(self, wanted: list[Wanted]) -> list[Wanted]:
        doubtful = {key for address, key in self._stand.doubtful if address == self.place.address}
        known = {key: body for key, body in self.place.bodies.items() if key not in doubtful}
        place = self.place.model_copy(update={"bodies": known})
        return due.outstanding(wanted, place=place, view=self._view)

    async def _make_all(self, posts: list[Wanted]) -> float | None:
        """New posts in their order; of the edits the one that is due most. Seconds until the next edit."""
        edits = {post.key: post for post in reversed(posts) if post.key in self.place.posts}
        if edits and self._stand.pace.edit_in(self.place.address) <= 0:
            # One at a time, and before a new post: what stands above says what follows.
            due_most = next((post for post in edits.values() if post.at_once), None)
            await self._edit(edits.pop(due_most.key) if due_most else edits.popitem()[1])
        for post in posts:
            if post.key not in self.place.posts:
                await self._create(post)
        return max(self._stand.pace.edit_in(self.place.address), 0.0) if edits else None

    async def _take_over(self, key: str) -> None:
        """Somebody meant to post this and died, or never heard what became of it: look whether it stands."""
        found = await self._call(self._stand.poster.find(self.place.address, key))
        posts = self.place.posts | ({key: found} if found is not None else {})
        await self._save(self.place.model_copy(update={"intent": None, "posts": posts}))

    async def _create(self, post: Wanted) -> None:
        # The clock is read before the intent can be seen by anybody: whoever waits began to wait later.
        since = self._stand.now()
        await self._save(self.place.model_copy(update={"intent": post.key}))
        self._stand.watch(self.place, since=since)
        if self._stand.now() - since > START_SECONDS:
            raise Later("This process was held up; somebody else may be posting now.")
        try:
            post_id = await self._call(self._stand.poster.create(self.place.address, post))
        except Later as error:
            if error.seconds is not None:
                await self._save(self.place.model_copy(update={"intent": None}))
            raise
        except Undeliverable:
            await self._save(self.place.model_copy(update={"intent": None}))
            raise
        self._stand.pace.acted(self.place.address)
        posts = self.place.posts | {post.key: post_id}
        await self._save(self._shown(post).model_copy(update={"intent": None, "posts": posts}))

    async def _edit(self, post: Wanted) -> None:
        # Until this is recorded, and if another was faster with that, nobody knows how the post looks.
        doubt = (self.place.address, post.key)
        self._stand.doubtful.add(doubt)
        self._stand.pace.acted(self.place.address)
        try:
            await self._call(self._stand.poster.update(self.place.address, self.place.posts[post.key], post))
        except Gone as error:
            _log.info("post was deleted", address=self.place.address, key=post.key, problem=str(error))
        self._stand.pace.acted(self.place.address)
        await self._save(self._shown(post))
        self._stand.doubtful.discard(doubt)

    def _shown(self, post: Wanted) -> PlaceRecord:
        bodies: Mapping[str, str] = self.place.bodies | {post.key: due.digest_of(post)}
        return self.place.model_copy(update={"bodies": bodies, "shown": self._view.last})

    async def _call(self, request: Awaitable[_T]) -> _T:
        """A request to the frontend. Whatever breaks in it says nothing about whether it was done."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await request
        except (Later, Undeliverable, Gone):
            raise
        except Exception as error:
            _log.warning("frontend did not answer", address=self.place.address, problem=repr(error))
            raise Later(f"The frontend did not answer: {type(error).__name__}.") from error

    async def _save(self, after: PlaceRecord) -> None:
        self.place = await self._stand.places.save(self.place, after)
