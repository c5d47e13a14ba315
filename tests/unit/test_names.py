"""Names from ids: injective and safe, for a hundred thousand inputs and for the nasty ones we know."""

import random
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import names
from contracts.words import ClientId, ProjectId, ThreadId, UserId, WorkerId

NASTY = [
    "", ".", "..", "../x", "-x", "--", "$(id)", "@", "@{", "HEAD", "a.lock", "a..b", "a/b", "a\\b", "A", "a",
    "a-b", "a_b", "a b", "a\nb", "a\0b", "é", "e\u0301", "\u202e", "a~1", "a^", "a:b", "a?", "a*", "a[",
    "x" * 10_000,
    "x" * 63, "x" * 64, "x" * 65, "thread-a", "a--b", "a.", ".a", "con", "NUL", "\ud800", "1700000000.123456",
]  # fmt: skip
ALPHABET = string.ascii_lowercase + "AB01-_./\\$@{}~^:?*[ \n\u00e9\u202e"


def many_ids() -> list[str]:
    """A hundred thousand different ids, short ones in numbers, where collisions would hide."""
    chance = random.Random(4321)
    ids = set(NASTY)
    while len(ids) < 100_000:
        ids.add("".join(chance.choices(ALPHABET, k=chance.choice([1, 2, 3, 4, 8, 30, 70]))))
    return sorted(ids)


IDS = many_ids()


def ids_to(name: object) -> list[str]:
    assert callable(name)
    return [name(i) for i in IDS]


def test_branches_are_different_even_where_file_names_ignore_case() -> None:
    assert len({b.lower() for b in ids_to(names.branch)}) == len(IDS)


def test_a_plain_id_keeps_its_spelling() -> None:
    assert names.branch(ThreadId("headline-2")) == "thread-headline-2"
    assert names.branch(ThreadId("1700000000.123456")) == "thread-1700000000.123456"
    worker = names.worker_id(client=ClientId("local"), project=ProjectId("site"), user=UserId("ann"))
    assert worker == "local-site-ann"
    assert names.queue(worker) == "branchline-local-site-ann"


def test_worker_ids_tell_their_three_parts_apart() -> None:
    some = [i for i in IDS if i][:: len(IDS) // 300]
    seen = {
        names.worker_id(client=ClientId(a), project=ProjectId(b), user=UserId("u"))
        for a in some
        for b in some
    }
    assert len(seen) == len(some) ** 2
    assert all(w.count("-") == 2 for w in seen)


def test_queue_names_are_different_and_within_the_limits_of_sqs() -> None:
    workers = [
        names.worker_id(client=ClientId(i), project=ProjectId("p"), user=UserId("u")) for i in IDS if i
    ]
    queues = [names.queue(w) for w in workers] + [names.dead_letters(w) for w in workers]
    assert len(set(queues)) == len(queues)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,80}", q) for q in queues)


def test_an_empty_part_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        names.worker_id(client=ClientId(""), project=ProjectId("p"), user=UserId("u"))


def test_sessions_and_turns_are_different() -> None:
    worker = WorkerId("local-site-local")
    assert len({names.session(worker=worker, thread_id=ThreadId(i)) for i in IDS if i.isprintable()}) == sum(
        i.isprintable() for i in IDS
    )
    turns = {names.turn(worker=worker, thread_id=ThreadId(t), sequence=n) for t in "abc" for n in range(50)}
    assert len(turns) == 150


@given(st.text(max_size=200), st.text(max_size=200))
def test_two_ids_never_share_a_branch(one: str, other: str) -> None:
    assert (names.branch(ThreadId(one)) == names.branch(ThreadId(other))) == (one == other)


@pytest.mark.parametrize("good", ["a", "T1", "1700000000.123456", "a_b-c:d@e+f=", "x" * 100])
def test_ids_that_the_api_takes(good: str) -> None:
    assert names.is_id(good)


@pytest.mark.parametrize(
    "people", ["feature", "ada/blue-headline", "release-1.2", "größer", "a@b", "threads"]
)
def test_work_may_go_onto_a_branch_of_people(people: str) -> None:
    assert names.onto(people) == people


@pytest.mark.parametrize(
    "other",
    [
        "", "HEAD", "@", "thread-a", "conflict-1/thread-a", "-x", "/x", "x/", ".x", "a/.x", "a.lock",
        "a.lock/b", "a..b", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "a@{1}", "a//b", "a`b",
        "a.", "a\nb", "a\x7f", "\u202ea", "x" * 201, "\ud800",
    ],
)  # fmt: skip
def test_work_never_goes_onto_a_branch_of_ours_or_onto_what_is_none(other: str) -> None:
    assert names.onto(other) is None


def test_a_branch_tells_its_thread_when_the_id_is_plain() -> None:
    assert names.thread_of("thread-issue-42-k3x9m2aq") == "issue-42-k3x9m2aq"
    for branch in ("feature", "thread-", "thread-A", "thread-a--b", "conflict-1/thread-a", "thread-../x"):
        assert names.thread_of(branch) is None
