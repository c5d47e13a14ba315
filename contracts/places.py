"""Where a thread is shown outside, and who is who there: links, places and the pointer of a reply.

Shapes and keys only, for the same table as ``contracts.records``; what they mean stands in
``docs/decisions/chat-frontends.md``. Sends nothing and knows neither Slack nor GitHub beyond their addresses.
"""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.records import Item, _Record, key, worker_pk
from contracts.words import Frontend, MessageId, ThreadId, WorkerId

LINKS = "links"
"""Partition that holds every link."""
REPLIES_QUEUE = "branchline-replies"


class LinkKind(StrEnum):
    """What an outside name stands for: a person (``*_user``) or a project."""

    SLACK_USER = "slack-user"
    SLACK_CHANNEL = "slack-channel"
    GITHUB_USER = "github-user"
    GITHUB_REPO = "github-repo"

    @property
    def of_person(self) -> bool:
        """Whether the link's target is a user and not a project."""
        return self in (LinkKind.SLACK_USER, LinkKind.GITHUB_USER)


class LinkRecord(_Record):
    """``name`` is ``TEAM/USER``, ``TEAM/CHANNEL``, a login or ``OWNER/NAME`` (the last two in lower case)."""

    kind: LinkKind
    name: str
    target: str
    source: Literal["file", "person"] = "file"


class PlaceRecord(_Record):
    """One place of a thread and what of ours stands there.

    ``posts``: key of a post to its id at the frontend. ``intent``: the key that is being posted right now.
    ``shown``: the last event that was rendered. ``done``: messages whose final post stands.
    ``version`` rises with every write, which is made by condition on the one that was read.
    """

    worker_id: WorkerId
    thread_id: ThreadId
    frontend: Frontend
    address: str
    version: int = 0
    shown: int = 0
    posts: dict[str, str] = Field(default_factory=dict)
    intent: str | None = None
    done: tuple[MessageId, ...] = ()
    undeliverable: str | None = None


class ReplyPointer(BaseModel):
    """What the replies queue carries: which thread's places to look at."""

    model_config = ConfigDict(frozen=True)

    v: Literal[1] = 1
    worker_id: WorkerId
    thread_id: ThreadId


def link_key(kind: LinkKind, name: str) -> Item:
    """One link."""
    return key(LINKS, f"{kind}#{name}")


def place_key(frontend: Frontend, address: str) -> Item:
    """Which thread a place belongs to (``worker_id``, ``thread_id``)."""
    return key(f"place#{frontend}#{address}", "place")


def shown_key(worker: WorkerId, thread_id: ThreadId, frontend: Frontend, address: str) -> Item:
    """One place of a thread, as ``PlaceRecord``."""
    return key(worker_pk(worker), f"{shown_prefix(thread_id)}{frontend}#{address}")


def shown_prefix(thread_id: ThreadId) -> str:
    """What the sort keys of all places of a thread begin with."""
    return f"place#{thread_id}#"
