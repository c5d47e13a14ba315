"""The rules that must hold whatever was killed. Pure: what was found goes in, violations come out."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import combinations, pairwise
from typing import Any

from contracts.events import FINAL
from contracts.words import Mode, Outcome, StopReason
from tests.chaos.history import Found, Posted, Seen

_BY = re.compile(r"\[by (\d+)\]")
_FINAL = {str(type_): str(outcome) for outcome, type_ in FINAL.items()}
_OWN = "m/"
_FILE = re.compile(r"(?<![^/])m/[^/]+$")
_BROKE = "Something went wrong inside the worker"
_GIVEN_UP = "Given up: the worker died"
_ATTEMPTS = 3


def one_outcome(found: Found) -> Iterator[str]:
    """V1: each accepted message has exactly one recorded outcome and exactly one final event, which agree."""
    told: dict[str, list[str]] = {}
    received: Counter[str] = Counter()
    for events in found.events.values():
        for event in events:
            if event["type"] in _FINAL:
                told.setdefault(event["message_id"], []).append(_FINAL[event["type"]])
            received[event.get("message_id", "")] += event["type"] == "message.received"
    for message in found.posted:
        name = message.message_id
        outcome = found.outcomes.get(name)
        if outcome is None:
            yield f"{name} in {message.thread_id} has no outcome"
        if told.get(name, []) != ([outcome] if outcome else []):
            yield f"{name} has the outcome {outcome} and the final events {told.get(name, [])}"
        if received[name] != 1:
            yield f"{name} was told as received {received[name]} times"


def one_commit(found: Found) -> Iterator[str]:
    """V2: one commit with its trailer for each completed message that changed something, in order."""
    for message in found.posted:
        places = {
            thread: {c.sha for c in commits if message.message_id in c.messages}
            for thread, commits in found.commits.items()
        }
        own = places.pop(message.thread_id, set())
        if len(own) > 1:
            yield f"{message.message_id} has {len(own)} commits: {sorted(own)}"
        if not own and message.files and _completed(found, message) and not _done_before(found, message):
            yield f"{message.message_id} in {message.thread_id} is completed and has no commit"
        for thread in (t for t, shas in places.items() if shas):
            yield f"{message.message_id} of {message.thread_id} has a commit in {thread}"
    for thread in found.commits:
        yield from _order(found, thread)
    for thread, events in found.events.items():
        yield from _answers_in_order(found, thread, events)


def _answers_in_order(found: Found, thread: str, events: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Messages that queue are answered in the order of their sequence, also those that changed nothing."""
    queued = {m.message_id: m.sequence for m in found.posted if m.mode is Mode.QUEUE}
    done = [e["message_id"] for e in events if e["type"] == "turn.completed" and e["message_id"] in queued]
    for before, after in pairwise(done):
        if queued[after] < queued[before]:
            yield f"in {thread}, {after} ({queued[after]}) is answered behind {before} ({queued[before]})"


def _done_before(found: Found, message: Posted) -> bool:
    """Whether a steering message's work stood in the tree before its own turn: a turn had taken it in and was
    given up, its checkpoint stayed. Then there is nothing left to commit."""
    tree = found.trees.get(message.thread_id, {})
    stands = all(tree.get(path) == text for path, text in message.files.items())
    kept = any(commit.checkpoint for commit in found.commits.get(message.thread_id, ()))
    return message.mode is Mode.STEER and kept and stands


def _order(found: Found, thread: str) -> Iterator[str]:
    """Messages that queue are committed in the order of their sequence: none stands on a later one. Only
    where the lines of two disks were joined may two stand side by side."""
    queued = {
        m.message_id: m.sequence for m in found.posted if m.mode is Mode.QUEUE and m.thread_id == thread
    }
    for branch, commits in _by_branch(found.commits[thread]):
        under = _under(commits)
        line = [(queued[m], m, c) for c in commits for m in c.messages if m in queued]
        for (after, second, upper), (before, first, lower) in combinations(sorted(line, key=_first), 2):
            if upper.sha in under[lower.sha]:
                continue
            if lower.sha in under[upper.sha]:
                yield f"on {branch}, {second} (sequence {after}) comes behind {first} ({before})"
            elif not any(c.joined and {upper.sha, lower.sha} <= under[c.sha] for c in commits):
                yield f"on {branch}, {second} and {first} stand side by side and nothing joins them"


