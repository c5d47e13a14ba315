"""How a worker proves who it is when it asks for a git token: a MAC over its worker id.

The key is known to dispatcher and launcher alone; a worker is given the MAC of its own id, which opens the
token of its own repository and nothing else. Standard library only: launchers need this without a GitHub.
"""

import hashlib
import hmac
from dataclasses import dataclass

from contracts.words import WorkerId

PATH = "/internal/token"
_PURPOSE = b"branchline git token of worker "


def worker_secret(key: str, worker: WorkerId) -> str:
    """The secret of one worker; ``key`` is shared by launcher and dispatcher. Raises ValueError."""
    if not key:
        raise ValueError("without a key everybody could make a worker's secret")
    return hmac.new(key.encode(), _PURPOSE + worker.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, kw_only=True)
class TokenDoor:
    """``url``: where workers reach ``PATH`` of the dispatcher; ``key`` as for ``worker_secret``."""

    url: str
    key: str

    def variables(self, worker: WorkerId) -> dict[str, str]:
        """What a launcher tells a worker. The same for the same worker, as long as nothing is exchanged."""
        return {
            "BRANCHLINE_TOKEN_URL": self.url,
            "BRANCHLINE_TOKEN_SECRET": worker_secret(self.key, worker),
        }
