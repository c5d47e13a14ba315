"""Stands before every route: finds out who asks, and lets nobody to ``/v1`` who is nobody.

A cookie is sent by the browser whoever made it ask, so with a cookie nothing is changed without the token of
the form, which only our own page can read. A bearer token is sent by nobody but its owner. Decides nothing
about projects and scopes: the routes do.
"""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from dispatcher.access import SIGN_IN, Principal, Scope
from dispatcher.answers import error_answer
from dispatcher.audit import Audit, Deed
from dispatcher.errors import DispatcherError, Refused, SignIn
from dispatcher.rates import Rates
from dispatcher.settings import Settings
from dispatcher.signin_cookies import Cookie, Cookies, address_of
from dispatcher.signin_records import digest
from dispatcher.signin_rights import as_session, as_token
from dispatcher.signin_sessions import Sessions
from dispatcher.signin_tokens import Tokens
from dispatcher.standing import Standing

PUBLIC = frozenset({"/v1/about"})
"""Below ``/v1``: what anybody may read."""
FORM = "x-branchline-form"
_SAFE = ("GET", "HEAD", "OPTIONS")
_POSTING = ("/v1/threads", "/v1/agui", "/v1/uploads")
_WORDS = {
    ("POST", "/v1/threads"): "post",
    ("POST", "/v1/threads/{thread_id}/messages"): "post",
    ("POST", "/v1/threads/{thread_id}/stop"): "stop",
    ("POST", "/v1/threads/{thread_id}/update"): "update",
    ("POST", "/v1/threads/{thread_id}/pull"): "open_pull",
    ("PATCH", "/v1/threads/{thread_id}"): "rename",
    ("DELETE", "/v1/threads/{thread_id}"): "delete",
    ("POST", "/v1/agui"): "post",
    ("POST", "/v1/uploads"): "upload",
    ("POST", "/v1/links"): "link_add",
    ("POST", "/v1/links/remove"): "link_remove",
    ("POST", "/v1/tokens"): "token_make",
    ("POST", "/v1/tokens/revoke"): "token_revoke",
    ("POST", "/v1/me/password"): "own_password",
    ("POST", "/v1/me/totp"): "own_totp_begin",
    ("POST", "/v1/me/totp/confirm"): "own_totp_on",
    ("POST", "/v1/me/totp/off"): "own_totp_off",
    ("POST", "/v1/accounts"): "account_add",
    ("POST", "/v1/accounts/password"): "account_password",
    ("POST", "/v1/accounts/totp"): "account_totp",
    ("POST", "/v1/accounts/remove"): "account_remove",
}
_STRANGE = "The request does not come from the page: reload it and try again."


@dataclass(frozen=True, kw_only=True)
class Doors:
    """What the gate asks. ``login``: whether people sign in at all."""

    settings: Settings
    sessions: Sessions
    tokens: Tokens
    cookies: Cookies
    rates: Rates
    audit: Audit

    @property
    def login(self) -> bool:
        """Whether people sign in at all."""
        return self.settings.signs_in

    async def who(self, connection: HTTPConnection) -> Principal | None:
        """Who asks. Raises SignIn for a token that is not good, Refused for a forged request, Unavailable."""
        if not self.login:
            return Principal(user=self.settings.user, kind="local")
        given = connection.headers.get("authorization")
        if given is not None:
            return await self._bearer(given)
        token = self.cookies.read(connection, Cookie.SESSION)
        session = await self.sessions.read(token) if token else None
        if session is None:
            return None
        if connection.scope.get("method") not in _SAFE:
            form = connection.headers.get(FORM, "")
            if not hmac.compare_digest(form.encode(), session.form.encode()):
                raise Refused(_STRANGE, code="wrong_form_token")
        return as_session(session.user, settings=self.settings)

    async def standing(self, connection: HTTPConnection) -> Standing | None:
        """What a request that was let in is let in by. Raises Unavailable."""
        given = connection.headers.get("authorization")
        if given is not None:
            key = digest(_token_in(given) or "")
            return Standing(kind="token", user="", key=self._operator_key if self._is_operator(key) else key)
        token = self.cookies.read(connection, Cookie.SESSION)
        found = await self.sessions.read(token) if token else None
        if found is None:
            return None
        return Standing(kind="session", user=found.user, key=found.key, proof=found.proof)

    async def again(self, by: Standing) -> Principal | None:
        """Who that is now; None when it has ended. Raises Unavailable."""
        if by.kind == "token" and hmac.compare_digest(by.key, self._operator_key):
            return self._operator()
        if by.kind == "token":
            return await self._token(by.key)
        if by.proof is None or not await self.sessions.is_on(by.user, key=by.key, proof=by.proof):
            return None
        return as_session(by.user, settings=self.settings)

    async def _bearer(self, given: str) -> Principal:
        token = _token_in(given)
        found = await self._token(digest(token)) if token else None
        if found is None:
            raise SignIn("This token is not known, or it has ended: branchline token create makes another.")
        return found

    async def _token(self, token_digest: str) -> Principal | None:
        if self._is_operator(token_digest):
            return self._operator()
        row = await self.tokens.of(token_digest)
        return None if row is None else as_token(row.user, scopes=row.scopes, settings=self.settings)

    def _is_operator(self, token_digest: str) -> bool:
        known = self.settings.operator_token_hash
        return known is not None and hmac.compare_digest(token_digest, known)

    def _operator(self) -> Principal | None:
        if self.settings.operator_token_hash is None:
            return None
        return Principal(user=self.settings.user, kind="token", scopes=frozenset(Scope))

    @property
    def _operator_key(self) -> str:
        """A standing may stand in an address, and people choose the operator's token: no hash of that."""
        return digest(f"branchline operator {self.settings.operator_token_hash}")


