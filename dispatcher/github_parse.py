"""What a webhook of GitHub means: a body becomes a ``Trigger`` or a reason to ignore it. Pure, no I/O.

The signature was checked before; who may ask is decided afterwards. Edits never trigger: what counts is what
stood there when it was written, and a comment has one message whatever deliveries it comes in.
"""

import re
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.words import MessageId, Mode
from dispatcher.github_clean import visible
from dispatcher.route import is_blank


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _User(_Shape):
    login: str
    type: str = "User"

    @property
    def is_person(self) -> bool:
        return self.type == "User" and not self.login.endswith("[bot]")


class _Text(_Shape):
    """An issue, a pull request, a comment or a review: whatever has an author and a body."""

    id: int
    number: int = 0
    title: str = ""
    body: str | None = None
    user: _User | None = None
    created_at: datetime | None = None
    submitted_at: datetime | None = None
    pull_request: Any = None
    state: str = "open"
    path: str | None = None
    line: int | None = None
    diff_hunk: str | None = None


class _Repository(_Shape):
    full_name: str = Field(pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$")


class _Payload(_Shape):
    action: str = ""
    sender: _User | None = None
    repository: _Repository | None = None
    issue: _Text | None = None
    pull_request: _Text | None = None
    comment: _Text | None = None
    review: _Text | None = None


class Subject(_Shape):
    """The issue or pull request that is talked about, as the webhook showed it."""

    title: str
    body: str
    author: str


class Trigger(_Shape):
    """Somebody asks for something. ``repo`` is ``owner/name`` in lower case, ``login`` as GitHub writes it.

    ``subject``: what to hand over as data; None when the text itself is the issue. ``created``: when the text
    was written. ``reactions``: the path below the repository where one can react to it. ``is_open``: so was
    the issue or pull request then.
    """

    message_id: MessageId
    repo: str
    number: int
    is_pull: bool
    is_open: bool = True
    login: str
    text: str
    mode: Mode = Mode.QUEUE
    stops: bool = False
    created: datetime
    subject: Subject | None = None
    title: str
    path: str | None = None
    line: int | None = None
    hunk: str | None = None
    reactions: str | None = None

    @property
    def address(self) -> str:
        """The place: ``owner/name#number``."""
        return f"{self.repo}#{self.number}"


class Ignored(_Shape):
    """Nothing is asked for; ``reason`` is for logs."""

    reason: str


class _Asked(_Shape):
    mode: Mode = Mode.QUEUE
    stops: bool = False
    text: str


_WANTED = {
    ("issues", "opened"): ("issue", "issue", "issues/{number}"),
    ("issue_comment", "created"): ("comment", "comment", "issues/comments/{id}"),
    ("pull_request", "opened"): ("pull_request", "pull", "issues/{number}"),
    ("pull_request_review", "submitted"): ("review", "review-body", None),
    ("pull_request_review_comment", "created"): ("comment", "review", "pulls/comments/{id}"),
}
"""(event, action) → (field of the text, word of the message id, path of its reactions)."""
_EVENTS = {event for event, _ in _WANTED}
_FENCE = re.compile(r"^(`{3,}+|~{3,}+).*?(?:^\1[`~]*[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
_QUOTED = re.compile(r"^ {0,3}>.*$", re.MULTILINE)
_TICKED = re.compile(r"(?<!`)(`++)[^\n]{0,2000}?(?<!`)\1(?!`)")
NOTHING_BUT_THE_HANDLE = "Do what this asks for."


def parse(*, event: str, body: bytes, handle: str) -> Trigger | Ignored:
    """What the webhook means. Raises ValueError for a body that is not GitHub's."""
    if event not in _EVENTS:  # its shape is none of our business
        return Ignored(reason=event)
    try:
        payload = _Payload.model_validate_json(body)
    except ValidationError as error:
        raise ValueError(f"not a webhook of GitHub: {error.errors(include_input=False)[0]['msg']}") from None
    wanted = _WANTED.get((event, payload.action))
    if wanted is None:
        return Ignored(reason=f"{event} {payload.action}".strip())
    field, word, reactions = wanted
    text: _Text | None = getattr(payload, field)
    if text is None or payload.repository is None:
        raise ValueError(f"not a webhook of GitHub: {event} without its {field} or repository")
    return _meaning(payload, text, word=word, reactions=reactions, handle=handle)


def _meaning(
    payload: _Payload, text: _Text, *, word: str, reactions: str | None, handle: str
) -> Trigger | Ignored:
    sender, author = payload.sender, text.user
    if sender is None or author is None or not (sender.is_person and author.is_person):
        return Ignored(reason="written by a bot")
    if sender.login.lower() != author.login.lower():
        return Ignored(reason="sent by somebody else than its author")
    seen = visible(text.body or "")
    if not calls(seen, handle=handle):
        return Ignored(reason=f"no {handle} in it")
    about = payload.issue or payload.pull_request or text
    written = text.created_at or text.submitted_at
    if written is None or payload.repository is None:
        raise ValueError("not a webhook of GitHub: a text without its time")
    asked = asked_for(seen, handle=handle)
    return Trigger(
        message_id=MessageId(f"github:{word}:{text.id}"),
        repo=payload.repository.full_name.lower(),
        number=about.number,
        is_pull=payload.pull_request is not None or about.pull_request is not None,
        is_open=about.state != "closed",
        login=author.login,
        created=written,
        subject=None if about is text else _subject(about),
        title=about.title,
        path=text.path,
        line=text.line,
        hunk=text.diff_hunk,
        reactions=reactions.format(number=about.number, id=text.id) + "/reactions" if reactions else None,
        **asked.model_dump(),
    )


def _subject(about: _Text) -> Subject:
    author = about.user.login if about.user else "ghost"
    return Subject(title=about.title, body=about.body or "", author=author)


def calls(text: str, *, handle: str) -> bool:
    """Whether the handle stands in the text itself; one in a quotation or in code calls nobody."""
    own = _TICKED.sub(" ", _QUOTED.sub("", _FENCE.sub("", text)))
    return re.search(rf"(?:^|\s){re.escape(handle)}(?=[\s.,!?;:]|$)", own, re.IGNORECASE) is not None


def asked_for(text: str, *, handle: str) -> _Asked:
    """The words without a leading handle, and what a sign behind it means: ``>`` steers, ``!`` interrupts,
    ``stop`` alone stops. Text in which the handle does not come first is taken as it is."""
    address = re.match(rf"{re.escape(handle)}(?:[.,!?;:](?=\s|$))?(?=[\s.,!?;:]|$)\s*", text, re.IGNORECASE)
    if address is None:
        return _Asked(text=text)
    rest = text[address.end() :].strip()
    if rest.lower().rstrip(".! ") == "stop":
        return _Asked(text=rest, stops=True)
    mode = {">": Mode.STEER, "!": Mode.INTERRUPT}.get(rest[:1], Mode.QUEUE)
    rest = rest[1:].strip() if mode is not Mode.QUEUE else rest
    return _Asked(text=NOTHING_BUT_THE_HANDLE if is_blank(rest) else rest, mode=mode)
