"""The dispatcher, the queue and the launcher: how a message becomes durable, is rung for, and wakes a worker.

Numbers are given out in one conditional transaction, which ``tests.model.numbers`` looks into; here it is one
step. Each function is one step of the product, which its docstring names.
"""

from tests.model.state import (
    GONE,
    NOBODY,
    STOP,
    Pointer,
    Record,
    Setup,
    State,
    Step,
    Steps,
    Worker,
    put,
    spend,
    with_worker,
)

_UNSENT = ("new", "saw up", "saw cold")


def _name(setup: Setup, request: int) -> str:
    return "the stop" if request == len(setup.messages) else f"m{request + 1}"


def records_message(state: State, setup: Setup) -> Steps:
    """``dispatcher.record.Recorder.record``: message, turn record and event in one transaction."""
    first = "row_read_first" if "row is read after the record" in setup.without else "new"
    for m, spec in enumerate(setup.messages):
        earlier = [n for n in range(m) if setup.messages[n].thread == spec.thread]
        if first == "row_read_first" and state.asks[m] == "new":
            seen = "saw up" if state.row.up else "saw cold"
            yield Step("the dispatcher reads the row before m{}", (m + 1,), "choice", _ask(state, m, seen))
            continue
        if state.asks[m] not in _UNSENT or any(state.asks[n] in _UNSENT for n in earlier):
            continue
        then = (
            ("recorded" if setup.wakes else "done")
            if state.asks[m] == "new"
            else f"recorded, {state.asks[m]}"
        )
        kept = _ask(state, m, then)._replace(records=put(state.records, m, Record()))
        yield Step("m{} is recorded", (m + 1,), "choice", kept)


def _ask(state: State, request: int, to: str) -> State:
    return state._replace(asks=put(state.asks, request, to))


def asks_to_stop(state: State, setup: Setup) -> Steps:
    """``dispatcher.ingest.Ingest.stop``: reads the open records, then ``dispatcher.table.Table.stop``."""
    request = len(setup.messages)
    if setup.stop and state.asks[request] == "new":
        known = [s for m, s in enumerate(setup.messages) if s.thread == 0 and state.asks[m] != "new"]
        open_ = [
            m for m, r in enumerate(state.records)
            if r and setup.messages[m].thread == 0 and setup.messages[m].sequence <= setup.stop
        ]  # fmt: skip
        if open_ and max(s.sequence for s in known) >= setup.stop:
            yield Step(
                "a stop through {} is asked for", (setup.stop,), "choice", _ask(state, request, "read")
            )
    if state.asks[request] == "read":
        after = _ask(state, request, "recorded" if setup.wakes else "done")._replace(
            stop=max(state.stop, setup.stop)
        )
        yield Step("the stop is recorded", (), "fair", after)


def sends_pointer(state: State, setup: Setup) -> Steps:
    """``dispatcher.ingest.Ingest._ring``, first half: the pointer to the queue; it may get lost."""
    for request, at in enumerate(state.asks):
        if not at.startswith("recorded"):
            continue
        sent = _ask(state, request, "rung" if at == "recorded" else at.removeprefix("recorded, "))
        if at == "recorded, saw up":
            sent = _ask(state, request, "done")
        elif at == "recorded, saw cold":
            sent = _ask(state, request, "cold")
        message = STOP if request == len(setup.messages) else request
        rung = _queue(sent, [*state.queue, Pointer(message)]) if setup.rings else sent
        yield Step("the queue is rung for {}", (_name(setup, request),), "fair", rung)
        if setup.rings and state.left.losses:
            yield Step("the ring for {} is lost", (_name(setup, request),), "fault", spend(sent, "losses"))


def _queue(state: State, pointers: list[Pointer]) -> State:
    return state._replace(queue=tuple(sorted(pointers)))


def reads_row(state: State, setup: Setup) -> Steps:
    """``dispatcher.wake.Wake.unless_up``: a consistent read of the row, after the send."""
    for request, at in enumerate(state.asks):
        if at == "rung":
            seen = "up" if state.row.up else "cold"
            after = _ask(state, request, "done" if state.row.up else "cold")
            yield Step("the dispatcher reads for {}: {}", (_name(setup, request), seen), "fair", after)


