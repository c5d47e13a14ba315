"""Sign-in with GitHub: to GitHub with state and PKCE, and back with a code that only this browser can use.

GitHub says who somebody is there; who that is here say the links (``People``). Its token is used for that one
question and kept nowhere.
"""

import hmac
import secrets
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import structlog
from oauthlib.oauth2 import OAuth2Error, WebApplicationClient
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from contracts.places import LinkKind
from dispatcher.errors import DispatcherError, NotFound, Refused, Unavailable
from dispatcher.people import People
from dispatcher.settings import Settings
from dispatcher.signin_keys import Keys
from dispatcher.signin_rights import rights_of
from dispatcher.signin_sessions import Proof

_log = structlog.get_logger(__name__)
CALLBACK = "/auth/github/callback"
WAY_SECONDS = 600
"""How long one may take at GitHub."""
_AUDIENCE = "branchline github"
_HERE = "https://here/"
"""The library wants https of addresses of which only the query is used; one machine alone has none."""
_PATIENCE = aiohttp.ClientTimeout(total=15)
_AGAIN = "GitHub did not answer as it should: try to sign in again."
_LOST = "This sign-in was begun elsewhere, or too long ago: begin again on the page."


class Way(BaseModel):
    """What the browser keeps while it is at GitHub. ``onward``: the path to go to afterwards."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: str
    verifier: str
    onward: str


class GitHubSignIn:
    """``session`` makes the two requests."""

    def __init__(
        self, *, settings: Settings, session: aiohttp.ClientSession, people: People, keys: Keys
    ) -> None:
        self._settings = settings
        self._session = session
        self._people = people
        self._keys = keys

    async def begin(self, request: Request, *, onward: str) -> tuple[str, str]:
        """Where to send the browser, and what it has to keep meanwhile. Raises Unavailable."""
        client = self._client()
        verifier = client.create_code_verifier(64)
        way = Way(state=secrets.token_urlsafe(32), verifier=verifier, onward=local_path(onward))
        made = client.prepare_request_uri(
            _HERE,
            redirect_uri=self._callback(request),
            state=way.state,
            code_challenge=client.create_code_challenge(verifier, "S256"),
            code_challenge_method="S256",
        )
        kept = {"sub": "somebody", **way.model_dump()}
        address = f"{self._settings.github_url.rstrip('/')}/login/oauth/authorize?{urlsplit(made).query}"
        return address, await self._keys.sign(kept, audience=_AUDIENCE, seconds=WAY_SECONDS)

    async def end(self, request: Request, *, kept: str | None) -> tuple[str, Proof, str]:
        """Who came back from GitHub, with what, and where to go on.

        Raises Refused (lost_state, unknown_person, github_refused), Unavailable.
        """
        way = await self._way(kept)
        if way is None or not hmac.compare_digest(
            request.query_params.get("state", "").encode(), way.state.encode()
        ):
            raise Refused(_LOST, code="lost_state")
        login = await self._login(await self._token(request, way))
        user = await self._people.user_of(LinkKind.GITHUB_USER, login)
        if user is None or rights_of(user, settings=self._settings) is None:
            raise Stranger(login)
        return user, Proof(how="github", mark=login), way.onward

    async def is_still(self, user: str, login: str) -> bool:
        """Whether this login still stands for this user."""
        return await self._people.user_of(LinkKind.GITHUB_USER, login) == user

    async def _way(self, kept: str | None) -> Way | None:
        claims = await self._keys.read(kept, audience=_AUDIENCE) if kept else None
        try:
            return Way.model_validate(claims) if claims else None
        except ValidationError:
            return None

    async def _token(self, request: Request, way: Way) -> str:
        client = self._client()
        try:
            query = request.url.query
            found = client.parse_request_uri_response(f"{_HERE}?{query}", state=way.state)
        except OAuth2Error as error:
            raise Refused(f"GitHub did not sign you in ({error.error}).", code="github_refused") from None
        body = client.prepare_request_body(
            code=found["code"],
            redirect_uri=self._callback(request),
            code_verifier=way.verifier,
            client_secret=self._settings.github_client_secret.get_secret_value(),
        )
        address = f"{self._settings.github_url.rstrip('/')}/login/oauth/access_token"
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        said = await self._ask("POST", address, data=body, headers=form)
        try:
            return str(client.parse_request_body_response(said)["access_token"])
        except (OAuth2Error, ValueError, KeyError) as error:
            _log.warning("github sign-in refused", problem=type(error).__name__)
            raise Refused(
                "GitHub did not accept this sign-in: begin again on the page.", code="github_refused"
            ) from None

    async def _login(self, token: str) -> str:
        address = f"{self._settings.github_api_url.rstrip('/')}/user"
        said = await self._ask("GET", address, headers={"Authorization": f"Bearer {token}"})
        try:
            return _Person.model_validate_json(said).login
        except ValidationError:
            raise Unavailable(_AGAIN) from None

    async def _ask(self, method: str, address: str, *, headers: dict[str, str], **more: Any) -> str:
        asking = {"Accept": "application/json", "User-Agent": "branchline", **headers}
        try:
            async with self._session.request(
                method, address, headers=asking, timeout=_PATIENCE, allow_redirects=False, **more
            ) as answer:
                text = await answer.text()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError) as error:
            raise Unavailable(_AGAIN) from error
        if status >= 500:
            raise Unavailable(_AGAIN)
        return text

    def _client(self) -> WebApplicationClient:
        return WebApplicationClient(self._settings.github_client_id)

    def _callback(self, request: Request) -> str:
        base = self._settings.public_url or f"http://{request.headers.get('host', '')}"
        return base.rstrip("/") + CALLBACK


class _Person(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    login: str = Field(min_length=1, max_length=100)


class Stranger(Refused):
    """GitHub says who it is, and nobody here goes by that login."""

    code = "unknown_person"

    def __init__(self, login: str) -> None:
        super().__init__(
            f"GitHub says that you are {login}, and nobody here goes by that login. Ask whoever runs this"
            f" fleet to link it: branchline link add github-user {login} NAME"
        )
        self.login = login


def came_back(error: DispatcherError) -> str:
    """The page's address with a word for why nobody was signed in, which the page knows sentences for."""
    told = {"sign_in": error.code} | ({"login": error.login} if isinstance(error, Stranger) else {})
    return f"/?{urlencode(told)}"


def off() -> NotFound:
    """The answer where people do not sign in with GitHub."""
    return NotFound("Nobody signs in with GitHub here.", code="no_github")


def local_path(path: str) -> str:
    """A path of this server to go on to; whatever else is given becomes the page."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return quote(path, safe="/?&=#%+,;:@!~*'()-._") if plain and len(path) <= 500 else "/"
