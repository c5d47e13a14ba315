"""Two lines become one: nothing that was ended is lost or stands twice, and people are not overruled."""

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.words import MessageId
from worker.lines import Lines, Step, grouped


def ids(*names: str) -> frozenset[MessageId]:
    return frozenset(map(MessageId, names))


def ended(sha: str, *names: str, at: int = 0) -> Step:
    return Step(sha=sha, at=at, ended=ids(*names))


def paused(sha: str, name: str = "", *, at: int = 0) -> Step:
    return Step(sha=sha, at=at, worked=ids(name) if name else frozenset())


def shas(plan) -> list[str]:
    return [each.step.sha for each in plan.carried]


def test_what_was_done_again_there_stays_there():
    plan = Lines(here=[paused("h1", "m1"), ended("h2", "m1")], there=[ended("t1", "m1")]).plan()
    assert (plan.merged, plan.carried) == (None, ())


def test_finished_work_goes_on_top_of_a_checkpoint_of_the_same_message_and_wins():
    plan = Lines(here=[ended("h1", "m1", at=1)], there=[paused("t1", "m1", at=2)]).plan()
    assert (plan.merged, shas(plan), plan.onto, plan.ours_win) == (None, ["h1"], None, True)


def test_work_under_way_goes_on_top_of_what_was_ended_and_wins():
    plan = Lines(here=[paused("h1", "m2", at=1)], there=[ended("t1", "m1", at=2)]).plan()
    assert (plan.merged, shas(plan), plan.onto, plan.ours_win) == (None, ["h1"], None, True)


def test_what_is_left_of_a_message_with_an_outcome_goes_on_top_and_yields():
    here, there = [paused("h1", "m1", at=9)], [ended("t1", "m2", at=2)]
    left = Lines(here=here, there=there, open=ids("m3")).plan()
    assert ([each.yields for each in left.carried], left.ours_win) == ([True], False)
    under_way = Lines(here=here, there=there, open=ids("m1")).plan()
    assert ([each.yields for each in under_way.carried], under_way.ours_win) == ([False], True)


def test_what_is_left_behind_finished_work_does_not_make_that_win():
    here = [ended("h1", "m1", at=1), paused("h2", "m2", at=9)]
    plan = Lines(here=here, there=[ended("t1", "m3", at=3)], open=ids("m4")).plan()
    assert (plan.merged, plan.ours_win) == ("h2", False)


def test_an_old_message_that_was_never_pushed_is_merged_as_it_is_and_loses_to_later_ones():
    plan = Lines(
        here=[ended("h1", "m1", at=1)], there=[ended("t1", "m2", at=2), ended("t2", "m3", at=3)]
    ).plan()
    assert (plan.merged, plan.carried, plan.ours_win) == ("h1", (), False)


def test_a_later_message_wins_over_an_earlier_one_that_reached_the_remote_first():
    plan = Lines(here=[ended("h1", "m2", at=2)], there=[ended("t1", "m1", at=1)]).plan()
    assert (plan.merged, plan.ours_win) == ("h1", True)


def test_what_stood_on_work_that_was_done_again_stands_on_that_instead():
    here = [ended("h0", "m0"), ended("h1", "m1"), ended("h2", "m2", at=2)]
    plan = Lines(here=here, there=[ended("t1", "m1"), ended("t3", "m3", at=3)]).plan()
    assert (plan.merged, shas(plan), plan.onto, plan.ours_win) == ("h0", ["h2"], "t1", False)


def test_a_commit_of_two_messages_keeps_the_evidence_of_the_one_that_was_not_done_again():
    plan = Lines(here=[ended("h1", "m1", "m2")], there=[ended("t1", "m1")]).plan()
    assert [(each.step.sha, each.forget) for each in plan.carried] == [("h1", ids("m1"))]
    assert plan.onto == "t1"