def asks_launcher(state: State, setup: Setup) -> Steps:
    """``dispatcher.wake.Wake.start``, ``fleet.launcher.Launcher.ensure``: a process, or a wish for later."""
    for request, at in enumerate(state.asks):
        if at == "cold":
            after = ensure(_ask(state, request, "done"), setup)
            yield Step("the launcher is asked for {}", (_name(setup, request),), "fair", after)


def ensure(state: State, setup: Setup) -> State:
    """``fleet.launcher.Launcher.ensure``: who asks while a process lives is remembered."""
    if not any(state.workers):
        return with_worker(state, 0, _fresh(setup))
    return state if "wish" in setup.without else state._replace(wish=True)


def _fresh(setup: Setup, *, second: bool = False) -> Worker:
    return Worker(second=second, open=(None,) * len(setup.messages))


def takes_wish(state: State, setup: Setup) -> Steps:
    """``fleet.kept.Kept._keep``: a worker that left is started again if somebody asked meanwhile."""
    if state.wish and not any(state.workers):
        yield Step("the launcher starts a worker again", (), "fair",
                   with_worker(state, 0, _fresh(setup))._replace(wish=False))  # fmt: skip


def sweeps(state: State, setup: Setup) -> Steps:
    """``dispatcher.sweep.Sweep._look``: something is open and no process runs."""
    if setup.sweep and not any(state.workers) and (state.stop or any(state.records)):
        yield Step("the sweep has a worker started", (), "fair", with_worker(state, 0, _fresh(setup)))


def dispatcher_dies(state: State, setup: Setup) -> Steps:
    """The dispatcher is killed between two steps; what it had not done for this request is never done."""
    for request, at in enumerate(state.asks):
        if state.left.deaths and at not in ("new", "done"):
            gone = "new" if at.startswith("saw") else "done"
            yield Step("the dispatcher dies with {} {}", (_name(setup, request), at), "fault",
                       spend(_ask(state, request, gone), "deaths"))  # fmt: skip


def second_worker(state: State, setup: Setup) -> Steps:
    """A worker is started while another lives, which will be taken for dead (frozen, cut off, misjudged)."""
    if not state.left.takeovers or not any(state.workers):
        return
    for slot, worker in enumerate(state.workers):
        if worker is None:
            after = with_worker(spend(state, "takeovers"), slot, _fresh(setup, second=True))
            yield Step("worker {} is started beside the other", (slot,), "fault", after)
            return


def receives(state: State, setup: Setup) -> Steps:
    """``worker.inbox.SqsInbox._take``: the delivery is held, and the engine is rung."""
    for at, pointer in enumerate(state.queue):
        if pointer.holder != NOBODY or (at and state.queue[at - 1] == pointer):
            continue
        for slot, worker in enumerate(state.workers):
            if worker is not None and worker.at in ("owner", "locked", "claimed", "fetched", "up", "cold"):
                held = [*state.queue[:at], *state.queue[at + 1 :], Pointer(pointer.message, slot)]
                after = _queue(with_worker(state, slot, worker._replace(rung=True)), held)
                what = "the stop" if pointer.message == STOP else f"m{pointer.message + 1}"
                yield Step("worker {} receives {}", (slot, what), "fair", after)


def redelivers(state: State, setup: Setup) -> Steps:
    """The queue: the visibility of a delivery that nobody renews ends; or it is handed out twice."""
    for at, pointer in enumerate(state.queue):
        rest = [*state.queue[:at], *state.queue[at + 1 :]]
        again = Pointer(pointer.message)
        if pointer.holder == GONE:
            yield Step("the delivery of m{} comes back", (pointer.message + 1,), "fair",
                       _queue(state, [*rest, again]))  # fmt: skip
        elif state.left.duplicates:
            yield Step("m{} is delivered twice", (pointer.message + 1,), "fault",
                       _queue(spend(state, "duplicates"), [*rest, pointer, again]))  # fmt: skip


def remote_comes_and_goes(state: State, setup: Setup) -> Steps:
    """The git remote is out of reach for a while."""
    if not state.remote_up:
        yield Step("the remote is back", (), "fair", state._replace(remote_up=True))
    elif state.left.outages:
        yield Step("the remote is out of reach", (), "fault",
                   spend(state, "outages")._replace(remote_up=False))  # fmt: skip


ACTIONS = (
    records_message, asks_to_stop, sends_pointer, reads_row, asks_launcher, takes_wish, sweeps,
    dispatcher_dies, second_worker, receives, redelivers, remote_comes_and_goes,
)  # fmt: skip
