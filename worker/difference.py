"""What a branch changed since it left the default branch: a list of files with their patches, bounded.

Reads commits only, never the worktree, so it may run beside a turn. Whatever a repository holds must come out
as text that can be stored and shown: names with line ends, bytes that are no UTF-8, links, submodules, files
of any size. A patch is redacted before it is measured; one that is too long is left out whole, because half a
secret looks like none. Writes nothing.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from contracts import names
from contracts.changes import FILES_LIMIT, PATCH_LIMIT, TOTAL_LIMIT, ChangeRecord, Status
from contracts.words import ThreadId
from worker import trailers
from worker.errors import WorkspaceError
from worker.git import Git, in_thread
from worker.refs import TRACKING, Refs, heads

BLOB_LIMIT = 8 * 1000 * 1000
"""Longest file, in bytes, that a patch is made for."""
GROUP_LIMIT = 16 * 1000 * 1000
"""Most bytes of files, old and new, that one run of git compares: what it prints is held in memory."""
LARGE = "The file is too large to show what changed in it."
LONG = "The change of this file is too long to be shown."
FULL = "The changes of this thread are too many to show all of them."
SECRET = "The change holds a secret of several lines, so it is not shown."  # noqa: S105 - a sentence

_ARGV = ("diff-tree", "-r", "--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=none")
_STATUS: dict[str, Status] = {
    "A": "added", "M": "modified", "D": "deleted", "R": "renamed", "T": "retyped",
}  # fmt: skip
_LINK, _MODULE, _NOTHING = "120000", "160000", "000000"
_SECTION = re.compile(rb"^diff --git ", re.MULTILINE)
_HUNK = re.compile(rb"^@@ ", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Span:
    """From where to where: commits, and the default branch's name. ``base`` is empty for no common commit."""

    base_branch: str
    base: str
    branch: str
    head: str


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The files of a span in the order of their paths, at most ``FILES_LIMIT``; the counts are of all."""

    span: Span
    files: tuple[ChangeRecord, ...]
    total: int
    insertions: int
    deletions: int
    cut: bool


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """One file as git lists it; paths as git has them. ``size``: bytes of old and new content together."""

    status: str
    modes: tuple[str, str]
    blobs: tuple[str, str]
    path: str
    old_path: str | None
    insertions: int = 0
    deletions: int = 0
    binary: bool = False
    size: int = 0


@dataclass(frozen=True, kw_only=True)
class Differ:
    """Differences in one repository."""

    git: Git
    refs: Refs

    async def span(self, branch: str) -> Span | None:
        """Where a thread's branch stands, here or else on the remote as last fetched; None without one."""
        found = await self.refs.named(heads(branch), TRACKING + branch)
        head = found.get(heads(branch)) or found.get(TRACKING + branch)
        if head is None:
            return None
        try:
            default = await self.refs.default_branch()
        except WorkspaceError:  # an empty remote
            return Span(base_branch="", base="", branch=branch, head=head)
        run = await self.git.run("merge-base", TRACKING + default, head, ok=(0, 1))
        base = next(iter(run.text.splitlines()), "")
        return Span(base_branch=default, base=base, branch=branch, head=head)

    async def latest(self, *, count: int) -> dict[ThreadId, str]:
        """Threads whose branches were committed to last, here or on the remote as last fetched, and where
        ``span`` finds them. A branch that does not spell its thread's id tells it in a trailer of ours."""
        told = f"%(contents:trailers:key={trailers.THREAD},unfold)"
        run = await self.git.run(
            "for-each-ref", "--sort=-committerdate", f"--count={count}",
            f"--format=%(objectname) %(refname) {told}%00", heads("thread-*"), f"{TRACKING}thread-*",
        )  # fmt: skip
        found: dict[ThreadId, str] = {}
        for line in (field.strip("\n") for field in run.fields if field.strip("\n")):
            sha, ref, said = line.split(" ", 2)
            branch = ref.removeprefix(heads("")).removeprefix(TRACKING)
            ids = (names.thread_of(branch), *map(trailers.value_of, said.splitlines()))
            for thread_id in (ThreadId(i) for i in ids if i and names.branch(ThreadId(i)) == branch):
                if thread_id not in found or ref.startswith(heads("")):
                    found[thread_id] = sha
        return found

    async def difference(self, span: Span) -> Difference:
        """All that changed. Raises ``WorkspaceError``."""
        base = span.base or (await self.git.run("mktree", stdin=b"")).text
        entries = await self._list(base, span.head)
        chosen = await self._sized(entries[:FILES_LIMIT])
        patches: dict[str, bytes] = {}
        for group in _groups(chosen):
            patches |= await self._patches(base, span.head, group)
            if sum(map(len, patches.values())) > 2 * TOTAL_LIMIT:
                break
        files, cut = await in_thread(lambda: self._fitted(chosen, patches))
        return Difference(
            span=span, files=tuple(files), total=len(entries), cut=cut or len(entries) > len(files),
            insertions=sum(e.insertions for e in entries), deletions=sum(e.deletions for e in entries),
        )  # fmt: skip

    async def _list(self, base: str, head: str) -> list[_Entry]:
        run = await self.git.run(*_ARGV, "-M", "--raw", "--no-abbrev", "--numstat", "-z", base, head, "--")
        return sorted(_parsed(os.fsdecode(run.out)), key=lambda e: os.fsencode(e.path))

    async def _sized(self, entries: Sequence[_Entry]) -> list[_Entry]:
        """The entries with the bytes that a comparison of their contents would read."""
        wanted = sorted({blob for e in entries for blob in _contents(e)})
        if not wanted:
            return list(entries)
        asked = "".join(f"{blob}\n" for blob in wanted).encode()
        run = await self.git.run("cat-file", "--batch-check=%(objectname) %(objectsize)", stdin=asked)
        sizes = {name: int(size) for name, size in (line.split(" ") for line in run.text.splitlines())
                 if size.isdecimal()}  # fmt: skip
        return [replace(e, size=sum(sizes.get(blob, 0) for blob in _contents(e))) for e in entries]

    async def _patches(self, base: str, head: str, group: Sequence[_Entry]) -> dict[str, bytes]:
        """``{path: hunks}``. Files that keep their name are compared in one run; git prints them in order."""
        paths = [e.path for e in group] + [e.old_path for e in group if e.old_path is not None]
        renames = "-M" if group[0].old_path is not None else "--no-renames"
        run = await self.git.run(*_ARGV, renames, "-p", base, head, "--", *paths)
        if len(group) == 1:
            return {group[0].path: _hunks(run.out)}
        starts = [found.start() for found in _SECTION.finditer(run.out)]
        if len(starts) != len(group):  # cannot be, and must not put a patch under another's name
            raise WorkspaceError("git compared other files than it had listed.")
        ends = [*starts[1:], len(run.out)]
        cuts = zip(group, starts, ends, strict=True)
        return {e.path: _hunks(run.out[start:end]) for e, start, end in cuts}

    def _fitted(
        self, entries: Sequence[_Entry], patches: dict[str, bytes]
    ) -> tuple[list[ChangeRecord], bool]:
        """The records, redacted, as far as they fit; whether a patch was left out."""
        left, cut, files = TOTAL_LIMIT, False, []
        for entry in entries:
            patch, note = self._shown(entry, patches.get(entry.path), left=left)
            left -= len(patch.encode())
            cut = cut or note in (LARGE, LONG, FULL, SECRET)
            files.append(self._record(entry, patch=patch, note=note))
        return files, cut

    def _shown(self, entry: _Entry, raw: bytes | None, *, left: int) -> tuple[str, str | None]:
        """A file's patch as people may see it, and what has to be said about it."""
        told = _told(entry)
        if entry.binary:
            return "", told
        if raw is None:
            return "", LARGE if entry.size > BLOB_LIMIT else FULL
        if len(raw) > 2 * PATCH_LIMIT:
            return "", LONG
        text = raw.decode("utf-8", "replace").replace("\0", "\ufffd")
        if _spans_lines(text, self.git.redact):
            return "", SECRET
        shown = self.git.redact(text)
        if len(shown.encode()) > PATCH_LIMIT:
            return "", LONG
        return (shown, told) if len(shown.encode()) <= left else ("", FULL)

    def _record(self, entry: _Entry, *, patch: str, note: str | None) -> ChangeRecord:
        old = None if entry.old_path is None else self.git.redact(_named(entry.old_path))
        return ChangeRecord(
            path=self.git.redact(_named(entry.path)),
            old_path=old,
            status=_STATUS.get(entry.status, "modified"),
            insertions=entry.insertions,
            deletions=entry.deletions,
            binary=entry.binary,
            patch=patch,
            note=note,
        )


