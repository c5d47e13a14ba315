"""Replies on the real wire: posted once, in order, edited at a bounded rate, held back, given up, revived."""

import itertools
from collections.abc import AsyncIterator

import pytest

from contracts.places import ReplyPointer
from contracts.words import Frontend, MessageId, ThreadId
from dispatcher.posting import Gone, Later, Undeliverable
from dispatcher.replies import Broken, Replies
from tests.fakes.poster import MemoryPoster, PlainDialect
from tests.integration.replies_lab import WORKER, Clock, Lab, lab, look_until_done, pointer

P = "T1/C1/1.0"


@pytest.fixture
async def site(engine_url: str, account: str) -> AsyncIterator[Lab]:
    async with lab(url=engine_url, account=account) as site:
        yield site


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def poster(clock: Clock) -> MemoryPoster:
    return MemoryPoster(at=clock)


async def answered(site: Lab, thread: str, *numbers: int) -> None:
    for number in numbers:
        message_id = await site.message(thread, number)
        await site.start(thread, message_id)
        await site.answer(thread, message_id, f"answer {number}")


async def test_every_message_is_answered_once_and_in_order_whatever_its_frontend(
    site: Lab, clock: Clock, poster: MemoryPoster
) -> None:
    await site.message("a", 1, frontend=Frontend.WEB)
    await site.answer("a", await site.message("a", 2, frontend=Frontend.API), "two")
    await site.show("a", P)
    replies = site.replies(poster, clock=clock)
    await look_until_done(replies, "a", clock=clock)
    assert poster.keys(P) == ["living:a-1", "living:a-2", "answer:a-2:1"]
    await site.answer("a", MessageId("a-1"), "one")
    await look_until_done(replies, "a", clock=clock)
    assert poster.keys(P) == ["living:a-1", "living:a-2", "answer:a-2:1", "answer:a-1:1"]
    assert poster.body(P, "living:a-1") == {"stage": "completed", "said": ""}
    (place,) = await site.places.places_of(WORKER, ThreadId("a"))
    assert (place.through, place.done, place.intent) == (2, (), None)


async def test_what_stands_is_not_posted_again_by_a_second_look_or_a_new_process(
    site: Lab, clock: Clock, poster: MemoryPoster
) -> None:
    await answered(site, "a", 1, 2)
    await site.message("a", 3)
    await site.show("a", P)
    await look_until_done(site.replies(poster, clock=clock), "a", clock=clock)
    made = list(poster.calls)
    await look_until_done(site.replies(poster, clock=clock), "a", clock=clock)
    assert poster.calls == made


async def test_edits_come_at_most_once_a_second_and_the_last_state_wins(
    site: Lab, clock: Clock, poster: MemoryPoster
) -> None:
    message_id = await site.message("a", 1)
    await site.show("a", P)
    replies = site.replies(poster, clock=clock)
    await replies.look(pointer("a"))
    await site.start("a", message_id)
    waits = []
    for n in range(20):
        await site.tell("a", message_id, "turn.text", text=f"{n} ")
        waits.append(await replies.look(pointer("a")))
        clock.tick(0.25)
    await look_until_done(replies, "a", clock=clock)
    edits = [at for call, at in poster.times if call == "update"]
    assert len(edits) <= 6
    assert all(b - a >= 1 for a, b in itertools.pairwise(edits))
    assert all(w is not None and 0 <= w <= 1 for w in waits[:3])
    assert poster.body(P, "living:a-1")["said"] == "".join(f"{n} " for n in range(20))


async def test_a_refusal_is_honoured_to_the_second_and_does_not_hold_up_another_place(
    site: Lab, clock: Clock, poster: MemoryPoster
) -> None:
    await answered(site, "a", 1)
    await site.show("a", P)
    await site.show("a", "T1/C2/2.0")
    poster.refusals[P].append(Later("slow down", seconds=17))
    replies = site.replies(poster, clock=clock)
    assert await replies.look(pointer("a")) == 17
    assert poster.keys("T1/C2/2.0") == ["living:a-1", "answer:a-1:1"]
    calls = len(poster.calls)
    clock.tick(16.9)
    assert await replies.look(pointer("a")) == pytest.approx(0.1)
    assert len(poster.calls) == calls
    clock.tick(0.2)
    assert await replies.look(pointer("a")) is None
    assert poster.keys(P) == ["living:a-1", "answer:a-1:1"]
    assert "find" not in [call for call, _, _ in poster.calls]


