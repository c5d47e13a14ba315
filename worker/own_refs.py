"""Refs that no turn may move: other threads' branches, tags, the worker's own records, what the remote said.

A turn can write all of ``.git``, and a branch that it moved would be pushed as another thread's work, or be
what the next thread starts from. So the refs are noted when a turn begins and put back before anything is
committed after it. The turn's own branch is left alone: what may stand there is decided elsewhere.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from worker.refs import TRACKING, Refs, heads, kept, tip_ref
from worker.remote import Remote

_WATCHED = (
    "refs/heads/thread-*",
    "refs/heads/conflict-*/thread-*",
    "refs/tags",
    "refs/branchline",
    "refs/replace",
    "refs/remotes",
)
_HELD = ("refs/branchline/kept/", "refs/branchline/saved/", "refs/branchline/gone/")
"""The worker adds to these at any time; a turn's additions hurt nobody."""


@dataclass(kw_only=True)
class OwnRefs:
    """The refs of one checkout; ``remote`` knows what was fetched, in a place that no turn writes to."""

    refs: Refs
    remote: Remote
    _noted: dict[str, str] | None = field(default=None, init=False)
    _default: str | None = field(default=None, init=False)

    async def note(self) -> None:
        """A turn begins: this is how refs have to be after it."""
        self._noted = await self.refs.named(*_WATCHED)
        self._default = self.remote.default or await self.refs.remote_head()

    def let_go(self, names: Iterable[str]) -> None:
        """The worker itself removes these while a turn runs: they do not come back."""
        for name in names:
            if self._noted is not None:
                self._noted.pop(name, None)

    def forget(self) -> None:
        """No turn runs: whoever moves refs now is the worker."""
        self._noted = None

    async def put_back(self, *, but: str | None, tips: Mapping[str, str]) -> None:
        """Undo what a turn on branch ``but`` did to others. Branches that stand at their ``tips`` were moved
        by the worker meanwhile and stay."""
        if self._noted is None:
            return
        known = {name(branch): sha for branch, sha in tips.items() for name in (heads, tip_ref)}
        now = await self.refs.named(*_WATCHED)
        wrong = {n for n in now.keys() | self._noted.keys() if now.get(n) != self._noted.get(n)}
        wrong -= {n for n in wrong if n == heads(but or "") or n.startswith(TRACKING)}
        wrong -= {n for n in wrong if n in now and (now[n] == known.get(n) or _adds(n, self._noted))}
        for name in sorted(n for n in wrong & now.keys() if not n.startswith("refs/remotes/")):
            await self.refs.keep(now[name], under=kept("moved-by-a-turn"))
        await self._write(wrong, known=self._noted | {n: known[n] for n in wrong & known.keys()})
        await self.refs.take_over(await self.remote.tracked(), head=self.remote.default or self._default)

    async def _write(self, wrong: set[str], *, known: Mapping[str, str]) -> None:
        gone = [f"delete {name}\n" for name in sorted(wrong - known.keys())]
        back = [f"update {name} {known[name]}\n" for name in sorted(wrong & known.keys())]
        for lines in (gone, back):  # first the deletions: a name may stand where another's folder was
            if lines:
                await self.refs.git.run("update-ref", "--no-deref", "--stdin", stdin="".join(lines).encode())


def _adds(name: str, noted: Mapping[str, str]) -> bool:
    return name.startswith(_HELD) and name not in noted
