"""How two lines of one branch become one: what is carried over, where to, and which side wins.

Owners of one worker id on two disks leave two lines of a thread, and a worker must not conflict with itself
(``docs/decisions/two-disks.md``). What stands on the remote is never changed, what was ended there stays, and
where a person has a part in it there is no plan. Pure: runs no git, moves nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from contracts.words import MessageId


@dataclass(frozen=True, kw_only=True)
class Step:
    """One commit of a line. ``at`` is its committer's time in Unix seconds, ``own`` whether a worker made it
    or Claude Code under one, ``ended`` and ``worked`` the messages that its trailers name. ``parents`` None
    means the commit before it in its line."""

    sha: str
    at: int = 0
    name: str = ""
    email: str = ""
    own: bool = True
    parents: tuple[str, ...] | None = None
    merge: bool = False
    join: bool = False
    ended: frozenset[MessageId] = frozenset()
    worked: frozenset[MessageId] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Group:
    """Commits that belong together: the last one names the messages, those before it name none."""

    steps: tuple[Step, ...]

    @property
    def last(self) -> Step:
        return self.steps[-1]

    @property
    def named(self) -> frozenset[MessageId]:
        return self.last.ended or self.last.worked


@dataclass(frozen=True, kw_only=True)
class Carried:
    """A commit that is made again elsewhere; its evidence of the messages in ``forget`` is left out.
    ``yields``: on the same lines it takes nothing from what it is put on."""

    step: Step
    forget: frozenset[MessageId] = frozenset()
    yields: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Their line, then ``merged`` (a commit of ours, as it is), then ``carried``: on top of the commit
    ``onto`` of theirs and merged, or on top of all when that is None. ``clean``: a person has a part in ours,
    so no side may win and it must not come to that."""

    merged: str | None = None
    carried: tuple[Carried, ...] = ()
    onto: str | None = None
    ours_win: bool = False
    clean: bool = False


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Two lines since they parted, oldest first: ``here`` only ours has, ``there`` only the remote.
    ``open``: the messages of the thread without outcome; None when that is not known, then whatever was
    not ended here is taken to be under way."""

    here: Sequence[Step]
    there: Sequence[Step]
    open: frozenset[MessageId] | None = None
    _done: frozenset[MessageId] = field(init=False)

    def __post_init__(self) -> None:
        done: frozenset[MessageId] = frozenset().union(*(step.ended for step in self.there))
        object.__setattr__(self, "_done", done)

    def plan(self) -> Plan | None:
        """How the two become one. None when it is not for a worker alone to say: somebody else committed
        there, or a merge of Claude Code's would have to be taken apart."""
        groups = list(grouped(self.here))
        kept = [group for group in groups if not self._again(group)]
        if not kept and self._done:
            return Plan()
        if not all(step.own for step in self.there):
            return None
        ends_meet = bool(self._done) and any(group.last.ended for group in kept)
        whole = list(takewhile(lambda group: not group.named & self._done, groups)) if ends_meet else []
        carried = self._carried(kept[len(whole) :])
        if carried is None or not _one_line(whole):
            return None
        return Plan(
            merged=whole[-1].last.sha if whole else None,
            carried=carried,
            onto=self._done_last(groups) if ends_meet and carried else None,
            ours_win=bool(kept) and self._ours_win(kept),
            clean=not all(step.own for group in kept for step in group.steps),
        )

    def on_top(self) -> tuple[Carried, ...] | None:
        """What of ours goes on top of theirs, whoever has a part in that: all that was not done again there.
        None when a merge of Claude Code's would have to be taken apart."""
        return self._carried([group for group in grouped(self.here) if not self._again(group)])

    def _carried(self, groups: Iterable[Group]) -> tuple[Carried, ...] | None:
        steps = [(step, self._is_over(group)) for group in groups for step in group.steps if not step.join]
        if any(step.merge for step, _ in steps):
            return None
        return tuple(Carried(step=step, forget=step.ended & self._done, yields=over) for step, over in steps)

    def _is_over(self, group: Group) -> bool:
        """Whether it is what is left of work that was given up: its message has an outcome, and it is not
        this work that was told with it. What came later must not be undone by it."""
        unfinished = bool(group.last.worked) and not group.last.ended
        return unfinished and self.open is not None and not group.last.worked & self.open

    def _again(self, group: Group) -> bool:
        """Whether all that the group proves was done again there."""
        return bool(group.named) and group.named <= self._done

    def _done_last(self, groups: Iterable[Group]) -> str | None:
        """The last commit there that ended what was ended or under way here, too."""
        ours = frozenset().union(*(group.named for group in groups))
        return next((step.sha for step in reversed(self.there) if step.ended & ours), None)

    def _ours_win(self, kept: Sequence[Group]) -> bool:
        """On the same lines: what is under way here wins, and otherwise the later of the two. An unfinished
        state there of what was ended here counts for nothing."""
        told = [group for group in kept if not self._is_over(group)]
        if not told:
            return False
        last = told[-1].last
        if not last.ended:
            return True
        ended = frozenset().union(*(group.last.ended for group in told))
        rivals = (step for step in self.there if step.ended or step.worked - ended)
        return all(step.at < last.at for step in rivals)


def grouped(line: Iterable[Step]) -> Iterator[Group]:
    """The commits of a line in groups; what no later commit names stands in a last group of its own."""
    steps: list[Step] = []
    for step in line:
        steps.append(step)
        if step.ended or step.worked:
            yield Group(steps=tuple(steps))
            steps = []
    if steps:
        yield Group(steps=tuple(steps))


def _one_line(groups: Sequence[Group]) -> bool:
    """Whether the last commit has all others behind it. Where lines were joined before, git lists one after
    the other, and the end of the one is not the end of both."""
    line = [step for group in groups for step in group.steps][::-1]
    behind = {step.sha for step in line[:1]}
    for number, step in enumerate(line):
        if step.sha not in behind:
            return False
        before = tuple(each.sha for each in line[number + 1 : number + 2])
        behind.update(before if step.parents is None else step.parents)
    return True
