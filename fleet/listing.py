"""Threads for the terminal: one line each, and the places outside in which nothing can be posted.

Titles, addresses and reasons may hold anything; control characters are taken out here. Writes nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from fleet.render import clean

_CELL = {"thread_id": 100, "state": 20, "project": 40, "updated": len("2026-11-20T06:25:19")}

Plain = Mapping[str, Any]


def table(listed: Sequence[Plain]) -> Table:
    """The threads as the API lists them."""
    shown = Table("thread", "state", "project", "updated", "cost", box=None, pad_edge=False)
    shown.add_column("title", no_wrap=True)
    for thread in listed:
        cost = float(thread.get("cost_usd") or 0)
        names = ("thread_id", "state", "project", "updated")
        cells = [clean(str(thread.get(name, "")))[: _CELL[name]] for name in names]
        shown.add_row(*map(Text, cells), f"${cost:.4f}", Text(clean(str(thread.get("title", "")))))
    return shown


def with_places(listed: Sequence[Plain], places: Sequence[Plain]) -> list[dict[str, Any]]:
    """Each thread with its ``undeliverable`` places."""
    names = ("frontend", "address", "problem")
    return [
        {
            **row,
            "undeliverable": [{n: p[n] for n in names} for p in places if p["thread_id"] == row["thread_id"]],
        }
        for row in listed
    ]


def undeliverable(places: Sequence[Plain]) -> list[Text]:
    """Lines on the places in which nothing can be posted, with what to do; none if there is none."""
    if not places:
        return []
    lines = [Text("\nNothing can be posted in these places:", style="yellow")]
    lines += [
        Text(clean(f"  {p['frontend']} {p['address']} (thread {p['thread_id']}): {p['problem']}"))
        for p in places
    ]
    return [*lines, Text("Once that is mended: branchline redrive --replies --all")]
