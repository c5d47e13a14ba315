"""Dead replies for the terminal: what people did not get to see in their chats, and what came of a new try.

Words of chats and of broken rings may hold anything; control characters are taken out here. Writes nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from fleet.client import Client
from fleet.problem import FAILED, USAGE, Problem
from fleet.redrive import Found
from fleet.render import clean

_NONE = "Every reply has arrived: there is nothing to try again."
_MORE = "There are more than these; repeat it."
_TIME = len("2026-11-20T06:25:19")

Reply = Mapping[str, Any]


def look(client: Client) -> Found:
    """What dead replies there are. Raises Problem."""
    answer = client.dead_replies()
    listed = answer["dead_replies"]
    return Found(listed, [_table(listed) if listed else Text(_NONE), *_more(answer)])


def redrive(client: Client, *, wanted: str | None) -> Found:
    """Try all again, or those of ``wanted``: an id, or that of a thread. Raises Problem, also when there is
    none of that id."""
    answer = client.settle_replies("redrive", wanted=wanted)
    again, kept = answer["redriven"], answer["kept"]
    _check_known(wanted, [*again, *kept])
    words = [f"{len(again)} tried again"] if again else []
    words += [f"{len(kept)} kept, because nobody can read them (--drop deletes them)"] if kept else []
    return Found(answer, [Text(", ".join(words) or _NONE), *_more(answer)], _code(wanted, kept))


def drop(client: Client, *, wanted: str | None, sure: bool) -> Found:
    """Delete rings that nobody can read; unless ``sure``, only say what that would be, as a Problem."""
    if not sure:
        there = [
            x for x in client.dead_replies()["dead_replies"] if wanted in (None, x["id"], x["thread_id"])
        ]
        _check_known(wanted, there)
        lost = sum(x["kind"] == "unreadable" for x in there)
        raise Problem(f"this deletes {lost} of {len(there)} for good; repeat it with --yes.", code=USAGE)
    answer = client.settle_replies("drop", wanted=wanted)
    gone, kept = answer["deleted"], answer["kept"]
    _check_known(wanted, [*gone, *kept])
    rest = f"; {len(kept)} kept, because they can be tried again" if kept else ""
    return Found(answer, [Text(f"{len(gone)} dropped{rest}"), *_more(answer)], _code(wanted, kept))


def _check_known(wanted: str | None, found: Sequence[Reply]) -> None:
    if wanted is not None and not found:
        raise Problem(
            f"no dead reply has the id {clean(wanted)}; `branchline redrive --replies` lists them.",
            code=USAGE,
        )


def _code(wanted: str | None, kept: Sequence[Reply]) -> int:
    return FAILED if wanted is not None and kept else 0


def _more(answer: Reply) -> list[Table | Text]:
    return [Text(_MORE)] if answer.get("more") else []


def _table(replies: Sequence[Reply]) -> Table:
    shown = Table(box=None, pad_edge=False)
    for name in ("id", "thread", "worker", "first rung", "looks", "what is wrong"):
        shown.add_column(name, overflow="fold")
    for reply in replies:
        said = f" It begins: {reply['body']}" if reply["body"] else ""
        cells = (
            reply["id"],
            reply["thread_id"] or "",
            reply["worker_id"] or "",
            str(reply["sent"] or "")[:_TIME],
            reply["receives"] or "",
            f"{reply['problem']}{said}",
        )
        shown.add_row(*(Text(clean(str(cell))) for cell in cells))
    return shown
