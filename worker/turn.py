"""Where everything stands: the worker's state and its transitions. Pure.

The states and their reasons stand in ``docs/decisions/turns.md``; what to do about them is decided in
``worker.decide``. No I/O, no clock, no logging: what happened comes in through the transitions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from contracts.records import OpenRecord, StopRecord
from contracts.words import StopReason, ThreadId


class Key(NamedTuple):
    """A message within the worker."""

    thread_id: ThreadId
    sequence: int


@dataclass(frozen=True, kw_only=True)
class Running:
    """The turn that runs now. ``ready``: its agent can take a text in. ``closing``: its agent has ended, the
    turn is being committed and recorded."""

    key: Key
    ready: bool = False
    stopping: StopReason | None = None
    closing: bool = False


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A turn that could not go on or end: not before ``until`` (Unix seconds), ``times`` in a row."""

    until: float
    times: int


@dataclass(frozen=True, kw_only=True)
class State:
    """All the engine knows. ``stack`` has the top first; ``ended``: what a late look must not revive;
    ``pauses``: what this worker lets rest, known to it alone; ``deletes``: threads that are to be removed,
    ``removing``: the one that is being removed now, ``gone``: those that a late look must not revive."""

    open: Mapping[Key, OpenRecord] = field(default_factory=dict)
    stops: Mapping[ThreadId, int] = field(default_factory=dict)
    stack: tuple[ThreadId, ...] = ()
    running: Running | None = None
    steering: frozenset[Key] = frozenset()
    steered: tuple[Key, ...] = ()
    ended: Mapping[Key, int] = field(default_factory=dict)
    pauses: Mapping[Key, Pause] = field(default_factory=dict)
    deletes: frozenset[ThreadId] = frozenset()
    removing: ThreadId | None = None
    gone: Mapping[ThreadId, int] = field(default_factory=dict)
    looks: int = 0
    draining: bool = False
    lost: bool = False


# ---------------------------------------------------------------- questions


def of_thread(state: State, thread_id: ThreadId) -> list[Key]:
    """The thread's open messages in order."""
    return sorted(k for k in state.open if k.thread_id == thread_id)


def is_deleted(state: State, thread_id: ThreadId) -> bool:
    """Whether the thread is to be removed, or was."""
    return thread_id in state.deletes or thread_id in state.gone


def in_hand(state: State, key: Key) -> bool:
    """Whether the running turn will give this message its outcome."""
    return (state.running is not None and state.running.key == key) or key in state.steered


# ---------------------------------------------------------------- transitions


def key_of(record: OpenRecord) -> Key:
    """The record's key."""
    return Key(record.thread_id, record.sequence)


def look_began(state: State) -> State:
    """A look at the records starts; its number is ``looks`` of the result."""
    return replace(state, looks=state.looks + 1)


def looked(state: State, *, number: int, open_: Iterable[OpenRecord], stops: Iterable[StopRecord]) -> State:
    """What look ``number`` found. Known records stay as this worker knows them; ended ones stay ended."""
    ended = {k: n for k, n in state.ended.items() if n >= number}
    gone = {t: n for t, n in state.gone.items() if n >= number}
    found = {key_of(r): r for r in open_}
    fresh = {k: r for k, r in found.items() if k not in state.open and k not in ended}
    left = {**state.open, **fresh}
    asked = [s for s in stops if s.thread_id not in gone]
    return replace(
        state,
        open=left,
        stops=_stops(asked, left),
        deletes=frozenset(s.thread_id for s in asked if s.delete),
        gone=gone,
        ended=ended,
    )


def _stops(asked: Iterable[StopRecord], left: Mapping[Key, OpenRecord]) -> dict[ThreadId, int]:
    """Every stop that stands, and one for each deletion that still finds something to end."""
    begun = {key.thread_id for key in left}
    found: dict[ThreadId, int] = {}
    for stop in asked:
        if not stop.delete or stop.thread_id in begun:
            found[stop.thread_id] = max(stop.through, found.get(stop.thread_id, 0))
    return found


def lifted(state: State, key: Key, *, stack: tuple[ThreadId, ...]) -> State:
    """The lift is recorded."""
    record = state.open[key].model_copy(update={"lifted": True})
    return replace(state, open={**state.open, key: record}, stack=stack)


def started(state: State, key: Key) -> State:
    """The engine took the turn in hand (its record follows with ``recorded``)."""
    return replace(state, running=Running(key=key), steering=frozenset(), steered=())


def recorded(state: State, record: OpenRecord) -> State:
    """The turn record was written with this content."""
    return replace(state, open={**state.open, key_of(record): record})


