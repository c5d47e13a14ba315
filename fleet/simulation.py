"""The simulated Slack and GitHub of one fleet: their ports and secrets, who is in them, and if they run.

Made by ``up --simulate`` and kept in the home; read by the stand-ins and by ``branchline simulate``. The
secrets are made here, so that nobody else can sign an event. Starts nothing.
"""

import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from contracts.config import FleetConfig
from contracts.places import LinkKind
from dispatcher.github_settings import HANDLE
from fleet.home import Home
from fleet.ports import any_free, is_free
from fleet.problem import UNREACHABLE, USAGE, Problem
from fleet.project import Project
from fleet.standin.keys import new_private_key
from fleet.standin.slack_world import TEAM

CHANNEL = "C0BRANCH"
APP_ID = "4242"
_NAME = "simulation"
_REAL = (
    "SLACK_BOT_TOKEN",
    "SLACK_APP_TOKEN",
    "SLACK_SIGNING_SECRET",
    "BRANCHLINE_SLACK_API_URL",
    "GITHUB_APP_ID",
    "GITHUB_APP_PRIVATE_KEY",
    "GITHUB_WEBHOOK_SECRET",
    "BRANCHLINE_GITHUB_API_URL",
)


class Secrets(BaseModel):
    """``key`` opens the control API; the others are what Slack and GitHub would have given."""

    model_config = ConfigDict(frozen=True)

    key: str
    signing_secret: str
    bot_token: str
    webhook_secret: str
    app_key: str

    @classmethod
    def new(cls) -> Self:
        """Fresh ones."""
        word = secrets.token_urlsafe
        return cls(
            key=word(24),
            signing_secret=word(24),
            bot_token=f"xoxb-{word(24)}",
            webhook_secret=word(24),
            app_key=new_private_key(),
        )


class Simulation(BaseModel):
    """``people`` are the users that may write (the local one first); ``folder`` is the project's repository,
    when it is on this disk. ``running`` is what the last ``up`` said."""

    model_config = ConfigDict(frozen=True)

    running: bool
    slack_port: int
    github_port: int
    control_port: int
    secrets: Secrets
    dispatcher: str
    handle: str
    project: str
    people: tuple[str, ...]
    folder: str | None

    @property
    def repo(self) -> str:
        """Full name of the repository on the simulated GitHub."""
        return f"simulated/{re.sub(r'[^a-z0-9._-]', '-', self.project.lower())}"

    @property
    def control(self) -> str:
        """Base address of the control API."""
        return f"http://127.0.0.1:{self.control_port}"

    def for_dispatcher(self) -> dict[str, str]:
        """The variables that switch both frontends on and point them at the stand-ins."""
        return {
            "SLACK_SIGNING_SECRET": self.secrets.signing_secret,
            "SLACK_BOT_TOKEN": self.secrets.bot_token,
            "BRANCHLINE_SLACK_API_URL": f"http://127.0.0.1:{self.slack_port}/api/",
            "GITHUB_WEBHOOK_SECRET": self.secrets.webhook_secret,
            "GITHUB_APP_ID": APP_ID,
            "GITHUB_APP_PRIVATE_KEY": self.secrets.app_key,
            "BRANCHLINE_GITHUB_API_URL": f"http://127.0.0.1:{self.github_port}",
            "BRANCHLINE_PUBLIC_URL": self.dispatcher,
        }

    def links(self, person: str) -> list[tuple[LinkKind, str, str]]:
        """Kind, outside name and target of what has to be linked before this person writes."""
        places = [
            (LinkKind.SLACK_CHANNEL, f"{TEAM}/{CHANNEL}", self.project),
            (LinkKind.GITHUB_REPO, self.repo, self.project),
        ]
        if person not in self.people:
            return places
        return [
            *places,
            (LinkKind.SLACK_USER, f"{TEAM}/{slack_id(person)}", person),
            (LinkKind.GITHUB_USER, login(person), person),
        ]


def slack_id(person: str) -> str:
    """The person's id in the simulated Slack."""
    return f"U0{re.sub(r'[^A-Z0-9]', '', person.upper()) or 'X'}"


def login(person: str) -> str:
    """The person's login on the simulated GitHub."""
    return re.sub(r"[^a-z0-9_-]", "-", person.lower()).lstrip("-_") or "x"


def refuse_real(outside: Mapping[str, str]) -> None:
    """Raises Problem when a real Slack or GitHub is configured: a fleet has one of each."""
    found = next((name for name in _REAL if outside.get(name)), None)
    if found is not None:
        raise Problem(
            f"{found} is set, and --simulate would replace it; unset it, or leave --simulate out.", code=USAGE
        )


def prepare(
    home: Home,
    *,
    project: Project,
    config: FleetConfig | None,
    dispatcher: str,
    outside: Mapping[str, str],
) -> Simulation:
    """The simulation of this ``up``, with the secrets and, while they are free, the ports of the last one."""
    before = _kept(home)
    named = config.user if config is not None else {}
    others = [
        name for name, person in named.items() if project.name in person.projects and name != project.user
    ]
    made = Simulation(
        running=True,
        slack_port=_port(before.slack_port if before else None),
        github_port=_port(before.github_port if before else None),
        control_port=_port(before.control_port if before else None),
        secrets=before.secrets if before else Secrets.new(),
        dispatcher=dispatcher,
        handle=outside.get("BRANCHLINE_HANDLE") or HANDLE,
        project=project.name,
        people=(project.user, *others),
        folder=project.repo if Path(project.repo).is_dir() else None,
    )
    home.remember(_NAME, made.model_dump(mode="json"))
    return made


def switch_off(home: Home) -> None:
    """This ``up`` simulates nothing."""
    before = _kept(home)
    if before is not None and before.running:
        home.remember(_NAME, before.model_copy(update={"running": False}).model_dump(mode="json"))


def of(home: Home) -> Simulation:
    """The simulation of the running fleet. Raises Problem when the last ``up`` had none."""
    found = _kept(home)
    if found is None or not found.running:
        raise not_running()
    return found


def not_running() -> Problem:
    """Nobody simulates anything."""
    return Problem(
        "no simulated Slack and GitHub are running; start the fleet with ./scripts/up --simulate, "
        "or set BRANCHLINE_HOME to the one that runs.",
        code=UNREACHABLE,
    )


def _kept(home: Home) -> Simulation | None:
    try:
        return Simulation.model_validate(home.recall(_NAME))
    except ValidationError:
        return None


def _port(kept: int | None) -> int:
    return kept if kept is not None and is_free(kept) else any_free()