def _parsed(out: str) -> Iterator[_Entry]:
    """The entries of a ``--raw --numstat -z`` listing: first all of the one kind, then all of the other."""
    fields = iter(out.split("\0"))
    raws: dict[str, _Entry] = {}
    for field in fields:
        if field.startswith(":"):
            old, new, before, after, status = field[1:].split(" ")
            old_path = next(fields) if status[0] in "RC" else None
            path = next(fields)
            raws[path] = _Entry(
                status=status[0], modes=(old, new), blobs=(before, after), path=path, old_path=old_path
            )
        elif field:
            plus, minus, path = field.split("\t", 2)
            if not path:
                next(fields)  # the old name of a renamed file
                path = next(fields)
            binary = plus == "-"
            numbers = (0, 0) if binary else (int(plus), int(minus))
            raws[path] = replace(raws[path], insertions=numbers[0], deletions=numbers[1], binary=binary)
    yield from raws.values()


def _contents(entry: _Entry) -> list[str]:
    """The blobs that hold a file's content; a submodule's commit is not here."""
    both = zip(entry.modes, entry.blobs, strict=True)
    return [blob for mode, blob in both if mode not in (_NOTHING, _MODULE)]


def _groups(entries: Sequence[_Entry]) -> Iterator[list[_Entry]]:
    """What is compared in one run: files with one section in git's output each, or one file alone."""
    group: list[_Entry] = []
    size = 0
    for entry in entries:
        if entry.binary or entry.size > BLOB_LIMIT:
            continue
        if entry.status in "RT":
            yield [entry]
            continue
        if group and size + entry.size > GROUP_LIMIT:
            yield group
            group, size = [], 0
        group.append(entry)
        size += entry.size
    if group:
        yield group


