"""A turn, effect by effect: switch, evidence, start, Claude Code, commit, push, record; or the parking place.

Each function is one step of ``worker.running`` or ``worker.closing``. Between any two of them the process may
die, freeze, or lose its lease.
"""

from collections.abc import Iterator

from tests.model import git
from tests.model.choice import open_of
from tests.model.owning import fenced, living
from tests.model.state import Record, Setup, State, Step, Steps, Told, Turn, Worker, broken, put, with_worker
from tests.model.thinking import finish, lost


def _turns(state: State, *at: str) -> Iterator[tuple[int, Worker, Turn]]:
    for slot, worker in living(state, "up"):
        if worker.turn is not None and worker.turn.at in at:
            yield slot, worker, worker.turn


def _with_turn(state: State, slot: int, turn: Turn) -> State:
    worker = state.workers[slot]
    assert worker is not None
    return with_worker(state, slot, worker._replace(turn=turn))


def switches(state: State, setup: Setup) -> Steps:
    """``worker.workspace.GitWorkspace.switch``."""
    for slot, worker, turn in _turns(state, "taken"):
        thread, disk = setup.messages[turn.message].thread, setup.disks[slot]
        here = state.disks[disk]
        start = git.start_of(here.local[thread], here.seen[thread], setup)
        after = git.set_local(state, disk, thread, start)
        mine = worker._replace(turn=turn._replace(at="switched"), in_turn=thread)
        yield Step("worker {} switches to thread {}", (slot, thread), "fair", with_worker(after, slot, mine))


def looks_for_evidence(state: State, setup: Setup) -> Steps:
    """``worker.running.RunningTurn._was_done``, ``worker.closing.Closing.finish_from_evidence``."""
    for slot, worker, turn in _turns(state, "switched", "judged"):
        doubtful = turn.was == "running" or setup.messages[turn.message].steer
        asked = doubtful or turn.was == "parked"
        if not asked or (turn.at == "switched" and "evidence before a start" in setup.without):
            yield Step("m{} needs no evidence", (turn.message + 1,), "fair",
                       _with_turn(state, slot, turn._replace(at="asked")))  # fmt: skip
            continue
        thread, disk = setup.messages[turn.message].thread, setup.disks[slot]
        after, commit = state, git.find(state, disk, thread, turn.message)
        if commit is None and doubtful and state.remote_up:
            after, mine = git.fetch_claimed(state, setup, slot)
            if not mine:
                yield Step("worker {} finds a later owner on the remote", (slot,), "fair", lost(state, slot))
                continue
            worker = after.workers[slot] or worker
            commit = git.find(after, disk, thread, turn.message)
        known = worker.open[turn.message]
        assert known is not None
        away = commit is None and not state.remote_up and turn.was == "running" and known.place != disk
        if away and "a turn in doubt waits for the remote" not in setup.without:
            yield Step("m{} waits for the remote, which alone knows", (turn.message + 1,), "fair",
                       with_worker(state, slot, worker._replace(turn=None, in_turn=-1)))  # fmt: skip
        elif commit is not None:
            also = [m for m in open_of(worker, setup, thread) if m in commit[0] and m != turn.message]
            found = turn._replace(at="committed", commit=commit, outcome=commit[1], along=tuple(also))
            yield Step("worker {} finds the commit of m{}", (slot, turn.message + 1), "fair",
                       _with_turn(after, slot, found))  # fmt: skip
        elif turn.at == "judged":
            beside = tuple(sorted({*worker.pushing, (thread, True)}))
            judged = worker._replace(turn=turn._replace(at="pushed", how="nothing"), pushing=beside)
            yield Step("worker {} finds no commit of m{}", (slot, turn.message + 1), "fair",
                       with_worker(after, slot, judged))  # fmt: skip
        else:
            yield Step("worker {} finds no commit of m{}", (slot, turn.message + 1), "fair",
                       _with_turn(after, slot, turn._replace(at="asked")))  # fmt: skip


def fetches_beside(state: State, setup: Setup) -> Steps:
    """``worker.running.RunningTurn._refresh``."""
    for slot, _, _ in _turns(state, "switched", "asked", "begun", "running"):
        if setup.outages and state.remote_up and state.disks[setup.disks[slot]].seen != state.remote:
            after, mine = git.fetch_claimed(state, setup, slot)
            yield Step("worker {} fetches beside its turn", (slot,), "choice",
                       after if mine else lost(state, slot))  # fmt: skip


