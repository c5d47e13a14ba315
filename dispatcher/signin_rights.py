"""What a user of the fleet may do, from the settings alone, and which settings would let anybody in. Pure."""

from pydantic import BaseModel, ConfigDict

from dispatcher.access import Principal, Scope
from dispatcher.errors import NotFound
from dispatcher.guard import is_loopback
from dispatcher.settings import Settings

PERSON = frozenset((Scope.READ, Scope.WRITE))
_OPEN = (
    "without a sign-in this fleet may be reached from its own machine only: set BRANCHLINE_LOGIN to accounts,"
    " github or both (docs/signin.md), or BRANCHLINE_HOST to 127.0.0.1."
)
_OPEN_LAMBDA = "a Lambda needs a sign-in: set BRANCHLINE_LOGIN to accounts, github or both (docs/signin.md)."
_NO_APP = (
    "to sign in with GitHub set BRANCHLINE_GITHUB_CLIENT_ID and BRANCHLINE_GITHUB_CLIENT_SECRET to those of"
    " an OAuth app (docs/signin.md)."
)
_NO_URL = (
    "GitHub has to know where to send people back to: set BRANCHLINE_PUBLIC_URL to the address under which"
    " they reach this fleet, such as https://fleet.example."
)


class Rights(BaseModel):
    """``projects``: None for all."""

    model_config = ConfigDict(frozen=True)

    projects: frozenset[str] | None
    scopes: frozenset[Scope]


def rights_of(user: str, *, settings: Settings) -> Rights | None:
    """What this user may do; None for one whom the settings do not name.

    The person at this machine may do everything, unless the file says something else about them.
    """
    configured = settings.fleet.user.get(user)
    if configured is None and user != settings.user:
        return None
    if configured is None or configured.operator:
        return Rights(projects=None, scopes=frozenset(Scope))
    return Rights(projects=frozenset(configured.projects), scopes=PERSON)


def known_user(user: str, *, settings: Settings) -> str:
    """The user. Raises NotFound for one whom the settings do not name."""
    if rights_of(user, settings=settings) is None:
        raise NotFound(
            f"There is no user {user!r}: write [user.NAME] into branchline.toml first.", code="unknown_user"
        )
    return user


def as_session(user: str, *, settings: Settings) -> Principal | None:
    """A person who signed in; None when the settings do not name them any more."""
    rights = rights_of(user, settings=settings)
    if rights is None:
        return None
    return Principal(user=user, kind="session", projects=rights.projects, scopes=rights.scopes)


def as_token(user: str, *, scopes: frozenset[Scope], settings: Settings) -> Principal | None:
    """Who brings a token: never more than its user may do now."""
    rights = rights_of(user, settings=settings)
    if rights is None:
        return None
    return Principal(user=user, kind="token", projects=rights.projects, scopes=rights.scopes & scopes)


def refuse_open(settings: Settings, *, in_lambda: bool = False) -> None:
    """Raise ValueError with one sentence for settings that let anybody in, or nobody."""
    alone = is_loopback(settings.host) and not in_lambda
    if not settings.signs_in and not alone:
        raise ValueError(_OPEN_LAMBDA if in_lambda else _OPEN)
    if not settings.github_login:
        return
    if not (settings.github_client_id and settings.github_client_secret.get_secret_value()):
        raise ValueError(_NO_APP)
    if settings.public_url is None and (not alone or settings.public_host is not None):
        raise ValueError(_NO_URL)
