"""The life of a worker process: lease, lock, remote, leaving, dying. Each function is one step there.

A process that is frozen is one that takes no step for a while; a lease that runs out is a second process that
takes it over while the first still lives.
"""

from collections.abc import Iterator

from tests.model import git
from tests.model.state import (
    GONE,
    NOBODY,
    Disk,
    Setup,
    State,
    Step,
    Steps,
    Worker,
    broken,
    spend,
    with_worker,
)


def living(state: State, *at: str) -> Iterator[tuple[int, Worker]]:
    """Processes that are at one of these points of their life."""
    for slot, worker in enumerate(state.workers):
        if worker is not None and (not at or worker.at in at):
            yield slot, worker


def fenced(state: State, setup: Setup, worker: Worker) -> tuple[State, bool]:
    """``contracts.records.owned``: whether a write under owner and epoch passes."""
    if state.row.epoch == worker.epoch and state.row.owned:
        return state, True
    if "epoch is checked at the write" in setup.without:
        return broken(state, "a write of an earlier owner took effect"), True
    return state, False


def ends(state: State, slot: int, *, give_back: bool) -> State:
    """The process is no more; its deliveries are given back, or come back by themselves."""
    to = NOBODY if give_back else GONE
    queue = tuple(sorted(p._replace(holder=to, judged=0) if p.holder == slot else p for p in state.queue))
    return with_worker(state, slot, None)._replace(queue=queue)


def takes_lease(state: State, setup: Setup) -> Steps:
    """``worker.lease.DynamoLease.acquire``: at once from the dead, after a silent lease from the living."""
    for slot, worker in living(state, "boot"):
        owner = [s for s, w in living(state) if s != slot and w.epoch == state.row.epoch and w.epoch]
        if state.row.owned and owner and not worker.second:
            yield Step("worker {} sees a living owner and leaves", (slot,), "fair",
                       ends(state, slot, give_back=True))  # fmt: skip
            continue
        epoch = state.row.epoch + 1
        row = state.row._replace(epoch=epoch, owned=True, up=True)
        mine = worker._replace(at="owner", epoch=epoch, second=False)
        kind = "fair" if not (state.row.owned and owner) else "choice"
        yield Step("worker {} takes the lease, epoch {}", (slot, epoch), kind,
                   with_worker(state, slot, mine)._replace(row=row))  # fmt: skip
        if state.row.owned and owner:
            yield Step("worker {} sees a beat of the owner and leaves", (slot,), "fair",
                       ends(state, slot, give_back=True))  # fmt: skip


def locks_disk(state: State, setup: Setup) -> Steps:
    """``worker.disk.Disk.lock``: a predecessor on this disk is dead before anything of it is touched."""
    for slot, worker in living(state, "owner"):
        if state.row.epoch != worker.epoch:
            yield Step("worker {} was overtaken and leaves", (slot,), "fair",
                       ends(state, slot, give_back=True))  # fmt: skip
            continue
        after = state
        for other, old in living(state):
            same = other != slot and setup.disks[other] == setup.disks[slot] and old.at != "boot"
            if same and "predecessor is killed" not in setup.without:
                after = ends(after, other, give_back=False)
        yield Step("worker {} has the disk to itself", (slot,), "fair",
                   with_worker(after, slot, worker._replace(at="locked")))  # fmt: skip


def claims(state: State, setup: Setup) -> Steps:
    """``worker.life.Life._catch_up``, first: the epoch ref is moved; a remote that is away stops nobody."""
    for slot, worker in living(state, "locked"):
        if not state.remote_up or "epoch is claimed at the start" in setup.without:
            at = "fetched" if not state.remote_up else "claimed"
            yield Step("worker {} does not claim the remote", (slot,), "fair",
                       with_worker(state, slot, worker._replace(at=at)))  # fmt: skip
        elif state.owner_ref > worker.epoch:
            yield Step("worker {} finds a later owner on the remote and leaves", (slot,), "fair",
                       ends(state, slot, give_back=True))  # fmt: skip
        else:
            claimed = git.claim(state, slot)
            mine = claimed.workers[slot]
            assert mine is not None
            yield Step("worker {} claims the remote", (slot,), "fair",
                       with_worker(claimed, slot, mine._replace(at="claimed")))  # fmt: skip


def fetches(state: State, setup: Setup) -> Steps:
    """``worker.life.Life._catch_up``, then: what earlier owners pushed is known here."""
    for slot, worker in living(state, "claimed"):
        seen = git.fetch(state, setup.disks[slot]) if state.remote_up else state
        yield Step("worker {} fetches", (slot,), "fair",
                   with_worker(seen, slot, worker._replace(at="fetched")))  # fmt: skip


def pushes_rest(state: State, setup: Setup) -> Steps:
    """``GitWorkspace.push_rest`` and the start of ``worker.engine.Engine.run``."""
    for slot, worker in living(state, "fetched"):
        disk, after, lost = setup.disks[slot], state, False
        here: Disk = state.disks[disk]
        for thread, ours in enumerate(here.local):
            if worker.stamped and ours != here.seen[thread] and git.within(here.seen[thread], ours):
                after, result = git.push(after, setup, slot, thread)
                lost = lost or result == "lost"
        mine = after.workers[slot]
        assert mine is not None
        ready = None if lost else mine._replace(at="up", rung=True, stack=state.stack)
        if ready is None:
            yield Step("worker {} is refused by the remote and leaves", (slot,), "fair",
                       ends(after, slot, give_back=True))  # fmt: skip
        else:
            yield Step("worker {} pushes what was left and is ready", (slot,), "fair",
                       with_worker(after, slot, ready))  # fmt: skip


