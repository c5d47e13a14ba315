"""What is done about a message, a change or a pressed button of Slack's, whichever way it came.

Everything that has to last has happened when a call returns; what it hands back (``Aside``) is for the person
alone or for the eye, may be lost, and is done after the acknowledgement. Reads no HTTP, knows no token.
"""

from collections import OrderedDict
from dataclasses import dataclass
from decimal import Decimal

import structlog

from contracts.messages import Author
from contracts.records import MessageRecord
from contracts.words import Frontend
from dispatcher import route
from dispatcher import slack_words as words
from dispatcher.errors import DELETING, Conflict, DispatcherError, Unavailable
from dispatcher.ingest import Post
from dispatcher.seams import Intake, People, Places
from dispatcher.settings import Settings
from dispatcher.slack_admit import Admission, Goal, Log, No
from dispatcher.slack_mrkdwn import escape
from dispatcher.slack_parse import Asks, Challenge, Changed, Ignored, Meaning, Pressed, Said, ts_of
from dispatcher.slack_render import DIFF, EYES, STOP, STOPPING
from dispatcher.view import ThreadView

_log = structlog.get_logger(__name__)
_REMEMBERED = 2000


@dataclass(frozen=True, kw_only=True)
class Aside:
    """A sentence for one person (``text``) or a reaction on a message (``reaction``)."""

    channel: str
    user: str
    root: str
    ts: str
    text: str = ""
    reaction: str = ""


