"""People who write in Slack and on GitHub: their words come in as signed webhooks, which the sender repeats
until one of the dispatchers took them, and sometimes once more long after."""

import asyncio
import html
import json
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from contracts import records
from contracts.names import digest
from contracts.words import Frontend, Mode, WorkerId
from fleet.standin.github_hooks import signed as github_signed
from fleet.standin.github_world import Talk
from fleet.standin.slack import signed as slack_signed
from fleet.standin.slack_world import BOT_USER, TEAM, Json
from tests.chaos.history import Posted
from tests.chaos.places import USER
from tests.chaos.reply_history import Asked
from tests.chaos.traffic import _RETRY, Traffic, script

if TYPE_CHECKING:
    from tests.chaos.reply_town import Town

_HANDLE = "@branchline"
_SIGNS = {Mode.QUEUE: "", Mode.STEER: "> ", Mode.INTERRUPT: "! "}
_NEW_ROOM = 0.15
_LONG = 0.08
_SLOWLY = 0.3
_MENTIONED = 0.3
_PATIENCE = 10
"""Seconds that a sender waits for an answer, as GitHub does."""
_ONCE_MORE = 0.3
"""How often an earlier webhook is delivered again after one was."""


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """A webhook. ``sign``: its headers at the given attempt (0 is the first)."""

    path: str
    body: bytes
    sign: Callable[[int], dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class Letter:
    """What somebody wrote, as it is sent and as it will be recorded."""

    message_id: str
    address: str
    envelopes: tuple[Envelope, ...]


class SlackRoom:
    """One thread of a project's channel; the first letter begins it."""

    frontend = Frontend.SLACK

    def __init__(self, town: "Town", project: str) -> None:
        from tests.chaos.reply_town import PERSON, channel

        self._town, self._person, self._channel = town, PERSON, channel(project)
        self._root: str | None = None

    def write(self, text: str, *, mention: bool) -> Letter:
        told = html.escape(text, quote=False)
        told = f"<@{BOT_USER}> {told}" if mention or self._root is None else told
        message, events = self._town.slack.says(
            channel=self._channel, user=self._person, text=told, thread_ts=self._root
        )
        self._root = self._root or message.ts
        return Letter(
            message_id=f"slack:{TEAM}:{self._channel}:{message.ts}",
            address=f"{TEAM}/{self._channel}/{self._root}",
            envelopes=tuple(self._envelope(event) for event in events),
        )

    def _envelope(self, event: Json) -> Envelope:
        body = json.dumps(event).encode()

        def sign(attempt: int) -> dict[str, str]:
            again = {"X-Slack-Retry-Num": str(attempt), "X-Slack-Retry-Reason": "http_error"}
            headers = slack_signed(body, secret=self._town.slack.secret, timestamp=time.time())
            return {"Content-Type": "application/json", **headers, **(again if attempt else {})}

        return Envelope(path="/slack/events", body=body, sign=sign)


class GitHubRoom:
    """One issue of a project's repository; now and then its own text is the first letter."""

    frontend = Frontend.GITHUB

    def __init__(self, town: "Town", project: str, *, asks: bool) -> None:
        self._town, self._repo, self._asks = town, town.repo(project), asks
        self._talk: Talk | None = None

    def write(self, text: str, *, mention: bool) -> Letter:
        told, hooks, world = f"{_HANDLE} {text}", self._town.github.hooks, self._town.github.world
        with self._town.github.still:
            if self._talk is None:
                own = told if self._asks else "Nothing in here calls anybody."
                self._talk = world.add_issue(self._repo, login=USER, title="A wish", body=own)
                if self._asks:
                    payload = hooks.opened(self._repo, self._talk)
                    return self._letter(f"issue:{self._talk.id}", "issues", payload)
            comment = world.add_comment(self._talk, login=USER, body=told)
            payload = hooks.commented(self._repo, self._talk, comment)
        return self._letter(f"comment:{comment.id}", "issue_comment", payload)

    def _letter(self, name: str, event: str, payload: Json) -> Letter:
        assert self._talk is not None
        body, guid = json.dumps(payload).encode(), str(uuid.uuid4())
        headers = github_signed(body, event=event, secret=self._town.webhook_secret, guid=guid)
        return Letter(
            message_id=f"github:{name}",
            address=f"{self._repo.full_name}#{self._talk.number}",
            envelopes=(Envelope(path="/github/webhook", body=body, sign=lambda _: headers),),
        )


Room = SlackRoom | GitHubRoom


@dataclass(kw_only=True)
class ReplyTraffic(Traffic):
    """Threads of the even half write in Slack, those of the odd half on GitHub."""

    town: "Town"
    _rooms: dict[str, Room] = field(default_factory=dict)
    _threads: dict[str, str] = field(default_factory=dict)
    _sent: list[Envelope] = field(default_factory=list)

    async def _post(
        self, client: httpx.AsyncClient, dice: random.Random, project: str, thread: str, name: str
    ) -> None:
        mode = self._mode(dice) if thread in self._rooms else Mode.QUEUE
        if thread not in self._rooms or dice.random() < _NEW_ROOM:
            self._rooms[thread], mode = self._room(thread, project, dice), Mode.QUEUE
        room = self._rooms[thread]
        files, text = script(name, dice=dice, only_talk=dice.random() < self.manners.only_talk)
        text = _SIGNS[mode] + _longer(text, dice=dice, frontend=room.frontend)
        letter = room.write(text, mention=dice.random() < _MENTIONED)
        await self._send(client, dice, letter)
        row = await self._recorded(self.fleet.places.worker(project), room.frontend, letter.message_id)
        if row is None:
            self.history.note(f"{letter.message_id} got a 2xx and is not recorded")
            return
        worker = self.fleet.places.worker(project)
        self.posted.append(
            Posted(
                message_id=letter.message_id, thread_id=row["thread_id"], worker=worker, mode=mode,
                sequence=int(row["sequence"]), files=files,
            )
        )  # fmt: skip
        self._threads[thread] = row["thread_id"]
        self.town.asked.append(
            Asked(message_id=letter.message_id, frontend=room.frontend, address=letter.address, marker=name)
        )
        self.history.add(
            thread, "accepted", message=letter.message_id, marker=name, at_place=letter.address,
            thread_id=row["thread_id"], sequence=int(row["sequence"]), mode=str(mode),
        )  # fmt: skip

    def _room(self, thread: str, project: str, dice: random.Random) -> Room:
        if int(thread[1:]) // len(self.fleet.seats) % 2 == 0:
            return SlackRoom(self.town, project)
        return GitHubRoom(self.town, project, asks=dice.random() < 0.5)

    async def _send(self, client: httpx.AsyncClient, dice: random.Random, letter: Letter) -> None:
        """Slack tells of a mention twice, at the same time; and anything may be delivered again later."""
        await asyncio.gather(*(self._deliver(client, dice, e) for e in letter.envelopes))
        self._sent += letter.envelopes
        if dice.random() < _ONCE_MORE:
            await self._deliver(client, dice, dice.choice(self._sent[-50:]))

    async def _deliver(self, client: httpx.AsyncClient, dice: random.Random, envelope: Envelope) -> None:
        """Until somebody takes it, at whichever dispatcher; with growing pauses, as on a busy machine repeats
        would else keep the dispatchers from everything else."""
        attempt = 0
        while True:
            url = f"http://127.0.0.1:{dice.choice(self.fleet.dispatcher_ports)}{envelope.path}"
            try:
                headers = envelope.sign(attempt)
                answer = await client.post(url, content=envelope.body, headers=headers, timeout=_PATIENCE)
            except httpx.TransportError as error:
                self.history.add("sender", "refused", why=repr(error))
            else:
                if answer.is_success:
                    return self._check(envelope, answer)
                self.history.add("sender", "refused", why=answer.status_code)
                if answer.status_code < 500 and answer.status_code != 429:
                    self.history.note(f"{envelope.path}: {answer.status_code} {answer.text[:200]}")
            attempt += 1
            await asyncio.sleep(_RETRY * min(2**attempt, 16))

    def _check(self, envelope: Envelope, answer: httpx.Response) -> None:
        word = answer.json().get("status") if envelope.path.startswith("/github") else "accepted"
        if word not in ("accepted", "duplicate", "stopping", "nothing to stop"):
            self.history.note(f"a webhook was answered with {word!r}: {envelope.body[:300]!r}")

    async def _stop(self, client: httpx.AsyncClient, thread: str) -> None:
        room = self._rooms.get(thread)
        if room is not None:
            self.stops.add(self._threads.get(thread, ""))
            for envelope in room.write("stop", mention=True).envelopes:
                await self._deliver(client, self.dice, envelope)
            self.history.add(thread, "stop")

    async def _recorded(self, worker: WorkerId, frontend: Frontend, message_id: str) -> dict[str, Any] | None:
        """What the message became; None when there is no record of it."""
        key = records.id_key(worker, frontend, digest(message_id))
        while True:
            try:
                got = await asyncio.to_thread(
                    self.fleet.dynamodb.get_item, TableName="branchline", Key=key, ConsistentRead=True
                )
            except (BotoCoreError, ClientError):
                await asyncio.sleep(_RETRY)
                continue
            return records.decode(got["Item"]) if got.get("Item") else None


def _longer(text: str, *, dice: random.Random, frontend: Frontend) -> str:
    """Now and then a turn during which its post is edited several times, an answer that fits into no living
    message, in Slack also one that fits into no post."""
    head, _, last = text.rpartition("\n")
    if dice.random() < _SLOWLY:
        head = f"{head}\ndo: stream 600 {dice.randrange(20, 80)}"
    if dice.random() < _LONG:
        size = dice.choice((3000, 12_000)) if frontend is Frontend.SLACK else 3000
        head = f"{head}\ndo: stream {size} 0"
    return f"{head}\n{last}"
