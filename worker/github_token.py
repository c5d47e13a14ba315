"""The token for git, asked of the dispatcher when git needs one. It stays in this process's memory.

Given to ``GitWorkspace`` as its ``token``: asked before each network run, it goes on with the token it has
until that is about to end, because turns outlast tokens. Git gets it through the credential helper of that
one run; Claude Code, the checkout and the log never do.
"""

import json
import threading
import time
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from contracts.words import WorkerId
from worker.errors import RemoteUnavailable

MARGIN = 300.0
"""Seconds before its end from which on a token is not used any more."""
_TIMEOUT = 10.0
_TRIES = 2
_LIFE = 3600.0
_ASK_AGAIN = 60.0
"""Seconds after which a repository that was none of the App's is asked for again."""


class TokenSource:
    """``url``: the dispatcher's ``/internal/token``; ``secret`` proves who asks. Blocks while it asks: to be
    called in a thread. Safe to call from several."""

    def __init__(self, *, url: str, secret: str, worker_id: WorkerId) -> None:
        self._url, self._secret, self._worker = url, secret, worker_id
        # A proxy of the network is no way to this machine itself.
        here = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
        proxies = (urllib.request.ProxyHandler({}),) if here else ()
        self._opener = urllib.request.build_opener(*proxies)
        self._lock = threading.Lock()
        self._token: str | None = None
        self._until = 0.0

    def __call__(self) -> str | None:
        """A token that is good for some minutes; None when the repository needs none of GitHub's.

        Raises RemoteUnavailable when the dispatcher cannot be asked and nothing is left of the last one.
        """
        with self._lock:
            if time.monotonic() >= self._until:
                self._renew()
            return self._token

    def _renew(self) -> None:
        asked = time.monotonic()
        made = self._asked()
        if made is None:
            self._token, self._until = None, asked + _ASK_AGAIN
            return
        left = min(datetime.fromisoformat(made["expires_at"]).timestamp() - time.time(), _LIFE)
        self._token, self._until = made["token"], asked + left - MARGIN

    def _asked(self) -> dict[str, Any] | None:
        """The dispatcher's answer; None when this repository is none of the App's."""
        body = json.dumps({"worker_id": self._worker}).encode()
        headers = {"Authorization": f"Bearer {self._secret}", "Content-Type": "application/json"}
        for left in reversed(range(_TRIES)):
            request = urllib.request.Request(self._url, data=body, headers=headers)  # noqa: S310 - a setting
            try:
                with self._opener.open(request, timeout=_TIMEOUT) as answer:
                    made: dict[str, Any] = json.loads(answer.read())
                    return made
            except urllib.error.HTTPError as error:
                with error:
                    if error.code == 404:
                        return None
                    problem = f"the dispatcher answered {error.code}"
                if error.code < 500:
                    break
            except (OSError, ValueError) as error:
                problem = f"the dispatcher gave no answer ({type(error).__name__})"
            if not left:
                break
        raise RemoteUnavailable(f"There is no token for the repository: {problem}.")