def _first(entry: tuple[int, str, Seen]) -> int:
    return entry[0]


def _under(commits: Iterable[Seen]) -> dict[str, set[str]]:
    """Commit to all that it stands on and itself; those below the branch's start left out."""
    under: dict[str, set[str]] = {}
    for commit in commits:
        under[commit.sha] = {commit.sha}.union(*(under.get(parent, set()) for parent in commit.parents))
    return under


def no_stale_write(found: Found) -> Iterator[str]:
    """V3: event numbers without gaps; epochs only rise in logs, on branches and on the remote's ref."""
    for thread, events in found.events.items():
        numbers = [event["id"] for event in events]
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"the log of {thread} is not 1..{len(numbers)}: {_around_gap(numbers)}"
        yield from _falling(f"the log of {thread}", _epochs_told(events, births=found.births))
    for thread, commits in found.commits.items():
        for branch, line in _by_branch(commits):
            told = {c.sha: found.births[c.by] for c in line if c.by in found.births and c.messages}
            for commit, under in _under(line).items():
                lower = max((told[sha] for sha in under if sha in told), default=0)
                if commit in told and not _carried(line, commit):
                    yield from _falling(f"the commits on {branch} of {thread}", [lower, told[commit]])
    for worker, stamps in found.epochs.items():
        yield from _falling(f"the epoch ref of {worker}", [epoch for epoch, _ in stamps])
        for epoch, owners in _owners(stamps).items():
            if len(owners) > 1:
                yield f"epoch {epoch} of {worker} was used by {len(owners)} owners"


def _carried(line: Iterable[Seen], sha: str) -> bool:
    return any(commit.carried for commit in line if commit.sha == sha)


def _epochs_told(events: Iterable[dict[str, object]], *, births: dict[int, int]) -> list[int]:
    """The epochs in the order in which their workers spoke in a log."""
    epochs, text = [], ""
    for event in events:
        data = event["data"]
        assert isinstance(data, dict)
        if event["type"] == "turn.text":
            text += str(data["text"])
            continue
        epochs += _spoken(text, births)
        text = ""
        if event["type"] == "worker.ready" and data.get("epoch"):
            epochs.append(int(data["epoch"]))
    return epochs + _spoken(text, births)


def _spoken(text: str, births: dict[int, int]) -> list[int]:
    return [births[int(pid)] for pid in _BY.findall(text) if int(pid) in births]


def work_is_there(found: Found) -> Iterator[str]:
    """V4: what a turn wrote stands on its thread's branch, and on no other thread's."""
    owner = {path: m.thread_id for m in found.posted for path in m.files}
    last = {path: m.message_id for m in found.posted for path in m.files}
    for message in found.posted:
        tree = found.trees.get(message.thread_id, {})
        for path, content in message.files.items() if _completed(found, message) else ():
            if last[path] == message.message_id and tree.get(path) != content:
                yield f"{path} of {message.thread_id} holds {tree.get(path)!r} instead of {content!r}"
    for thread, events in found.events.items():
        for path, content in _told_as_written(events).items():
            stands = found.trees.get(thread, {}).get(path)
            if stands != content:
                yield f"{path} was told as written in {thread} and holds {stands!r} instead of {content!r}"
    for thread, tree in found.trees.items():
        for path in tree:
            if path.startswith(_OWN) and owner.get(path) != thread:
                yield f"{path} of {owner.get(path)} stands on the branch of {thread}"


