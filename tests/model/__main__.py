"""``python -m tests.model [--large] [WORDS]``: all situations (with these words), with sizes."""

import argparse
import sys
from collections.abc import Callable

from tests.model.explore import Found, TooLarge
from tests.model.setups import SITUATIONS, search, search_numbers


def main() -> int:
    """Search; exit status 1 when a promise is broken."""
    asked = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    asked.add_argument("--large", action="store_true", help="the large bounds (minutes)")
    asked.add_argument("words", nargs="?", default="", help="only situations with these words")
    chosen = asked.parse_args()
    found: dict[str, Callable[[], Found]] = {"sequence gaps": search_numbers} if not chosen.words else {}
    for name, situation in SITUATIONS.items():
        if chosen.words in name:
            found[name] = search(situation.large if chosen.large else situation.small).run
    bad = 0
    for name, run in found.items():
        try:
            result = run()
        except TooLarge as error:
            print(f"{name}: not finished, {error}", flush=True)
            bad += 1
            continue
        bad += result.broken is not None
        print(f"{name}: {result}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
