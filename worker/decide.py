"""What to do next: one pure decision over the worker's state.

The rules, in order, stand in ``docs/decisions/turns.md``. Nothing else starts, stops, lifts, steers or ends
a turn. No I/O, no clock of its own, no logging.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from contracts.words import Mode, Outcome, StopReason, ThreadId, TurnState
from worker.turn import Key, State, in_hand, key_of, of_thread, removal

MAX_INTERRUPTIONS = 5
"""A turn that was preempted this often runs to its end."""
MAX_ATTEMPTS = 3
"""A turn whose worker died this often is given up."""


# ---------------------------------------------------------------- actions


@dataclass(frozen=True, kw_only=True)
class Lift:
    """Put the message's thread on top of the stack, once in the message's life."""

    key: Key
    stack: tuple[ThreadId, ...]


@dataclass(frozen=True, kw_only=True)
class Start:
    """Start the message's turn, or resume it when its record is parked or was left running."""

    key: Key


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Stop the running turn for this reason."""

    key: Key
    reason: StopReason
    by: Key | None = None


@dataclass(frozen=True, kw_only=True)
class Steer:
    """Hand the message's text to the running turn."""

    key: Key


@dataclass(frozen=True, kw_only=True)
class End:
    """Give a message that does not run its outcome."""

    key: Key
    outcome: Outcome
    text: str


@dataclass(frozen=True, kw_only=True)
class ClearStop:
    """The stop of this thread is carried out."""

    thread_id: ThreadId
    through: int


@dataclass(frozen=True, kw_only=True)
class Delete:
    """Remove what is left of a thread that has nothing open any more."""

    thread_id: ThreadId


@dataclass(frozen=True, kw_only=True)
class Leave:
    """Nothing runs and nothing more shall run."""


Action = Lift | Start | Stop | Steer | End | ClearStop | Delete | Leave


# ---------------------------------------------------------------- the decision


def decide(state: State, *, now: float) -> Action | None:
    """The next thing to do, or None to wait. ``now`` is Unix time in seconds (for usage limits only)."""
    if state.lost or state.draining:
        reason = StopReason.LEASE_LOST if state.lost else StopReason.DRAINING
        return _stop(state, reason) if state.running else Leave()
    for rule in (_carry_out_stop, _delete, _lift, _give_up, _interrupt):
        if action := rule(state, now):
            return action
    head = _next(state, now=now)
    if state.running is None:
        return Start(key=head) if head else None
    return (_preempt(state, head) if head else None) or _steer(state)


def _stop(state: State, reason: StopReason, *, by: Key | None = None) -> Stop | None:
    """Stop what runs, unless it is closing or being stopped for as strong a reason already."""
    running = state.running
    if running is None or running.closing:
        return None
    if running.stopping is not None and not _stronger(reason, running.stopping):
        return None
    return Stop(key=running.key, reason=reason, by=by)


def _stronger(new: StopReason, old: StopReason) -> bool:
    """A stop by a person beats a preemption; leaving beats both; a lost lease beats all."""
    order = [StopReason.PREEMPTED, StopReason.USER_STOP, StopReason.DRAINING, StopReason.LEASE_LOST]
    return new in order and (old not in order or order.index(new) > order.index(old))


def _carry_out_stop(state: State, now: float) -> Action | None:
    for thread_id, through in state.stops.items():
        keys = [k for k in of_thread(state, thread_id) if k.sequence <= through]
        if state.running and state.running.key in keys and (stop := _stop(state, StopReason.USER_STOP)):
            return stop
        idle = [k for k in keys if _may_end(state, k, now)]
        if idle:
            waits = state.open[idle[0]].state is TurnState.WAITING
            text = "Stopped before it began." if waits else "Stopped while it was paused."
            return End(key=idle[0], outcome=Outcome.STOPPED, text=text)
        if not keys:
            return ClearStop(thread_id=thread_id, through=through)
    return None


def _delete(state: State, now: float) -> Action | None:
    """One thread at a time, once everything in it has its outcome; turns of other threads go on meanwhile."""
    if state.removing is not None:
        return None
    for thread_id in sorted(state.deletes):
        runs = state.running is not None and state.running.key.thread_id == thread_id
        waits = _paused_until(state, removal(thread_id)) > now
        if not (runs or waits or of_thread(state, thread_id)):
            return Delete(thread_id=thread_id)
    return None


def _lift(state: State, _now: float) -> Action | None:
    fresh = [r for r in state.open.values() if not r.lifted]
    if not fresh:
        return None
    first = min(fresh, key=lambda r: (r.received, r.thread_id, r.sequence))
    rest = tuple(t for t in state.stack if t != first.thread_id)
    return Lift(key=key_of(first), stack=(first.thread_id, *rest))


