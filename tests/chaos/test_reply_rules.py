"""Each rule about replies holds on a good history and fails on one that breaks it."""

from typing import Any

from contracts.words import Frontend
from tests.chaos.history import Found
from tests.chaos.reply_history import Asked, Look, Post, Room, Told
from tests.chaos.reply_rules import judge
from tests.chaos.test_rules import event, posted

SLACK, GITHUB = "T/C/1.1", "me/site#1"


def looks(*texts: str, since: float = 0) -> tuple[Look, ...]:
    return tuple(Look(at=since + at, text=text) for at, text in enumerate(texts))


def asked(name: str, *, frontend: Frontend = Frontend.SLACK, address: str = SLACK) -> Asked:
    return Asked(message_id=name, frontend=frontend, address=address, marker=f"t1-{name}")


def living(name: str, *texts: str, since: float = 0) -> Post:
    return Post(key=f"living:{name}", looks=looks(*texts, since=since))


def done(name: str) -> str:
    return f":white_check_mark: Done\n[by 7] did t1-{name}\nthread-t · 3 s"


def section(name: str, *, head: str = "✅ Done", said: str | None = None) -> str:
    text = f"[by 7] did t1-{name}" if said is None else said
    return f"**{head}** · me: Please do t1-{name}. do: say [by {{pid}}] did t1-{name}\n\n{text}"


WORKING = ":hourglass_flowing_sand: Working · 3 s\nStop"
FOUND = Found(
    posted=(posted("a", 1), posted("b", 2), posted("x", 1, thread="g"), posted("y", 2, thread="g")),
    outcomes=dict.fromkeys("abxy", "completed"),
    events={
        "t": tuple(event(n, "turn.completed", m, text=f"[by 7] did t1-{m}") for n, m in enumerate("ab", 1)),
        "g": tuple(event(n, "turn.completed", m, text=f"[by 7] did t1-{m}") for n, m in enumerate("xy", 1)),
    },
)
STICKY = Post(
    key="sticky",
    looks=looks(
        section("x", head="▶️ Working", said=""),
        f"{section('x')}\n\n---\n\n{section('y', head='⏳ Waiting', said='')}",
        f"{section('x')}\n\n---\n\n{section('y')}",
    ),
)
CHAT = Room(
    frontend=Frontend.SLACK,
    address=SLACK,
    posts=(living("a", WORKING, done("a")), living("b", WORKING, done("b"), since=2)),
    eyes={"a": 1, "b": 1},
    beside=("There is nothing to stop here: everything that was asked has been answered.",),
)
ISSUE = Room(frontend=Frontend.GITHUB, address=GITHUB, posts=(STICKY,), eyes={"x": 1})
ASKED = (
    asked("a"),
    asked("b"),
    asked("x", frontend=Frontend.GITHUB, address=GITHUB),
    asked("y", frontend=Frontend.GITHUB, address=GITHUB),
)
TOLD = Told(asked=ASKED, rooms=(CHAT, ISSUE), pulls=("thread-t",))


def broken(*, found: Found = FOUND, pulls: tuple[str, ...] = (), **changes: Any) -> set[str]:
    """The rules (R1, R2 ...) that the chat breaks when it is changed like this."""
    told = TOLD.model_copy(update={"rooms": (CHAT.model_copy(update=changes), ISSUE), "pulls": pulls})
    return {name[:2] for name, lines in judge(found, told).items() if lines}


def broken_issue(*posts: Post) -> set[str]:
    told = TOLD.model_copy(update={"rooms": (CHAT, ISSUE.model_copy(update={"posts": posts}))})
    return {name[:2] for name, lines in judge(FOUND, told).items() if lines}


def sticky(*texts: str) -> Post:
    return Post(key="sticky", looks=looks(*texts))


def test_a_good_history_breaks_no_rule() -> None:
    assert broken() == set()


def test_a_message_without_an_end_breaks_the_first_rule() -> None:
    assert broken(posts=(living("a", done("a")),)) == {"R1"}
    assert broken_issue(sticky(section("x"))) == {"R1"}


def test_an_end_that_tells_another_outcome_breaks_the_first_rule() -> None:
    stopped = ":octagonal_sign: Stopped\n[by 7] did t1-b"
    assert broken(posts=(CHAT.posts[0], living("b", stopped, since=2))) == {"R1"}


def test_an_answer_that_stands_twice_breaks_the_first_rule() -> None:
    below = Post(key="answer:b:1", looks=looks("[by 7] did t1-b", since=4))
    assert broken(posts=(*CHAT.posts, below)) == {"R1"}
    assert broken_issue(sticky(f"{section('x')}\n\n---\n\n{section('y')}\n\n[by 7] did t1-y")) == {"R1"}


def test_an_end_without_its_answer_breaks_the_first_rule() -> None:
    below = ":white_check_mark: Done\nThe answer is below."
    assert broken(posts=(CHAT.posts[0], living("b", below, since=2))) == {"R1"}


def test_a_message_that_was_answered_with_another_says_so_in_slack() -> None:
    together = event(2, "turn.completed", "b", text="together", together_with="a")
    found = FOUND.model_copy(update={"events": FOUND.events | {"t": (FOUND.events["t"][0], together)}})
    passed_on = living("b", "Answered together with “Please do t1-a. do: say did t1-a”.", since=2)
    assert broken(found=found, posts=(CHAT.posts[0], passed_on)) == set()
    assert broken(found=found) == {"R1"}


def test_a_second_post_for_the_same_message_breaks_the_second_rule() -> None:
    again = living("b", WORKING, since=9)
    assert "R2" in broken(posts=(*CHAT.posts, again))
    assert "R2" in broken_issue(STICKY, STICKY)


def test_a_post_that_nobody_could_find_again_breaks_the_second_rule() -> None:
    assert broken(posts=(*CHAT.posts, Post(key="", looks=looks("hello")))) == {"R2"}


def test_two_threads_in_one_place_break_the_second_rule() -> None:
    parted = (FOUND.posted[0], posted("b", 2, thread="other"), *FOUND.posted[2:])
    assert broken(found=FOUND.model_copy(update={"posted": parted})) == {"R2"}


def test_two_open_pull_requests_of_a_branch_break_the_second_rule() -> None:
    assert broken(pulls=("thread-t", "thread-t")) == {"R2"}


def test_posts_in_another_order_break_the_third_rule() -> None:
    assert broken(posts=(living("b", done("b"), since=9), living("a", done("a")))) == {"R3"}
    assert broken_issue(sticky(f"{section('y')}\n\n---\n\n{section('x')}")) == {"R3"}


def test_answers_in_another_order_break_the_third_rule() -> None:
    early = f"{section('x', head='▶️ Working', said='')}\n\n---\n\n{section('y')}"
    assert broken_issue(sticky(early, *(look.text for look in STICKY.looks))) == {"R3"}


def test_a_place_that_still_says_working_breaks_the_fourth_rule() -> None:
    assert "R4" in broken(posts=(CHAT.posts[0], living("b", done("b"), WORKING, since=2)))
    assert "R4" in broken_issue(sticky(section("x"), section("x", head="▶️ Working")))


def test_a_button_that_stops_what_has_ended_breaks_the_fourth_rule() -> None:
    assert broken(posts=(CHAT.posts[0], living("b", f"{done('b')}\nStop", since=2))) == {"R4"}


def test_a_second_pair_of_eyes_breaks_the_fourth_rule() -> None:
    assert broken(eyes={"a": 2}) == {"R4"}


def test_words_beside_the_replies_break_the_fourth_rule() -> None:
    assert broken(beside=("You may not write here.",)) == {"R4"}
