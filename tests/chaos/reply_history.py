"""What people wrote in the Slack and on the GitHub of a run, and what stood there at the end. Shapes only."""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from contracts.words import Frontend


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


class Asked(_Shape):
    """A message that the sender got a 2xx for. ``marker`` is unique; the answer of its turn contains it."""

    message_id: str
    frontend: Frontend
    address: str
    marker: str


class Look(_Shape):
    """How a post looked from ``at`` on: seconds in Slack, the number of the edit on GitHub."""

    at: float
    text: str


class Post(_Shape):
    """Something that the dispatchers posted; ``key`` is the one it carries, ``looks`` all it ever was."""

    key: str
    looks: tuple[Look, ...]

    @property
    def text(self) -> str:
        """As it reads now."""
        return self.looks[-1].text


class Room(_Shape):
    """One Slack thread or issue. ``eyes``: message to how often it got that reaction. ``beside``: what the
    dispatchers said there that is no reply (whispers, refusals)."""

    frontend: Frontend
    address: str
    posts: tuple[Post, ...] = ()
    eyes: dict[str, int] = Field(default_factory=dict)
    beside: tuple[str, ...] = ()


class Told(_Shape):
    """Everything the rules of replies look at, beside ``Found``. ``pulls``: heads of open pull requests."""

    asked: tuple[Asked, ...] = ()
    rooms: tuple[Room, ...] = ()
    pulls: tuple[str, ...] = ()


def told_in(path: Path) -> Told | None:
    """The last ``told`` of a history; None for a run without chats."""
    lines = (json.loads(line) for line in path.read_text().splitlines())
    kept = [line["told"] for line in lines if line["what"] == "told"]
    return Told.model_validate(kept[-1]) if kept else None
