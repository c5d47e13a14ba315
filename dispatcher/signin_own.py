"""``/v1/me/…``: what people change about their own sign-in: the password, and whether codes are asked for.

A browser that somebody left open, or whose session was stolen, changes none of it: the present password (and
code) are asked for each time, counted like a sign-in. Every other session ends with a change. Turns requests
into calls; what a password is, is decided elsewhere.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from dispatcher import body
from dispatcher.access import principal
from dispatcher.errors import Invalid, NotFound, Refused, SignIn
from dispatcher.rates import Rates
from dispatcher.settings import Settings
from dispatcher.signin_accounts import Accounts
from dispatcher.signin_cookies import address_of
from dispatcher.signin_sessions import Proof

Anew = Callable[[Request, str, Proof], Awaitable[Response]]
"""Ends the session of a request and begins another: 200 as ``/v1/me``."""
_PAGE_ONLY = "Sign in on the page to change your own sign-in; an operator changes that of others."
_NO_ACCOUNT = "You have no password here: you sign in with GitHub."


class OwnProof(BaseModel):
    """The present password; ``code``: of the authenticator, where one is asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    password: str = Field(strict=True, max_length=1024)
    code: str | None = Field(default=None, strict=True, max_length=16)


class OwnPassword(OwnProof):
    """``new``: the password from now on."""

    new: str = Field(strict=True, max_length=1024)


class OwnCode(BaseModel):
    """What the authenticator shows for the seed that it has just read."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    code: str = Field(strict=True, max_length=16)


@dataclass(frozen=True, kw_only=True)
class SignInOwn:
    """The routes."""

    settings: Settings
    accounts: Accounts
    rates: Rates
    anew: Anew

    def router(self) -> APIRouter:
        """All addresses."""
        router = APIRouter()
        router.add_api_route("/v1/me/account", self.show, methods=["GET"])
        router.add_api_route("/v1/me/password", self.password, methods=["POST"])
        router.add_api_route("/v1/me/totp", self.begin, methods=["POST"])
        router.add_api_route("/v1/me/totp/confirm", self.confirm, methods=["POST"])
        router.add_api_route("/v1/me/totp/off", self.off, methods=["POST"])
        return router

    async def show(self, request: Request) -> Response:
        """``GET /v1/me/account``: ``{"password", "totp"}``: what one has here to sign in with."""
        found = await self.accounts.asks_codes(principal(request).user) if self.settings.passwords else None
        return JSONResponse({"password": found is not None, "totp": bool(found)})

    async def password(self, request: Request) -> Response:
        """``POST /v1/me/password`` ``{"password", "code"?, "new"}``: 200 as ``/v1/me``, fresh cookies."""
        user = self._user(request)
        given = await body.read(request, OwnPassword)
        if given.new == given.password:
            raise Invalid("This is the password that you have: choose another.", code="same_password")
        proof = await self._proved(request, user, given)
        return await self.anew(request, user, await self.accounts.renew(user, given.new, seen=proof))

    async def begin(self, request: Request) -> Response:
        """``POST /v1/me/totp`` ``{"password", "code"?}``: ``uri`` is what the authenticator reads. No code is
        asked for before one was confirmed."""
        user = self._user(request)
        await self._proved(request, user, await body.read(request, OwnProof))
        return JSONResponse({"user": user, "uri": await self.accounts.begin_codes(user)})

    async def confirm(self, request: Request) -> Response:
        """``POST /v1/me/totp/confirm`` ``{"code"}``: codes are asked for from now on; 200 as ``/v1/me``."""
        user = self._user(request)
        given = await body.read(request, OwnCode)
        await self._counted(request, user)
        return await self.anew(request, user, await self.accounts.confirm_codes(user, given.code))

    async def off(self, request: Request) -> Response:
        """``POST /v1/me/totp/off`` ``{"password", "code"?}``: no codes any more; 200 as ``/v1/me``."""
        user = self._user(request)
        proof = await self._proved(request, user, await body.read(request, OwnProof))
        return await self.anew(request, user, await self.accounts.without_codes(user, seen=proof))

    def _user(self, request: Request) -> str:
        """Raises Refused for whoever is not there in person, NotFound."""
        who = principal(request)
        if who.kind != "session":
            raise Refused(_PAGE_ONLY)
        if not self.settings.passwords:
            raise NotFound(_NO_ACCOUNT, code="no_passwords")
        request.state.about = who.user
        return who.user

    async def _counted(self, request: Request, user: str) -> None:
        address = address_of(request, outside=self.settings.outside_host)
        await self.rates.signing_in(user=user, address=address)

    async def _proved(self, request: Request, user: str, given: OwnProof) -> Proof:
        """Raises Refused, with the codes of a sign-in: the session is good, so it is no 401; TooMany."""
        await self._counted(request, user)
        try:
            return await self.accounts.check(user, given.password, code=given.code)
        except SignIn as error:
            raise Refused(str(error), code=error.code) from None
