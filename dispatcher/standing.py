"""What somebody was let in by, to be asked about again later and elsewhere: a reference, never the secret."""

from collections.abc import Awaitable, Callable
from typing import Literal

from pydantic import BaseModel, ConfigDict
from starlette.requests import HTTPConnection

from dispatcher.access import Principal
from dispatcher.signin_sessions import Proof


class Standing(BaseModel):
    """``key``: SHA-256 in hex of a token, or of the sign-in that a session comes from; ``proof``: of a
    session alone."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["session", "token"]
    user: str
    key: str
    proof: Proof | None = None


Find = Callable[[HTTPConnection], Awaitable[Standing | None]]
"""What a request is let in by; None for nobody."""
Again = Callable[[Standing], Awaitable[Principal | None]]
"""Who that is now; None when it has ended. Raises ``errors.Unavailable``."""
