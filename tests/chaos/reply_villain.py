"""What is done to a fleet whose dispatchers post: they are killed too, around their posts above all, and the
services they talk to are unkind in the ways in which the real ones are."""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fleet.standin.slack import Fault
from tests.chaos.members import Member
from tests.chaos.reply_standins import WAYS
from tests.chaos.villain import Villain

if TYPE_CHECKING:
    from tests.chaos.reply_town import Town

REPLY_WEIGHTS = {
    "kill worker": 24,
    "kill dispatcher": 8,
    "kill at a post": 22,
    "kill engine": 3,
    "drain worker": 3,
    "drain dispatcher": 3,
    "freeze dispatcher": 4,
    "freeze, same disk": 3,
    "freeze engine": 2,
    "be unkind": 28,
}
_FROZEN = (0.5, 12.0)
"""Seconds. With the ten that lie between a begun post and its end this stays below the 25 after which the
design promises nothing."""
_SLACK = ("chat.postMessage", "chat.postMessage", "chat.update", "chat.update", "reactions.add", "*")
_KINDS = ("limited", "status", "before", "lost", "lost", "slow", "slow")
_GITHUB = (
    r"POST .*/issues/\d+/comments$",
    r"PATCH .*/issues/comments/\d+$",
    r"PATCH .*/issues/comments/\d+$",
    r"GET .*/permission$",
    r"GET .*/issues/\d+/comments",
    r"POST .*/pulls$",
    r"POST .*",
)


@dataclass(kw_only=True)
class ReplyVillain(Villain):
    """A villain that knows the town, too."""

    town: "Town"
    weights: dict[str, int] = field(default_factory=lambda: dict(REPLY_WEIGHTS))

    @property
    def killed(self) -> int:
        """Kills so far: by this one, by failpoints, by traps."""
        return super().killed + self.town.traps.sprung.total()

    async def run(self) -> None:
        await super().run()
        self.town.heal()
        self.done += self.town.traps.sprung

    async def _do(self, name: str) -> bool:
        match name:
            case "kill at a post":
                self.town.traps.arm(self.dice.choice(WAYS), only_new=self.dice.random() < 0.5)
            case "freeze dispatcher":
                return self._freeze_dispatcher()
            case "drain dispatcher":
                self.dice.choice(list(self.fleet.dispatchers.values())).ask_to_leave()
            case "be unkind":
                self._be_unkind()
            case _:
                return await super()._do(name)
        return True

    def _freeze_dispatcher(self) -> bool:
        able = [m for m in self.fleet.dispatchers.values() if m.alive and not m.frozen]
        if not able:
            return False
        member = self.dice.choice(able)
        member.freeze()
        self.fleet.later(self._wake(member, seconds=self.dice.uniform(*_FROZEN)))
        return True

    async def _wake(self, member: Member, *, seconds: float) -> None:
        await asyncio.sleep(seconds)
        member.wake()

    def _be_unkind(self) -> None:
        seconds = float(self.dice.randint(1, 3))
        if self.dice.random() < 0.5:
            fault = Fault(method=self.dice.choice(_SLACK), kind=self.dice.choice(_KINDS), seconds=seconds)
            self.town.slack.fail(fault)
            self.history.add("slack", "unkind", kind=fault.kind, method=fault.method)
            return
        kind, pattern = self.dice.choice(_KINDS), self.dice.choice(_GITHUB)
        self.history.add("github", "unkind", kind=kind, pattern=pattern)
        match kind:
            case "limited":
                self.town.github.fail(
                    pattern, status=429, message="API rate limit exceeded", retry_after=f"{seconds:.0f}"
                )
            case "lost" | "before":
                self.town.github.lose(pattern)
            case "slow":
                self.town.github.slow += 1
            case _:
                self.town.github.fail(pattern, status=self.dice.choice((500, 502, 503)))
