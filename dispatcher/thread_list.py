"""A page of the list of threads: which rows, and where the next page begins. Pure: no I/O."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from contracts.records import ThreadRecord
from dispatcher.errors import Invalid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _At(NamedTuple):
    """A row's place in the list, newest news last: microseconds since 1970, then the id."""

    updated: int
    thread_id: str


def page(
    rows: Iterable[ThreadRecord], *, limit: int | None, before: str | None
) -> tuple[list[ThreadRecord], str | None]:
    """The rows behind ``before`` (the mark of an earlier page), newest news first, at most ``limit``; and the
    mark of the next page, if there is one. A thread with news since is on the first page again.

    Raises Invalid for a mark that is none.
    """
    mark = _read(before) if before is not None else None
    placed = sorted(((_at(row), row) for row in rows), key=lambda pair: pair[0], reverse=True)
    rest = [(at, row) for at, row in placed if mark is None or at < mark]
    shown = rest if limit is None else rest[:limit]
    more = len(shown) < len(rest)
    return [row for _, row in shown], _write(shown[-1][0]) if more else None


def _at(row: ThreadRecord) -> _At:
    return _At((row.updated - _EPOCH) // _MICROSECOND, row.thread_id)


def _write(at: _At) -> str:
    return f"{at.updated}.{at.thread_id}"


def _read(mark: str) -> _At:
    number, dot, thread_id = mark.partition(".")
    if not (dot and thread_id and number.isascii() and number.isdigit() and len(number) <= 18):
        raise Invalid('"before" must be the "next" of an earlier page.', code="invalid_parameter")
    return _At(int(number), thread_id)
