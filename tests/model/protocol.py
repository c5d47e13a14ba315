"""The protocol as an explicit-state model: all its steps, what must hold in every state, what must come.

States are in ``state``, the steps of the dispatcher, queue and launcher in ``sending``, of a worker's life
in ``owning``, of its engine in ``thinking``, of a turn in ``turning``, git in ``git``. What is left out is in
``docs/decisions/protocol-model.md``. The model says what the code does; it must not be mended where the code
is wrong.
"""

from collections import Counter

from tests.model import owning, sending, thinking, turning
from tests.model.state import Branch, Setup, State, Steps

ACTIONS = (*thinking.ACTIONS, *turning.ACTIONS, *owning.ACTIONS, *sending.ACTIONS)


def steps(state: State, setup: Setup) -> Steps:
    """Everything that can happen next."""
    for action in ACTIONS:
        yield from action(state, setup)


def promise_broken(state: State, setup: Setup) -> str | None:
    """The promise that does not hold in this state, in words."""
    if state.broken:
        return state.broken
    for promise in (_one_outcome, _nothing_lost, _one_commit, _order, _truth, _heard, _stopped):
        if said := promise(state, setup):
            return said
    return None


def _one_outcome(state: State, setup: Setup) -> str | None:
    for outcome, finals in zip(state.outcomes, state.finals, strict=True):
        if finals != (outcome is not None):
            return "a message has not exactly one final event for its outcome"
    return None


def _nothing_lost(state: State, setup: Setup) -> str | None:
    """``zip`` drops the stop's request, which is the last and makes no record of this kind."""
    for ask, record, outcome in zip(state.asks, state.records, state.outcomes, strict=False):
        taken = ask not in ("new", "saw up", "saw cold")
        if taken != ((record is not None) or (outcome is not None)) or (record and outcome):
            return "a message has not exactly one of an open record and an outcome"
    return None


def _one_commit(state: State, setup: Setup) -> str | None:
    for branch in _branches(state):
        if any(n > 1 for n in Counter(m for c in branch or () for m in c[0]).values()):
            return "a message has two commits on one branch"
    return None


def _branches(state: State) -> list[Branch]:
    return [*state.remote, *(b for d in state.disks for b in d.local)]


def _order(state: State, setup: Setup) -> str | None:
    for branch in state.remote:
        firsts = [c[0][0] for c in branch or () if c[0]]
        if firsts != sorted(firsts):
            return "commits stand on the remote in another order than their messages"
    return None


def _truth(state: State, setup: Setup) -> str | None:
    """What was told is what is there."""
    for m, told in enumerate(state.outcomes):
        if told is None:
            continue
        found = [c for b in state.remote for c in b or () if m in c[0]]
        if told.how == "pushed" and not found:
            return "a message was told as pushed and has no commit on the remote"
        if any(c[1] != told.outcome for c in found):
            return "a commit on the remote says another outcome than was told"
    return None


def _heard(state: State, setup: Setup) -> str | None:
    for m, told in enumerate(state.outcomes):
        if told is not None and told.outcome == "completed" and m not in state.read:
            return "a message was answered as completed though Claude Code never read it"
    return None


def _stopped(state: State, setup: Setup) -> str | None:
    for told, spec in zip(state.outcomes, setup.messages, strict=True):
        if told is not None and told.outcome == "stopped" and spec.sequence > setup.stop:
            return "a stop ended a message later than the one it named"
    return None


def answered(state: State, setup: Setup) -> bool:
    """What must stay reachable without further faults: every recorded message has its outcome, no stop is
    left, and no living worker has a push that never ends."""
    quiet = all(w is None or not w.pushing for w in state.workers)
    return quiet and not state.stop and not any(state.records)
