"""What can go wrong in a worker, by the decision it asks for. One base, few names, fields to branch on.

No error here formats a stack trace for a person: ``str(error)`` is the sentence a person may read.
"""


class WorkerError(Exception):
    """Base of all errors the worker raises on purpose; its text is one sentence for a person."""


class LeaseLost(WorkerError):
    """Another worker owns this id now: write nothing, push nothing, leave."""


class LeaseHeld(WorkerError):
    """A living worker owns this id: say so and leave without touching anything.

    ``epoch`` is the owner's epoch.
    """

    def __init__(self, text: str, *, epoch: int) -> None:
        super().__init__(text)
        self.epoch = epoch


class KeyUnreadable(WorkerError):
    """The user has a key of their own, or may have, and it cannot be read: start nothing with another."""


class WorkspaceError(WorkerError):
    """Git or the disk refused; the text says what to do."""


class RemoteUnavailable(WorkspaceError):
    """The remote could not be reached or refused the credentials; local work is committed and safe."""


class InDoubt(WorkerError):
    """Whether a turn's work was done already stands on the remote only, which cannot be reached."""


class RemoteRefused(WorkspaceError):
    """The remote was reached and does not take this branch; the same push will be refused again."""


class DiskFull(WorkspaceError):
    """There is no room left where the checkout lives."""


class AgentError(WorkerError):
    """Claude Code could not be started or died; ``exit_code`` is its exit status when known."""

    def __init__(self, text: str, *, exit_code: int | None = None) -> None:
        super().__init__(text)
        self.exit_code = exit_code
