"""Breadth-first search through every reachable state, so that a counterexample is a shortest one.

Safety: a promise must hold in each state. Liveness: from each state one where everything is answered stays
reachable by fair steps alone. In a finite model that means that under strong fairness everything is answered;
a state in which nothing more happens and something is open is one case of its failure.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, TypeVar

S = TypeVar("S")


class Model(NamedTuple, Generic[S]):
    """What is searched. ``steps`` yields what is shaped like ``tests.model.state.Step``."""

    start: S
    steps: Callable[[S], Iterable[Any]]
    broken: Callable[[S], str | None]
    answered: Callable[[S], bool]


class TooLarge(Exception):
    """The search has more states than it was allowed."""


class Found(NamedTuple):
    """``broken`` is None when every promise holds; else ``trace`` is the shortest way there, in sentences."""

    states: int
    steps: int
    seconds: float
    broken: str | None
    trace: tuple[str, ...]

    def __str__(self) -> str:
        size = f"{self.states} states, {self.steps} steps, {self.seconds:.1f} s"
        if self.broken is None:
            return f"every promise holds ({size})"
        lines = [f"{n:3}. {line}" for n, line in enumerate(self.trace, start=1)]
        return "\n".join([f"BROKEN: {self.broken} ({size})", *lines])


class Search(Generic[S]):
    """One search. ``seen`` gives the states that were reached, afterwards."""

    def __init__(self, model: Model[S], *, limit: int) -> None:
        self._model, self._limit = model, limit
        self._ids: dict[S, int] = {model.start: 0}
        self._from: list[tuple[int, str, tuple[object, ...]]] = [(-1, "", ())]
        self._fair_into: list[list[int]] = [[]]
        self._steps = 0

    @property
    def seen(self) -> Iterable[S]:
        """All states reached, in the order of their distance."""
        return self._ids

    def run(self) -> Found:
        """Search until a promise is broken or nothing new is left. Raises TooLarge."""
        began = time.monotonic()
        at, broken = self._spread()
        if broken is None:
            at, broken = self._stuck()
        spent = time.monotonic() - began
        trace = self._way_to(at) if broken else ()
        return Found(len(self._ids), self._steps, spent, broken, trace)

    def _spread(self) -> tuple[int, str | None]:
        todo = deque([self._model.start])
        while todo:
            state = todo.popleft()
            here = self._ids[state]
            if broken := self._model.broken(state):
                return here, broken
            for step in self._model.steps(state):
                if self._add(step, here=here):
                    todo.append(step.state)
        return 0, None

    def _add(self, step: Any, *, here: int) -> bool:
        said, names, kind, state = step
        self._steps += 1
        there = self._ids.get(state)
        new = there is None
        if there is None:
            there = self._ids[state] = len(self._from)
            self._from.append((here, said, names))
            self._fair_into.append([])
            if there > self._limit:
                raise TooLarge(f"more than {self._limit} states")
        if kind == "fair":
            self._fair_into[there].append(here)
        return new

    def _stuck(self) -> tuple[int, str | None]:
        """The nearest state from which fair steps alone never lead to an answer."""
        todo = [n for n, state in enumerate(self._ids) if self._model.answered(state)]
        good = set(todo)
        while todo:
            for before in self._fair_into[todo.pop()]:
                if before not in good:
                    good.add(before)
                    todo.append(before)
        for n in range(len(self._from)):
            if n not in good:
                return n, "from here on nothing leads to an answer without further help"
        return 0, None

    def _way_to(self, at: int) -> tuple[str, ...]:
        way: list[str] = []
        while at > 0:
            at, said, names = self._from[at]
            way.append(said.format(*names))
        return tuple(reversed(way))
