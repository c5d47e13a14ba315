"""Entry of the ``branchline`` command: turns every problem into one sentence and an exit code."""

import os
import sys

from fleet.cli import app
from fleet.problem import FAILED, Problem

_INTERRUPTED = 130


def main() -> None:
    """Run the command; never shows a stack trace unless BRANCHLINE_DEBUG is set."""
    try:
        app(prog_name="branchline")
    except Problem as problem:
        _leave(problem.sentence, code=problem.code)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        # The reader has gone (`| head`); Python would complain once more while it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except Exception as error:
        if os.environ.get("BRANCHLINE_DEBUG"):
            raise
        _leave(
            f"unexpected {type(error).__name__}: {error}. Set BRANCHLINE_DEBUG=1 to see where.", code=FAILED
        )


def _leave(sentence: str, *, code: int) -> None:
    print(f"branchline: {sentence}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