def test_commits_of_claude_go_with_the_commit_that_names_their_message():
    here = [paused("c1"), ended("h1", "m1"), paused("c2"), paused("h2", "m2")]
    assert shas(Lines(here=here, there=[ended("t1", "m1")]).plan()) == ["c2", "h2"]


def test_there_is_no_plan_where_a_person_has_committed_unless_nothing_is_left_to_carry():
    person = Step(sha="p", own=False)
    assert Lines(here=[ended("h1", "m2")], there=[ended("t1", "m1"), person]).plan() is None
    assert Lines(here=[ended("h1", "m1")], there=[ended("t1", "m1"), person]).plan() is not None
    assert Lines(here=[ended("h1", "m1")], there=[person]).plan() is None


def test_a_merge_of_claudes_is_not_taken_apart_and_one_of_our_own_is_made_anew():
    merge = Step(sha="h2", merge=True, ended=ids("m2"))
    there = [ended("t1", "m1")]
    assert Lines(here=[ended("h1", "m1"), merge], there=there).plan() is None
    assert Lines(here=[merge], there=there).plan().merged == "h2"
    join = Step(sha="j", merge=True, join=True)
    assert shas(Lines(here=[ended("h1", "m1"), join, ended("h2", "m2")], there=there).plan()) == ["h2"]


def test_a_line_that_was_joined_here_is_not_cut_where_its_other_half_would_be_lost():
    here = [
        Step(sha="a", parents=("base",), ended=ids("m1")),
        Step(sha="b", parents=("base",), ended=ids("m2")),
        Step(sha="c", parents=("b",), ended=ids("m3")),
        Step(sha="j", parents=("c", "a"), merge=True, join=True),
    ]
    assert Lines(here=here, there=[ended("t1", "m3"), ended("t2", "m4")]).plan() is None
    assert Lines(here=here, there=[ended("t2", "m4")]).plan().merged == "j"


def test_where_a_person_has_a_part_in_ours_no_side_may_win():
    person = Step(sha="p", own=False)
    assert Lines(here=[person, ended("h1", "m1")], there=[ended("t1", "m2")]).plan().clean
    assert not Lines(here=[ended("h1", "m1")], there=[ended("t1", "m2")]).plan().clean


MESSAGES = st.sampled_from([MessageId(f"m{n}") for n in range(5)])
KINDS = st.tuples(st.sampled_from(["end", "pause", "free"]), st.frozensets(MESSAGES, min_size=1, max_size=2))


@st.composite
def lines(draw, side: str) -> list[Step]:
    """A line in which each message ends at most once."""
    told: set[MessageId] = set()
    line = []
    for number, (kind, names) in enumerate(draw(st.lists(KINDS, max_size=6))):
        fresh = frozenset(names - told)
        told |= fresh if kind == "end" else set()
        line.append(
            Step(
                sha=f"{side}{number}",
                at=draw(st.integers(0, 9)),
                ended=fresh if kind == "end" else frozenset(),
                worked=frozenset([min(names)]) if kind == "pause" else frozenset(),
            )
        )
    return line


@settings(max_examples=500)
@given(lines("h"), lines("t"))
def test_every_ending_stands_once_and_unfinished_work_of_other_messages_is_kept(here, there):
    plan = Lines(here=here, there=there).plan()
    assert plan is not None
    done = frozenset().union(*(step.ended for step in there))
    cut = next((n + 1 for n, step in enumerate(here) if step.sha == plan.merged), 0)
    carried = {each.step.sha: each for each in plan.carried}
    proved = [m for step in there for m in step.ended] + [m for step in here[:cut] for m in step.ended]
    proved += [m for each in plan.carried for m in each.step.ended - each.forget]
    assert sorted(proved) == sorted(done.union(*(step.ended for step in here)))
    for group in grouped(here):
        again = bool(group.named) and group.named <= done
        stays = [step for step in group.steps if step in here[:cut] or step.sha in carried]
        assert stays == ([] if again else list(group.steps))
    if plan.onto is not None:
        assert plan.carried
        assert plan.onto in {step.sha for step in there}