def notices_loss(state: State, setup: Setup) -> Steps:
    """``worker.lease.DynamoLease.keep``: the renewal is refused."""
    for slot, worker in living(state, "up", "cold"):
        if worker.epoch != state.row.epoch and not worker.lost:
            yield Step("worker {} notices that its lease is lost", (slot,), "fair",
                       with_worker(state, slot, worker._replace(lost=True)))  # fmt: skip


def goes_cold(state: State, setup: Setup) -> Steps:
    """``worker.engine.Engine._go_cold``, first half, when nothing is open or being pushed."""
    for slot, worker in living(state, "up"):
        if not setup.idle or worker.rung or worker.look or worker.turn or worker.pushing or worker.lost:
            continue
        if any(worker.open) or worker.draining or worker.stop:
            continue
        after, passed = fenced(state, setup, worker)
        if not passed:
            yield Step("worker {} may not go cold", (slot,), "choice",
                       with_worker(after, slot, worker._replace(lost=True)))  # fmt: skip
            continue
        look_again = "look follows the cold mark" not in setup.without
        mine = worker._replace(at="cold" if look_again else "leaving", rung=look_again)
        yield Step("worker {} marks its row cold", (slot,), "choice",
                   with_worker(after, slot, mine)._replace(row=state.row._replace(up=False)))  # fmt: skip


def decides_to_leave(state: State, setup: Setup) -> Steps:
    """``worker.engine.Engine._go_cold``, second half, after its look: leave, or take the mark back."""
    for slot, worker in living(state, "cold"):
        if worker.look is not None or (worker.rung and not any(worker.open) and not worker.lost):
            continue
        if worker.lost:
            yield Step("worker {} leaves", (slot,), "fair", ends(state, slot, give_back=True))
        elif not any(worker.open):
            yield Step("worker {} found nothing and leaves", (slot,), "fair",
                       with_worker(state, slot, worker._replace(at="leaving")))  # fmt: skip
        else:
            yield _warm(state, setup, slot, worker)


def _warm(state: State, setup: Setup, slot: int, worker: Worker) -> Step:
    after, passed = fenced(state, setup, worker)
    mine = worker._replace(at="up", lost=not passed)
    row = state.row._replace(up=True) if passed else state.row
    return Step("worker {} found something and takes the mark back", (slot,), "fair",
                with_worker(after, slot, mine)._replace(row=row))  # fmt: skip


def releases(state: State, setup: Setup) -> Steps:
    """``worker.life.Life._leave``: deliveries given back, the lease released, exit 0."""
    for slot, worker in living(state, "leaving"):
        after, passed = fenced(state, setup, worker)
        row = state.row._replace(owned=False, up=False) if passed else state.row
        yield Step("worker {} releases its lease and ends", (slot,), "fair",
                   ends(after, slot, give_back=True)._replace(row=row))  # fmt: skip


def is_asked_to_leave(state: State, setup: Setup) -> Steps:
    """SIGTERM: ``worker.engine.Engine.drain``."""
    for slot, worker in living(state, "up"):
        if state.left.drains and not worker.draining:
            yield Step("worker {} is asked to leave", (slot,), "fault",
                       with_worker(spend(state, "drains"), slot, worker._replace(draining=True)))  # fmt: skip


def is_killed(state: State, setup: Setup) -> Steps:
    """SIGKILL of the process and everything it started."""
    for slot, _ in living(state):
        if state.left.crashes:
            yield Step("worker {} is killed", (slot,), "fault",
                       ends(spend(state, "crashes"), slot, give_back=False))  # fmt: skip


def pushes_beside(state: State, setup: Setup) -> Steps:
    """``worker.publishing.Publishing.push_later`` and ``push_quietly``."""
    for slot, worker in living(state, "up", "cold", "leaving"):
        for thread, quietly in worker.pushing:
            after, result = git.push(state, setup, slot, thread)
            mine = after.workers[slot]
            assert mine is not None
            rest = tuple(p for p in mine.pushing if p != (thread, quietly))
            if result == "landed":
                yield Step("worker {} pushes thread {} beside its turns", (slot, thread), "fair",
                           with_worker(after, slot, mine._replace(pushing=rest)))  # fmt: skip
            elif result == "lost":
                yield Step("worker {} is refused by the remote", (slot,), "fair",
                           with_worker(after, slot, mine._replace(pushing=rest, lost=True)))  # fmt: skip
            elif quietly or worker.at == "leaving":
                yield Step("worker {} gives a push up", (slot,), "fair",
                           with_worker(after, slot, mine._replace(pushing=rest)))  # fmt: skip


ACTIONS = (
    takes_lease, locks_disk, claims, fetches, pushes_rest, notices_loss, goes_cold, decides_to_leave,
    releases, is_asked_to_leave, is_killed, pushes_beside,
)  # fmt: skip
