"""The near side: what stands in the worktree, and how it becomes a commit on the branch it belongs to.

A thread's branch only ever grows from the tip the worker recorded. Whatever Claude Code did meanwhile
(amend, reset, switch, detach, a merge left open) ends as a commit on top of that tip, and what cannot be
on the branch is kept under ``refs/branchline/kept`` or ``saved``. Nothing here talks to the remote.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from worker import below, spawning
from worker.errors import DiskFull, WorkspaceError
from worker.git import Git, in_thread
from worker.notes import Notes
from worker.refs import SAVED, Refs, heads, kept

_STATE_FILES = (
    "MERGE_HEAD",
    "MERGE_MODE",
    "MERGE_MSG",
    "SQUASH_MSG",
    "AUTO_MERGE",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "REBASE_HEAD",
    "sequencer",
    "rebase-merge",
    "rebase-apply",
)
_BISECT_FILES = ("BISECT_START", "BISECT_LOG", "BISECT_NAMES", "BISECT_TERMS", "BISECT_EXPECTED_REV")


@dataclass(frozen=True, kw_only=True)
class Status:
    """``head`` is None on a branch without commits, ``branch`` is None when HEAD is detached.

    ``changed``: a tracked file differs; ``dirty``: that, or something is untracked. ``untracked`` holds
    paths relative to the checkout, folders and embedded repositories with a ``/``.
    """

    head: str | None = None
    branch: str | None = None
    dirty: bool = False
    changed: bool = False
    unmerged: bool = False
    untracked: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the worktree holds for a branch: ``tree`` belongs on top of ``parents[0]``.

    ``local`` is where the branch stands now, ``worktree`` the tree on disk, ``strayed`` whether HEAD is
    elsewhere, ``kept`` whether commits had to be put aside, ``note`` what a person should know about that.
    """

    branch: str
    tree: str
    worktree: str
    parents: tuple[str, ...]
    local: str | None
    strayed: bool
    kept: bool
    parent_tree: str
    note: str = ""

    @property
    def uncommitted(self) -> bool:
        """Whether a commit is needed to hold the tree."""
        return self.tree != self.parent_tree or len(self.parents) > 1


