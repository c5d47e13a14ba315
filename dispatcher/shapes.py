"""The shapes of what ``/v1`` answers, where no other module has them: for its description, and for readers.

Only shapes. What is listed from records follows the records' own fields.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from contracts.changes import ChangeRecord
from contracts.places import LinkRecord
from contracts.records import MessageRecord, ThreadRecord
from contracts.words import Frontend, MessageId, ThreadId, WorkerId
from dispatcher.access import Scope
from dispatcher.audit import Deed
from dispatcher.dead_replies import DeadReply
from dispatcher.letters import DeadLetter


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)


def _of(record: type[BaseModel], name: str, *, without: tuple[str, ...], **more: Any) -> type[BaseModel]:
    """The record's fields as they are shown."""
    kept: dict[str, Any] = {
        field: (info.annotation, info) for field, info in record.model_fields.items() if field not in without
    }
    doc = (record.__doc__ or "").strip().partition("\n")[0]
    return create_model(name, __base__=_Shape, __doc__=doc, **kept, **more)


class Accepted(_Shape):
    """A message was taken: it is recorded, and will be answered in its thread's log."""

    thread_id: ThreadId
    message_id: MessageId
    sequence: int


ThreadShown = _of(ThreadRecord, "Thread", without=("v", "deleting"))
MessageShown = _of(
    MessageRecord,
    "ThreadMessage",
    without=("v", "id", "thread_id"),
    message_id=(MessageId, ...),
    state=(str, Field(description="The outcome, else waiting, running or parked.")),
)
LinkShown = _of(LinkRecord, "Link", without=("v",))


class PlaceShown(_Shape):
    """A place in a chat in which a thread is shown."""

    frontend: Frontend
    address: str
    shown: int = Field(description="The last event that was rendered there.")
    undeliverable: str | None = Field(description="Why nothing can be posted there any more.")


class ThreadList(_Shape):
    """Threads, the one with the latest news first. ``next`` is there when there are more: it is the
    ``before`` of the next page."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"required": ["threads"]})

    threads: list[ThreadShown]  # type: ignore[valid-type]  # made above
    next: str | None = None


ThreadWhole = _of(
    ThreadRecord,
    "ThreadWhole",
    without=("v", "deleting"),
    messages=(list[MessageShown], ...),  # type: ignore[valid-type]
    places=(list[PlaceShown], ...),
)


class Deleted(_Shape):
    """A thread that is gone for every reader; its worker removes what is left of it."""

    thread_id: ThreadId
    state: Literal["deleting"]


class Pull(_Shape):
    """A thread's pull request."""

    url: str
    number: int


class Commit(_Shape):
    """A commit, and the branch that it was seen on."""

    branch: str
    sha: str


class Total(_Shape):
    """Of all files, also those that are not listed."""

    files: int
    insertions: int
    deletions: int


FileShown = _of(ChangeRecord, "ChangedFile", without=("v",))


class ChangesShown(_Shape):
    """What a branch changed since it left ``base``; both are null as long as that is nothing. ``cut``: files
    or patches are left out."""

    base: Commit | None
    head: Commit | None
    total: Total
    files: list[FileShown]  # type: ignore[valid-type]
    cut: bool


class Login(_Shape):
    """What kind of sign-in there is."""

    required: bool
    password: bool
    github: bool


class About(_Shape):
    """This server, as anybody may know it."""

    login: Login
    offline_model: bool
    version: str


class ProjectShown(_Shape):
    """A project; ``github``: its repository is there, so pull requests can be opened."""

    name: str
    github: bool


class Me(_Shape):
    """Who asks. ``form_token`` goes into ``X-Branchline-Form``; null but for a session."""

    user: str
    kind: Literal["local", "session", "token"]
    projects: list[ProjectShown]
    scopes: list[Scope]
    form_token: str | None


class TokenShown(_Shape):
    """A token without what it is known by; times in ISO 8601, ``expires`` null for never."""

    name: str
    user: str
    scopes: list[Scope]
    created: str
    expires: str | None


class TokenMade(TokenShown):
    """A new token; ``token`` is shown this once."""

    token: str


class TokenList(_Shape):
    """Tokens."""

    tokens: list[TokenShown]


class AccountShown(_Shape):
    """An account; ``totp``: it is asked for one-time codes."""

    user: str
    totp: bool
    created: str


class AccountList(_Shape):
    """Accounts."""

    accounts: list[AccountShown]


class AccountNamed(_Shape):
    """The account that was changed."""

    user: str


class AccountCodes(AccountNamed):
    """``uri``: what the authenticator reads, shown this once; null when codes were switched off."""

    uri: str | None


class OwnAccount(_Shape):
    """What one has here to sign in with; ``totp``: codes are asked for as well."""

    password: bool
    totp: bool


class AuditLine(Deed):
    """A deed and when it was done, in ISO 8601."""

    time: str


class AuditList(_Shape):
    """Deeds, newest first."""

    audit: list[AuditLine]


class LinkList(_Shape):
    """Who is who outside."""

    links: list[LinkShown]  # type: ignore[valid-type]


class Undeliverable(_Shape):
    """A place in which nothing can be posted any more."""

    worker_id: WorkerId
    thread_id: ThreadId
    frontend: Frontend
    address: str
    problem: str | None


class UndeliverableList(_Shape):
    """All such places."""

    undeliverable: list[Undeliverable]


class DeadLetterList(_Shape):
    """Dead letters; ``more``: a worker has more than are listed."""

    dead_letters: list[DeadLetter]
    more: bool


class Redriven(_Shape):
    """What became of dead letters."""

    redriven: list[DeadLetter]
    deleted: list[DeadLetter]
    kept: list[DeadLetter]
    more: bool


class DeadReplyList(_Shape):
    """Dead replies; ``more``: there are more than are listed."""

    dead_replies: list[DeadReply]
    more: bool


class _Problem(_Shape):
    code: str = Field(description="A word to branch on.")
    message: str = Field(description="One sentence for a person, with what to do.")


class ErrorAnswer(_Shape):
    """Every error has this shape."""

    error: _Problem