def _hunks(patch: bytes) -> bytes:
    """A patch without its headers, which hold names; of a file that changed its kind both parts."""
    sections = [*(found.start() for found in _SECTION.finditer(patch)), len(patch)]
    hunks = []
    for start, end in pairwise(sections):
        first = _HUNK.search(patch, start, end)
        hunks.append(patch[first.start() : end] if first else b"")
    return b"".join(hunks)


def _spans_lines(patch: str, redact: Callable[[str], str]) -> bool:
    """Whether a secret of several lines stands in a patch, where the signs at the lines' beginnings break it
    into pieces that look like none: looked for on each side, without the signs."""
    lines = patch.splitlines(keepends=True)
    sides = ("".join(line[1:] for line in lines if line[0] in kind) for kind in (" +", " -"))
    return any(redact(text).count("\n") != text.count("\n") for text in (patch, *sides))


def _told(entry: _Entry) -> str | None:
    """What the numbers and the patch do not say."""
    old, new = entry.modes
    if _MODULE in entry.modes:
        return "A submodule: the patch names the commits it points to."
    if _LINK in entry.modes:
        return "A symbolic link: the patch holds what it points to."
    if entry.binary:
        return "A binary file."
    if entry.status in "MR" and old != new:
        return f"The mode changed from {old} to {new}."
    return None


def _named(path: str) -> str:
    """A path as text; bytes that are no UTF-8 are spelled out."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
