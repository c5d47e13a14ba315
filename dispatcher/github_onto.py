"""Where the work about a pull request goes: onto its branch, or on in the thread whose branch it shows. Pure.

Only a pull request that is open and lies within one repository has a branch that may be written to: never one
of a fork, the default branch, or a branch of ours.
"""

from contracts import names
from contracts.records import ThreadRecord
from contracts.words import ThreadId
from dispatcher.github_api import Pull


def onto_of(pull: Pull) -> str | None:
    """The branch of people's that the work goes onto; None when it has to stay on the thread's own."""
    repo = pull.head.repo
    if pull.state != "open" or not pull.is_inside or repo is None:
        return None
    return None if pull.head.ref == repo.default_branch else names.onto(pull.head.ref)


def thread_of(pull: Pull) -> ThreadId | None:
    """The thread whose branch a pull request shows, as far as its name tells."""
    found = names.thread_of(pull.head.ref) if pull.is_inside else None
    return ThreadId(found) if found else None


def shows(row: ThreadRecord, *, pull: Pull, project: str) -> bool:
    """Whether this thread is really the one that the pull request shows."""
    return row.branch == pull.head.ref and row.project == project
