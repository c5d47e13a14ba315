"""Where a thread is shown outside, and who is who there: links, places and the pointer of a reply.

Shapes and keys only, for the same table as ``contracts.records``; what they mean stands in
``docs/decisions/chat-frontends.md``. Sends nothing and knows neither Slack nor GitHub beyond their addresses.
"""

import re
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from contracts.records import Item, _Record, key, worker_pk
from contracts.words import Frontend, MessageId, ThreadId, WorkerId

LINKS = "links"
"""Partition that holds every link."""
UNSHOWN = "unshown"
"""Partition that names every thread with a message that may not yet be answered in all of its places."""
ALL_PLACES = "place#"
"""What the sort keys of all places of a worker's threads begin with."""
REPLIES_QUEUE = "branchline-replies"
REPLIES_DEAD = "branchline-replies-dead"


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


_SHAPES = {
    LinkKind.SLACK_USER: (re.compile(r"[A-Z0-9]+/[A-Z0-9]+"), "TEAM/USER, such as T024BE7LD/U012AB3CD"),
    LinkKind.SLACK_CHANNEL: (re.compile(r"[A-Z0-9]+/[A-Z0-9]+"), "TEAM/CHANNEL, such as T024BE7LD/C012AB3CD"),
    LinkKind.GITHUB_USER: (re.compile(r"[a-z0-9][a-z0-9_-]*(\[bot\])?"), "a login, such as octocat"),
    LinkKind.GITHUB_REPO: (re.compile(r"[a-z0-9][a-z0-9_-]*/[a-z0-9._-]+"), "OWNER/NAME, such as acme/site"),
}


def canonical(kind: LinkKind, name: str) -> str:
    """The one spelling of an outside name: Slack's ids in upper case, GitHub's names in lower case.

    Raises ValueError with a sentence for a name that cannot be of this kind.
    """
    is_slack = kind in (LinkKind.SLACK_USER, LinkKind.SLACK_CHANNEL)
    spelled = name.strip().upper() if is_slack else name.strip().removeprefix("@").lower()
    shape, words = _SHAPES[kind]
    if not shape.fullmatch(spelled):
        raise ValueError(f"{name!r} is not the name of a {kind}: write {words}.")
    return spelled


class LinkRecord(_Record):
    """``name``: ``TEAM/USER``, ``TEAM/CHANNEL``, a login or ``OWNER/NAME``, spelled as ``canonical`` does."""

    kind: LinkKind
    name: str
    target: str
    source: Literal["file", "person"] = "file"


class PlaceRecord(_Record):
    """One place of a thread and what of ours stands there.

    ``posts``: key of a post to its id at the frontend. ``bodies``: key of a post to the digest of what it
    looks like. ``intent``: the key that is being posted right now. ``shown``: the last event that was
    rendered. ``through``: every message up to this sequence is done here (its last post stands, or it is
    older than the place); ``done`` names those beyond that are done, too.
    ``version`` rises with every write, which is made by condition on the one that was read.
    """

    worker_id: WorkerId
    thread_id: ThreadId
    frontend: Frontend
    address: str
    version: int = 0
    shown: int = 0
    posts: dict[str, str] = Field(default_factory=dict)
    bodies: dict[str, str] = Field(default_factory=dict)
    intent: str | None = None
    through: int = 0
    done: tuple[MessageId, ...] = ()
    undeliverable: str | None = None

    def is_done(self, message_id: MessageId, *, sequence: int) -> bool:
        """Whether nothing of this message changes here any more."""
        return sequence <= self.through or message_id in self.done


class UnshownRecord(_Record):
    """A thread that may have something to show; ``sequence`` is that of its latest message."""

    worker_id: WorkerId
    thread_id: ThreadId
    sequence: int


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
    return f"{ALL_PLACES}{thread_id}#"


def unshown_key(worker: WorkerId, thread_id: ThreadId) -> Item:
    """A thread that may have something to show."""
    return key(UNSHOWN, f"{worker}#{thread_id}")
