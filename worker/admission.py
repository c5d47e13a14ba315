"""What of a turn may stand on its branch: no changed workflow, no commit that looks like the worker's own.

A workflow of GitHub runs with the project's secrets as soon as it is pushed, and whoever writes in a public
issue may talk Claude Code into writing one. A commit with the worker's name would count as evidence that
a message was answered. Both are left out here, before anything is committed; nothing else is judged.
"""

from dataclasses import dataclass, field, replace

from worker.git import Git
from worker.refs import TIPS, Refs, kept
from worker.tree import Found

WORKFLOWS = ".github/workflows"
LEFT_OUT = (
    f"Changes below {WORKFLOWS} were left out: this project does not allow them. Whoever runs Branchline can "
    "with workflows = true for the project in branchline.toml. They are kept in the checkout under {ref}."
)
TAKEN_TOGETHER = "Commits in Branchline's own name were taken as one change; they are kept under {ref}."


@dataclass(kw_only=True)
class Admission:
    """For one checkout. ``workflows``: whether the project allows them to change."""

    git: Git
    refs: Refs
    workflows: bool = False
    _told: dict[str, list[str]] = field(default_factory=dict, init=False)

    def told(self, branch: str) -> str:
        """What was left out of a branch since this was asked last, for the people in its thread."""
        return "\n\n".join(self._told.pop(branch, []))

    async def admit(self, found: Found, *, tip: str | None) -> Found:
        """``found`` without what may not stand on its branch. ``tip``: how far the worker took it before."""
        onto = tip or found.parents[0]
        notes: list[str] = []
        if tip is not None and await self._forged(found.parents, tip=tip):
            notes.append(TAKEN_TOGETHER)
            found = await self._on_top(found, onto=tip)
        if not self.workflows and await self._touched(found, onto=onto):
            notes.append(LEFT_OUT)
            found = await self._without_workflows(found, tip=tip)
        return await self._kept(found, notes) if notes else found

    async def _kept(self, found: Found, notes: list[str]) -> Found:
        argv = ("commit-tree", found.worktree, "-p", found.local or found.parents[0])
        whole = (await self.git.run(*argv, stdin=b"Kept: the files as the turn left them\n")).text
        ref = await self.refs.keep(whole, under=kept(found.branch))
        notes = [note.format(ref=ref) for note in notes]
        self._told.setdefault(found.branch, []).extend(notes)
        return replace(found, kept=True, note="\n\n".join(part for part in (found.note, *notes) if part))

    async def _forged(self, parents: tuple[str, ...], *, tip: str) -> bool:
        """Whether one of the turn's own commits could be taken for the worker's."""
        log = await self.git.run("log", "--format=%ce", *self._own(parents, tip=tip), "--")
        return self.git.identity.email in log.text.splitlines()

    async def _touched(self, found: Found, *, onto: str) -> bool:
        """Whether the tree, or a commit on the way to it, has other workflows than what it stands on."""
        trees = {await self._workflows(parent) for parent in found.parents}
        if await self._workflows(found.tree) not in trees:
            return True
        changed = await self.git.run(
            "log", "-c", "--format=", "--name-only", "--full-history", "--no-renames",
            *self._own(found.parents, tip=onto), "--", WORKFLOWS,
        )  # fmt: skip
        return bool(changed.text.strip())

    def _own(self, parents: tuple[str, ...], *, tip: str) -> tuple[str, ...]:
        """Commits that the turn made: neither fetched nor the worker's."""
        return (*parents, "--not", tip, "--remotes=origin", f"--glob={TIPS}")

    async def _on_top(self, found: Found, *, onto: str) -> Found:
        """The same tree as one change on top of ``onto``."""
        return replace(found, parents=(onto,), parent_tree=await self.refs.tree_of(onto))

    async def _without_workflows(self, found: Found, *, tip: str | None) -> Found:
        if tip is not None and await self._touched(replace(found, tree=found.parents[0]), onto=tip):
            found = await self._on_top(found, onto=tip)
        return replace(found, tree=await self._with_workflows_of(found.parents[0], tree=found.tree))

    async def _workflows(self, treeish: str) -> str | None:
        return await self.refs.resolve(f"{treeish}:{WORKFLOWS}")

    async def _with_workflows_of(self, source: str, *, tree: str) -> str:
        """``tree`` with what ``source`` has below the folder, made in an index of its own."""
        index = self.git.scratch / "admission-index"
        env = {"GIT_INDEX_FILE": str(index)}
        ours = await self.git.run("ls-tree", "-r", "-z", "--full-tree", tree, "--", WORKFLOWS)
        theirs = await self.git.run("ls-tree", "-r", "-z", "--full-tree", source, "--", WORKFLOWS)
        gone = b"".join(
            b"0 " + b"0" * len(source) + b"\t" + entry.partition(b"\t")[2] + b"\0"
            for entry in ours.out.split(b"\0")
            if entry
        )
        try:
            await self.git.run("read-tree", tree, env=env)
            # What stands where the folder has to be (a link, a file) is replaced.
            await self.git.run(
                "update-index", "--add", "--replace", "-z", "--index-info", env=env, stdin=gone + theirs.out
            )
            return (await self.git.run("write-tree", env=env)).text
        finally:
            index.unlink(missing_ok=True)
