"""What a thread's branch changed: shapes and keys of ``change`` records, in ``contracts.records``' table.

A version is written whole before the head names it, and the one before is removed after that, so whoever
finds fewer files than the head says has to read the head again. Shapes only: sends nothing, knows no git.
"""

from typing import Literal

from pydantic import Field

from contracts.records import Item, _Record, key, thread_pk
from contracts.words import ThreadId, WorkerId

FILES_LIMIT = 300
"""Most files of a thread that are named one by one."""
PATCH_LIMIT = 200 * 1000
"""Longest patch of one file, in bytes of UTF-8."""
TOTAL_LIMIT = 4 * 1000 * 1000
"""Most bytes of all patches of a thread together."""
ALL_CHANGES = "change#"
"""What the sort keys of a thread's change records begin with."""

Status = Literal["added", "modified", "deleted", "renamed", "retyped"]
"""``retyped``: a file became a link, a submodule, or the other way round."""


class ChangesRecord(_Record):
    """The head: which version stands. ``shown`` of ``files`` files have a record of their own.

    ``base`` is the merge base with ``base_branch``, empty where the two have nothing in common; ``head`` is
    the branch's commit. ``insertions`` and ``deletions`` count lines of all files. ``cut``: files or patches
    are left out.
    """

    version: str
    base_branch: str
    base: str
    branch: str
    head: str
    files: int = 0
    shown: int = 0
    insertions: int = 0
    deletions: int = 0
    cut: bool = False


class ChangeRecord(_Record):
    """One file. ``patch`` holds its hunks, from the first ``@@`` on; empty where there are none or where they
    are left out, which ``note`` then says in a sentence. Paths that are no UTF-8 have ``\\xNN`` in them."""

    path: str
    old_path: str | None = None
    status: Status
    insertions: int = Field(default=0, description="Lines; 0 for a binary file.")
    deletions: int = 0
    binary: bool = False
    patch: str = ""
    note: str | None = None


def head_key(worker: WorkerId, thread_id: ThreadId) -> Item:
    """The head of a thread's changes."""
    return key(thread_pk(worker, thread_id), f"{ALL_CHANGES}head")


def version_prefix(version: str) -> str:
    """What the sort keys of one version's files begin with."""
    return f"{ALL_CHANGES}{version}#"


def change_key(worker: WorkerId, thread_id: ThreadId, *, version: str, number: int) -> Item:
    """One file of one version; files are numbered in the order of their paths."""
    return key(thread_pk(worker, thread_id), f"{version_prefix(version)}{number:05d}")
