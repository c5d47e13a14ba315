"""``/auth``, ``/v1/about`` and ``/v1/me``: signing in and out. Turns requests into calls, and answers into
JSON and cookies; who may is decided elsewhere."""

from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, RedirectResponse, Response

from dispatcher import body, signin_github
from dispatcher.access import Principal, principal
from dispatcher.audit import Audit, Deed
from dispatcher.errors import DispatcherError, NotFound, Refused, SignIn
from dispatcher.github_settings import repo_of
from dispatcher.rates import Rates
from dispatcher.settings import Settings
from dispatcher.signin_accounts import Accounts
from dispatcher.signin_cookies import Cookie, Cookies, address_of
from dispatcher.signin_github import WAY_SECONDS, GitHubSignIn
from dispatcher.signin_rights import as_session
from dispatcher.signin_sessions import (
    ENDED,
    REFRESH_SECONDS,
    SESSION_SECONDS,
    Issued,
    Proof,
    Reused,
    Sessions,
)

_ELSEWHERE = "Pages of other sites may not sign anybody in here."


class LoginBody(BaseModel):
    """``code``: of the authenticator, for accounts that want one."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    user: str = Field(strict=True, max_length=128)
    password: str = Field(strict=True, max_length=1024)
    code: str | None = Field(default=None, strict=True, max_length=16)


@dataclass(frozen=True, kw_only=True)
class SignInRoutes:
    """The routes. ``github``: None where people do not sign in with it."""

    settings: Settings
    accounts: Accounts
    sessions: Sessions
    cookies: Cookies
    rates: Rates
    audit: Audit
    github: GitHubSignIn | None

    def router(self) -> APIRouter:
        """All addresses."""
        router = APIRouter()
        router.add_api_route("/v1/about", self.about, methods=["GET"])
        router.add_api_route("/v1/me", self.me, methods=["GET"])
        router.add_api_route("/auth/login", self.login, methods=["POST"])
        router.add_api_route("/auth/refresh", self.refresh, methods=["POST"])
        router.add_api_route("/auth/logout", self.logout, methods=["POST"])
        router.add_api_route("/auth/github", self.to_github, methods=["GET"])
        router.add_api_route(signin_github.CALLBACK, self.from_github, methods=["GET"])
        return router

    async def about(self) -> Response:
        """``GET /v1/about``: what kind of sign-in there is; for everybody."""
        login = {
            "required": self.settings.login != "none",
            "password": self.settings.passwords,
            "github": self.settings.github_login,
        }
        plain = {"login": login, "offline_model": self.settings.offline_model, "version": _version()}
        return JSONResponse(plain)

    async def me(self, request: Request) -> Response:
        """``GET /v1/me``: who asks, and what they may do. ``form_token`` is null but for a session."""
        who = principal(request)
        token = self.cookies.read(request, Cookie.SESSION) if who.kind == "session" else None
        session = await self.sessions.read(token) if token else None
        return JSONResponse(self._me(who, form=session.form if session else None))

    async def login(self, request: Request) -> Response:
        """``POST /auth/login``: 200 as ``/v1/me``. Raises SignIn, TooMany, Refused, NotFound."""
        self._check_origin(request)
        if not self.settings.passwords:
            raise NotFound("Nobody signs in with a password here.", code="no_passwords")
        given = await body.read(request, LoginBody)
        address = address_of(request, outside=self.settings.outside_host)
        try:
            await self.rates.signing_in(user=given.user, address=address)
            proof = await self.accounts.check(given.user, given.password, code=given.code)
            return await self._begin(request, user=given.user, proof=proof)
        except DispatcherError as error:
            if error.status < 500:
                # What nobody is called may be a password in the wrong field.
                name = given.user if await self.accounts.has(given.user) else ""
                await self._note(request, user=name, what="sign_in", about=error.code, ok=False)
            raise

    async def refresh(self, request: Request) -> Response:
        """``POST /auth/refresh``: 200 as ``/v1/me``, with fresh cookies. Raises SignIn."""
        self._check_origin(request)
        token = self.cookies.read(request, Cookie.REFRESH)
        try:
            if token is None:
                raise SignIn(ENDED)
            return self._signed_in(request, await self.sessions.refresh(token))
        except SignIn as error:
            if isinstance(error, Reused):
                await self._note(request, user=error.user, what="refresh_reused", ok=False)
            raise

    async def logout(self, request: Request) -> Response:
        """``POST /auth/logout``: 204, whoever asks."""
        self._check_origin(request)
        refresh, token = (self.cookies.read(request, c) for c in (Cookie.REFRESH, Cookie.SESSION))
        user = await self.sessions.end(refresh=refresh, token=token)
        if user is not None:
            await self._note(request, user=user, what="sign_out")
        answer = Response(status_code=204)
        self.cookies.drop(request, answer, Cookie.SESSION, Cookie.REFRESH)
        return answer

    async def to_github(self, request: Request, onward: str = "/") -> Response:
        """``GET /auth/github?onward=``: to GitHub."""
        self.cookies.check(request)
        if self.github is None:
            raise signin_github.off()
        address, kept = await self.github.begin(request, onward=onward)
        answer = RedirectResponse(address, status_code=303)
        self.cookies.keep(request, answer, Cookie.GITHUB, value=kept, seconds=WAY_SECONDS)
        return answer

    async def from_github(self, request: Request) -> Response:
        """``GET /auth/github/callback``: to the page, signed in or with a word for why not."""
        if self.github is None:
            raise signin_github.off()
        try:
            kept = self.cookies.read(request, Cookie.GITHUB)
            user, proof, onward = await self.github.end(request, kept=kept)
        except DispatcherError as error:
            await self._note(request, user="", what="sign_in", about=f"github {error.code}", ok=False)
            answer = RedirectResponse(signin_github.came_back(error), status_code=303)
        else:
            await self._note(request, user=user, what="sign_in", about="github")
            answer = RedirectResponse(onward, status_code=303)
            proof = proof.model_copy(update={"account": await self._mark_of(user)})
            self._keep(request, answer, await self.sessions.begin(user, proof))
        self.cookies.drop(request, answer, Cookie.GITHUB)
        return answer

    async def begin_anew(self, request: Request, user: str, proof: Proof) -> Response:
        """End the session of a request and begin another: 200 as ``/v1/me``. Raises Unavailable."""
        refresh, token = (self.cookies.read(request, c) for c in (Cookie.REFRESH, Cookie.SESSION))
        await self.sessions.end(refresh=refresh, token=token)
        return self._signed_in(request, await self.sessions.begin(user, proof))

    async def _mark_of(self, user: str) -> str | None:
        """What an account beside GitHub is known by, where there may be one."""
        return await self.accounts.mark_of(user) if self.settings.passwords else None

    async def _begin(self, request: Request, *, user: str, proof: Proof) -> Response:
        answer = self._signed_in(request, await self.sessions.begin(user, proof))
        await self._note(request, user=user, what="sign_in", about=proof.how)
        return answer

    def _signed_in(self, request: Request, issued: Issued) -> Response:
        who = as_session(issued.user, settings=self.settings)
        if who is None:
            raise SignIn(ENDED)
        answer = JSONResponse(self._me(who, form=issued.form))
        self._keep(request, answer, issued)
        return answer

    def _keep(self, request: Request, answer: Response, issued: Issued) -> None:
        keep = self.cookies.keep
        keep(request, answer, Cookie.SESSION, value=issued.token, seconds=SESSION_SECONDS)
        keep(request, answer, Cookie.REFRESH, value=issued.refresh, seconds=REFRESH_SECONDS)

    def _me(self, who: Principal, *, form: str | None) -> dict[str, Any]:
        api = self.settings.github_api_url
        theirs = [(name, p) for name, p in sorted(self.settings.projects.items()) if who.belongs(name)]
        projects = [{"name": name, "github": repo_of(p.repo, api_url=api) is not None} for name, p in theirs]
        scopes = sorted(who.scopes)
        return {
            "user": who.user,
            "kind": who.kind,
            "projects": projects,
            "scopes": scopes,
            "form_token": form,
        }

    def _check_origin(self, request: Request) -> None:
        """Against signing somebody in (or out) from a page of another site, beyond what the guard sees."""
        self.cookies.check(request)
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Refused(_ELSEWHERE)

    async def _note(
        self, request: Request, *, user: str, what: str, about: str = "", ok: bool = True
    ) -> None:
        address = address_of(request, outside=self.settings.outside_host)
        deed = Deed(user=user, kind="session", what=what, about=about, address=address, ok=ok)
        await self.audit.write(deed)


def _version() -> str:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version("branchline")
    return "unknown"
