"""The worker's decision, small: what ``worker.decide`` says for the part of its state that is modelled.

Kept equal to the product by ``test_the_model_decides_what_the_worker_decides``, which asks both about every
state of mind that the searches reach. Interrupting messages and usage limits are not modelled.
"""

from tests.model.state import Setup, Worker

STRENGTH = ("preempted", "user_stop", "draining", "lease_lost")

Choice = tuple[str, int, str]
"""What to do, with which message (or thread, or sequence), and why."""
WAIT: Choice = ("wait", 0, "")


def choose(worker: Worker, setup: Setup) -> Choice:
    """The next thing to do, by the rules of ``worker.decide.decide`` in their order."""
    if worker.lost or worker.draining:
        why = "lease_lost" if worker.lost else "draining"
        return (_stop(worker, why) or WAIT) if worker.turn else ("leave", 0, "")
    stopped = _carry_out_stop(worker, setup) if worker.stop else None
    return stopped or _lift(worker) or _give_up(worker, setup) or _work(worker, setup)


def open_of(worker: Worker, setup: Setup, thread: int) -> list[int]:
    """Messages of the thread that the worker knows to be open, in order."""
    return [m for m, r in enumerate(worker.open) if r is not None and setup.messages[m].thread == thread]


def in_hand(worker: Worker, message: int) -> bool:
    """Whether the running turn will give this message its outcome."""
    turn = worker.turn
    return turn is not None and (turn.message == message or message in turn.taken_in)


def stack_without(worker: Worker, setup: Setup, gone: tuple[int, ...]) -> tuple[int, ...]:
    """The stack once these messages are ended."""
    left = {setup.messages[m].thread for m, r in enumerate(worker.open) if r is not None and m not in gone}
    return tuple(t for t in worker.stack if t in left)


def _stop(worker: Worker, why: str) -> Choice | None:
    turn = worker.turn
    if turn is None or turn.closing:
        return None
    if turn.stopping and STRENGTH.index(why) <= STRENGTH.index(turn.stopping):
        return None
    return ("stop", turn.message, why)


def _carry_out_stop(worker: Worker, setup: Setup) -> Choice | None:
    known = open_of(worker, setup, 0)
    through = 99 if "stop names a sequence" in setup.without else worker.stop
    keys = [m for m in known if setup.messages[m].sequence <= through]
    if worker.turn and worker.turn.message in keys and (stop := _stop(worker, "user_stop")):
        return stop
    idle = [m for m in keys if _may_end(worker, setup, m)]
    if idle:
        return ("end", idle[0], "stopped")
    return None if keys else ("clear", worker.stop, "")


def _may_end(worker: Worker, setup: Setup, message: int) -> bool:
    if in_hand(worker, message):
        return False
    if "git is asked before anything of its thread ends" in setup.without:
        return True
    thread, turn = setup.messages[message].thread, worker.turn
    for mate in open_of(worker, setup, thread):
        record = worker.open[mate]
        if record and record.state == "running" and not in_hand(worker, mate):
            return turn is None and mate == message
    here = turn is not None and setup.messages[turn.message].thread == thread
    return not (here and turn and (turn.closing or not turn.ready))


def _lift(worker: Worker) -> Choice | None:
    fresh = [m for m, r in enumerate(worker.open) if r is not None and not r.lifted]
    return ("lift", fresh[0], "") if fresh else None


def _give_up(worker: Worker, setup: Setup) -> Choice | None:
    for m, record in enumerate(worker.open):
        if record and record.attempts >= setup.max_attempts and _may_end(worker, setup, m):
            return ("end", m, "failed")
    return None


def _work(worker: Worker, setup: Setup) -> Choice:
    head, turn = _head(worker, setup), worker.turn
    if turn is None:
        return WAIT if head is None else ("start", head, "")
    here = setup.messages[turn.message].thread
    away = head is not None and not turn.stopping and setup.messages[head].thread != here
    if away and (stop := _stop(worker, "preempted")):
        return stop
    return _steer(worker, setup) or WAIT


def _head(worker: Worker, setup: Setup) -> int | None:
    threads = dict.fromkeys(worker.stack) | dict.fromkeys(m.thread for m in setup.messages)
    return next((open_of(worker, setup, t)[0] for t in threads if open_of(worker, setup, t)), None)


def _steer(worker: Worker, setup: Setup) -> Choice | None:
    turn = worker.turn
    if turn is None or not turn.ready or turn.closing or turn.stopping:
        return None
    for m in open_of(worker, setup, setup.messages[turn.message].thread):
        if setup.messages[m].steer and m not in (turn.message, *turn.offered, *turn.taken_in):
            return ("steer", m, "")
    return None
