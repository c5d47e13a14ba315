"""``/v1/tokens`` and ``/v1/accounts``: who gets in. For those who run the fleet; one's own tokens are for
everybody who signed in. Turns requests into calls and answers into JSON."""

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from dispatcher import body
from dispatcher.access import Principal, Scope, needs, principal
from dispatcher.errors import Refused
from dispatcher.settings import Settings
from dispatcher.signin_accounts import Accounts
from dispatcher.signin_rights import PERSON, known_user
from dispatcher.signin_tokens import Tokens


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class NewToken(_Body):
    """``days``: after which it ends; ``user``: whose it is, one's own without it."""

    name: str = Field(strict=True)
    user: str | None = Field(default=None, strict=True)
    scopes: frozenset[Scope] = Field(default=PERSON, min_length=1)
    days: int | None = Field(default=None, ge=1, le=3650, strict=True)


class WhichToken(_Body):
    """A token by its name."""

    name: str = Field(strict=True)
    user: str | None = Field(default=None, strict=True)


class WhichAccount(_Body):
    """An account."""

    user: str = Field(strict=True, min_length=1, max_length=128)


class NewAccount(WhichAccount):
    """An account and its password."""

    password: str = Field(strict=True, max_length=1024)


class Codes(WhichAccount):
    """Whether one-time codes are asked for."""

    on: bool = Field(strict=True)


class SignInAdmin:
    """The routes."""

    def __init__(self, *, settings: Settings, accounts: Accounts, tokens: Tokens) -> None:
        self._settings = settings
        self._accounts = accounts
        self._tokens = tokens

    def routers(self) -> list[APIRouter]:
        """All addresses."""
        own = APIRouter()
        own.add_api_route("/v1/tokens", self.show_tokens, methods=["GET"])
        own.add_api_route("/v1/tokens", self.make_token, methods=["POST"])
        own.add_api_route("/v1/tokens/revoke", self.revoke_token, methods=["POST"])
        operators = APIRouter(dependencies=[Depends(needs(Scope.OPERATE))])
        operators.add_api_route("/v1/accounts", self.show_accounts, methods=["GET"])
        operators.add_api_route("/v1/accounts", self.add_account, methods=["POST"])
        operators.add_api_route("/v1/accounts/password", self.change_password, methods=["POST"])
        operators.add_api_route("/v1/accounts/totp", self.codes, methods=["POST"])
        operators.add_api_route("/v1/accounts/remove", self.remove_account, methods=["POST"])
        return [own, operators]

    async def show_tokens(self, request: Request) -> Response:
        """``GET /v1/tokens``: one's own, and those of all with scope operate."""
        who = principal(request)
        found = await self._tokens.listed(None if Scope.OPERATE in who.scopes else who.user)
        return JSONResponse({"tokens": [token.shown for token in found]})

    async def make_token(self, request: Request) -> Response:
        """``POST /v1/tokens`` ``{"name", "user"?, "scopes"?, "days"?}``: 201; ``token`` is shown once."""
        given = await body.read(request, NewToken)
        who = _owner(request)
        user = known_user(self._whose(who, given.user), settings=self._settings)
        for scope in given.scopes:
            who.needs(scope)
        request.state.about = f"{given.name} of {user}"
        token, made = await self._tokens.make(
            name=given.name, user=user, scopes=given.scopes, days=given.days
        )
        return JSONResponse({"token": token, **made.shown}, status_code=201)

    async def revoke_token(self, request: Request) -> Response:
        """``POST /v1/tokens/revoke`` ``{"name", "user"?}``: what it was."""
        given = await body.read(request, WhichToken)
        user = self._whose(_owner(request), given.user)
        request.state.about = f"{given.name} of {user}"
        gone = await self._tokens.revoke(name=given.name, user=user)
        return JSONResponse(gone.shown)

    async def show_accounts(self) -> Response:
        """``GET /v1/accounts``: ``{"accounts": [{"user", "totp", "created"}]}``."""
        return JSONResponse({"accounts": await self._accounts.listed()})

    async def add_account(self, request: Request) -> Response:
        """``POST /v1/accounts`` ``{"user", "password"}``: 201. 404 for a user whom the file does not name."""
        given = await body.read(request, NewAccount)
        request.state.about = known_user(given.user, settings=self._settings)
        await self._accounts.add(given.user, given.password)
        return JSONResponse({"user": given.user}, status_code=201)

    async def change_password(self, request: Request) -> Response:
        """``POST /v1/accounts/password`` ``{"user", "password"}``; sessions of the old one end."""
        given = await body.read(request, NewAccount)
        request.state.about = given.user
        await self._accounts.change(given.user, given.password)
        return JSONResponse({"user": given.user})

    async def codes(self, request: Request) -> Response:
        """``POST /v1/accounts/totp`` ``{"user", "on"}``: ``uri`` is what the authenticator reads, shown this
        once."""
        given = await body.read(request, Codes)
        request.state.about = f"{given.user} {'on' if given.on else 'off'}"
        uri = await self._accounts.codes(given.user, on=given.on)
        return JSONResponse({"user": given.user, "uri": uri})

    async def remove_account(self, request: Request) -> Response:
        """``POST /v1/accounts/remove`` ``{"user"}``."""
        given = await body.read(request, WhichAccount)
        request.state.about = given.user
        await self._accounts.remove(given.user)
        return JSONResponse({"user": given.user})

    def _whose(self, who: Principal, user: str | None) -> str:
        if user not in (None, who.user):
            who.needs(Scope.OPERATE)
        return user or who.user


def _owner(request: Request) -> Principal:
    """Who may make and end tokens: a token may not make its own successor, unless it may everything."""
    who = principal(request)
    if who.kind == "token" and Scope.OPERATE not in who.scopes:
        raise Refused("A token may not make or end tokens: sign in, or use an operator's token.")
    return who
