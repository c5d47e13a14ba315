"""How numbers are given out: sequences and event numbers of one thread, between writers that die and race.

The main model takes the recording transaction as one step. Here it is taken apart: a writer reads the
thread's row, then writes under the condition that the row is as it was read (``dispatcher.record.Recorder``,
``worker.ledger.DynamoLedger._write``), and may die between the two. A reader follows the log by polling.
"""

from typing import NamedTuple

from tests.model.state import Step, Steps, put

MESSAGES, WRITERS = 2, 3
"""Two requests of the dispatcher that record a message, and the worker, which writes events only."""


class Numbers(NamedTuple):
    """``at``: each writer is idle, has read the row (what it read), is done, or died. ``reserved`` is only
    used when numbers are given out in a write of their own."""

    sequence: int = 0
    event: int = 0
    messages: tuple[tuple[int, int], ...] = ()
    log: tuple[tuple[int, int], ...] = ()
    at: tuple[object, ...] = ("idle",) * WRITERS
    shown: tuple[int, ...] = ()
    left: int = 1


def steps(state: Numbers, without: frozenset[str]) -> Steps:
    """Reads, conditional writes, deaths, and the polls of a reader."""
    for w, at in enumerate(state.at):
        if at == "idle":
            read = _reserve(state) if "numbers and record in one transaction" in without else state
            seen = read._replace(at=put(state.at, w, (read.sequence, read.event)))
            yield Step("writer {} reads the thread's row", (w,), "fair", seen)
        elif isinstance(at, tuple):
            yield from _writes(state, w, at, without)
            if state.left:
                died = state._replace(at=put(state.at, w, "died"), left=state.left - 1)
                yield Step("writer {} dies before its transaction", (w,), "fault", died)
    last = state.shown[-1] if state.shown else 0
    new = tuple(sorted(n for n, _ in state.log if n > last))
    if new:
        yield Step("the reader polls the log", (), "fair", state._replace(shown=(*state.shown, *new)))


def _reserve(state: Numbers) -> Numbers:
    return state._replace(sequence=state.sequence + 1, event=state.event + 1)


def _writes(state: Numbers, w: int, at: tuple[int, int], without: frozenset[str]) -> Steps:
    apart = "numbers and record in one transaction" in without
    overtaken = (state.sequence, state.event) != at and not apart
    if overtaken and "the row is as it was read" not in without:
        yield Step("writer {} was overtaken and reads again", (w,), "fair",
                   state._replace(at=put(state.at, w, "idle")))  # fmt: skip
        return
    sequence, event = at if apart else (at[0] + 1, at[1] + 1)
    records = w < MESSAGES
    yield Step("writer {} writes its transaction", (w,), "fair", state._replace(
        sequence=max(sequence if records or apart else at[0], state.sequence if apart else 0),
        event=max(event, state.event if apart else 0),
        messages=(*state.messages, (sequence, w)) if records else state.messages,
        log=(*state.log, (event, w)),
        at=put(state.at, w, "done"),
    ))  # fmt: skip


def broken(state: Numbers) -> str | None:
    """No gap, no number twice, nothing that a reader overlooks."""
    for what, used in (("sequence", state.messages), ("event number", state.log)):
        numbers = sorted(n for n, _ in used)
        if len(set(numbers)) < len(numbers):
            return f"a {what} was given out twice"
    if all(at in ("done", "died") for at in state.at):
        if sorted(n for n, _ in state.messages) != list(range(1, len(state.messages) + 1)):
            return "the sequences of the thread have a gap"
        if sorted(n for n, _ in state.log) != list(range(1, len(state.log) + 1)):
            return "the thread's log has a gap"
    return None


def answered(state: Numbers) -> bool:
    """Every writer that lives has written, and the reader was shown all of it."""
    over = all(at in ("done", "died") for at in state.at)
    return over and sorted(state.shown) == sorted(n for n, _ in state.log)