async def test_a_refusal_for_the_token_holds_all_places_of_that_frontend_and_no_other(
    site: Lab, clock: Clock, poster: MemoryPoster
) -> None:
    github = MemoryPoster(frontend=Frontend.GITHUB)
    for thread, address, frontend in (
        ("a", P, Frontend.SLACK),
        ("b", "T1/C2/2.0", Frontend.SLACK),
        ("c", "o/r#1", Frontend.GITHUB),
    ):
        await answered(site, thread, 1)
        await site.show(thread, address, frontend=frontend)
    poster.refusals[P].append(Later("slow down", seconds=9, everywhere=True))
    replies = site.replies(poster, github, clock=clock)
    assert await replies.look(pointer("a")) == 9
    assert await replies.look(pointer("b")) == 9
    assert poster.keys("T1/C2/2.0") == []
    assert await replies.look(pointer("c")) is None
    assert len(github.keys("o/r#1")) == 2


async def test_a_frontend_that_does_not_answer_is_asked_ever_more_seldom_and_for_ever(
    site: Lab, clock: Clock, poster: MemoryPoster
) -> None:
    await answered(site, "a", 1)
    await site.show("a", P)
    replies = site.replies(poster, clock=clock)
    poster.refusals[P].extend([OSError("connection reset")] * 40)
    pauses = []
    while poster.refusals[P]:
        wait = await replies.look(pointer("a"))
        assert wait is not None
        pauses.append(wait)
        clock.tick(wait)
    assert max(pauses) == 300
    assert pauses[-10:] == sorted(pauses[-10:])
    await look_until_done(replies, "a", clock=clock)
    assert poster.keys(P) == ["living:a-1", "answer:a-1:1"]


async def test_an_answer_that_got_lost_is_looked_for_before_anything_is_posted_again(
    site: Lab, clock: Clock, poster: MemoryPoster
) -> None:
    await answered(site, "a", 1)
    await site.show("a", P)
    lost = ["living:a-1", "answer:a-1:1"]

    async def lose(call: str, key: str) -> None:
        if call == "create" and key in lost:
            lost.remove(key)
            raise TimeoutError

    poster.after = lose
    await look_until_done(site.replies(poster, clock=clock), "a", clock=clock)
    assert poster.keys(P) == ["living:a-1", "answer:a-1:1"]
    assert poster.body(P, "answer:a-1:1") == {"text": "answer 1"}


async def test_a_place_that_is_gone_is_shown_to_operators_and_tried_again_when_somebody_writes_there(
    site: Lab, clock: Clock, poster: MemoryPoster
) -> None:
    await answered(site, "a", 1)
    await site.show("a", P)
    replies = site.replies(poster, clock=clock)
    poster.refusals[P].append(Undeliverable("The channel is archived."))
    assert await replies.look(pointer("a")) is None
    # The list of workers is the operators' business; the places are found by worker.
    (gone,) = await site.places.undeliverable_of(WORKER)
    assert (gone.address, gone.undeliverable, gone.intent) == (P, "The channel is archived.", None)
    assert await site.unshown() == []
    calls = list(poster.calls)
    await site.message("a", 2)
    assert await replies.look(pointer("a")) is None
    assert poster.calls == calls
    await site.show("a", P)
    await look_until_done(replies, "a", clock=clock)
    assert poster.keys(P) == ["living:a-1", "answer:a-1:1", "living:a-2"]
    assert await site.places.undeliverable_of(WORKER) == []


async def test_a_post_that_a_person_deleted_is_left_alone_and_the_others_go_on(
    site: Lab, clock: Clock, poster: MemoryPoster
) -> None:
    message_id = await site.message("a", 1)
    await site.show("a", P)
    replies = site.replies(poster, clock=clock)
    await replies.look(pointer("a"))
    await site.answer("a", message_id)
    poster.refusals[P].append(Gone("deleted"))
    clock.tick(1)
    await look_until_done(replies, "a", clock=clock)
    assert poster.keys(P) == ["living:a-1", "answer:a-1:1"]
    assert await site.unshown() == []


