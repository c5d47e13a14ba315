"""Dead letters for the terminal: what there is, what a re-drive or a drop has done, in a table and in words.

Bodies may hold anything; control characters are taken out here, secrets by the dispatcher. Writes nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from fleet.client import Client
from fleet.problem import FAILED, USAGE, Problem
from fleet.render import clean

_NONE = "There is no dead letter: nothing waits to be re-driven."
_MORE = "There are more than these; repeat it."
_FATES = {
    "redrive": "rung again for its worker",
    "delete": "deleted: nothing is left to do",
    "keep": "kept; --drop deletes it",
}
_DONE = {
    "redriven": "re-driven",
    "deleted": "deleted, because nothing was left to do",
    "kept": "kept, because nobody can read or place them (--drop deletes them)",
}
_UNPLACED = ("unreadable", "unknown")
_TIME = len("2026-11-20T06:25:19")

Letter = Mapping[str, Any]


class Found(NamedTuple):
    """What came of it: as JSON, as something to look at, and as an exit code."""

    plain: Any
    shown: list[Table | Text]
    code: int = 0


def look(client: Client, *, worker: str | None) -> Found:
    """What dead letters there are. Raises Problem."""
    answer = client.dead_letters(worker=worker)
    listed = answer["dead_letters"]
    shown: list[Table | Text] = [_table(listed) if listed else Text(_NONE)]
    return Found(listed, shown + _more(answer))


def redrive(client: Client, *, wanted: str | None, worker: str | None) -> Found:
    """Ring again for one (``wanted``: an id) or for all. Raises Problem, also for an id that is not there."""
    answer = client.redrive(wanted=wanted, worker=worker)
    _check_known(wanted, [x for name in _DONE for x in answer[name]])
    counts = [f"{len(answer[name])} {words}" for name, words in _DONE.items() if answer[name]]
    said = ", ".join(counts) if counts else _NONE
    return Found(answer, [Text(said), *_more(answer)], _code(answer, wanted))


def drop(client: Client, *, wanted: str | None, worker: str | None, sure: bool) -> Found:
    """Delete what nobody can read or place; unless ``sure``, only say what that would be, as a Problem."""
    if not sure:
        listed = client.dead_letters(worker=worker)["dead_letters"]
        there = [x for x in listed if wanted in (None, x["letter_id"], x["message_id"])]
        _check_known(wanted, there)
        lost = sum(x["state"] in _UNPLACED for x in there)
        raise Problem(f"this deletes {lost} of {len(there)} for good; repeat it with --yes.", code=USAGE)
    answer = client.drop(wanted=wanted, worker=worker)
    gone, kept = len(answer["deleted"]), len(answer["kept"])
    _check_known(wanted, [*answer["deleted"], *answer["kept"]])
    rest = f"; {kept} kept, because a re-drive settles them" if kept else ""
    return Found(answer, [Text(f"{gone} dropped{rest}"), *_more(answer)], _code(answer, wanted))


def _check_known(wanted: str | None, found: Sequence[Letter]) -> None:
    if wanted is not None and not found:
        raise Problem(
            f"no dead letter has the id {clean(wanted)}; `branchline redrive` lists them.", code=USAGE
        )


def _code(answer: Letter, wanted: str | None) -> int:
    return FAILED if wanted is not None and answer["kept"] else 0


def _more(answer: Letter) -> list[Table | Text]:
    return [Text(_MORE)] if answer.get("more") else []


def _table(letters: Sequence[Letter]) -> Table:
    shown = Table(box=None, pad_edge=False)
    for name in ("id", "about", "state", "worker", "first sent", "receipts", "a re-drive"):
        shown.add_column(name, overflow="fold")
    for letter in letters:
        shown.add_row(*(Text(clean(cell)) for cell in _cells(letter)))
    return shown


def _cells(letter: Letter) -> tuple[str, ...]:
    return (
        str(letter["message_id"] or letter["letter_id"]),
        _about(letter),
        str(letter["state"]),
        str(letter["worker_id"]),
        str(letter["sent"])[:_TIME],
        str(letter["receives"]),
        _FATES.get(str(letter["fate"]), ""),
    )


def _about(letter: Letter) -> str:
    if letter["body"] is not None:
        return str(letter["body"])
    match letter["kind"]:
        case "message":
            return f"message {letter['sequence']} of thread {letter['thread_id']}"
        case "stop":
            return f"a stop of thread {letter['thread_id']}"
        case _:
            return "a mere ring"
