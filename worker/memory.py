"""Keeps the worker's memory where it was after its first turns.

git runs in threads, and glibc gives each thread an arena of its own that keeps what it once held: 2,000 turns
add 8 % to the process though no object is left over (``scripts/chaos --soak``). One arena is enough for a
process that holds the interpreter's lock anyway.
"""

import ctypes

_M_ARENA_MAX = -8  # malloc.h of the GNU C library


def use_one_arena() -> None:
    """To be called before the first thread starts; does nothing where the C library is another."""
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    except (OSError, AttributeError):
        return
