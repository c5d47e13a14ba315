"""The secrets of a fleet on one machine: the token with which its own command is an operator, and the key
under which seeds of one-time codes are kept. Both are made once and stay in the home folder, for its owner
alone.

The token leaves this machine never: it is sent to the fleet of this home and to no other address.
"""

import os
import secrets
from collections.abc import Mapping

from dispatcher.signin_records import digest, new_token
from fleet.home import Home

_FILE = "operator"
_SEAL = "BRANCHLINE_SEAL_KEY"


def token_of(home: Home) -> str | None:
    """The token that ``for_dispatcher`` made, if it did and if we may read it."""
    kept = home.recall(_FILE).get("token")
    return kept if isinstance(kept, str) else None


def for_dispatcher(home: Home, outside: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the dispatcher has to know of both, as its variables; they are made when there are none."""
    kept = home.recall(_FILE)
    if not kept:
        kept = {"token": new_token(), "seal_key": secrets.token_hex(32)}
        home.remember(_FILE, kept)
    return {
        "BRANCHLINE_OPERATOR_TOKEN_HASH": digest(str(kept["token"])),
        _SEAL: outside.get(_SEAL) or str(kept["seal_key"]),
    }
