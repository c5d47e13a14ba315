"""Keeps the worker's memory where it was after its first turns (measured by ``scripts/chaos --soak``).

Three things let a process without a leak grow. git runs in threads, and glibc gives each thread an arena of
its own that keeps what it once held. What a large turn needed stays with the process when something small has
come to stand behind it. And the collector looks through everything only when a quarter of all that lives is
new, which with 180,000 objects from the imports means tens of thousands of dead ones.
"""

import ctypes
import gc

_M_ARENA_MAX = -8  # malloc.h of the GNU C library


def use_one_arena() -> None:
    """To be called before the first thread starts; does nothing where the C library is another."""
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    except (OSError, AttributeError):
        return


def give_back() -> None:
    """Return to the system what nothing holds any more; a few milliseconds, for the time beside a turn."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return


def keep_what_is_loaded() -> None:
    """What lives now stays for good and is not looked through any more: to be called once all is loaded."""
    gc.collect()
    gc.freeze()