@dataclass(kw_only=True)
class Tree:
    """The worktree of one checkout. The caller sees to it that one call runs at a time."""

    git: Git
    refs: Refs
    notes: Notes
    path: Path
    state_dir: Path

    @property
    def _dir(self) -> Path:
        return self.path / ".git"

    async def status(self, *, folders: bool = False) -> Status:
        """What git sees; ``folders`` names wholly untracked folders once instead of file by file."""
        listing = "normal" if folders else "all"
        run = await self.git.run(
            "status", "--porcelain=v2", "--branch", "-z", "--no-renames", "--no-ahead-behind",
            f"--untracked-files={listing}", "--ignore-submodules=dirty",
        )  # fmt: skip
        return _parse(run.fields)

    async def look(self, *, branch: str, tip: str | None) -> Found | None:
        """Everything in the worktree as it belongs on ``branch``; None when it is just as at ``tip``."""
        status, note, aside = await self._end_operation(await self.status())
        others = self.merged_heads()
        if status.branch == branch and status.head == tip and not (status.dirty or others or note):
            await in_thread(self._forget_operation)
            return None
        if status.dirty or status.head is None:
            worktree = await self._write(status)
        else:
            worktree = await self.refs.tree_of(status.head)
        found = await self._place(branch=branch, tip=tip, status=status, worktree=worktree)
        if found is None:
            return None
        if others and found.parents[0] == status.head:
            found = replace(found, parents=(*found.parents, *others))
        return replace(found, note=note, kept=found.kept or aside)

    async def as_is(self, *, branch: str, head: str) -> Found:
        """The clean, checked-out ``branch`` itself, for a commit without changes of its own."""
        tree = await self.refs.tree_of(head)
        return Found(
            branch=branch, tree=tree, worktree=tree, parents=(head,), local=head, strayed=False, kept=False,
            parent_tree=tree,
        )  # fmt: skip

    async def discard(self) -> None:
        """Make index and files equal to HEAD and end what is half-done. Only after ``save``."""
        await self.git.run("reset", "--hard", "--quiet", "--no-recurse-submodules")
        await in_thread(self._forget_operation)

    async def record(self, found: Found, *, message: bytes | None) -> str:
        """Put what was found on its branch (with ``message`` as a commit, without one as it is) and point
        HEAD, index and worktree there. Returns the new tip."""
        sha = found.parents[0]
        if message is not None:
            parents = [part for parent in found.parents for part in ("-p", parent)]
            sha = (await self.git.run("commit-tree", found.tree, *parents, stdin=message)).text
        await self.refs.point(branch=found.branch, sha=sha, expect=found.local)
        if found.tree != found.worktree:
            self.notes.mark(found.branch)
        if found.strayed:
            await self.git.run("symbolic-ref", "HEAD", heads(found.branch))
        await in_thread(self._forget_operation)
        if found.tree != found.worktree:
            await self.git.run("reset", "--hard", "--quiet", "--no-recurse-submodules")
            self.notes.unmark()
        return sha

    async def save(self, *, head: str | None) -> str:
        """Hold the worktree as it is, under a ref of its own; index and worktree are not touched."""
        scratch = self.git.scratch / "scratch-index"
        index = self._dir / "index"
        if index.exists():
            await in_thread(lambda: spawning.copy(index, scratch))
        env = {"GIT_INDEX_FILE": str(scratch)}
        try:
            await self._add(env=env)
            tree = (await self.git.run("write-tree", env=env)).text
        finally:
            scratch.unlink(missing_ok=True)
        parents = ["-p", head] if head else []
        made = await self.git.run(
            "commit-tree", tree, *parents, stdin=b"Kept: the files as they were found\n"
        )
        return await self.refs.keep(made.text, under=SAVED)

    async def merged(self, *, base: str, ours: str, theirs: str) -> str | None:
        """The tree of a clean three-way merge of three trees or commits, else None."""
        root = (await self.git.run("commit-tree", f"{base}^{{tree}}", stdin=b"base\n")).text
        sides = [
            (await self.git.run("commit-tree", f"{side}^{{tree}}", "-p", root, stdin=b"side\n")).text
            for side in (ours, theirs)
        ]
        run = await self.git.run("merge-tree", "--write-tree", *sides, ok=(0, 1))
        return run.text.splitlines()[0] if run.status == 0 else None

    async def _place(self, *, branch: str, tip: str | None, status: Status, worktree: str) -> Found | None:
        """Decide what the tree goes on top of (see the module's promise)."""
        home = status.branch == branch
        local = status.head if home else await self.refs.resolve(heads(branch))
        aside = False
        onto = tip or local or status.head
        if onto is None:
            return None
        if local is not None and local != onto and await self.refs.is_ancestor(onto, local):
            onto = local
        elif local is not None and local != onto:
            aside = bool(await self.refs.keep(local, under=kept(branch)))
        tree = worktree
        if not home and status.head is not None:
            if await self.refs.is_ancestor(onto, status.head):
                onto = status.head
            else:
                own = await self._own(status.head, onto=onto)
                aside = aside or bool(own and await self.refs.keep(own, under=kept(branch)))
                tree = await self._carried(head=status.head, onto=onto, worktree=worktree, own=bool(own))
        return Found(
            branch=branch, tree=tree, worktree=worktree, parents=(onto,), local=local, strayed=not home,
            kept=aside, parent_tree=await self.refs.tree_of(onto),
        )  # fmt: skip

    async def _own(self, head: str, *, onto: str) -> str | None:
        """``head`` when it has commits that neither the remote nor the branch knows: somebody's work."""
        run = await self.git.run("rev-list", "--max-count=1", head, "--not", onto, "--remotes=origin")
        return head if run.text else None

    async def _carried(self, *, head: str, onto: str, worktree: str, own: bool) -> str:
        """The worktree's changes on top of ``onto``: from where HEAD left it, or from HEAD when HEAD is only
        a commit somebody looked at. What does not merge is taken as it stands."""
        base: str | None = head
        if own:
            run = await self.git.run("merge-base", head, onto, ok=(0, 1))
            base = run.text.splitlines()[0] if run.status == 0 else None
        merged = await self.merged(base=base, ours=onto, theirs=worktree) if base else None
        return merged or worktree

    async def _write(self, status: Status) -> str:
        await self._add(nested=[path for path in status.untracked if path.endswith("/")])
        return (await self.git.run("write-tree")).text

    async def _add(self, *, nested: list[str] | None = None, env: dict[str, str] | None = None) -> None:
        """Everything into the index. Files of embedded repositories are taken as plain files (a link to
        commits that nobody can fetch would lose them); what cannot be read stays out."""
        for folder in nested or []:
            await self._add_embedded(folder)
        try:
            await self.git.run("add", "--all", env=env)
        except DiskFull:
            raise
        except WorkspaceError:
            await self.git.run("add", "--all", "--ignore-errors", env=env, ok=(0, 1))

    async def _add_embedded(self, folder: str) -> None:
        inside = Git(
            cwd=self.path / folder, state_dir=self.git.state_dir, git_dir=self._dir, agent=self.git.agent,
            work_tree=self.path / folder, redact=self.git.redact,
            env={"GIT_INDEX_FILE": str(self.git.scratch / "no-index")},
        )  # fmt: skip
        listed = await inside.run("ls-files", "--others", "--exclude-standard", "-z")
        plain = [folder + path for path in listed.fields if not path.endswith("/")]
        for path in (path for path in listed.fields if path.endswith("/")):
            await self._add_embedded(folder + path)
        names = b"".join(os.fsencode(path) + b"\0" for path in plain)
        await self.git.run("update-index", "--add", "-z", "--stdin", stdin=names, ok=(0, 1, 128))

    def merged_heads(self) -> list[str]:
        """What is being merged into HEAD."""
        return (below.read(self._dir, "MERGE_HEAD") or b"").decode("ascii").split()

    async def _end_operation(self, status: Status) -> tuple[Status, str, bool]:
        """Undo a half-done merge, rebase or pick after holding its files under a ref. A merge whose
        conflicts are all solved is no longer half-done and becomes a merge commit."""
        rebasing = any((self._dir / name).exists() for name in ("rebase-merge", "rebase-apply"))
        if not rebasing and not status.unmerged:
            return status, "", False
        ref = await self.save(head=status.head)
        applying = (self._dir / "rebase-apply" / "applying").exists()
        verbs = ["am" if applying else "rebase"] if rebasing else ["merge", "cherry-pick", "revert"]
        for verb in verbs:
            if (await self.git.attempt(verb, "--abort")).status == 0:
                break
        else:
            await in_thread(self._forget_operation)
        note = f"A half-done {verbs[0]} was ended; its files are kept in this checkout under {ref}."
        return await self.status(), note, True

    def _forget_operation(self) -> None:
        for name in (*_STATE_FILES, *_BISECT_FILES):
            with suppress(OSError):
                below.remove(self._dir, name)


def _parse(fields: list[str]) -> Status:
    facts = dict(field[2:].split(" ", 1) for field in fields if field.startswith("# "))
    entries = [field for field in fields if not field.startswith("# ")]
    oid, name = facts.get("branch.oid", "(initial)"), facts.get("branch.head", "(detached)")
    return Status(
        head=None if oid == "(initial)" else oid,
        branch=None if name == "(detached)" else name,
        dirty=bool(entries),
        changed=any(not entry.startswith("? ") for entry in entries),
        unmerged=any(entry.startswith("u ") for entry in entries),
        untracked=tuple(entry[2:] for entry in entries if entry.startswith("? ")),
    )
