"""What is still to be done about a place, and when a message is done there."""

from datetime import UTC, datetime
from itertools import product

from contracts.events import OutcomeData
from contracts.messages import Author
from contracts.places import PlaceRecord
from contracts.words import Frontend, MessageId, ThreadId, WorkerId
from dispatcher import due
from dispatcher.posting import Wanted
from dispatcher.view import MessageView, Stage, ThreadView

PLACE = PlaceRecord(
    worker_id=WorkerId("w"), thread_id=ThreadId("t"), frontend=Frontend.SLACK, address="T/C/1.0"
)


def message(number: int, *, over: bool) -> MessageView:
    return MessageView(
        message_id=MessageId(f"slack:T:C:{number}"),
        sequence=number,
        author=Author(id="u", name="Una"),
        frontend=Frontend.SLACK,
        text="do it",
        stage=Stage.COMPLETED if over else Stage.RUNNING,
        received=datetime(2026, 1, 1, tzinfo=UTC),
        final=OutcomeData(text="Done.") if over else None,
    )


def view(*over: bool) -> ThreadView:
    messages = tuple(message(n, over=is_over) for n, is_over in enumerate(over, start=1))
    return ThreadView(thread_id=ThreadId("t"), messages=messages, last=7)


def posts(shown: ThreadView, *, word: str = "x") -> list[Wanted]:
    made = []
    for m in shown.messages:
        made.append(Wanted(key=f"living:{m.message_id}", body={"text": word}, message_id=m.message_id))
        if m.is_over:
            key = f"answer:{m.message_id}:1"
            made.append(Wanted(key=key, body={"text": word}, message_id=m.message_id, final=True))
    return made


def standing(wanted: list[Wanted], place: PlaceRecord = PLACE) -> PlaceRecord:
    ids = {w.key: "id" for w in wanted}
    return place.model_copy(update={"posts": ids, "bodies": {w.key: due.digest_of(w) for w in wanted}})


def test_a_post_is_outstanding_until_it_was_made_and_looks_as_wanted() -> None:
    shown = view(False)
    (first,) = posts(shown)
    assert due.outstanding([first], place=PLACE, view=shown) == [first]
    place = standing([first])
    assert due.outstanding([first], place=place, view=shown) == []
    (other,) = posts(shown, word="y")
    assert due.outstanding([other], place=place, view=shown) == [other]


def test_reactions_are_part_of_how_a_post_looks() -> None:
    plain = Wanted(key="k", body={"a": 1, "b": 2})
    assert due.digest_of(plain) == due.digest_of(Wanted(key="k", body={"b": 2, "a": 1}))
    assert due.digest_of(plain) != due.digest_of(Wanted(key="k", body={"a": 1, "b": 2}, reactions=("eyes",)))


def test_messages_are_done_in_any_order_and_counted_without_gaps() -> None:
    shown = view(False, True, True)
    wanted = posts(shown)
    place = due.settled(standing(wanted), wanted=wanted, view=shown)
    assert (place.through, place.done) == (0, ("slack:T:C:2", "slack:T:C:3"))
    assert place.shown == 7
    later = view(True, True, True, False)
    wanted = posts(later)
    place = due.settled(standing(wanted, place), wanted=wanted, view=later)
    assert (place.through, place.done) == (3, ())
    assert not due.is_finished(place, view=later)
    assert due.is_finished(place, view=view(True, True, True))


def test_a_message_is_not_done_while_any_of_its_posts_is_missing() -> None:
    shown = view(True)
    living, answer = posts(shown)
    for there in ([living], [answer]):
        assert due.settled(standing(there), wanted=[living, answer], view=shown).through == 0
    assert due.settled(standing([living, answer]), wanted=[living, answer], view=shown).through == 1


def test_a_message_of_which_nothing_is_wanted_is_done_when_all_else_stands() -> None:
    shown = view(True, False)
    wanted = [w for w in posts(shown) if w.message_id != "slack:T:C:1"]
    assert due.settled(PLACE, wanted=wanted, view=shown).through == 0
    assert due.settled(standing(wanted), wanted=wanted, view=shown).through == 1


def test_posts_of_a_message_that_is_done_change_no_more_but_one_of_the_whole_thread_does() -> None:
    shown = view(True)
    wanted = posts(shown)
    place = due.settled(standing(wanted), wanted=wanted, view=shown)
    assert due.outstanding(posts(shown, word="y"), place=place, view=shown) == []
    sticky = Wanted(key="sticky", body={"text": "y"}, message_id=shown.messages[0].message_id, final=True)
    assert due.outstanding([sticky], place=place, view=shown) == [sticky]


def test_a_key_names_its_message_whatever_colons_there_are() -> None:
    ids = [MessageId("slack:T:C:1"), MessageId("slack:T:C:11"), MessageId("m")]
    for one, other in product(ids, ids):
        for key in (f"living:{one}", f"answer:{one}:2", f"file:{one}"):
            assert due.of_message(key, other) == (one == other)
    assert not any(due.of_message("sticky", each) for each in ids)


def test_a_long_thread_stays_within_a_record_and_nothing_of_it_is_made_again() -> None:
    shown = view(*[True] * 500, False)
    wanted = posts(shown)
    place = due.settled(standing(wanted), wanted=wanted, view=shown)
    assert place.through == 500
    assert len(place.posts) <= 2 * 51
    assert due.outstanding(wanted, place=place, view=shown) == []
