"""The rules about replies. Pure: what people wrote, what became of it and what stood there at the end go in,
violations come out."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from contracts.events import FINAL
from contracts.words import Frontend, Mode, Outcome
from dispatcher.slack_words import NOTHING_OPEN
from tests.chaos.history import Found
from tests.chaos.reply_history import Asked, Post, Room, Told

_FINAL = {str(type_) for type_ in FINAL.values()}
_SLACK_HEADS = {
    ":white_check_mark: Done": Outcome.COMPLETED,
    ":octagonal_sign: Stopped": Outcome.STOPPED,
    ":x: Failed": Outcome.FAILED,
    ":no_entry: Not done": Outcome.REJECTED,
}
_GITHUB_HEADS = {
    "**✅ Done**": Outcome.COMPLETED,
    "**⏹️ Stopped**": Outcome.STOPPED,
    "**❌ Failed**": Outcome.FAILED,
    "**🚫 Rejected**": Outcome.REJECTED,
}
_TOGETHER = "Answered together with"
_SLACK_OPEN = re.compile(
    r":hourglass_flowing_sand:|:double_vertical_bar:|:eyes: Received|Passed on to the work"
)
_GITHUB_OPEN = re.compile(r"\*\*(?:⏳|▶️|⏸️)")
_RULE = "\n\n---\n\n"
_STOP = "Stop"


def one_answer(found: Found, told: Told) -> Iterator[str]:
    """R1: at its place each message has one end, which tells its outcome, and its answer stands once."""
    rooms, finals = {room.address: room for room in told.rooms}, _finals(found)
    for asked in told.asked:
        room, final = rooms[asked.address], finals.get(asked.message_id)
        together = final is not None and final["data"].get("together_with")
        outcome = found.outcomes.get(asked.message_id)
        expected = _TOGETHER if together and room.frontend is Frontend.SLACK else str(outcome)
        ends = [end for post in room.posts for end in _ends(post, asked)]
        if ends != [expected]:
            yield f"{_name(asked)} ended as {outcome}; its place says {ends}"
        shown = sum(len(_answers(post.text, asked)) for post in room.posts)
        logged = sum(len(_answers(event["data"]["text"], asked)) for event in finals.values())
        if shown != logged:
            yield f"{_name(asked)} was answered {logged} times and shown {shown} times"


def one_post(found: Found, told: Told) -> Iterator[str]:
    """R2: no post is there twice, no place has two threads, no branch two open pull requests."""
    for room in told.rooms:
        for key, times in Counter(post.key for post in room.posts).items():
            if times > 1:
                yield f"{key} was posted {times} times in {room.address}"
            if not key:
                yield f"a post in {room.address} has no key"
    threads: dict[str, set[str]] = {}
    thread_of = {m.message_id: m.thread_id for m in found.posted}
    for asked in told.asked:
        threads.setdefault(asked.address, set()).add(thread_of[asked.message_id])
    for address, its in threads.items():
        if len(its) > 1:
            yield f"{address} shows {len(its)} threads"
    for head, times in Counter(told.pulls).items():
        if times > 1:
            yield f"{head} has {times} open pull requests"


def in_order(found: Found, told: Told) -> Iterator[str]:
    """R3: messages stand in the order of their thread. On GitHub, where one edit shows all, those that queue
    also end in it; in Slack what has waited for its turn to be edited may end behind what is new."""
    sequences = {m.message_id: m.sequence for m in found.posted}
    queued = {m.message_id for m in found.posted if m.mode is Mode.QUEUE}
    for room in told.rooms:
        line = sorted(
            (a for a in told.asked if a.address == room.address), key=lambda a: sequences[a.message_id]
        )
        stand = [(where, a) for a in line if (where := _where(room, a)) is not None]
        yield from _falling(f"{room.address} shows", stand)
        if room.frontend is Frontend.GITHUB:
            done = [
                (at, a) for a in line if a.message_id in queued and (at := _ended_at(room, a)) is not None
            ]
            yield from _falling(f"{room.address} answered", done)


def nothing_open(found: Found, told: Told) -> Iterator[str]:
    """R4: nothing says that it is being worked on, nobody was told anything else, eyes at most once."""
    for room in told.rooms:
        pattern = _SLACK_OPEN if room.frontend is Frontend.SLACK else _GITHUB_OPEN
        for post in room.posts:
            opened = pattern.search(post.text)
            if opened:
                yield f"{post.key} in {room.address} still says {opened[0]!r}"
            elif room.frontend is Frontend.SLACK and _STOP in post.text.splitlines():
                yield f"{post.key} in {room.address} still has its button"
        for message, times in room.eyes.items():
            if times > 1:
                yield f"{message} has {times} pairs of eyes"
        for words in (words for words in room.beside if words != NOTHING_OPEN):  # that answers a stop
            yield f"beside the replies, {room.address} was told: {words[:200]}"


RULES: dict[str, Callable[[Found, Told], Iterator[str]]] = {
    "R1 one final answer": one_answer,
    "R2 no second post": one_post,
    "R3 in order": in_order,
    "R4 nothing left open": nothing_open,
}


def judge(found: Found, told: Told) -> dict[str, list[str]]:
    """Rule to its violations."""
    return {name: list(rule(found, told)) for name, rule in RULES.items()}


def _name(asked: Asked) -> str:
    return f"{asked.message_id} ({asked.marker} in {asked.address})"


def _finals(found: Found) -> dict[str, dict[str, Any]]:
    """Message to its final event; the first, if V1 is broken."""
    finals: dict[str, dict[str, Any]] = {}
    for events in found.events.values():
        for event in events:
            if event["type"] in _FINAL:
                finals.setdefault(event["message_id"], event)
    return finals


def _answers(text: str, asked: Asked) -> list[str]:
    """What only the turn itself can have said: the process id is not in the message."""
    return re.findall(rf"\[by \d+\] did {re.escape(asked.marker)}(?![\w-])", text)


def _ends(post: Post, asked: Asked) -> list[str]:
    """The outcomes that a post tells for a message."""
    ends = (_end(part) for part in _parts(post.key, post.text, asked))
    return [end for end in ends if end is not None]


def _parts(key: str, text: str, asked: Asked) -> list[str]:
    """What is about this message in a post: all of its own, its section of the comment for all."""
    if asked.frontend is Frontend.SLACK:
        return [text] if key == f"living:{asked.message_id}" else []
    # Headed by the message's first words; its thread's other messages may quote it.
    head = re.compile(rf"^\*\*[^\n]*: Please do {re.escape(asked.marker)}\.", re.M)
    return [part for part in text.split(_RULE) if head.search(part)]


def _end(part: str) -> str | None:
    if part.startswith(_TOGETHER):
        return _TOGETHER
    heads = {**_SLACK_HEADS, **_GITHUB_HEADS}
    outcomes = [outcome for head, outcome in heads.items() if head in part.partition(" · ")[0]]
    return str(outcomes[0]) if outcomes else None


def _where(room: Room, asked: Asked) -> float | None:
    """Where a message's post or section comes in its place."""
    for number, post in enumerate(room.posts):
        for part in _parts(post.key, post.text, asked):
            return number + post.text.index(part) / (len(post.text) + 1)
    return None


def _ended_at(room: Room, asked: Asked) -> float | None:
    """When its end was to be seen first."""
    for post in room.posts:
        for look in post.looks:
            if any(_end(part) for part in _parts(post.key, look.text, asked)):
                return look.at
    return None


def _falling(what: str, line: list[tuple[float, Asked]]) -> Iterator[str]:
    for (before, first), (after, second) in pairwise(line):
        if after < before:
            yield f"{what} {second.marker} before {first.marker}"
