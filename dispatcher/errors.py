"""What can go wrong while a request is taken in, each with the status and code that its sender gets.

``str(error)`` is one sentence for a person that says what to do; it never holds a stack trace, an address
inside AWS or a secret. Names no library.
"""

import math

DELETING = "thread_deleting"
"""The code of a Conflict that passes by itself: what is left of the thread is being removed."""


class DispatcherError(Exception):
    """Base of all errors raised on purpose. ``status`` is the HTTP status, ``code`` the word to branch on."""

    status = 500
    code = "internal"

    def __init__(self, text: str, *, code: str | None = None) -> None:
        super().__init__(text)
        self.code = code or type(self).code


class Invalid(DispatcherError):
    """The request can never be accepted as it is."""

    status = 400
    code = "invalid"


class Refused(DispatcherError):
    """The request came from a place that may not talk to this server."""

    status = 403
    code = "refused"


class SignIn(DispatcherError):
    """Nobody is known to ask: no session, no token, or one that is not good (any more)."""

    status = 401
    code = "sign_in"


class NotFound(DispatcherError):
    """The thread or project that the request names does not exist."""

    status = 404
    code = "not_found"


class Conflict(DispatcherError):
    """The request contradicts what is recorded."""

    status = 409
    code = "conflict"


class TooLarge(DispatcherError):
    """More bytes than the product accepts."""

    status = 413
    code = "too_large"


class WrongType(DispatcherError):
    """The body is not declared as JSON, or a file is of a kind that is not taken."""

    status = 415
    code = "wrong_content_type"


class TooMany(DispatcherError):
    """Asked too often. ``retry_after``: in how many whole seconds it may be asked again."""

    status = 429
    code = "too_many"

    def __init__(self, text: str, *, retry_after: float, code: str | None = None) -> None:
        super().__init__(text, code=code)
        self.retry_after = max(math.ceil(retry_after), 1)


class Unavailable(DispatcherError):
    """AWS (or the engine that stands in for it) did not answer; the same request may be sent again."""

    status = 503
    code = "unavailable"


class QueueMissing(Unavailable):
    """The queue of a binding does not exist (any more)."""


class Overtaken(Exception):
    """A transaction lost against another writer: read again and decide again. Never leaves the dispatcher."""
