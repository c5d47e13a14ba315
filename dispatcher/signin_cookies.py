"""What a browser keeps for us, and how: HttpOnly, never sent by pages of other sites, bound to this name.

Over https the names carry ``__Host-``, so that no neighbour of this host can plant them; a name without it is
then not even read. Over plain http only the machine itself may sign in.
"""

from enum import StrEnum

from starlette.requests import HTTPConnection
from starlette.responses import Response

from dispatcher.errors import Refused
from dispatcher.guard import host_of, is_loopback
from dispatcher.settings import Settings

_HOST = "__Host-"
_NO_HTTPS = "Sign in over https: a password and a session may not travel in clear."


class Cookie(StrEnum):
    """What is kept."""

    SESSION = "branchline_session"
    REFRESH = "branchline_refresh"
    GITHUB = "branchline_github"


class Cookies:
    """``settings``: under which name this machine is reached from outside (that is taken for https)."""

    def __init__(self, settings: Settings) -> None:
        self._outside = settings.outside_host
        self._outside_is_plain = (settings.public_url or "").startswith("http://")

    def is_secure(self, connection: HTTPConnection) -> bool:
        """Whether the browser came over https, to us or to a tunnel before us."""
        if connection.url.scheme in ("https", "wss"):
            return True
        name = host_of(connection.headers.get("host", ""))
        return name == self._outside and not self._outside_is_plain and not is_loopback(name)

    def check(self, connection: HTTPConnection) -> None:
        """Raise Refused where a password would travel in clear."""
        if not self.is_secure(connection) and not is_loopback(host_of(connection.headers.get("host", ""))):
            raise Refused(_NO_HTTPS, code="https_needed")

    def read(self, connection: HTTPConnection, cookie: Cookie) -> str | None:
        """What the browser has kept."""
        return connection.cookies.get(self._name(connection, cookie))

    def keep(
        self, connection: HTTPConnection, response: Response, cookie: Cookie, *, value: str, seconds: int
    ) -> None:
        """Have the browser keep it for so long."""
        response.set_cookie(
            self._name(connection, cookie),
            value,
            max_age=seconds,
            path="/",
            secure=self.is_secure(connection),
            httponly=True,
            samesite="lax",
        )

    def drop(self, connection: HTTPConnection, response: Response, *cookies: Cookie) -> None:
        """Have the browser forget."""
        for cookie in cookies:
            self.keep(connection, response, cookie, value="", seconds=0)

    def _name(self, connection: HTTPConnection, cookie: Cookie) -> str:
        return f"{_HOST}{cookie}" if self.is_secure(connection) else cookie.value


def address_of(connection: HTTPConnection, *, outside: str | None) -> str:
    """Where a request comes from. Through a tunnel to this machine that is what the tunnel says last."""
    peer = connection.client.host if connection.client else ""
    told = ",".join(connection.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
    if told and outside and is_loopback(peer) and host_of(connection.headers.get("host", "")) == outside:
        return told[:64]
    return peer
