"""The engine: looks at the records, chooses, does it. Each function is one step of ``worker.engine``."""

from tests.model.choice import Choice, choose, stack_without
from tests.model.owning import ends, fenced, living
from tests.model.state import (
    STOP,
    Look,
    Pointer,
    Record,
    Setup,
    State,
    Step,
    Steps,
    Told,
    Turn,
    Worker,
    broken,
    put,
    with_worker,
)


def minute_passes(state: State, setup: Setup) -> Steps:
    """``worker.engine.Pace.look``: a look without a ring (one that would find nothing new is left out)."""
    if setup.rings and "look every minute" in setup.without:
        return
    for slot, worker in living(state, "up"):
        unknown = any(r and not known for r, known in zip(state.records, worker.open, strict=True))
        if not worker.rung and worker.look is None and (unknown or worker.stop != state.stop):
            yield Step("worker {} has not looked for a minute", (slot,), "fair",
                       with_worker(state, slot, worker._replace(rung=True)))  # fmt: skip


def looks(state: State, setup: Setup) -> Steps:
    """``worker.ledger.DynamoLedger.look``: a consistent read, which needs no lease."""
    for slot, worker in living(state, "up", "cold"):
        if worker.rung and worker.look is None:
            look = Look(records=state.records, stop=state.stop)
            judged = _judged(state, slot, before=0)
            yield Step("worker {} reads the records", (slot,), "fair",
                       with_worker(state, slot, worker._replace(rung=False, look=look))._replace(queue=judged)
                       )  # fmt: skip


def takes_over(state: State, setup: Setup) -> Steps:
    """``worker.turn.looked``, then ``Engine._settle``: what is known stays, what has ended stays ended."""
    for slot, worker in living(state, "up", "cold"):
        look = worker.look
        if look is None:
            continue
        stale = () if "what has ended stays ended" in setup.without else look.ended
        open_ = tuple(
            known or (None if m in stale else look.records[m]) for m, known in enumerate(worker.open)
        )
        mine = worker._replace(open=open_, stop=look.stop, look=None)
        judged = state._replace(queue=_judged(state, slot, before=1))
        yield Step("worker {} knows what it read", (slot,), "fair",
                   settled(with_worker(judged, slot, mine), slot))  # fmt: skip


def _judged(state: State, slot: int, *, before: int) -> tuple[Pointer, ...]:
    return tuple(
        sorted(
            p._replace(judged=before + 1) if (p.holder, p.judged) == (slot, before) else p
            for p in state.queue
        )
    )


def settled(state: State, slot: int) -> State:
    """``worker.inbox.SqsInbox.settle``: deliveries of what is not open any more are deleted."""
    worker = state.workers[slot]
    assert worker is not None
    done = [
        p
        for p in state.queue
        if p.holder == slot and p.judged == 2 and not (p.message != STOP and worker.open[p.message])
    ]
    if not done:
        return state
    if any(p.message != STOP and state.outcomes[p.message] is None for p in done):
        state = broken(state, "a delivery was deleted although its message has no outcome")
    return state._replace(queue=tuple(p for p in state.queue if p not in done))


def acts(state: State, setup: Setup) -> Steps:
    """``worker.decide.decide`` and ``worker.engine.Engine._perform``."""
    for slot, worker in living(state, "up"):
        if worker.look is not None or worker.rung:
            continue
        choice = choose(worker, setup)
        if choice[0] != "wait":
            yield DO[choice[0]](state, setup, slot, worker, choice)


def _leave(state: State, setup: Setup, slot: int, worker: Worker, choice: Choice) -> Step:
    if worker.lost:
        return Step("worker {} lost its lease and ends", (slot,), "fair", ends(state, slot, give_back=True))
    return Step("worker {} has drained", (slot,), "fair",
                with_worker(state, slot, worker._replace(at="leaving")))  # fmt: skip


def _stop(state: State, setup: Setup, slot: int, worker: Worker, choice: Choice) -> Step:
    assert worker.turn is not None
    turn = worker.turn._replace(stopping=choice[2])
    return Step("worker {} stops m{}: {}", (slot, choice[1] + 1, choice[2]), "fair",
                with_worker(state, slot, worker._replace(turn=turn)))  # fmt: skip


def _lift(state: State, setup: Setup, slot: int, worker: Worker, choice: Choice) -> Step:
    m = choice[1]
    record, thread = worker.open[m], setup.messages[m].thread
    assert record is not None
    after, passed = fenced(state, setup, worker)
    if not passed:
        return Step("worker {} may not lift", (slot,), "fair", lost(state, slot))
    lifted = record._replace(lifted=True)
    stack = (thread, *(t for t in worker.stack if t != thread))
    mine = worker._replace(open=put(worker.open, m, lifted), stack=stack)
    if state.records[m] is None:
        after = broken(after, "a message with an outcome was lifted")
    after = after._replace(records=put(state.records, m, lifted), stack=stack)
    return Step("worker {} lifts thread {} for m{}", (slot, thread, m + 1), "fair",
                with_worker(after, slot, mine))  # fmt: skip