def _told_as_written(events: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What turns wrote that the same process ended, whatever their outcome: path to the last content. What a
    turn had written that died may be on a disk that nobody came back to."""
    stands: dict[str, str] = {}
    wrote: dict[str, dict[str, str]] = {}
    for event in events:
        name, data = event.get("message_id") or "", event["data"]
        if event["type"] in ("turn.started", "turn.resumed"):
            wrote[name] = {}
        elif event["type"] == "turn.tool" and data["name"] == "Write" and data["state"] == "succeeded":
            if file := _FILE.search(str(data["input"].get("file_path"))):
                wrote.setdefault(name, {})[file[0]] = data["input"].get("content")
        elif event["type"] in _FINAL and "duration_ms" in data:
            stands |= wrote.get(name, {})
    return stands


def nothing_left(found: Found) -> Iterator[str]:
    """V5: no process, no lock file, no delivery is left over."""
    yield from found.leftovers


def nothing_odd(found: Found) -> Iterator[str]:
    """V6: no actor saw what must not be, and no turn failed for a reason that is a fault of our own."""
    yield from found.notes
    failed = [e for events in found.events.values() for e in events if e["type"] == "turn.failed"]
    broke = [e for e in failed if str(e["data"]["text"]).startswith(_BROKE)]
    if len(broke) > found.raises:
        yield f"{len(broke)} turns broke, {found.raises} at failpoints: {[e['message_id'] for e in broke]}"
    for event in failed:
        if not str(event["data"]["text"]).startswith((_BROKE, _GIVEN_UP)):
            yield f"{event['message_id']} failed: {event['data']['text']}"
    yield from _ended_for_nothing(found)
    if Outcome.COMPLETED not in found.outcomes.values():
        yield "nothing was completed: this run proves nothing"


def _ended_for_nothing(found: Found) -> Iterator[str]:
    """Messages given up whose worker did not die three times, stopped ones that nobody asked to stop, and
    rejected ones: who ends everything at once would keep all other promises."""
    left = _never_ended(found)
    for events in found.events.values():
        for event in events:
            name, early = event.get("message_id"), left[event.get("message_id", "")] < _ATTEMPTS
            if early and str(event["data"].get("text", "")).startswith(_GIVEN_UP):
                yield f"{name} was given up after {left[name]} turns that nobody ended"
    for message in found.posted:
        outcome = found.outcomes.get(message.message_id)
        if outcome == Outcome.REJECTED or (outcome == Outcome.STOPPED and not _may_stop(found, message)):
            yield f"{message.message_id} in {message.thread_id} is {outcome}, and nobody asked for that"


def _never_ended(found: Found) -> Counter[str]:
    """Message to how often its turn was begun and neither paused nor ended: its worker died, then."""
    left: Counter[str] = Counter()
    for event in (e for events in found.events.values() for e in events):
        name = event.get("message_id") or ""
        left[name] += event["type"] in ("turn.started", "turn.resumed")
        # Who waits for the remote to be sure of a lost lease's work has not begun.
        paused = event["type"] == "turn.interrupted" and event["data"].get("reason") != StopReason.LEASE_LOST
        left[name] -= paused
    return left


def _may_stop(found: Found, message: Posted) -> bool:
    """Whether somebody asked for it: in the thread, or by a later message that interrupts."""
    return found.stops is None or message.thread_id in found.stops or any(
        other.thread_id == message.thread_id and other.mode is Mode.INTERRUPT
        and other.sequence > message.sequence for other in found.posted
    )  # fmt: skip


RULES: dict[str, Callable[[Found], Iterator[str]]] = {
    "V1 one outcome": one_outcome,
    "V2 one commit, in order": one_commit,
    "V3 no stale write": no_stale_write,
    "V4 the work is there": work_is_there,
    "V5 nothing left over": nothing_left,
    "V6 nothing odd": nothing_odd,
}


def judge(found: Found) -> dict[str, list[str]]:
    """Rule to its violations."""
    return {name: list(rule(found)) for name, rule in RULES.items()}


def _completed(found: Found, message: Posted) -> bool:
    return found.outcomes.get(message.message_id) == Outcome.COMPLETED


def _by_branch(commits: Iterable[Seen]) -> Iterator[tuple[str, list[Seen]]]:
    branches: dict[str, list[Seen]] = {}
    for commit in commits:
        branches.setdefault(commit.branch, []).append(commit)
    yield from branches.items()


def _falling(where: str, epochs: list[int]) -> Iterator[str]:
    for before, after in pairwise(epochs):
        if after < before:
            yield f"{where}: epoch {after} wrote after epoch {before}"


def _owners(stamps: Iterable[tuple[int, str]]) -> dict[int, set[str]]:
    owners: dict[int, set[str]] = {}
    for epoch, owner in stamps:
        owners.setdefault(epoch, set()).add(owner)
    return owners


def _around_gap(numbers: list[int]) -> list[int]:
    at = next(n for n, (i, number) in enumerate(zip(range(1, 10**6), numbers, strict=False)) if i != number)
    return numbers[max(at - 2, 0) : at + 3]
