"""Which searches there are: one for each situation, small for every run and larger on demand."""

from functools import partial
from typing import NamedTuple

from tests.model import numbers, protocol
from tests.model.explore import Found, Model, Search
from tests.model.state import Setup, Spec, State, start

LIMIT = 1_000_000
ONE = (Spec(),)
TWO = (Spec(), Spec(sequence=2))
STEERED = (Spec(), Spec(sequence=2, steer=True))
APART = (Spec(), Spec(thread=1))


class Situation(NamedTuple):
    """A search for every run, and the one of ``python -m tests.model --large``."""

    small: Setup
    large: Setup


SITUATIONS = {
    "lost wake": Situation(
        Setup(wakes=True, up=False, idle=True, deaths=1, crashes=1),
        Setup(messages=TWO, wakes=True, up=False, idle=True, deaths=1),
    ),
    "lost ring": Situation(
        Setup(messages=TWO, wakes=True, rings=True, losses=1, sweep=False),
        Setup(messages=TWO, wakes=True, rings=True, losses=2),
    ),
    "idle exit against a send": Situation(
        Setup(messages=TWO, wakes=True, sweep=False, idle=True),
        Setup(messages=TWO, wakes=True, rings=True, sweep=False, idle=True),
    ),
    "late stop": Situation(
        Setup(messages=TWO, stop=1),
        Setup(messages=TWO, stop=1, crashes=1),
    ),
    "stop after a takeover": Situation(
        Setup(stop=1, crashes=1),
        Setup(stop=1, takeovers=1, crashes=1),
    ),
    "undelivered steer": Situation(
        Setup(messages=STEERED, crashes=1),
        Setup(messages=STEERED, crashes=1, drains=1),
    ),
    "takeover, same disk": Situation(
        Setup(takeovers=1, crashes=1),
        Setup(messages=TWO, takeovers=1),
    ),
    "takeover, other disk": Situation(
        Setup(takeovers=1, crashes=1, disks=(0, 1)),
        Setup(messages=TWO, takeovers=1, disks=(0, 1)),
    ),
    "outcome recorded, delivery left": Situation(
        Setup(rings=True, wakes=True, crashes=1, duplicates=1),
        Setup(rings=True, wakes=True, crashes=2, duplicates=1),
    ),
    "preempt and return": Situation(
        Setup(messages=APART, drains=1),
        Setup(messages=APART, crashes=1, drains=1),
    ),
    "remote out of reach": Situation(
        Setup(crashes=1, outages=1),
        Setup(messages=TWO, crashes=1, outages=1),
    ),
}


def search(setup: Setup, *, limit: int = LIMIT) -> Search[State]:
    """A search of the main model."""
    model = Model(
        start=start(setup),
        steps=partial(protocol.steps, setup=setup),
        broken=partial(protocol.promise_broken, setup=setup),
        answered=partial(protocol.answered, setup=setup),
    )
    return Search(model, limit=limit)


def search_numbers(*without: str) -> Found:
    """The search of the model of numbers."""
    model = Model(
        start=numbers.Numbers(),
        steps=partial(numbers.steps, without=frozenset(without)),
        broken=numbers.broken,
        answered=numbers.answered,
    )
    return Search(model, limit=LIMIT).run()
