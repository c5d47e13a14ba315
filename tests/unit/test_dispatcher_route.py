"""Routing, ids and texts: pure decisions, so they are asked about many inputs."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import names
from contracts.config import ProjectConfig
from contracts.messages import TEXT_LIMIT
from dispatcher import route
from dispatcher.errors import Invalid, NotFound, TooLarge
from dispatcher.ingest import new_thread_id
from dispatcher.parts import TITLE_LIMIT, title

SITE = ProjectConfig(repo="a.git")
SHOP = ProjectConfig(client="acme", repo="b.git", trusted=True)
PROJECTS = {"site": SITE, "shop": SHOP}


@given(st.text(max_size=150))
def test_an_id_is_refused_with_one_short_sentence_or_safe_to_use(text: str) -> None:
    if not names.is_id(text):
        with pytest.raises(Invalid) as refused:
            route.check_id(text, what="thread_id")
        assert len(str(refused.value)) < 600
        assert str(refused.value).isprintable()
    else:
        route.check_id(text, what="thread_id")
        assert text.isascii()
        assert not set(text) & set("/\\ #%$()\0\n")
        assert text[0].isalnum()


@pytest.mark.parametrize(
    "text", ["", " ", "../x", "-x", "$(id)", "a b", "a/b", "a#b", "x" * 101, "x" * 10_000, "a\n"]
)
def test_an_unsafe_id_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        route.check_id(text, what="message_id")


def test_a_made_thread_id_is_usable_and_keeps_its_spelling_as_a_branch() -> None:
    made = {new_thread_id() for _ in range(500)}
    assert len(made) == 500
    for thread_id in made:
        route.check_id(thread_id, what="thread_id")
        assert len(thread_id) == 10
        assert thread_id[0].isalpha()
        assert names.branch(thread_id) == f"thread-{thread_id}"


@given(st.text())
def test_a_text_is_refused_exactly_when_it_is_blank_or_holds_a_nul(text: str) -> None:
    seen = [c for c in text if not c.isspace() and unicodedata.category(c) != "Cf"]
    usable = bool(seen) and "\0" not in text
    if usable:
        route.check_text(text)
    else:
        with pytest.raises(Invalid):
            route.check_text(text)


@pytest.mark.parametrize("character", ["a", "é", "😀", "\x01"])
def test_the_limit_of_a_text_is_counted_in_bytes(character: str) -> None:
    most = TEXT_LIMIT // len(character.encode())
    route.check_text("b" * (TEXT_LIMIT - 1) if character == "\x01" else character * most)
    with pytest.raises(TooLarge, match="256 KB"):
        route.check_text(character * (most + 1))


@given(st.text(max_size=300))
def test_a_title_is_one_short_line(text: str) -> None:
    made = title(text)
    assert len(made) <= TITLE_LIMIT
    assert len(made.splitlines()) <= 1
    assert bool(made) == bool(text.strip())


def test_a_title_is_the_first_line_with_something_in_it() -> None:
    assert title("\n\n  Make it blue \nand more") == "Make it blue"
    assert title("x" * 200) == "x" * (TITLE_LIMIT - 1) + "…"


def test_a_request_without_a_project_goes_to_the_default_one() -> None:
    assert route.choose_project(PROJECTS, asked=None, default="shop") == "shop"
    assert route.choose_project(PROJECTS, asked="site", default="shop") == "site"


def test_an_unknown_project_is_answered_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match="shop, site"):
        route.choose_project(PROJECTS, asked="nope", default=None)
    with pytest.raises(Invalid, match="shop, site"):
        route.choose_project(PROJECTS, asked=None, default=None)
    with pytest.raises(NotFound, match="BRANCHLINE_REPO"):
        route.choose_project({}, asked=None, default="site")


def test_a_worker_row_says_what_the_configuration_says() -> None:
    row = route.worker_of(name="shop", project=SHOP, user="ada-l")
    assert row.worker_id == "acme-shop-ada_2dl"
    assert (row.repo, row.trusted, row.state, row.epoch) == ("b.git", True, "cold", 0)


def test_a_row_is_brought_up_to_date_only_for_a_project_that_is_still_configured() -> None:
    row = route.worker_of(name="shop", project=SHOP, user="ada").model_copy(update={"repo": "old.git"})
    assert (now := route.configured(row, PROJECTS)) is not None
    assert now.repo == "b.git"
    assert route.configured(row, {"site": SITE}) is None
    assert route.configured(row, {"shop": SITE}) is None


names_ = st.text(min_size=1, max_size=20)


@given(st.lists(st.tuples(names_, names_, names_), min_size=2, max_size=2, unique=True))
def test_two_pairs_of_user_and_project_never_share_a_worker(pairs: list[tuple[str, str, str]]) -> None:
    ids = {
        route.worker_of(name=p, project=ProjectConfig(client=c, repo="r"), user=u).worker_id
        for c, p, u in pairs
    }
    assert len(ids) == 2
