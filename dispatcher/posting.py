"""What the replies need of a frontend that posts: wanted posts, and a way to make them stand there.

Ports only. A frontend brings a ``Dialect`` (pure: a view becomes wanted posts) and a ``Poster`` (its API).
Which of them are due, in which order and how a crash is survived is the business of ``dispatcher.replies``.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Protocol

from contracts.places import PlaceRecord
from contracts.words import Frontend, MessageId
from dispatcher.errors import DispatcherError
from dispatcher.view import ThreadView


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A post as it should stand. ``key`` names it for ever within its place (``living:{message_id}``).

    ``body`` is JSON of the dialect's own; equal bodies are not posted again. ``final``: once this stands,
    the message with ``message_id`` is answered there. ``at_once``: a change of state, not held back for the
    rate of edits. ``rest``: it is edited only so many seconds after anything was done in its place.
    ``fresh``: for so many seconds it looks right if nothing happens; None: for ever.
    """

    key: str
    body: dict[str, Any]
    message_id: MessageId | None = None
    final: bool = False
    at_once: bool = False
    rest: float = 1.0
    fresh: float | None = None
    reactions: tuple[str, ...] = field(default=())


class Dialect(Protocol):
    """Turns a view into the posts of one place, in the order in which they are to be made. Pure."""

    def wanted(self, view: ThreadView, place: PlaceRecord) -> list[Wanted]:
        """Every post that should stand, also those that do already.

        Posts whose key names a message that is done in this place (``PlaceRecord.is_done``) may be left out:
        they are not looked at any more.
        """


class Poster(Protocol):
    """The frontend's API. Each call is bounded to 20 seconds. All raise ``Later`` and ``Undeliverable``."""

    frontend: Frontend

    async def find(self, address: str, key: str, *, known: Collection[str] = ()) -> str | None:
        """The id of the post with this key, if one was made. ``known``: posts with other keys."""

    async def create(self, address: str, wanted: Wanted) -> str:
        """Make the post, findable by its key; its id."""

    async def update(self, address: str, post_id: str, wanted: Wanted) -> None:
        """Make an existing post look like this. Also raises ``Gone``."""


class Later(DispatcherError):
    """The frontend cannot take it now.

    ``seconds``: it has refused for so long (429), and certainly did nothing. None: no word came back (5xx,
    time-out, lost connection), so nobody knows what it did; the pauses grow. ``everywhere``: the refusal is
    for the token, not for the place, so that other places of this frontend wait, too. ``refused``: it has
    said no, for a reason that is not known to pass.
    """

    def __init__(
        self, text: str, *, seconds: float | None = None, everywhere: bool = False, refused: bool = False
    ) -> None:
        super().__init__(text)
        self.refused = refused
        self.seconds = seconds
        self.everywhere = everywhere


class Undeliverable(DispatcherError):
    """Nothing can be posted in this place any more (gone channel, revoked token); the text says why."""


class Gone(DispatcherError):
    """A person has deleted this post. The others of the place are well; it is made again only with the final
    answer."""
