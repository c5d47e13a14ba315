"""Edits by several consumers: none that comes late undoes a later one, none that got lost is believed.
And those that only a clock asks for: few."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from contracts.places import PlaceRecord
from contracts.words import Frontend, MessageId, ThreadId
from dispatcher.github_render import GitHubDialect
from dispatcher.pace import TRIES
from dispatcher.places import Places
from dispatcher.posting import Later
from dispatcher.replies import Replies
from dispatcher.slack_render import SlackDialect
from dispatcher.stand import TAKE_OVER_SECONDS
from tests.fakes.poster import MemoryPoster
from tests.integration.replies_lab import TABLE, WORKER, Clock, Lab, lab, look_until_done, pointer

P = "T1/C1/1.0"


@pytest.fixture
async def site(engine_url: str, account: str) -> AsyncIterator[Lab]:
    async with lab(url=engine_url, account=account) as site:
        yield site


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Slow:
    """A consumer whose edit is under way until it is carried out, and then until it is answered."""

    def __init__(self, site: Lab, *, clock: Clock, shared: MemoryPoster) -> None:
        self.poster = MemoryPoster(posts=shared.posts)
        self.replies: Replies = site.replies(self.poster, clock=clock)
        self._asked, self._carry_out = asyncio.Event(), asyncio.Event()
        self._done, self._answered = asyncio.Event(), asyncio.Event()

    async def begin(self) -> None:
        """Look, as far as to the request."""

        async def before(call: str, key: str) -> None:
            self._asked.set()
            await self._carry_out.wait()

        async def after(call: str, key: str) -> None:
            self._done.set()
            await self._answered.wait()

        self.poster.before, self.poster.after = before, after
        self._look = asyncio.create_task(self.replies.look(pointer("a")))
        await self._asked.wait()

    async def carry_out(self) -> None:
        self._carry_out.set()
        await self._done.wait()

    async def end(self) -> float | None:
        self._answered.set()
        return await self._look

    async def die(self) -> None:
        self._look.cancel()
        await asyncio.wait([self._look])


async def edited_late(site: Lab, *, clock: Clock) -> tuple[Slow, MemoryPoster]:
    """A consumer says "running" about a message that has ended meanwhile, and that another looked at."""
    message_id, shared = await site.message("a", 1), MemoryPoster()
    await site.show("a", P)
    slow = Slow(site, clock=clock, shared=shared)
    await slow.replies.look(pointer("a"))
    await site.start("a", message_id)
    clock.tick(2)
    await slow.begin()
    await site.answer("a", message_id, "one")
    other = site.replies(MemoryPoster(posts=shared.posts), clock=clock)
    for _ in range(4):
        await other.look(pointer("a"))
        clock.tick(1)
    await slow.carry_out()
    return slow, shared


async def test_an_edit_that_comes_late_from_the_dead_does_not_undo_the_end(site: Lab, clock: Clock) -> None:
    slow, shared = await edited_late(site, clock=clock)
    await slow.die()
    await look_until_done(site.replies(MemoryPoster(posts=shared.posts), clock=clock), "a", clock=clock)
    assert shared.body(P, "living:a-1")["stage"] == "completed"
    assert shared.keys(P) == ["living:a-1", "answer:a-1:1"]


async def test_an_edit_that_comes_late_does_not_undo_the_end(site: Lab, clock: Clock) -> None:
    slow, shared = await edited_late(site, clock=clock)
    await slow.end()
    await look_until_done(site.replies(MemoryPoster(posts=shared.posts), clock=clock), "a", clock=clock)
    assert shared.body(P, "living:a-1")["stage"] == "completed"
    assert shared.keys(P) == ["living:a-1", "answer:a-1:1"]


async def test_who_finds_another_at_work_looks_again_soon_and_not_when_it_could_take_over(
    site: Lab, clock: Clock
) -> None:
    shared = MemoryPoster()
    message_id = await site.message("a", 1)
    await site.show("a", P)
    slow = Slow(site, clock=clock, shared=shared)
    await slow.begin()
    await site.answer("a", message_id, "one")
    other, began = site.replies(MemoryPoster(posts=shared.posts), clock=clock), clock.seconds
    waits = [await other.look(pointer("a"))]
    while clock.seconds < began + TAKE_OVER_SECONDS / 2:
        clock.tick(waits[-1] or 0)
        waits.append(await other.look(pointer("a")))
    assert waits[:4] == [1, 1, 2, 4]
    assert shared.keys(P) == []
    await slow.carry_out()
    await slow.end()
    await look_until_done(other, "a", clock=clock)
    assert shared.keys(P) == ["living:a-1", "answer:a-1:1"]


async def test_an_edit_without_an_answer_is_made_again_also_when_the_post_should_look_as_before(
    site: Lab, clock: Clock
) -> None:
    message_id, shared = await site.message("a", 1), MemoryPoster()
    await site.show("a", P)
    await site.start("a", message_id)
    replies = site.replies(shared, clock=clock)
    await replies.look(pointer("a"))
    await interrupted(site, message_id)

    async def lose(call: str, key: str) -> None:
        raise OSError("connection reset")

    shared.after = lose
    clock.tick(2)
    await replies.look(pointer("a"))
    assert shared.body(P, "living:a-1")["stage"] == "paused"
    more = {"reason": "preempted", "branch": "thread-a", "attempt": 1}
    await site.tell("a", message_id, "turn.resumed", text="It goes on.", **more)
    later = MemoryPoster(posts=shared.posts)
    await look_until_done(site.replies(later, clock=clock), "a", clock=clock)
    assert shared.body(P, "living:a-1")["stage"] == "running"
    (place,) = await site.places.places_of(WORKER, ThreadId("a"))
    assert place.intent is None


async def interrupted(site: Lab, message_id: MessageId) -> None:
    """The turn is paused."""
    more = {"reason": "preempted", "by_thread": "b"}
    await site.tell("a", message_id, "turn.interrupted", text="Another thread is first.", **more)


async def test_the_elapsed_time_goes_on_in_silence_and_costs_no_more_than_three_edits_a_minute(
    site: Lab, clock: Clock
) -> None:
    poster, begun = MemoryPoster(at=clock), datetime.now(UTC)
    dialect = SlackDialect(now=lambda: begun + timedelta(seconds=clock() - 1000))
    message_id = await site.message("a", 1)
    await site.show("a", P)
    await site.start("a", message_id)
    replies = site.replies(poster, clock=clock, dialect=dialect)
    waits = []
    while clock() < 1180:
        wait = await replies.look(pointer("a"))
        assert wait is not None, "nobody would look again before something happens"
        waits.append(wait)
        clock.tick(wait)
    edits = [at for call, at in poster.times if call == "update"]
    assert 7 <= len(edits) <= 9
    assert min(b - a for a, b in itertools.pairwise(edits)) >= 20
    assert "2 min" in str(poster.body(P, f"living:{message_id}")["blocks"])
    await site.answer("a", message_id)
    await look_until_done(replies, "a", clock=clock)


async def test_a_comment_on_github_is_edited_ever_more_seldom_and_shows_the_end_at_once(
    site: Lab, clock: Clock
) -> None:
    poster, begun = MemoryPoster(frontend=Frontend.GITHUB, at=clock), datetime.now(UTC)
    dialect = GitHubDialect(page=lambda _: None, now=lambda: begun + timedelta(seconds=clock() - 1000))
    message_id = await site.message("a", 1, frontend=Frontend.GITHUB)
    await site.show("a", "acme/site#1", frontend=Frontend.GITHUB)
    await site.start("a", message_id)
    replies = site.replies(poster, clock=clock, dialect=dialect)
    while clock() < 1150:
        more = {"name": f"Step{clock()}", "state": "started"}
        await site.tell("a", message_id, "turn.tool", tool_use_id="x", **more)
        wait = await replies.look(pointer("a"))
        clock.tick(1.5)
    edits = [at for call, at in poster.times if call == "update"]
    assert 5 <= sum(at < 1010 for at in edits) <= 8
    assert 14 <= sum(1010 <= at < 1060 for at in edits) <= 17
    assert 7 <= sum(at > 1060 for at in edits) <= 9
    assert wait is not None, "nobody would look again for the state that was held back"
    clock.tick(wait)
    await replies.look(pointer("a"))
    await site.answer("a", message_id)
    clock.tick(1)
    assert await replies.look(pointer("a")) is None
    assert "Done" in poster.body("acme/site#1", "sticky")["text"]


async def test_edits_without_an_answer_are_tried_ever_more_seldom_too(site: Lab, clock: Clock) -> None:
    poster = MemoryPoster(at=clock)
    message_id = await site.message("a", 1)
    await site.show("a", P)
    replies = site.replies(poster, clock=clock)
    await replies.look(pointer("a"))
    await site.start("a", message_id)
    clock.tick(1)
    poster.refusals[P].extend([OSError("connection reset")] * 15)
    pauses = []
    while poster.refusals[P]:
        wait = await replies.look(pointer("a"))
        assert wait is not None
        pauses.append(wait)
        clock.tick(wait)
    assert pauses == [min(2.0**n, 300) for n in range(15)]
    await look_until_done(replies, "a", clock=clock)
    assert poster.body(P, f"living:{message_id}")["stage"] == "running"


@pytest.mark.parametrize("as_edit", [False, True])
async def test_a_post_that_is_refused_again_and_again_is_given_up_and_stops_no_other_place(
    site: Lab, clock: Clock, as_edit: bool
) -> None:
    poster = MemoryPoster(at=clock)
    message_id = await site.message("a", 1)
    await site.show("a", P)
    await site.show("a", "T1/C2/2.0")
    replies = site.replies(poster, clock=clock)
    if as_edit:
        await replies.look(pointer("a"))
        clock.tick(1)
    await site.start("a", message_id)
    poster.refusals[P].extend([Later("Slack did not take it: invalid_arguments.", refused=True)] * 100)
    await look_until_done(replies, "a", clock=clock)
    assert len(poster.refusals[P]) == 100 - TRIES
    (given_up,) = await site.places.undeliverable_of(WORKER)
    assert (given_up.address, given_up.undeliverable) == (P, "Slack did not take it: invalid_arguments.")
    assert clock() - 1000 > 600, "what is refused now may be taken in a while"
    assert poster.body("T1/C2/2.0", f"living:{message_id}")["stage"] == "running"
    poster.refusals.clear()
    await site.show("a", P)
    await look_until_done(replies, "a", clock=clock)
    assert poster.body(P, f"living:{message_id}")["stage"] == "running"


class Dying(Places):
    """Records whose reader dies at one of its writes, before it is made or after."""

    def __init__(self, site: Lab, *, at: int, is_written: bool) -> None:
        super().__init__(site.clients.dynamodb, table=TABLE)
        self._left, self._is_written = at, is_written

    async def save(self, before: PlaceRecord, after: PlaceRecord) -> PlaceRecord:
        self._left -= 1
        if self._left or self._is_written:
            after = await super().save(before, after)
        if not self._left:
            raise asyncio.CancelledError
        return after


@pytest.mark.parametrize("is_written", [False, True])
@pytest.mark.parametrize("at", range(1, 6))
async def test_a_short_answer_is_posted_once_when_its_living_message_was_deleted_whoever_dies(
    site: Lab, clock: Clock, at: int, is_written: bool
) -> None:
    poster, dialect = MemoryPoster(), SlackDialect(now=lambda: datetime.now(UTC))
    message_id = await site.message("a", 1)
    await site.show("a", P)
    replies = site.replies(poster, clock=clock, dialect=dialect)
    await replies.look(pointer("a"))
    poster.posts[P].clear()
    await site.start("a", message_id)
    clock.tick(1)
    await replies.look(pointer("a"))
    assert poster.keys(P) == [], "what a person deleted came back before there was an answer"
    await site.answer("a", message_id, "It is blue.")
    dying = site.replies(
        poster, clock=clock, dialect=dialect, places=Dying(site, at=at, is_written=is_written)
    )
    with pytest.raises(asyncio.CancelledError):
        await dying.look(pointer("a"))
    await look_until_done(site.replies(poster, clock=clock, dialect=dialect), "a", clock=clock)
    assert poster.keys(P) == [f"living:{message_id}"]
    assert "It is blue." in str(poster.body(P, f"living:{message_id}"))
    poster.posts[P].clear()
    await site.message("a", 2)
    await site.replies(poster, clock=clock, dialect=dialect).look(pointer("a"))
    assert poster.keys(P) == ["living:a-2"], "an answer that was told and deleted came back"