async def test_a_reply_that_cannot_be_rendered_stops_no_other_place_and_is_given_up_in_the_end(
    site: Lab, clock: Clock, poster: MemoryPoster
) -> None:
    github = MemoryPoster(frontend=Frontend.GITHUB)
    await site.answer("a", await site.message("a", 1, text="poison"))
    await site.show("a", P)
    await site.show("a", "o/r#1", frontend=Frontend.GITHUB)
    frontends = {Frontend.SLACK: (PlainDialect("poison"), poster), Frontend.GITHUB: (PlainDialect(), github)}
    replies = Replies(table=site.table, places=site.places, frontends=frontends, now=clock)
    with pytest.raises(Broken):
        await replies.look(pointer("a"))
    assert len(github.keys("o/r#1")) == 2
    assert await site.places.undeliverable_of(WORKER) == []
    with pytest.raises(Broken):
        await replies.look(pointer("a"), is_last=True)
    assert [p.address for p in await site.places.undeliverable_of(WORKER)] == [P]
    assert await replies.look(pointer("a")) is None


async def test_a_place_belongs_to_one_thread_and_keeps_it(site: Lab) -> None:
    first = await site.places.remember(Frontend.SLACK, P, WORKER, ThreadId("a"))
    again = await site.places.remember(Frontend.SLACK, P, WORKER, ThreadId("b"))
    assert first == again == (WORKER, "a")
    assert await site.places.thread_at(Frontend.SLACK, P) == (WORKER, "a")
    assert await site.places.thread_at(Frontend.GITHUB, P) is None
    assert await site.places.places_of(WORKER, ThreadId("b")) == []


async def test_messages_from_before_a_place_are_not_shown_there_when_that_is_asked_for(
    site: Lab, clock: Clock, poster: MemoryPoster
) -> None:
    await answered(site, "a", 1, 2)
    await site.places.remember(Frontend.SLACK, P, WORKER, ThreadId("a"), after=2)
    await answered(site, "a", 3)
    await look_until_done(site.replies(poster, clock=clock), "a", clock=clock)
    assert poster.keys(P) == ["living:a-3", "answer:a-3:1"]


async def test_a_thread_is_listed_as_unshown_from_its_message_until_everything_stands(
    site: Lab, clock: Clock, poster: MemoryPoster
) -> None:
    message_id = await site.message("a", 1)
    await site.message("b", 1)  # a thread that is shown nowhere
    await site.show("a", P)
    replies = site.replies(poster, clock=clock)
    assert await site.unshown() == ["a", "b"]
    await replies.look(pointer("a"))
    await replies.look(pointer("b"))
    assert await site.unshown() == ["a"]
    await site.answer("a", message_id)
    await look_until_done(replies, "a", clock=clock)
    assert await site.unshown() == []
    await site.message("a", 2)
    await site.places.forget_unshown(WORKER, ThreadId("a"), through=1)  # a look from before the message
    assert await site.unshown() == ["a"]


async def test_an_answer_that_ends_while_its_frontend_is_switched_off_is_shown_when_it_is_back(
    site: Lab, clock: Clock, poster: MemoryPoster
) -> None:
    await answered(site, "a", 1)
    await site.show("a", P)
    github = MemoryPoster(frontend=Frontend.GITHUB)
    for switched_on in ([], [github]):
        assert await site.replies(*switched_on, clock=clock).look(pointer("a")) is None
        assert await site.unshown() == ["a"], "nobody would look when the frontend is back"
    await look_until_done(site.replies(poster, clock=clock), "a", clock=clock)
    assert poster.keys(P) == ["living:a-1", "answer:a-1:1"]
    assert await site.unshown() == []


async def test_a_place_that_is_finished_is_not_listed_for_a_frontend_that_is_switched_off(
    site: Lab, clock: Clock, poster: MemoryPoster
) -> None:
    await answered(site, "a", 1)
    await site.show("a", P)
    await look_until_done(site.replies(poster, clock=clock), "a", clock=clock)
    await site.message("b", 1)
    await site.show("b", "T/C/b")
    (place,) = await site.places.places_of(WORKER, ThreadId("b"))
    await site.places.save(place, place.model_copy(update={"undeliverable": "gone"}))
    for thread in ("a", "b"):
        assert await site.replies(clock=clock).look(pointer(thread)) is None
    assert await site.unshown() == []


async def test_a_look_at_a_thread_that_is_not_there_finds_nothing_to_do(site: Lab, clock: Clock) -> None:
    assert (
        await site.replies(clock=clock).look(ReplyPointer(worker_id=WORKER, thread_id=ThreadId("x"))) is None
    )