def _token_in(given: str) -> str | None:
    """What a header ``Authorization`` brings; None for another scheme."""
    scheme, _, token = given.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


class Gate:
    """ASGI middleware. ``app.state.doors`` is there when the application has started."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Pass the request on with its principal, or refuse it."""
        if scope["type"] != "http" or not _is_ours(scope["path"]):
            await self._app(scope, receive, send)
            return
        doors: Doors = scope["app"].state.doors
        try:
            who = await _admitted(scope, doors)
        except DispatcherError as error:
            await error_answer(error)(scope, receive, send)
            return
        if who is None or scope["method"] in _SAFE:
            await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, _Noting(send, partial(_note, scope, who=who, doors=doors)))


class _Noting:
    """Sends on, and notes the deed with the first piece of the answer: an answer may go on for hours."""

    def __init__(self, send: Send, note: Callable[..., Awaitable[None]]) -> None:
        self._send = send
        self._note = note
        self._status: int | None = None

    async def __call__(self, message: Message) -> None:
        await self._send(message)
        if message["type"] == "http.response.start":
            self._status = message["status"]
        elif self._status is not None:
            status, self._status = self._status, None
            await self._note(status=status)


async def _admitted(scope: Connection, doors: Doors) -> Principal | None:
    connection, path = HTTPConnection(scope), scope["path"]
    who = await doors.who(connection) if path not in PUBLIC else None
    if who is None and path not in PUBLIC:
        raise SignIn(SIGN_IN)
    posts = scope["method"] == "POST" and path.startswith(_POSTING)
    if posts and who is not None and who.kind != "local":
        await doors.rates.posting(f"{who.kind} {who.user}")
    state = scope.setdefault("state", {})
    state["principal"] = who
    if who is not None and who.kind != "local":
        state["still"] = partial(_is_still, connection, who=who, doors=doors)
    return who


async def _is_still(connection: HTTPConnection, *, who: Principal, doors: Doors) -> bool:
    """Whether the same request would be let in again, for the same; who cannot be asked about is not."""
    try:
        return await doors.who(connection) == who
    except DispatcherError:
        return False


async def _note(scope: Connection, *, who: Principal, status: int, doors: Doors) -> None:
    if status >= 400 and status != 403:
        return  # a request that could not be understood is no deed
    state: dict[str, Any] = scope["state"]
    thread = str(scope.get("path_params", {}).get("thread_id", ""))
    template = str(getattr(scope.get("route"), "path", scope["path"])).replace(":anything", "")
    method = scope["method"]
    await doors.audit.write(
        Deed(
            user=who.user,
            kind=who.kind,
            what=_WORDS.get((method, template), f"{method} {template}"),
            about=str(state.get("about", thread)),
            address=address_of(HTTPConnection(scope), outside=doors.settings.outside_host),
            ok=status < 400,
        )
    )


def _is_ours(path: str) -> bool:
    return path == "/v1" or path.startswith("/v1/")
