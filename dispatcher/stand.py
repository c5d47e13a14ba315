"""Makes the posts of one place stand, whoever dies or tries the same at the same time.

The rules and the cases are in ``docs/decisions/chat-frontends.md``: an intent is written before a post is
made or edited, and one that is left over is searched for at the frontend before it is made again. Two numbers
carry the promise that nothing is posted twice and that no edit comes behind a later one: a request is begun
within ``START_SECONDS`` of its intent and takes at most ``CALL_SECONDS``, and nobody takes an intent over
before ``TAKE_OVER_SECONDS``.
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
_BUSY_SECONDS = 1.0
"""When to look again first where somebody else is at work: nobody rings when that is done."""
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
            if self.pace.is_hopeless(place.address):
                return await self.give_up(visit.place, str(error))
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
                return min(left, max(TAKE_OVER_SECONDS - left, _BUSY_SECONDS))
            await self._take_over(self.place.intent)
        wanted = self._stand.dialect.wanted(self._view, self.place)
        again = await self._make_all(due.outstanding(wanted, place=self.place, view=self._view))
        after = due.settled(self.place, wanted=wanted, view=self._view)
        if (after.through, after.done) != (self.place.through, self.place.done):
            await self._save(after)
        return again if again is not None else due.fades(wanted)

    async def _make_all(self, posts: list[Wanted]) -> float | None:
        """New posts in their order; of the edits the one that is due most. Seconds until the next edit."""
        edits = {post.key: post for post in reversed(posts) if post.key in self.place.posts}
        ready = [post for post in reversed(edits.values()) if self._edit_in(post) <= 0]
        if ready:
            # One at a time, and before a new post: what stands above says what follows.
            await self._edit(edits.pop(next((post for post in ready if post.at_once), ready[0]).key))
        for post in posts:
            if post.key not in self.place.posts:
                await self._create(post)
        return min((max(self._edit_in(post), 0.0) for post in edits.values()), default=None)

    def _edit_in(self, post: Wanted) -> float:
        return self._stand.pace.edit_in(self.place.address, rest=post.rest)

    async def _take_over(self, key: str) -> None:
        """Somebody meant to post or edit this and died, or never heard what became of it: look whether it
        stands. How it looks nobody knows."""
        if key in self.place.posts:
            await self._save(self._unsure(key))
            return
        known = tuple(self.place.posts.values())
        found = await self._call(self._stand.poster.find(self.place.address, key, known=known))
        posts = self.place.posts | ({key: found} if found is not None else {})
        await self._save(self.place.model_copy(update={"intent": None, "posts": posts}))

    async def _create(self, post: Wanted) -> None:
        address = self.place.address
        post_id = await self._announced(post.key, lambda: self._stand.poster.create(address, post))
        await self._save(self._shown(post, posts=self.place.posts | {post.key: post_id}))

    async def _edit(self, post: Wanted) -> None:
        address, post_id = self.place.address, self.place.posts[post.key]
        self._stand.pace.acts(address)
        try:
            await self._announced(post.key, lambda: self._stand.poster.update(address, post_id, post))
        except Gone as error:
            _log.info("post was deleted", address=address, key=post.key, problem=str(error))
            if post.final:  # an answer is still wanted: made anew, with an intent like every new post
                return await self._save(self._without(post.key))
        return await self._save(self._shown(post, posts=self.place.posts))

    async def _announced(self, key: str, request: Callable[[], Awaitable[_T]]) -> _T:
        """Make a request once everybody can see that it is about to be made; the intent is still there when
        it was answered. Raises what the request raises, and Later when this process was held up."""
        # The clock is read before the intent can be seen by anybody: whoever waits began to wait later.
        since = self._stand.now()
        await self._save(self.place.model_copy(update={"intent": key}))
        self._stand.watch(self.place, since=since)
        if self._stand.now() - since > START_SECONDS:
            raise Later("This process was held up; somebody else may be posting now.")
        try:
            answer = await self._call(request())
        except Later as error:
            if error.seconds is not None:
                await self._save(self.place.model_copy(update={"intent": None}))
            elif key in self.place.posts:  # to edit it once more does no harm
                await self._save(self._unsure(key))
            raise
        except Undeliverable:
            await self._save(self.place.model_copy(update={"intent": None}))
            raise
        self._stand.pace.acted(self.place.address)
        return answer

    def _unsure(self, key: str) -> PlaceRecord:
        """The place without an intent and without a word on how this post looks, so that it is edited."""
        bodies = {known: body for known, body in self.place.bodies.items() if known != key}
        return self.place.model_copy(update={"intent": None, "bodies": bodies})

    def _without(self, key: str) -> PlaceRecord:
        """The place without an intent and without this post."""
        posts = {known: post_id for known, post_id in self.place.posts.items() if known != key}
        return self._unsure(key).model_copy(update={"posts": posts})

    def _shown(self, post: Wanted, *, posts: Mapping[str, str]) -> PlaceRecord:
        bodies: Mapping[str, str] = self.place.bodies | {post.key: due.digest_of(post)}
        changes = {"bodies": bodies, "posts": posts, "intent": None, "shown": self._view.last}
        return self.place.model_copy(update=changes)

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
