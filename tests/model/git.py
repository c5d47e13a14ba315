"""Branches, the remote and its epoch ref: ``worker.workspace``, ``worker.push``, ``worker.remote``.

A branch is a tuple of commits, so "is an ancestor of" is "is a prefix of". No person pushes in the model, so
no push may end beside the branch.
"""

from tests.model.state import Branch, Commit, Setup, State, Worker, broken, put, with_worker

JOINED = "the lines of two disks are joined"


def within(old: Branch, new: Branch) -> bool:
    """Whether ``new`` holds all of ``old`` (``git merge-base --is-ancestor``)."""
    return old is None or (new is not None and new[: len(old)] == old)


def messages(commits: Branch, *, without: Branch = None) -> set[int]:
    """Messages in the trailers of commits that are only here."""
    return {m for c in commits or () if c not in (without or ()) for m in c[0]}


def set_local(state: State, disk: int, thread: int, branch: Branch) -> State:
    """The thread's branch in this checkout."""
    old = state.disks[disk]
    return state._replace(disks=put(state.disks, disk, old._replace(local=put(old.local, thread, branch))))


def fetch(state: State, disk: int) -> State:
    """``worker.workspace.GitWorkspace.fetch``."""
    return state._replace(disks=put(state.disks, disk, state.disks[disk]._replace(seen=state.remote)))


def fetch_claimed(state: State, setup: Setup, slot: int) -> tuple[State, bool]:
    """``worker.remote.Remote.fetch`` of an owner: claimed first; False when a later owner has the remote."""
    worker = state.workers[slot]
    assert worker is not None
    if not worker.stamped and "an owner claims before it looks" not in setup.without:
        if state.owner_ref > worker.epoch:
            return state, False
        state = claim(state, slot)
    return fetch(state, setup.disks[slot]), True


def find(state: State, disk: int, thread: int, message: int) -> Commit | None:
    """``worker.evidence.Evidence.find``: the newest commit with the message's trailer, here or as fetched."""
    here = state.disks[disk]
    for branch in (here.local[thread], here.seen[thread]):
        for commit in reversed(branch or ()):
            if message in commit[0]:
                return commit
    return None


def start_of(local: Branch, theirs: Branch, setup: Setup) -> Branch:
    """``worker.workspace.GitWorkspace._start_of``: what a turn goes on from."""
    if local is None or theirs is None:
        return local or theirs or ()
    if within(theirs, local) or within(local, theirs):
        return max(local, theirs, key=len)
    if JOINED not in setup.without:
        return joined(local, theirs)
    superseded = messages(local, without=theirs) <= messages(theirs, without=local)
    return theirs if superseded else local


def joined(ours: Branch, theirs: Branch) -> Branch:
    """``worker.lines``: theirs, and what only ours proves. A merge is written one behind the other here."""
    done = messages(theirs, without=ours)
    return (*(theirs or ()), *(c for c in ours or () if c not in (theirs or ()) and not {*c[0]} <= done))


def push(state: State, setup: Setup, slot: int, thread: int) -> tuple[State, str]:
    """``worker.push.Pusher.push``: landed, lost (another owner), away, or nothing (no branch to push)."""
    worker = state.workers[slot]
    assert worker is not None
    disk = setup.disks[slot]
    if state.disks[disk].local[thread] is None:
        return state, "nothing"
    if not state.remote_up:
        return state, "away"
    if not worker.stamped:
        state = claim(state, slot)
        worker = state.workers[slot]
        assert worker is not None
    if state.owner_ref != worker.epoch and "epoch is checked at the push" not in setup.without:
        return state, "lost"
    return _landed(state, setup, worker, disk, thread), "landed"


def claim(state: State, slot: int) -> State:
    """``worker.remote.Remote.claim``: the epoch ref is moved unless a later owner has it."""
    worker = state.workers[slot]
    assert worker is not None
    if state.owner_ref > worker.epoch:
        return state
    after = state._replace(owner_ref=worker.epoch)
    return with_worker(after, slot, worker._replace(stamped=True))


def _landed(state: State, setup: Setup, worker: Worker, disk: int, thread: int) -> State:
    ours, theirs = state.disks[disk].local[thread], state.remote[thread]
    if not within(theirs, ours):
        apart = JOINED in setup.without
        if worker.in_turn == thread and apart:
            return broken(state, "work was pushed beside its branch though nobody else pushed")
        ours = _rebased(ours, theirs) if apart else joined(ours, theirs)
        if worker.in_turn != thread:
            state = set_local(state, disk, thread, ours)
    state = state._replace(remote=put(state.remote, thread, ours))
    here = state.disks[disk]
    return state._replace(disks=put(state.disks, disk, here._replace(seen=put(here.seen, thread, ours))))


def _rebased(ours: Branch, theirs: Branch) -> Branch:
    if within(ours, theirs):
        return theirs
    return (*(theirs or ()), *(c for c in ours or () if c not in (theirs or ())))
