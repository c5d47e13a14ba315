"""A Slack and a GitHub around the fleet: people write there, the dispatchers' replies are read there.

Both stand-ins run as threads of the bench, so they survive everything that is done to the fleet.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from contracts.places import UNSHOWN
from contracts.words import Frontend
from dispatcher.github_render import STICKY, marker
from fleet.standin.github_world import Repo, Talk
from fleet.standin.slack_world import TEAM, Message
from tests.chaos import reply_rules
from tests.chaos.around import Around
from tests.chaos.fleet import Fleet
from tests.chaos.history import Found, History
from tests.chaos.places import USER, Places
from tests.chaos.reply_history import Asked, Look, Post, Room, Told
from tests.chaos.reply_standins import Traps, WatchedGitHub, WatchedSlack
from tests.chaos.reply_traffic import ReplyTraffic
from tests.chaos.reply_villain import ReplyVillain

PERSON = "U0CHAOS"
_QUIET = 3.0
"""Seconds without a post after which nothing more is to be expected, once all is shown."""


def channel(project: str) -> str:
    return f"C0{project.upper()}"


def repo_name(project: str) -> str:
    return f"{USER}/{project}"


@dataclass(frozen=True, kw_only=True)
class TownPlaces(Places):
    """Places whose dispatchers have both frontends switched on."""

    town: "Town"

    def prepare(self) -> None:
        super().prepare()
        file = self.home / "branchline.toml"
        text = file.read_text()
        for project in self.projects:
            names = {"slack_channels": f"{TEAM}/{channel(project)}", "github_repos": repo_name(project)}
            lines = "".join(f"{name} = {json.dumps([value])}\n" for name, value in names.items())
            text = text.replace(f"[project.{project}]\n", f"[project.{project}]\n{lines}")
        mine = {"projects": self.projects, "slack": [f"{TEAM}/{PERSON}"], "github": [USER]}
        text += f"\n[user.{USER}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in mine.items())
        file.write_text(text)
        self.town.build(self.projects)

    def dispatcher_environment(self, *, port: int) -> dict[str, str]:
        return super().dispatcher_environment(port=port) | self.town.environment(port)


@dataclass(kw_only=True)
class Town(Around):
    """``asked``: what was written and accepted. ``seed`` draws the moments of the traps."""

    seed: int
    asked: list[Asked] = field(default_factory=list)
    webhook_secret: str = "standin-webhook-secret"
    slack: WatchedSlack = field(init=False, repr=False)
    github: WatchedGitHub = field(init=False, repr=False)
    traps: Traps = field(init=False, repr=False)
    _fleet: Fleet | None = field(default=None, repr=False)

    @asynccontextmanager
    async def standing(self, history: History) -> AsyncIterator[None]:
        self.traps = Traps(history=history, kill=self._kill, dice=random.Random(self.seed))
        self.github = WatchedGitHub(self.traps)
        try:
            with WatchedSlack(self.traps) as self.slack:
                yield
        finally:
            self.github.close()

    def build(self, projects: list[str]) -> None:
        """A channel and a repository for each project."""
        for project in projects:
            self.slack.world.open(channel(project))
            self.github.world.add_repo(repo_name(project), **{USER: "write"})

    def repo(self, project: str) -> Repo:
        return self.github.world.repos[repo_name(project)]

    def environment(self, port: int) -> dict[str, str]:
        """What switches both frontends of a dispatcher on and points them here."""
        return {
            "SLACK_SIGNING_SECRET": self.slack.secret,
            "SLACK_BOT_TOKEN": self.slack.token_of(port),
            "BRANCHLINE_SLACK_API_URL": self.slack.url,
            "GITHUB_WEBHOOK_SECRET": self.webhook_secret,
            "GITHUB_APP_ID": self.github.world.app_id,
            "GITHUB_APP_PRIVATE_KEY": self.github.private_key,
            "BRANCHLINE_GITHUB_API_URL": self.github.url_of(port),
        }

    def heal(self) -> None:
        """No more traps and faults."""
        self.traps.disarm()
        self.slack.heal()
        self.github.heal()

    def _kill(self, port: int) -> None:
        if self._fleet is not None and not self._fleet.quiet and port in self._fleet.dispatchers:
            self._fleet.dispatchers[port].kill()

    # ------------------------------------------------------------ parts of a run

    def places(self, **given: Any) -> Places:
        return TownPlaces(town=self, **given)

    def traffic(self, **given: Any) -> ReplyTraffic:
        self._fleet = given["fleet"]
        return ReplyTraffic(town=self, **given)

    def villain(self, **given: Any) -> ReplyVillain:
        return ReplyVillain(town=self, **given)

    async def rest(self, fleet: Fleet, *, seconds: float) -> None:
        """Until the dispatchers say that everything is shown and nobody posts any more."""
        deadline = asyncio.get_running_loop().time() + seconds
        self.heal()
        while (left := await asyncio.to_thread(_unshown, fleet)) != 0:
            if asyncio.get_running_loop().time() > deadline:
                fleet.history.note(f"{left} threads were not shown within {seconds:.0f} s")
                return
            await asyncio.sleep(0.5)
        fleet.history.add("bench", "all is shown")
        before = -1
        while before != (now := len(self.slack.calls) + len(self.github.requests)):
            before = now
            await asyncio.sleep(_QUIET)

    def counts(self) -> dict[str, int | str]:
        told = self.told()
        posts = [post for room in told.rooms for post in room.posts]
        return {
            "asked in Slack": sum(a.frontend is Frontend.SLACK for a in told.asked),
            "asked on GitHub": sum(a.frontend is Frontend.GITHUB for a in told.asked),
            "places": len(told.rooms),
            "posts": len(posts),
            "edits": sum(len(post.looks) - 1 for post in posts),
            "messages with eyes": sum(sum(room.eyes.values()) for room in told.rooms),
            **{f"answer {n}": c for n, c in sorted(self._unkind().items())},
        }

    def _unkind(self) -> dict[str, int]:
        kinds = ("limited", "status", "before", "lost")
        return {f"{kind} (Slack)": sum(c.answer == kind for c in self.slack.calls) for kind in kinds}

    def judge(self, found: Found, *, history: History) -> dict[str, list[str]]:
        told = self.told()
        history.add("bench", "told", told=json.loads(told.model_dump_json()))
        return reply_rules.judge(found, told)

    # ------------------------------------------------------------ reading

    def told(self) -> Told:
        """What stands there now."""
        with self.slack.still, self.github.still:
            rooms = [
                (self._talked if frontend is Frontend.GITHUB else self._chatted)(address)
                for frontend, address in dict.fromkeys((a.frontend, a.address) for a in self.asked)
            ]
            pulls = [
                talk.ends.head
                for repo in self.github.world.repos.values()
                for talk in repo.talks.values()
                if talk.ends is not None and talk.state == "open"
            ]
        return Told(asked=tuple(self.asked), rooms=tuple(rooms), pulls=tuple(pulls))

    def _chatted(self, address: str) -> Room:
        _, where, root = address.split("/")
        thread, world = self.slack.world.thread(where, root), self.slack.world
        eyes = {m.ts: len(m.reactions.get("eyes", [])) for m in thread if not m.bot}
        return Room(
            frontend=Frontend.SLACK,
            address=address,
            posts=tuple(self._post(m) for m in thread if m.bot),
            eyes={f"slack:{TEAM}:{where}:{ts}": n for ts, n in eyes.items() if n},
            beside=tuple(w.text for w in world.whispers if w.channel == where and w.thread_ts == root),
        )

    def _post(self, message: Message) -> Post:
        if message.files:
            content = self.slack.world.uploads[message.files[0]["id"]].decode()
            return Post(key=message.files[0]["name"], looks=(Look(at=message.versions[0].at, text=content),))
        payload = (message.metadata or {}).get("event_payload") or {}
        looks = [
            Look(at=version.at, text=replace(message, versions=[version]).shown())
            for version in message.versions
        ]
        return Post(key=str(payload.get("key", "")), looks=tuple(looks))

    def _talked(self, address: str) -> Room:
        name, _, number = address.rpartition("#")
        talk = self.github.world.repos[name].talks[int(number)]
        ours = [c for c in talk.comments if c.app and not c.deleted]
        sticky = [c for c in ours if c.body.startswith(marker(STICKY))]
        return Room(
            frontend=Frontend.GITHUB,
            address=address,
            posts=tuple(
                Post(
                    key=STICKY,
                    looks=tuple(Look(at=at, text=body) for at, body in enumerate(comment.edits)),
                )
                for comment in sticky
            ),
            eyes=_seen(talk),
            beside=tuple(c.body for c in ours if c not in sticky),
        )


def _seen(talk: Talk) -> dict[str, int]:
    by_comment = {f"github:comment:{c.id}": c.reactions for c in talk.comments if not c.app}
    reactions = by_comment | {f"github:issue:{talk.id}": talk.reactions}
    eyes = {name: sum(content == "eyes" for _, content in given) for name, given in reactions.items()}
    return {name: n for name, n in eyes.items() if n}


def _unshown(fleet: Fleet) -> int:
    """How many threads the dispatchers have not shown yet; -1 while the engine does not say."""
    try:
        found = fleet.dynamodb.query(
            TableName="branchline",
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": UNSHOWN}},
            Select="COUNT",
            ConsistentRead=True,
        )
    except (BotoCoreError, ClientError):
        return -1
    return int(found["Count"])
