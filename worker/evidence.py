"""The commits that prove what was done: made with trailers, found again by them after a crash.

Only whole trailers of commits by the worker's own committer count. Moves no branch.
"""

import re
from dataclasses import dataclass, replace

from contracts import names
from contracts.words import MessageId, Outcome, ThreadId
from worker import trailers
from worker.git import Git
from worker.lines import Step
from worker.ports import Commit
from worker.refs import TRACKING, heads

CLAUDE = "claude@localhost"
"""Committer of what Claude Code commits by itself (see ``worker.checkout``)."""
_TOLD = (trailers.MESSAGE, trailers.OUTCOME)
_COUNTS = re.compile(r"(\d+) (file|insertion|deletion)")


@dataclass(kw_only=True)
class Evidence:
    """Evidence in one repository; the committer is the one of ``git``."""

    git: Git

    def closing(
        self,
        *,
        subject: str,
        body: str,
        thread: ThreadId,
        message_ids: tuple[MessageId, ...],
        outcome: Outcome,
    ) -> bytes:
        """The message of the commit that ends a turn."""
        lines = [trailers.trailer(trailers.MESSAGE, each) for each in message_ids]
        lines.append(trailers.trailer(trailers.THREAD, thread))
        lines.append(trailers.trailer(trailers.OUTCOME, outcome))
        return trailers.compose(subject=subject, body=body, trailers=lines, redact=self.git.redact)

    def pausing(self, *, subject: str, body: str, thread: str, turn: str, message: str) -> bytes:
        """The message of a checkpoint; ``message`` is what was worked on, empty when nobody knows."""
        pairs = ((trailers.CHECKPOINT, turn), (trailers.THREAD, thread), (trailers.WORKED_ON, message))
        lines = [trailers.trailer(name, value) for name, value in pairs if value]
        return trailers.compose(subject=subject, body=body, trailers=lines, redact=self.git.redact)

    async def find(
        self, *, thread_id: ThreadId, message_id: MessageId, onto: str | None = None
    ) -> Commit | None:
        """The newest commit with this message's trailer, on the thread's branch here, on the remote as last
        fetched, or on a conflict branch of it. Counts are against the commit's parent."""
        branch = names.branch(thread_id)
        beside = f"{TRACKING}conflict-*/{branch}"
        listed = await self.git.run(
            "for-each-ref", "--format=%(refname)", heads(branch), TRACKING + branch, beside
        )
        if not listed.text:
            return None
        line = trailers.trailer(trailers.MESSAGE, message_id)
        wanted = {line, trailers.trailer(trailers.THREAD, thread_id)}
        log = await self.git.run(
            "log", "-z", "--format=%H%n%ce%n%(trailers:only,unfold)", "--fixed-strings", f"--grep={line}",
            *listed.text.split(), "--",
        )  # fmt: skip
        for entry in log.fields:
            sha, email, *found = entry.splitlines()
            if email == self.git.identity.email and wanted <= set(found):
                made = await self.described(sha, branch=branch, base=f"{sha}^")
                stands_on, landed = await self._stands_on(sha, branch=branch, onto=onto)
                return replace(_told(made, found), stands_on=stands_on, onto=landed)
        return None

    async def _stands_on(self, sha: str, *, branch: str, onto: str | None) -> tuple[str | None, str | None]:
        """The remote's branch that holds a commit, as last fetched (the thread's own comes first), and
        ``onto`` if that does as well."""
        more = [TRACKING + onto] if onto else []
        listed = await self.git.run(
            "for-each-ref", f"--contains={sha}", "--format=%(refname)",
            TRACKING + branch, f"{TRACKING}conflict-*/{branch}", *more,
        )  # fmt: skip
        found = {name.removeprefix(TRACKING) for name in listed.text.splitlines()}
        beside = sorted(name for name in found if name.startswith("conflict-"))  # "a" also lists "a/b"
        return branch if branch in found else next(iter(beside), None), onto if onto in found else None

    async def line(self, sha: str, *, without: str) -> list[Step]:
        """The commits that ``sha`` has and ``without`` has not, oldest first, and what their trailers say."""
        log = await self.git.run(
            "log", "-z", "--reverse", "--topo-order",
            "--format=%H%n%ct%n%cn%n%ce%n%P%n%(trailers:only,unfold)", sha, "--not", without, "--",
        )  # fmt: skip
        return [self._step(entry) for entry in log.fields]

    def _step(self, entry: str) -> Step:
        sha, at, name, email, parents, *lines = entry.split("\n")
        told = lines if email == self.git.identity.email else []
        return Step(
            sha=sha, at=int(at) if at.isdecimal() else 0,  # a commit made by hand may have no date at all
            name=name, email=email, own=email in (self.git.identity.email, CLAUDE),
            parents=tuple(parents.split()), merge=" " in parents, join=bool(_values(told, trailers.JOINED)),
            ended=_values(told, trailers.MESSAGE), worked=_values(told, trailers.WORKED_ON),
        )  # fmt: skip

    async def described(self, sha: str, *, branch: str, base: str) -> Commit:
        """One commit as the engine wants it, with counts against ``base``; against its parent where ``base``
        is not known (another disk's, never pushed): what stands must not fail for want of a number."""
        argv = ("diff-tree", "-r", "-M", "--shortstat", "--no-ext-diff", "--no-textconv")
        stat = await self.git.attempt(*argv, base, sha, "--")
        if stat.status:
            stat = await self.git.run(*argv, f"{sha}^", sha, "--")
        counts = {noun: int(number) for number, noun in _COUNTS.findall(stat.text)}
        told = await self.git.run("log", "-1", "--format=%b", sha, "--")
        body = told.out.decode("utf-8", "replace").strip("\n").rpartition("\n\n")[0]
        return Commit(
            sha=sha, branch=branch, files=counts.get("file", 0), insertions=counts.get("insertion", 0),
            deletions=counts.get("deletion", 0), body=body,
        )  # fmt: skip


def _values(lines: list[str], name: str) -> frozenset[MessageId]:
    return frozenset(MessageId(trailers.value_of(x)) for x in lines if x.startswith(f"{name}: "))


def _told(commit: Commit, lines: list[str]) -> Commit:
    """The commit with what its trailers say."""
    said = {name: [trailers.value_of(x) for x in lines if x.startswith(f"{name}: ")] for name in _TOLD}
    outcome = (said[trailers.OUTCOME] or [Outcome.COMPLETED])[0]
    ids = tuple(MessageId(x) for x in said[trailers.MESSAGE])
    return replace(commit, outcome=Outcome(outcome), message_ids=ids)