def begins(state: State, setup: Setup) -> Steps:
    """``worker.running.RunningTurn._begin``: the record says ``running``, with one attempt more."""
    for slot, worker, turn in _turns(state, "asked"):
        m = turn.message
        known = worker.open[m]
        assert known is not None
        after, passed = fenced(state, setup, worker)
        if not passed:
            yield Step("worker {} may not start m{}", (slot, m + 1), "fair", lost(state, slot))
            continue
        if state.records[m] is None:
            after = broken(after, "a message with an outcome was started again")
        earlier = [
            n for n in range(m) if state.records[n] and setup.messages[n].thread == setup.messages[m].thread
        ]
        if earlier:
            after = broken(after, "a message was started before an earlier one of its thread")
        record = known._replace(state="running", attempts=known.attempts + 1, place=setup.disks[slot])
        mine = worker._replace(open=put(worker.open, m, record), turn=turn._replace(at="begun"))
        yield Step("worker {} records the start of m{}", (slot, m + 1), "fair",
                   with_worker(_written(after, m, record), slot, mine))  # fmt: skip


def _written(state: State, message: int, record: Record) -> State:
    return state._replace(records=put(state.records, message, record))


def claude_starts(state: State, setup: Setup) -> Steps:
    """``worker.running.RunningTurn._run_agent``: the text reaches the model, unless a stop was first."""
    for slot, _, turn in _turns(state, "begun"):
        if turn.stopping:
            yield Step("m{} is stopped before Claude Code starts", (turn.message + 1,), "fair",
                       _with_turn(state, slot, turn._replace(at="halted", how="nothing")))  # fmt: skip
        else:
            started = _with_turn(state, slot, turn._replace(at="running"))
            yield Step("Claude Code reads m{}", (turn.message + 1,), "fair", _reads(started, turn.message))


def _reads(state: State, message: int) -> State:
    return state._replace(read=tuple(sorted({*state.read, message})))


def takes_text_in(state: State, setup: Setup) -> Steps:
    """``worker.running.RunningTurn._steered``: the steering text reached the model."""
    for slot, _, turn in _turns(state, "running"):
        for m in turn.offered:
            rest = tuple(n for n in turn.offered if n != m)
            after = _with_turn(state, slot, turn._replace(offered=rest, taken_in=(*turn.taken_in, m)))
            yield Step("Claude Code takes m{} in", (m + 1,), "fair", _reads(after, m))


def claude_ends(state: State, setup: Setup) -> Steps:
    """``worker.running.RunningTurn._converse`` returns: by itself, also while a stop is under way."""
    for slot, worker, turn in _turns(state, "running"):
        if worker.lost or turn.stopping == "lease_lost":
            yield Step("worker {} lets m{} go", (slot, turn.message + 1), "fair", lost(state, slot))
            continue
        done = turn._replace(at="closing", closing=True, outcome="completed", along=turn.taken_in)
        if "an offered text that did not arrive waits" in setup.without:
            done = done._replace(along=(*turn.taken_in, *turn.offered))
        yield Step("Claude Code ends m{} by itself", (turn.message + 1,), "fair",
                   _with_turn(state, slot, done))  # fmt: skip
        if turn.stopping:
            yield Step("Claude Code is stopped in m{}", (turn.message + 1,), "fair",
                       _with_turn(state, slot, turn._replace(at="halted")))  # fmt: skip


def is_halted(state: State, setup: Setup) -> Steps:
    """``worker.running.RunningTurn._close`` of a stopped turn: its outcome, or a checkpoint and a pause."""
    for slot, worker, turn in _turns(state, "halted"):
        if worker.lost or turn.stopping == "lease_lost":
            yield Step("worker {} lets m{} go", (slot, turn.message + 1), "fair", lost(state, slot))
        elif turn.stopping == "user_stop":
            along = tuple(m for m in turn.taken_in if setup.messages[m].sequence <= worker.stop)
            at = "pushed" if turn.how == "nothing" else "closing"
            ended = turn._replace(at=at, closing=True, outcome="stopped", along=along)
            yield Step("m{} is going to end as stopped", (turn.message + 1,), "fair",
                       _with_turn(state, slot, ended))  # fmt: skip
        else:
            yield _checkpoint(state, setup, slot, worker, turn)


