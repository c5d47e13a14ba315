"""What can go wrong in the ``branchline`` command, as a sentence for a person and an exit code for a script.

Exit codes: 0 done, 1 the turn or the operation failed, 2 wrong usage or configuration, 3 not reachable.
Nothing here knows how a problem is shown.
"""

FAILED = 1
USAGE = 2
UNREACHABLE = 3


class Problem(Exception):
    """One clear sentence that says what to do, and the exit code that goes with it."""

    def __init__(self, sentence: str, *, code: int = FAILED) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code
