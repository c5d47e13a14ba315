"""What is still to be done about a place, and what is over there. Pure: no I/O, no clock, no dialect."""

import json
from collections.abc import Sequence

from contracts import names
from contracts.places import PlaceRecord
from contracts.words import MessageId
from dispatcher.posting import Wanted
from dispatcher.view import ThreadView

_MANY_POSTS = 200
_RECENT = 50


def digest_of(wanted: Wanted) -> str:
    """What tells two looks of a post apart."""
    plain = {"body": wanted.body, "reactions": wanted.reactions}
    return names.digest(json.dumps(plain, sort_keys=True, ensure_ascii=False))


def stands(wanted: Wanted, place: PlaceRecord) -> bool:
    """Whether the post was made and looks like this."""
    return wanted.key in place.posts and place.bodies.get(wanted.key) == digest_of(wanted)


def of_message(key: str, message_id: MessageId) -> bool:
    """Whether a post's key names this message: ``living:ID``, ``answer:ID:1``."""
    rest = key.partition(":")[2]
    return message_id in (rest, rest.rpartition(":")[0])


def outstanding(wanted: Sequence[Wanted], *, place: PlaceRecord, view: ThreadView) -> list[Wanted]:
    """Those that do not stand, in order; without those of messages that are done here."""
    sequences = {m.message_id: m.sequence for m in view.messages}

    def is_over(post: Wanted) -> bool:
        message_id = post.message_id
        if message_id is None or message_id not in sequences or not of_message(post.key, message_id):
            return False
        return place.is_done(message_id, sequence=sequences[message_id])

    return [post for post in wanted if not stands(post, place) and not is_over(post)]


def settled(place: PlaceRecord, *, wanted: Sequence[Wanted], view: ThreadView) -> PlaceRecord:
    """The place with every message done that is: it has its outcome, and all that is wanted of it stands.

    When nothing at all is outstanding, that holds for every message with an outcome; else for those whose
    final post is among those that stand.
    """
    left = outstanding(wanted, place=place, view=view)
    done = set(place.done)
    for message in view.messages:
        its = [post for post in wanted if post.message_id == message.message_id]
        told = any(post.final for post in its) and not any(post in left for post in its)
        if message.is_over and (told or not left):
            done.add(message.message_id)
    return _counted(place, view=view, done=done, shown=place.shown if left else view.last)


def fades(wanted: Sequence[Wanted]) -> float | None:
    """Seconds until one of these posts looks different by itself, as an elapsed time does; None for never."""
    return min((post.fresh for post in wanted if post.fresh is not None), default=None)


def is_finished(place: PlaceRecord, *, view: ThreadView) -> bool:
    """Whether every message of the thread is done here."""
    return all(place.is_done(m.message_id, sequence=m.sequence) for m in view.messages)


def _counted(place: PlaceRecord, *, view: ThreadView, done: set[MessageId], shown: int) -> PlaceRecord:
    through = place.through
    for message in view.messages:
        if message.sequence > through:
            if message.message_id not in done:
                break
            through = message.sequence
    beyond = tuple(m.message_id for m in view.messages if m.sequence > through and m.message_id in done)
    counted = place.model_copy(update={"through": through, "done": beyond, "shown": shown})
    return _pruned(counted, view=view) if len(place.posts) > _MANY_POSTS else counted


def _pruned(place: PlaceRecord, *, view: ThreadView) -> PlaceRecord:
    """Without the posts of messages long done: they are not looked at again, and a record has its limit."""
    old = {m.message_id for m in view.messages if m.sequence <= place.through - _RECENT}

    def is_old(key: str) -> bool:
        rest = key.partition(":")[2]
        return rest in old or rest.rpartition(":")[0] in old

    posts = {key: post for key, post in place.posts.items() if not is_old(key)}
    bodies = {key: body for key, body in place.bodies.items() if not is_old(key)}
    return place.model_copy(update={"posts": posts, "bodies": bodies})