class SlackTaking:
    """Takes in what Slack says."""

    def __init__(
        self, *, settings: Settings, ingest: Intake, people: People, places: Places, log: Log
    ) -> None:
        self._admission = Admission(settings=settings, ingest=ingest, people=people)
        self._projects = settings.projects
        self._ingest = ingest
        self._places = places
        self._log = log
        self._told: OrderedDict[str, None] = OrderedDict()

    async def take(self, meaning: Meaning) -> list[Aside]:
        """Do what was asked, for good. Raises Unavailable: then Slack is to send it again."""
        match meaning:
            case Said():
                return self._answered(meaning, await self._said(self._meant(meaning)))
            case Changed():
                return await self._changed(meaning)
            case Pressed():
                return await self._pressed(meaning)
            case Ignored():
                _log.debug("slack ignored", reason=meaning.reason)
            case Challenge():
                pass
        return []

    async def _said(self, said: Said) -> list[Aside]:
        at = await self._places.thread_at(Frontend.SLACK, said.address)
        if at is None and not said.opens:
            return []
        try:
            user = await self._admission.user(said)
            if said.asks in (Asks.HELP, Asks.NOTHING):
                return self._nothing(said)
            thread = await self._admission.goal(said, user=user, at=at)
        except No as no:
            return self._once(said, str(no))
        match said.asks:
            case Asks.STOP:
                return await self._stop(said, thread)
            case Asks.STATUS:
                view = await self._view(thread)
                told = words.status(view) if view else words.NO_THREAD.format(word="status")
                return [whisper(said, told)]
            case _:
                return await self._work(said, thread=thread, user=user)

    def _meant(self, said: Said) -> Said:
        """With the brackets at its beginning back in the text, when they name no project."""
        if said.project is None or said.project in self._projects:
            return said
        text = f"[{said.project}] {said.text}".rstrip()
        return said.model_copy(update={"text": text, "asks": Asks.WORK, "project": None})

    def _answered(self, said: Said, asides: list[Aside]) -> list[Aside]:
        """Without the sentences if its author has got some: two events tell of a mention in a thread, and
        Slack sends again what it believes lost."""
        if not any(aside.text for aside in asides) or self._is_first(said.message_id):
            return asides
        return [aside for aside in asides if not aside.text]

    async def _work(self, said: Said, *, thread: Goal, user: str) -> list[Aside]:
        try:
            route.check_text(said.text)
            wanted = (thread.worker, thread.thread_id)
            if await self._places.remember(Frontend.SLACK, said.address, *wanted) != wanted:
                return await self._said(said)  # somebody else began this thread a moment ago
            await self._ingest.post(_post(said, thread=thread, user=user))
        except Conflict as error:
            if error.code == DELETING:
                raise Unavailable(str(error)) from error
            _log.info("slack message known", message_id=said.message_id, problem=str(error))
            return []
        except DispatcherError as error:
            if error.status >= 500:
                raise
            return [whisper(said, escape(str(error)))]
        told = [whisper(said, words.FILES_LEFT_OUT)] if said.has_files else []
        return [Aside(**_spot(said), ts=said.ts, reaction=EYES), *told]

    async def _stop(self, said: Said, thread: Goal) -> list[Aside]:
        """Ends what was asked before this ``stop`` was written, however late or often it arrives."""
        recorded = await self._messages(thread)
        seen = [m.sequence for m in recorded if _before(m, said)]
        if not thread.known or not seen:
            return [whisper(said, words.NO_THREAD.format(word="stop"))]
        stopping = await self._ingest.stop(thread.thread_id, through=max(seen))
        if not stopping.stopping:
            return [whisper(said, words.NOTHING_OPEN)]
        return [Aside(**_spot(said), ts=said.ts, reaction=STOPPING)]

    async def _changed(self, changed: Changed) -> list[Aside]:
        at = await self._places.thread_at(Frontend.SLACK, changed.address)
        if at is None:
            return []
        recorded = await self._log.messages(worker=at[0], thread_id=at[1])
        mine = [m for m in recorded if m.id == changed.message_id]
        if not mine or mine[0].outcome is not None:
            return []
        return self._once(changed, words.DELETED if changed.deleted else words.EDITED)

    async def _pressed(self, pressed: Pressed) -> list[Aside]:
        at = await self._places.thread_at(Frontend.SLACK, pressed.address)
        if at is None or pressed.action not in (STOP, DIFF) or not pressed.value.isdecimal():
            return []
        sequence = int(pressed.value[:12])
        try:
            thread = await self._admission.goal(pressed, user=await self._admission.user(pressed), at=at)
        except No as no:
            return [whisper(pressed, str(no))]
        if pressed.action == DIFF:
            return [whisper(pressed, await self._diff(thread, sequence=sequence))]
        stopping = await self._ingest.stop(thread.thread_id, through=sequence) if sequence else None
        return [] if stopping and stopping.stopping else [whisper(pressed, words.NOTHING_OPEN)]

    async def _diff(self, thread: Goal, *, sequence: int) -> str:
        view, row = await self._view(thread), await self._log.worker(thread.worker)
        found = [m for m in view.messages if m.sequence == sequence] if view else []
        return words.diff(message=found[0], repo=row.repo) if found and row else words.NO_DIFF

    async def _messages(self, thread: Goal) -> list[MessageRecord]:
        return await self._log.messages(worker=thread.worker, thread_id=thread.thread_id)

    async def _view(self, thread: Goal) -> ThreadView | None:
        """The thread's whole log, folded; None for a thread without one."""
        view = ThreadView(thread_id=thread.thread_id)
        while page := await self._log.events(
            worker=thread.worker, thread_id=thread.thread_id, after=view.last
        ):
            view = view.add(page)
        return view if view.messages else None

    def _nothing(self, said: Said) -> list[Aside]:
        if said.asks is Asks.HELP or (said.opens and not said.has_files):
            return [whisper(said, words.HELP)]
        return [whisper(said, words.ONLY_FILES)] if said.has_files else []

    def _once(self, spot: Said | Changed, text: str) -> list[Aside]:
        """Say it, unless this person was told the same in this Slack thread before."""
        return [whisper(spot, text)] if self._is_first(f"{spot.address} {spot.user} {text}") else []

    def _is_first(self, key: str) -> bool:
        if key in self._told:
            return False
        self._told[key] = None
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        return True


def whisper(spot: Said | Changed | Pressed, text: str) -> Aside:
    """A sentence for the one who wrote, for nobody else to see."""
    return Aside(**_spot(spot), ts=spot.ts, text=text)


def _spot(spot: Said | Changed | Pressed) -> dict[str, str]:
    return {"channel": spot.channel, "user": spot.user, "root": spot.root}


def _before(message: MessageRecord, said: Said) -> bool:
    """Whether a message is older than a ``stop``: by Slack's own clock where it has the time of both."""
    ts = ts_of(message.id, channel=said.channel)
    return Decimal(ts) < Decimal(said.ts) if ts else message.received.timestamp() < float(said.ts)


def _post(said: Said, *, thread: Goal, user: str) -> Post:
    return Post(
        text=said.text,
        thread_id=thread.thread_id,
        project=None if thread.known else thread.project,
        user=user,
        mode=said.mode,
        message_id=said.message_id,
        frontend=Frontend.SLACK,
        author=Author(id=f"{said.team}/{said.user}", name=user),
    )