def _checkpoint(state: State, setup: Setup, slot: int, worker: Worker, turn: Turn) -> Step:
    thread, disk = setup.messages[turn.message].thread, setup.disks[slot]
    branch = state.disks[disk].local[thread] or ()
    mark = ((), "paused", worker.epoch)
    if turn.how != "nothing" and mark not in branch:
        state = git.set_local(state, disk, thread, (*branch, mark))
    mine = worker._replace(turn=turn._replace(at="paused", closing=True), in_turn=-1)
    return Step("worker {} keeps the work of m{}", (slot, turn.message + 1), "fair",
                with_worker(state, slot, mine))  # fmt: skip


def parks(state: State, setup: Setup) -> Steps:
    """``worker.closing.Closing.park``: the record says ``parked``; the push follows beside."""
    for slot, worker, turn in _turns(state, "paused"):
        m = turn.message
        known = worker.open[m]
        assert known is not None
        after, passed = fenced(state, setup, worker)
        if not passed:
            yield Step("worker {} may not park m{}", (slot, m + 1), "fair", lost(state, slot))
            continue
        record: Record = known._replace(state="parked", attempts=max(known.attempts - 1, 0))
        beside = tuple(sorted({*worker.pushing, (setup.messages[m].thread, True)}))
        mine = worker._replace(open=put(worker.open, m, record), turn=None, pushing=beside)
        yield Step("worker {} parks m{}", (slot, m + 1), "fair",
                   with_worker(_written(after, m, record), slot, mine))  # fmt: skip


def commits(state: State, setup: Setup) -> Steps:
    """``worker.closing.Closing._commit``: on this disk, under no fence."""
    for slot, worker, turn in _turns(state, "closing"):
        thread, disk = setup.messages[turn.message].thread, setup.disks[slot]
        commit = ((turn.message, *turn.along), turn.outcome, worker.epoch)
        after = git.set_local(state, disk, thread, (*(state.disks[disk].local[thread] or ()), commit))
        mine = worker._replace(turn=turn._replace(at="committed", commit=commit), in_turn=-1)
        yield Step("worker {} commits m{}", (slot, turn.message + 1), "fair",
                   with_worker(after, slot, mine))  # fmt: skip
        if setup.nothing:
            none = worker._replace(turn=turn._replace(at="pushed", how="nothing"), in_turn=-1)
            yield Step("m{} changed nothing", (turn.message + 1,), "fair", with_worker(state, slot, none))


def pushes(state: State, setup: Setup) -> Steps:
    """``worker.publishing.Publishing.publish``: a push that does not work is tried again beside."""
    for slot, worker, turn in _turns(state, "committed"):
        thread = setup.messages[turn.message].thread
        stands = turn.commit in (state.disks[setup.disks[slot]].seen[thread] or ())
        if stands and "what the remote has is not pushed again" not in setup.without:
            yield Step("m{} is on the remote already", (turn.message + 1,), "fair",
                       _with_turn(state, slot, turn._replace(at="pushed", how="pushed")))  # fmt: skip
            continue
        after, result = git.push(state, setup, slot, thread)
        if result == "landed":
            yield Step("worker {} pushes m{}", (slot, turn.message + 1), "fair",
                       _with_turn(after, slot, turn._replace(at="pushed", how="pushed")))  # fmt: skip
        elif result == "lost":
            yield Step("worker {} is refused by the remote", (slot,), "fair", lost(after, slot))
        else:
            beside = tuple(sorted({*worker.pushing, (thread, False)}))
            mine = worker._replace(turn=turn._replace(at="pushed", how="unpushed"), pushing=beside)
            yield Step("worker {} cannot push m{} now ({})", (slot, turn.message + 1, result), "fair",
                       with_worker(after, slot, mine))  # fmt: skip


def records_outcome(state: State, setup: Setup) -> Steps:
    """``worker.closing.Closing._record``."""
    for slot, _, turn in _turns(state, "pushed"):
        told = Told(turn.outcome, turn.how)
        after = finish(state, setup, slot, (turn.message, *turn.along), told)
        yield Step("worker {} records m{} as {}", (slot, turn.message + 1, turn.outcome), "fair", after)


ACTIONS = (
    switches, looks_for_evidence, fetches_beside, begins, claude_starts, takes_text_in, claude_ends,
    is_halted, parks, commits, pushes, records_outcome,
)  # fmt: skip