def _interrupt(state: State, now: float) -> Action | None:
    for key in _interrupting(state):
        earlier = [k for k in of_thread(state, key.thread_id) if k.sequence < key.sequence]
        if state.running and state.running.key in earlier:
            if stop := _stop(state, StopReason.USER_STOP, by=key):
                return stop
            continue
        for old in earlier:
            if state.open[old].state is not TurnState.WAITING and _may_end(state, old, now):
                return End(key=old, outcome=Outcome.STOPPED, text="Stopped for a message that replaces it.")
    return None


def _steer(state: State) -> Action | None:
    running = state.running
    if running is None or not running.ready or running.closing or running.stopping:
        return None
    for key in of_thread(state, running.key.thread_id):
        waiting = state.open[key].mode is Mode.STEER and key != running.key
        if waiting and key not in state.steering and key not in state.steered:
            return Steer(key=key)
    return None


def _give_up(state: State, now: float) -> Action | None:
    for key, record in state.open.items():
        if record.attempts >= MAX_ATTEMPTS and _may_end(state, key, now):
            text = f"Given up: the worker died {MAX_ATTEMPTS} times while it worked on this message."
            return End(key=key, outcome=Outcome.FAILED, text=text)
    return None


def _may_end(state: State, key: Key, now: float) -> bool:
    """Whether a message can be given an outcome without asking what its thread's turn makes of it.

    A record that says ``running`` and is in nobody's hand was left by a worker that died: git has to be asked
    first, which goes only while nothing runs, and its commit may name messages behind it. So may the commit
    of a turn that is being recovered or committed right now.
    """
    if in_hand(state, key) or _paused_until(state, key) > now:
        return False
    running = state.running
    for mate in of_thread(state, key.thread_id):
        if state.open[mate].state is TurnState.RUNNING and not in_hand(state, mate):
            return running is None and key == mate and _paused_until(state, mate) <= now
    here = running is not None and running.key.thread_id == key.thread_id
    return not (here and running and (running.closing or not running.ready))


def _preempt(state: State, head: Key) -> Action | None:
    running = state.running
    if running is None or running.stopping or running.key.thread_id == head.thread_id:
        return None
    if head in state.pauses or state.open[head].resumes_at is not None:
        return None  # nobody wrote: it only tries again
    if state.open[running.key].interruptions >= MAX_INTERRUPTIONS:
        return None
    return _stop(state, StopReason.PREEMPTED, by=head)


def _next(state: State, *, now: float) -> Key | None:
    """What should run: the head of the highest thread that does not wait for a usage limit."""
    for thread_id in threads(state):
        head = _head(state, thread_id)
        if head and _due(state, head) <= now:
            return head
    return None


def _paused_until(state: State, key: Key) -> float:
    return state.pauses[key].until if key in state.pauses else 0.0


def _due(state: State, key: Key) -> float:
    """When the message may be worked on (Unix time in seconds): a limit or a pause may have to pass."""
    return max(state.open[key].resumes_at or 0.0, _paused_until(state, key))


def wakes_at(state: State, *, now: float) -> float | None:
    """When the next limit or pause ends (Unix time in seconds), if there is one."""
    due = [_due(state, k) for k in state.open]
    due += [_paused_until(state, removal(t)) for t in state.deletes]
    return min((at for at in due if at > now), default=None)


def threads(state: State) -> Iterator[ThreadId]:
    """Threads with open messages, top of the stack first; any the stack does not know come last."""
    known = dict.fromkeys(state.stack) | dict.fromkeys(k.thread_id for k in sorted(state.open))
    return (t for t in known if any(of_thread(state, t)))


def ahead(state: State, key: Key) -> int:
    """How many messages are worked on before this one, as things stand."""
    order = [k for t in threads(state) for k in of_thread(state, t)]
    before = order[: order.index(key)] if key in order else order
    running = state.running
    outside = running is not None and running.key != key and running.key not in before
    return len(before) + (1 if outside and _preempt(state, key) is None else 0)


def _head(state: State, thread_id: ThreadId) -> Key | None:
    """The message to run next in a thread: one that a dead worker had begun, the newest ``interrupt``, else
    the lowest sequence."""
    keys = of_thread(state, thread_id)
    if left := [k for k in keys if state.open[k].state is TurnState.RUNNING and not in_hand(state, k)]:
        return left[0]
    urgent = [k for k in _interrupting(state) if k in keys]
    return urgent[-1] if urgent else (keys[0] if keys else None)


def _interrupting(state: State) -> list[Key]:
    return sorted(k for k, r in state.open.items() if r.mode is Mode.INTERRUPT)