def _start(state: State, setup: Setup, slot: int, worker: Worker, choice: Choice) -> Step:
    m = choice[1]
    record = worker.open[m]
    assert record is not None
    mine = worker._replace(turn=Turn(message=m, was=record.state))
    return Step("worker {} takes m{} in hand", (slot, m + 1), "fair", with_worker(state, slot, mine))


def _end(state: State, setup: Setup, slot: int, worker: Worker, choice: Choice) -> Step:
    _, m, outcome = choice
    record = worker.open[m]
    assert record is not None
    doubtful = record.state == "running" and worker.turn is None
    if doubtful and "evidence before an end" not in setup.without:
        turn = Turn(message=m, at="judged", was="running", closing=True, outcome=outcome)
        return Step("worker {} asks git before m{} ends as {}", (slot, m + 1, outcome), "fair",
                    with_worker(state, slot, worker._replace(turn=turn)))  # fmt: skip
    begun = ((setup.messages[m].thread, True),) if record.state != "waiting" else ()
    mine = worker._replace(pushing=tuple(sorted({*worker.pushing, *begun})))
    after = finish(with_worker(state, slot, mine), setup, slot, (m,), Told(outcome, "nothing"))
    return Step("worker {} ends m{} as {}", (slot, m + 1, outcome), "fair", after)


def _clear(state: State, setup: Setup, slot: int, worker: Worker, choice: Choice) -> Step:
    after, passed = fenced(state, setup, worker)
    if not passed:
        return Step("worker {} may not clear the stop", (slot,), "fair", lost(state, slot))
    cleared = 0 if state.stop == choice[1] else state.stop
    return Step("worker {} clears the stop", (slot,), "fair",
                with_worker(after, slot, worker._replace(stop=0))._replace(stop=cleared))  # fmt: skip


def _steer(state: State, setup: Setup, slot: int, worker: Worker, choice: Choice) -> Step:
    assert worker.turn is not None
    turn = worker.turn._replace(offered=(*worker.turn.offered, choice[1]))
    if "steering counts when it arrives" in setup.without:
        turn = turn._replace(offered=(), taken_in=(*turn.taken_in, choice[1]))
    return Step("worker {} hands m{} to the running turn", (slot, choice[1] + 1), "fair",
                with_worker(state, slot, worker._replace(turn=turn)))  # fmt: skip


DO = {
    "leave": _leave, "stop": _stop, "lift": _lift, "start": _start, "end": _end, "clear": _clear,
    "steer": _steer,
}  # fmt: skip


def lost(state: State, slot: int) -> State:
    """``LeaseLost`` was raised: nothing more is written, the turn is let go."""
    worker = state.workers[slot]
    assert worker is not None
    return with_worker(state, slot, worker._replace(lost=True, turn=None))


def finish(state: State, setup: Setup, slot: int, keys: tuple[int, ...], told: Told) -> State:
    """``worker.ledger.DynamoLedger.finish``: outcomes, final events and stack in one transaction."""
    worker = state.workers[slot]
    assert worker is not None
    state, passed = fenced(state, setup, worker)
    if not passed:
        return lost(state, slot)
    if any(not worker.open[m] for m in keys):
        return broken(state, "a turn concludes a message that has ended meanwhile")
    if any(state.outcomes[m] for m in keys):
        state = broken(state, "a message got two outcomes")
    stack = stack_without(worker, setup, keys)
    state = state._replace(
        outcomes=tuple(told if m in keys else o for m, o in enumerate(state.outcomes)),
        finals=tuple(n + (m in keys) for m, n in enumerate(state.finals)),
        records=_gone(state.records, keys),
        stack=stack,
    )
    turn = None if worker.turn is None or worker.turn.message in keys else _without(worker.turn, keys)
    look = worker.look and worker.look._replace(ended=(*worker.look.ended, *keys))
    mine = worker._replace(open=_gone(worker.open, keys), stack=stack, turn=turn, look=look)
    return settled(with_worker(state, slot, mine), slot)


def _without(turn: Turn, keys: tuple[int, ...]) -> Turn:
    """``worker.turn.ended`` of others: a text that was handed over no longer waits to be taken in."""
    offered = tuple(m for m in turn.offered if m not in keys)
    return turn._replace(offered=offered, taken_in=tuple(m for m in turn.taken_in if m not in keys))


def _gone(records: tuple[Record | None, ...], keys: tuple[int, ...]) -> tuple[Record | None, ...]:
    return tuple(None if m in keys else r for m, r in enumerate(records))


ACTIONS = (minute_passes, looks, takes_over, acts)