def ready(state: State) -> State:
    """The running turn's agent is there."""
    return replace(state, running=state.running and replace(state.running, ready=True))


def stopping(state: State, reason: StopReason) -> State:
    """A stop of the running turn is under way."""
    return replace(state, running=state.running and replace(state.running, stopping=reason))


def closing(state: State) -> State:
    """The running turn's agent has ended; the turn can no longer be stopped."""
    return replace(state, running=state.running and replace(state.running, closing=True))


def steering(state: State, key: Key) -> State:
    """The text was handed to the running turn, which may or may not take it in."""
    return replace(state, steering=state.steering | {key})


def steered(state: State, key: Key) -> State:
    """The text reached the model: the message shares the running turn's outcome."""
    return replace(state, steering=state.steering - {key}, steered=(*state.steered, key))


def parked(state: State, record: OpenRecord) -> State:
    """The running turn is parked; what it had taken in goes back in line (the record is still waiting)."""
    return replace(recorded(state, record), running=None, steering=frozenset(), steered=())


def ended(state: State, keys: Iterable[Key]) -> State:
    """These messages have their outcome; the running turn is over if it is among them."""
    gone = set(keys)
    rest = {k: r for k, r in state.open.items() if k not in gone}
    over = state.running is not None and state.running.key in gone
    return replace(
        state,
        open=rest,
        stack=stack_without(state, gone),
        ended={**state.ended, **dict.fromkeys(gone, state.looks)},
        running=None if over else state.running,
        steering=frozenset() if over else state.steering - gone,
        steered=() if over else tuple(k for k in state.steered if k not in gone),
    )


def stack_without(state: State, gone: Iterable[Key]) -> tuple[ThreadId, ...]:
    """The stack once these messages are ended: threads with nothing open leave it."""
    left = {k.thread_id for k in state.open if k not in set(gone)}
    return tuple(t for t in state.stack if t in left)


def stop_cleared(state: State, thread_id: ThreadId) -> State:
    """The stop's record is deleted."""
    return replace(state, stops={t: n for t, n in state.stops.items() if t != thread_id})


def removing(state: State, thread_id: ThreadId) -> State:
    """What is left of the thread is being removed."""
    return replace(state, removing=thread_id)


def removed(state: State, thread_id: ThreadId) -> State:
    """Nothing is left of the thread; one of the same name is another one."""
    ended = {k: state.looks if k.thread_id == thread_id else n for k, n in state.ended.items()}
    return replace(
        state,
        deletes=state.deletes - {thread_id},
        stops={t: n for t, n in state.stops.items() if t != thread_id},
        stack=tuple(t for t in state.stack if t != thread_id or any(k.thread_id == t for k in state.open)),
        removing=None,
        gone={**state.gone, thread_id: state.looks},
        ended=ended,
        pauses={k: p for k, p in state.pauses.items() if k.thread_id != thread_id},
    )


def not_removed(state: State, thread_id: ThreadId, *, now: float) -> State:
    """The removal could not be ended: it is tried again, each time a little later."""
    return replace(state, removing=None, pauses=_paused(state, removal(thread_id), now=now))


def removal(thread_id: ThreadId) -> Key:
    """What the pause of a thread's removal is kept under: no message has this sequence."""
    return Key(thread_id, 0)


def draining(state: State) -> State:
    """The worker was asked to leave."""
    return replace(state, draining=True)


def lost(state: State) -> State:
    """The lease is lost."""
    return replace(state, lost=True)


NEVER_AGAIN = 10**12
"""A look number that never comes."""


PAUSE_SECONDS, LONGEST_PAUSE = 5.0, 60.0


def postponed(state: State, key: Key, *, now: float) -> State:
    """The turn is let go with its record as it stands and looked at again later, each time a little later."""
    running = None if state.running is not None and state.running.key == key else state.running
    rest = replace(state, running=running, steering=frozenset(), steered=())
    return replace(rest, pauses=_paused(state, key, now=now))


def _paused(state: State, key: Key, *, now: float) -> dict[Key, Pause]:
    times = state.pauses[key].times + 1 if key in state.pauses else 1
    pause = Pause(until=now + min(PAUSE_SECONDS * 2 ** (times - 1), LONGEST_PAUSE), times=times)
    return {**state.pauses, key: pause}


def set_aside(state: State, key: Key) -> State:
    """Leave this message alone for as long as this worker lives: another one has to take it up."""
    rest = ended(state, [key])
    return replace(rest, ended={**rest.ended, key: NEVER_AGAIN})
