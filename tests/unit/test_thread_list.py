"""Pages of the list of threads: nothing is left out and nothing comes twice while nothing changes."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.messages import first_line
from contracts.records import ThreadRecord
from contracts.words import Frontend, ThreadId, WorkerId
from dispatcher.errors import Invalid
from dispatcher.thread_list import page
from dispatcher.thread_routes import checked_title

START = datetime(2026, 1, 1, tzinfo=UTC)


def row(thread: str, *, second: int) -> ThreadRecord:
    at = START + timedelta(seconds=second)
    return ThreadRecord(
        thread_id=ThreadId(thread),
        worker_id=WorkerId("w"),
        project="site",
        title=thread,
        frontend=Frontend.API,
        branch=f"thread-{thread}",
        created=at,
        updated=at,
    )


@given(
    st.dictionaries(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,5}", fullmatch=True), st.integers(0, 3)),
    st.integers(1, 4),
)
def test_pages_in_a_row_are_the_whole_list(updated: dict[str, int], limit: int) -> None:
    rows = [row(thread, second=second) for thread, second in updated.items()]
    whole, _ = page(rows, limit=None, before=None)
    pages: list[ThreadRecord] = []
    before = None
    for _ in range(len(rows) + 1):
        some, before = page(rows, limit=limit, before=before)
        assert len(some) <= limit
        pages += some
        if before is None:
            break
    assert pages == whole
    assert sorted(whole, key=lambda r: r.updated, reverse=True) == whole


@pytest.mark.parametrize("mark", ["", "x", "1", ".a", "-1.a", "1" * 30 + ".a", "\u0661.a"])
def test_a_mark_that_is_none_is_refused(mark: str) -> None:
    with pytest.raises(Invalid, match="before"):
        page([], limit=1, before=mark)


@pytest.mark.parametrize("title", ["", "  ", "a\nb", "a\x07b", "x" * 81, "\u200b", "a\u2028b"])
def test_a_title_that_is_none_is_refused(title: str) -> None:
    with pytest.raises(Invalid, match="title"):
        checked_title(title)


def test_a_title_is_kept_without_the_space_around_it() -> None:
    assert checked_title("  Blue, please \n") == "Blue, please"
    assert checked_title("x" * 80) == "x" * 80


def test_the_last_line_is_the_first_with_something_in_it_and_no_longer_than_160() -> None:
    assert first_line("\n \n  Make it blue. \nAnd green.") == "Make it blue."
    assert first_line("\n\t\n") == ""
    assert len(first_line("x" * 500)) == 160
