"""One checkout, one thread's branch at a time: the worker's ``Workspace`` over git.

Order of things: what is in the tree is on a branch before anything moves, a branch moves only forward,
and the remote is written only under the lease's epoch. Knows nothing of queues, records or Claude Code.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from contracts import names
from contracts.words import MessageId, Outcome, StopReason, ThreadId, TurnId, WorkerId
from worker.admission import Admission
from worker.checkout import Folder
from worker.difference import Differ, Difference, Span
from worker.errors import DiskFull, RemoteUnavailable, WorkspaceError
from worker.evidence import Evidence
from worker.git import Git, Identity, in_thread, write_own_config
from worker.log import get_logger
from worker.moves import Moves
from worker.notes import Notes
from worker.onto import Targets
from worker.own_refs import OwnRefs
from worker.packing import pack
from worker.ports import Checkout, Commit, Push, Updated
from worker.push import Pusher
from worker.refs import TRACKING, Refs, heads, kept, tip_ref
from worker.remote import Remote
from worker.removal import Removal
from worker.trailers import trailer_value
from worker.tree import Found, Status, Tree
from worker.weave import Weaver

log = get_logger()

__all__ = ["GitWorkspace", "trailer_value"]
DESTROYED = (
    "The checkout's .git was destroyed in this turn. It was cloned anew, what was left is kept beside it; "
    "please send the message again."
)


@dataclass(frozen=True, kw_only=True)
class _Start:
    """Where a branch shall be checked out (``sha``), where it and its recorded tip are now."""

    sha: str
    local: str | None
    tip: str | None
    created: bool


class GitWorkspace:
    """``Workspace`` for a clone of ``remote`` (URL or path) at ``path``.

    ``state_dir`` is a folder of the worker's own outside of the checkout, best on the same file system.
    ``token`` is asked at each network run over https. ``lineage`` names the worker's row in the record (any
    text that is new when the row is new); with it, a late predecessor cannot claim the remote back.
    ``workflows``: whether turns may change what stands below ``.github/workflows``. ``shared_dir``: where the
    checkout belongs to the agent, a folder that the agent may read; git in the checkout then runs as it.
    """

    def __init__(
        self,
        *,
        path: Path,
        remote: str,
        worker_id: WorkerId,
        token: Callable[[], str | None],
        state_dir: Path,
        committer_name: str = "Branchline",
        committer_email: str = "branchline@localhost",
        redact: Callable[[str], str] = str,
        lineage: str = "",
        workflows: bool = False,
        shared_dir: Path | None = None,
    ) -> None:
        self._path, self._state = path.absolute(), state_dir.absolute()
        self._near_state = shared_dir.absolute() if shared_dir is not None else self._state
        if self._state.is_relative_to(self._path):
            raise ValueError("state_dir must be outside of the checkout")
        me = Identity(name=committer_name, email=committer_email)
        inside = self._path / ".git"
        near = Git(
            cwd=self._path, git_dir=inside, work_tree=self._path, state_dir=self._near_state, identity=me,
            redact=redact, agent=shared_dir is not None,
        )  # fmt: skip
        far = Git(
            cwd=self._state, git_dir=self._state / "relay.git", state_dir=self._state, identity=me,
            redact=redact,
        )  # fmt: skip
        self._remote = Remote(
            url=_located(remote), git=far, objects=inside / "objects", token=token,
            epoch_ref=names.epoch_ref(worker_id), worker=trailer_value(worker_id), lineage=lineage,
        )  # fmt: skip
        self._git, self._refs, self._evidence = near, Refs(git=near), Evidence(git=near)
        self._differ = Differ(git=near, refs=self._refs)
        self._folder = Folder(path=self._path, git=near, remote=self._remote)
        self._notes = Notes(folder=self._state)
        self._tree = Tree(
            git=near, refs=self._refs, notes=self._notes, path=self._path, state_dir=self._state
        )
        self._admission = Admission(git=near, refs=self._refs, workflows=workflows)
        self._own = OwnRefs(refs=self._refs, remote=self._remote)
        self._moves = Moves(tree=self._tree)
        self._weaver = Weaver(
            refs=self._refs, far=replace(far, env=self._remote.borrowed), state_dir=self._state
        )
        self._targets = Targets(refs=self._refs, evidence=self._evidence, notes=self._notes)
        self._pusher = Pusher(
            refs=self._refs, weaver=self._weaver, remote=self._remote, fetch=self.fetch, move=self._move,
            targets=self._targets,
        )  # fmt: skip
        self._removal = Removal(
            refs=self._refs, remote=self._remote, own=self._own, notes=self._notes, state_dir=self._state
        )
        self._near, self._fetching, self._packing = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
        self._tips: dict[str, str] = {}
        self._in_turn: str | None = None

    @property
    def path(self) -> Path:
        """Folder of the checkout."""
        return self._path

    async def prepare(self) -> None:
        """See ``Workspace.prepare``. Needs the remote only when there is nothing to start from."""
        async with self._near:
            await in_thread(self._tidy_own_folder)
            await self._remote.prepare()
            cloned = await self._folder.prepare()
            if cloned:
                await in_thread(self._notes.forget)
                self._tips.clear()
            await self._git.attempt("worktree", "prune")
            await self._remote.track(await self._refs.tracked())
            await self._moves.undo_half_move()
            await self._put_away("recovered", subject="Checkpoint: recovered")

    async def claim(self, *, epoch: int) -> None:
        """See ``Workspace.claim``. Raises ``LeaseLost``, ``RemoteUnavailable``."""
        await self._remote.claim(epoch=epoch)

    async def fetch(self) -> None:
        """See ``Workspace.fetch``. Safe beside a running turn: only refs below ``origin`` change."""
        async with self._fetching:
            found, head = await asyncio.gather(self._remote.fetch(), self._remote.head())
            await self._refs.note_gone(found)
            await self._refs.take_over(found, head=head)

    async def tidy(self) -> None:
        """See ``Workspace.tidy``."""
        async with self._packing:
            await pack(self._git, objects=self._path / ".git" / "objects")
            await self._remote.tidy()

    async def default_branch(self) -> str:
        """The remote's default branch as last fetched. Raises ``WorkspaceError`` when it has none yet."""
        return await self._refs.default_branch()

    @property
    def checked_out(self) -> ThreadId | None:
        """The thread whose branch the worktree holds now, if it is one's."""
        return ThreadId(self._notes.current()[1]) or None

    async def span(self, thread_id: ThreadId) -> Span | None:
        """Where the thread's branch left the default branch, and where it stands; None without a branch."""
        return await self._differ.span(names.branch(thread_id))

    async def difference(self, span: Span) -> Difference:
        """What changed in between, redacted and bounded; may run beside a turn. Raises ``WorkspaceError``."""
        return await self._differ.difference(span)

    async def latest(self, *, count: int) -> dict[ThreadId, str]:
        """Threads whose branches were committed to last, and where they stand; other workers' among them."""
        return await self._differ.latest(count=count)

    async def switch(
        self, thread_id: ThreadId, *, message_id: MessageId | None = None, onto: str | None = None
    ) -> Checkout:
        """See ``Workspace.switch``. Raises ``WorkspaceError``, ``DiskFull``."""
        branch = names.branch(thread_id)
        if not await self._targets.choose(branch, onto=onto):
            await self.fetch()
        async with self._tree_for_me():
            old = await self._put_away("leftover", subject="Checkpoint: found before a switch")
            start = await self._start_of(branch, open_=frozenset((message_id,)) if message_id else None)
            here = old == branch
            if here and start.local != start.sha:
                await self._moves.advance(branch, to=start.sha)
            if not start.sha == start.local == start.tip:
                expect = start.sha if here else start.local
                await self._refs.point(branch=branch, sha=start.sha, expect=expect)
            if not here or self._notes.current()[0] != branch:
                await self._moves.switch(branch, thread=thread_id, old=old or "HEAD")
            await in_thread(
                lambda: self._notes.remember(branch=branch, thread=thread_id, message=message_id or "")
            )
            self._tips[branch], self._in_turn = start.sha, branch
            return Checkout(branch=branch, head=start.sha, created=start.created)

    async def checkpoint(
        self, *, thread_id: ThreadId, turn_id: TurnId, reason: StopReason | str
    ) -> str | None:
        """See ``Workspace.checkpoint``. Commits of Claude Code alone are an answer too, without one more."""
        subject = f"Checkpoint: paused ({reason})"
        async with self._tree_for_me():
            sha = await self._save_to(names.branch(thread_id), thread_id, turn=turn_id, subject=subject)
            self._in_turn = None
            return sha

    async def commit(
        self,
        *,
        thread_id: ThreadId,
        base: str,
        subject: str,
        body: str,
        message_ids: tuple[MessageId, ...],
        outcome: Outcome = Outcome.COMPLETED,
    ) -> Commit | None:
        """See ``Workspace.commit``. ``subject`` and ``body`` are redacted and may hold anything."""
        branch = names.branch(thread_id)
        async with self._tree_for_me():
            tip = await self._tip(branch)
            found = await self._found(branch, tip=tip)
            if found is None and tip is not None and tip != base:
                found = await self._tree.as_is(branch=branch, head=tip)
            if found is None:
                self._in_turn = None
                return None
            changed = found.uncommitted or found.kept or found.parents[0] != base
            text = "\n\n".join(part for part in (body, found.note) if part)
            message = self._evidence.closing(
                subject=subject, body=text, thread=thread_id, message_ids=message_ids, outcome=outcome
            )
            sha = self._tips[branch] = await self._tree.record(found, message=message if changed else None)
            self._in_turn = None
            if not changed:
                return None
            made = await self._evidence.described(sha, branch=branch, base=base)
            return replace(made, note=self._admission.told(branch))

    async def update(
        self, *, thread_id: ThreadId, message_id: MessageId, subject: str, body: Callable[[str], str]
    ) -> Updated:
        """See ``Workspace.update``. The merge is made aside: nothing of the repository's own takes part."""
        branch, default = names.branch(thread_id), await self._refs.default_branch()
        async with self._tree_for_me():
            refs = await self._refs.named(heads(branch), TRACKING + default)
            head, theirs = refs[heads(branch)], refs[TRACKING + default]
            updated = Updated(default=default, sha=theirs)
            if await self._refs.is_ancestor(theirs, head):
                return updated
            tried = await self._weaver.tried(head, theirs=theirs)
            if tried.conflicts:
                return replace(updated, conflicts=tried.conflicts)
            message = self._evidence.closing(
                subject=subject, body=body(default), thread=thread_id, message_ids=(message_id,),
                outcome=Outcome.COMPLETED,
            )  # fmt: skip
            commit = await self._merge(branch, head, theirs=theirs, tree=tried.tree, message=message)
            return replace(updated, commit=commit)

    async def _merge(self, branch: str, head: str, *, theirs: str, tree: str, message: bytes) -> Commit:
        """Commit a merge whose tree is known, and take the worktree there."""
        found = Found(
            branch=branch, tree=tree, worktree=tree, parents=(head, theirs), local=head, strayed=False,
            kept=False, parent_tree=await self._refs.tree_of(head),
        )  # fmt: skip
        found = await self._admission.admit(found, tip=head)
        parents = [part for parent in found.parents for part in ("-p", parent)]
        sha = (await self._git.run("commit-tree", found.tree, *parents, stdin=message)).text
        await self._moves.advance(branch, to=sha)
        await self._refs.point(branch=branch, sha=sha, expect=sha)
        self._tips[branch], self._in_turn = sha, None
        made = await self._evidence.described(sha, branch=branch, base=head)
        return replace(made, note=self._admission.told(branch))

    async def takes_in(self, *, sha: str) -> bool:
        """See ``Workspace.takes_in``. A merge with conflicts left in it takes nothing in."""
        async with self._tree_for_me():
            status = await self._tree.status()
            if status.unmerged or status.head is None:
                return False
            return sha in self._tree.merged_heads() or await self._refs.is_ancestor(sha, status.head)

    async def push(self, *, thread_id: ThreadId) -> Push:
        """See ``Workspace.push``. May run beside a turn, of this thread or another."""
        return await self._pusher.push(thread_id)

    async def push_rest(
        self, *, threads: Collection[ThreadId], open_: frozenset[MessageId] | None = None
    ) -> None:
        """See ``Workspace.push_rest``. One that the remote refuses for good must not keep the worker from all
        others."""
        there = {names.branch(thread_id) for thread_id in threads}
        for branch in [name for name in await self._refs.unpushed() if name in there]:
            try:
                await self._pusher.push_rest(branch, open_=open_)
            except RemoteUnavailable:
                raise
            except WorkspaceError as error:
                log.warning("branch_not_pushed", branch=branch, error=str(error))

    async def remove(self, *, thread_id: ThreadId) -> None:
        """See ``Workspace.remove``. Where the branch is checked out, the default branch takes its place."""
        branch = names.branch(thread_id)
        await self.fetch()
        async with self._pusher.alone, self._fetching:
            await self._removal.far(branch)
            async with self._tree_for_me(beside=self._in_turn not in (None, branch)):
                if self._in_turn in (None, branch):
                    self._in_turn = None
                    await self._leave(branch)
                await self._removal.near(branch)
                self._tips.pop(branch, None)

    async def remove_others(self, *, but: Collection[ThreadId]) -> list[str]:
        """See ``Workspace.remove_others``."""
        there = {names.branch(thread_id) for thread_id in but}
        gone = [branch for branch in await self._refs.taken() if branch not in there]
        for branch in gone:
            async with self._tree_for_me():
                await self._leave(branch)
                await self._removal.near(branch, hold=True)
                self._tips.pop(branch, None)
        return gone

    async def _leave(self, branch: str) -> None:
        """If the worktree is this branch's, it holds the default branch instead."""
        here = (await self._tree.status()).branch
        if branch in (here, self._notes.current()[0]):
            await self._moves.leave(branch, to=await self._new_start())

    async def find(
        self, *, thread_id: ThreadId, message_id: MessageId, onto: str | None = None
    ) -> Commit | None:
        """See ``Workspace.find``. Only commits of this committer count, and only whole trailers. Counts are
        against the commit's parent."""
        return await self._evidence.find(thread_id=thread_id, message_id=message_id, onto=onto)

    # ------------------------------------------------------------ the near side

    @asynccontextmanager
    async def _tree_for_me(self, *, beside: bool = False) -> AsyncIterator[None]:
        """The worktree for one caller, with our configuration in place and no half-done move in it.
        ``beside``: a turn may be at work in it."""
        async with self._near:
            try:
                await in_thread(self._folder.guard)
                before = self._in_turn
                await self._own.put_back(but=before, tips=self._tips)
                await self._moves.undo_half_move()
                yield
                if self._in_turn is None:
                    self._own.forget()
                elif self._in_turn != before:
                    await self._own.note()
            except (WorkspaceError, OSError) as error:
                if isinstance(error, DiskFull) or beside or await self._folder.usable():
                    raise
                await self._begin_again()
                raise WorkspaceError(DESTROYED) from error

    async def _begin_again(self) -> None:
        """A checkout in the place of one whose ``.git`` a turn has destroyed, which is kept aside."""
        await self._folder.prepare()
        await in_thread(self._notes.forget)
        self._tips.clear()
        self._own.forget()
        self._in_turn = None

    async def _found(self, branch: str, *, tip: str | None) -> Found | None:
        """What the worktree holds for ``branch`` and may stand on it."""
        found = await self._tree.look(branch=branch, tip=tip)
        return found and await self._admission.admit(found, tip=tip)

    async def _save_to(self, branch: str, thread: str, *, turn: str, subject: str) -> str | None:
        """Whatever is in the worktree onto ``branch``; its new tip, None when it stays where it was."""
        tip = await self._tip(branch)
        found = await self._found(branch, tip=tip)
        if found is None:
            return None
        message = self._evidence.pausing(
            subject=subject, body=found.note, thread=thread, turn=turn, message=self._notes.working_on()
        )
        sha = await self._tree.record(found, message=message if found.uncommitted else None)
        self._tips[branch] = sha
        return sha if sha != tip else None

    async def _put_away(self, turn: str, *, subject: str) -> str | None:
        """Commit leftovers where they belong; the branch that is checked out then. What belongs to no thread
        is saved under a ref."""
        branch, thread = self._notes.current()
        status = Status()
        if branch is None:
            status = await self._tree.status()
            if status.branch is not None and status.branch.startswith("thread-"):
                branch, thread = status.branch, status.branch.removeprefix("thread-")
            elif status.dirty and status.head is not None:
                await self._tree.save(head=status.head)
                await self._tree.discard()
        if branch is not None and await self._tip(branch) is not None:
            await self._save_to(branch, thread, turn=turn, subject=subject)
            return branch
        return (await self._tree.status()).branch if branch is not None else status.branch

    async def _tip(self, branch: str) -> str | None:
        """How far the worker took the branch; for one it has not touched yet, where it stands."""
        known = self._tips.get(branch)
        return known or await self._refs.resolve(tip_ref(branch)) or await self._refs.resolve(heads(branch))

    async def _start_of(self, branch: str, *, open_: frozenset[MessageId] | None) -> _Start:
        refs = await self._refs.named(heads(branch), TRACKING + branch, tip_ref(branch))
        local, theirs = refs.get(heads(branch)), refs.get(TRACKING + branch)
        noted = refs.get(tip_ref(branch))
        tip = self._tips.get(branch) or noted
        sha = local or tip or theirs
        if local and tip and local != tip and not await self._refs.is_ancestor(tip, local):
            await self._refs.keep(local, under=kept(branch))
            sha = tip
        if sha and theirs and sha != theirs and not await self._refs.is_ancestor(theirs, sha):
            sha = await self._joined(sha, theirs=theirs, branch=branch, open_=open_)
        start = await self._targets.start(branch, sha=sha) or await self._new_start()
        return _Start(sha=start, local=local, tip=noted, created=sha is None)

    async def _joined(self, sha: str, *, theirs: str, branch: str, open_: frozenset[MessageId] | None) -> str:
        """One line of the two; ours where that cannot be. A join that fails must not keep a thread from its
        turns: the push tries it again."""
        try:
            return await self._weaver.joined(sha, theirs=theirs, branch=branch, open_=open_) or sha
        except DiskFull:
            raise
        except WorkspaceError as error:
            log.warning("lines_not_joined", branch=branch, error=str(error))
            return sha

    async def _new_start(self) -> str:
        """The default branch as last fetched; on an empty remote a commit without files."""
        try:
            default = await self._refs.default_branch()
        except WorkspaceError:
            empty = (await self._git.run("mktree", stdin=b"")).text
            return (await self._git.run("commit-tree", empty, stdin=b"Start of an empty project\n")).text
        return (await self._git.run("rev-parse", "--verify", TRACKING + default)).text

    async def _move(self, *, branch: str, old: str, new: str) -> bool:
        """For the pusher: take ``branch`` from ``old`` to ``new``, unless a turn works on it."""
        async with self._tree_for_me(beside=True):
            status = await self._tree.status(folders=True)
            here = status.branch == branch
            if self._in_turn == branch or await self._refs.resolve(heads(branch)) != old:
                return False
            if here and status.dirty:
                return False
            if here:
                await self._moves.advance(branch, to=new)
            await self._refs.point(branch=branch, sha=new, expect=new if here else old)
            self._tips[branch] = new
            return True

    def _tidy_own_folder(self) -> None:
        write_own_config(self._state)
        if self._near_state != self._state:
            write_own_config(self._near_state)
        for stale in self._state.glob("rebase-*"):
            shutil.rmtree(stale, ignore_errors=True)


def _located(remote: str) -> str:
    """A path is made absolute, because git runs elsewhere; everything else stays as it is."""
    path = Path(remote).expanduser()
    return str(path.resolve()) if "://" not in remote and path.exists() else remote
