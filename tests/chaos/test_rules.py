"""Each rule of the chaos bench holds on a good history and fails on one that breaks it."""

from pathlib import Path
from typing import Any

import pytest

from contracts.words import Mode
from tests.chaos.collect import raised
from tests.chaos.history import Found, Posted, Seen
from tests.chaos.rules import judge


def event(number: int, type_: str, message: str | None = None, **data: Any) -> dict[str, Any]:
    return {"id": number, "thread_id": "t", "type": type_, "message_id": message, "data": data}


def posted(name: str, sequence: int, *, mode: Mode = Mode.QUEUE, thread: str = "t") -> Posted:
    return Posted(
        message_id=name,
        thread_id=thread,
        worker="w",
        mode=mode,
        sequence=sequence,
        files={f"m/{name}.txt": name},
    )


def commit(sha: str, *messages: str, by: int = 11, branch: str = "thread-t") -> Seen:
    return Seen(sha=sha, branch=branch, messages=messages, by=by)


def chained(*commits: Seen) -> tuple[Seen, ...]:
    """The commits one on top of the other, branch by branch, but for those that name their parents."""
    last: dict[str, str] = {}
    line = []
    for each in commits:
        under = (last[each.branch],) if each.branch in last else ()
        line.append(each.model_copy(update={"parents": each.parents or under}))
        last[each.branch] = each.sha
    return tuple(line)


LOG = (
    event(1, "message.received", "a"),
    event(2, "message.received", "b"),
    event(3, "worker.ready", epoch=1),
    event(4, "turn.text", "a", text="[by 1"),
    event(5, "turn.text", "a", text="1] done"),
    event(6, "turn.completed", "a", text="done"),
    event(7, "worker.ready", epoch=2),
    event(8, "turn.text", "b", text="[by 22] done"),
    event(9, "turn.completed", "b", text="done"),
)
GOOD = Found(
    posted=(posted("a", 1), posted("b", 2)),
    outcomes={"a": "completed", "b": "completed"},
    events={"t": LOG},
    commits={"t": chained(commit("1", "a"), commit("2", "b", by=22))},
    trees={"t": {"m/a.txt": "a", "m/b.txt": "b", "README.md": "x"}},
    epochs={"w": ((1, "x"), (1, "x"), (2, "y"))},
    births={11: 1, 22: 2},
    stops=(),
)


def broken(**changes: Any) -> set[str]:
    """The rules (V1, V2 ...) that a changed history breaks."""
    if commits := changes.get("commits"):
        changes["commits"] = {thread: chained(*line) for thread, line in commits.items()}
    return {name[:2] for name, lines in judge(GOOD.model_copy(update=changes)).items() if lines}


def log(*changes: tuple[int, dict[str, Any]]) -> dict[str, tuple[dict[str, Any], ...]]:
    """The good log with some entries replaced, by number."""
    events = list(LOG)
    for number, entry in changes:
        events[number - 1] = entry
    return {"t": tuple(events)}


def test_a_good_history_breaks_no_rule() -> None:
    assert broken() == set()


def test_a_message_without_an_outcome_breaks_the_first_rule() -> None:
    assert "V1" in broken(outcomes={"a": "completed", "b": None})


def test_a_lost_final_event_breaks_the_first_rule() -> None:
    assert broken(events={"t": LOG[:-1]}) == {"V1"}


def test_a_second_final_event_breaks_the_first_rule() -> None:
    twice = (*LOG, event(10, "turn.completed", "b", text="done"))
    assert broken(events={"t": twice}) == {"V1"}


def test_a_final_event_that_contradicts_the_record_breaks_the_first_rule() -> None:
    untrue = event(9, "turn.failed", "b", text="Given up: the worker died")
    assert broken(events=log((9, untrue))) == {"V1", "V6"}


def test_a_message_received_twice_breaks_the_first_rule() -> None:
    assert broken(events={"t": (*LOG, event(10, "message.received", "b"))}) == {"V1"}


def test_a_double_commit_breaks_the_second_rule() -> None:
    twice = (commit("1", "a"), commit("2", "b", by=22), commit("3", "b", by=22, branch="conflict-1/thread-t"))
    assert broken(commits={"t": twice}) == {"V2"}


def test_a_missing_commit_breaks_the_second_rule() -> None:
    assert broken(commits={"t": (commit("1", "a"),)}) == {"V2"}


def test_steered_work_without_a_commit_is_excused_only_by_a_checkpoint_that_may_hold_it() -> None:
    steered = (posted("a", 1), posted("b", 2, mode=Mode.STEER))
    kept = Seen(sha="2", branch="thread-t", checkpoint=True)
    without, with_it = {"t": (commit("1", "a"),)}, {"t": (commit("1", "a"), kept)}
    assert broken(posted=steered, commits=with_it) == set()
    assert "V2" in broken(posted=steered, commits=without)
    assert "V2" in broken(posted=steered, commits=with_it, trees={"t": {"m/a.txt": "a"}})
    assert "V2" in broken(commits=with_it), "a message that waits its turn is never excused"


def test_a_commit_in_another_thread_breaks_the_second_rule() -> None:
    both = {**GOOD.commits, "u": (commit("2", "b", by=22, branch="thread-u"),)}
    assert broken(commits=both) == {"V2"}


def test_commits_out_of_order_break_the_second_rule() -> None:
    assert broken(commits={"t": (commit("2", "b", by=22), commit("1", "a", by=22))}) == {"V2"}


def test_commits_side_by_side_are_in_order_only_where_a_merge_of_two_disks_joins_them() -> None:
    root = Seen(sha="0", branch="thread-t")
    beside = Seen(sha="1", branch="thread-t", messages=("a",), by=11, parents=("0",))
    other = Seen(sha="2", branch="thread-t", messages=("b",), by=22, parents=("0",))
    merge = Seen(sha="3", branch="thread-t", parents=("2", "1"))
    joined = merge.model_copy(update={"joined": True})
    assert broken(commits={"t": (root, other, beside, joined)}) == set()
    assert broken(commits={"t": (root, beside, other, merge)}) == {"V2"}


def test_an_earlier_epoch_on_top_of_a_later_one_is_stale_unless_it_was_carried_over_by_its_successor() -> (
    None
):
    later, earlier = commit("1", "a", by=22), commit("2", "b", by=11)
    carried = earlier.model_copy(update={"carried": True})
    assert broken(commits={"t": (later, earlier)}) == {"V3"}
    assert broken(commits={"t": (later, carried)}) == set()


def test_a_message_that_interrupts_may_come_before_one_that_waits() -> None:
    urgent = (posted("a", 1), posted("b", 2, mode=Mode.INTERRUPT))
    assert broken(posted=urgent, commits={"t": (commit("2", "b", by=11), commit("1", "a"))}) == set()


def test_two_messages_in_one_commit_are_fine() -> None:
    assert broken(commits={"t": (commit("2", "a", "b", by=22),)}) == set()


def test_a_gap_in_a_log_breaks_the_third_rule() -> None:
    assert broken(events={"t": (*LOG, event(11, "worker.ready", epoch=2))}) == {"V3"}


def test_text_of_a_worker_whose_successor_is_ready_breaks_the_third_rule() -> None:
    assert broken(events=log((8, event(8, "turn.text", "b", text="[by 11] late")))) == {"V3"}


def test_a_commit_by_an_earlier_owner_on_top_breaks_the_third_rule() -> None:
    assert broken(commits={"t": (commit("1", "a", by=22), commit("2", "b", by=11))}) == {"V3"}


def test_a_falling_epoch_on_the_remote_breaks_the_third_rule() -> None:
    assert broken(epochs={"w": ((2, "y"), (1, "x"))}) == {"V3"}


def test_two_owners_of_one_epoch_break_the_third_rule() -> None:
    assert broken(epochs={"w": ((1, "x"), (1, "z"))}) == {"V3"}


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param({"m/a.txt": "a"}, id="lost"),
        pytest.param({"m/a.txt": "a", "m/b.txt": "torn"}, id="torn"),
        pytest.param({"m/a.txt": "a", "m/b.txt": "b", "m/c.txt": "c"}, id="foreign"),
    ],
)
def test_a_file_that_is_not_where_it_belongs_breaks_the_fourth_rule(tree: dict[str, str]) -> None:
    assert broken(trees={"t": tree}) == {"V4"}


def test_answers_out_of_order_break_the_second_rule_also_where_nothing_was_changed() -> None:
    talk = tuple(m.model_copy(update={"files": {}}) for m in (posted("a", 2), posted("b", 1)))
    nothing: dict[str, Any] = {"commits": {"t": ()}, "trees": {"t": {}}}
    assert broken(posted=talk, **nothing) == {"V2"}
    urgent = (talk[0].model_copy(update={"mode": Mode.INTERRUPT}), talk[1])
    assert broken(posted=urgent, **nothing) == set()


@pytest.mark.parametrize("path", ["m/a.txt", "/workspace/chaos/p/m/a.txt"])
def test_what_a_stopped_turn_wrote_is_lost_only_when_the_turn_died_before_its_end(path: str) -> None:
    begun = event(0, "turn.started", "a")
    wrote = event(
        0, "turn.tool", "a", name="Write", state="succeeded", input={"file_path": path, "content": "a"}
    )
    ended = event(0, "turn.stopped", "a", text="Stopped.", duration_ms=1)
    later = event(0, "turn.stopped", "a", text="Stopped while it was paused.")
    assert stopped(begun, wrote, ended) == {"V4"}
    assert stopped(begun, wrote, ended, tree={"m/a.txt": "a"}) == set()
    assert stopped(begun, wrote, ended, tree={"m/a.txt": "torn"}) == {"V4"}
    assert stopped(begun, wrote, later) == set()
    assert stopped(begun, wrote, event(0, "turn.resumed", "a"), ended) == set()


def stopped(*events: dict[str, Any], tree: dict[str, str] | None = None) -> set[str]:
    """The rules that are broken when these events, and b's, are all that became of a."""
    line = (*LOG[:3], *events, *LOG[6:])
    numbered = tuple({**each, "id": number} for number, each in enumerate(line, 1))
    return broken(
        outcomes={"a": "stopped", "b": "completed"},
        events={"t": numbered},
        commits={"t": (commit("2", "b", by=22),)},
        trees={"t": {"m/b.txt": "b", **(tree or {})}},
        stops=("t",),
    )


def test_a_leftover_breaks_the_fifth_rule() -> None:
    assert broken(leftovers=("process 1: sleep",)) == {"V5"}


@pytest.mark.parametrize(
    "text", ["Something went wrong inside the worker; its log says what.", "Claude Code ended unexpectedly."]
)
def test_a_turn_that_failed_through_our_own_fault_breaks_the_sixth_rule(text: str) -> None:
    assert failing(text) == {"V6"}


def test_a_turn_that_broke_at_a_failpoint_is_excused() -> None:
    assert failing("Something went wrong inside the worker; its log says what.", raises=1) == set()


def test_only_failpoints_that_raised_are_an_excuse(tmp_path: Path) -> None:
    (tmp_path / "p0-0001.log").write_text('{"exception": "contracts.faults.FaultRaised: pushed"}\n' * 2)
    (tmp_path / "p0-0002.log").write_text('{"action": "worker_ready"}\n')
    (tmp_path / "dispatcher-8080.log").write_text("FaultRaised: dispatcher_sent\n")
    assert raised(tmp_path) == 1


GIVEN_UP = "Given up: the worker died 3 times while it worked on this message."


def test_a_message_is_given_up_only_when_three_of_its_turns_were_never_ended() -> None:
    begun, again = event(0, "turn.started", "b"), event(0, "turn.resumed", "b")
    paused = event(0, "turn.interrupted", "b", reason="preempted")
    waits = event(0, "turn.interrupted", "b", reason="lease_lost")
    assert failing(GIVEN_UP, before=(begun, again, again)) == set()
    assert failing(GIVEN_UP, before=(begun, again, waits, again)) == set(), "a wait pauses no turn"
    assert failing(GIVEN_UP) == {"V6"}
    assert failing(GIVEN_UP, before=(begun, again)) == {"V6"}
    assert failing(GIVEN_UP, before=(begun, again, paused, again)) == {"V6"}


def failing(text: str, *, before: tuple[dict[str, Any], ...] = (), **more: Any) -> set[str]:
    """The rules that are broken when b fails with this text after these events."""
    line = (*LOG[:-1], *before, event(9, "turn.failed", "b", text=text))
    numbered = tuple({**each, "id": number} for number, each in enumerate(line, 1))
    return broken(outcomes={"a": "completed", "b": "failed"}, events={"t": numbered}, **more)


def test_a_message_that_nobody_asked_to_stop_is_not_stopped() -> None:
    stopped = {
        "outcomes": {"a": "stopped", "b": "completed"},
        "events": log((6, event(6, "turn.stopped", "a", text="Stopped."))),
    }
    assert broken(**stopped) == {"V6"}
    assert broken(**stopped, stops=("u",)) == {"V6"}
    assert broken(**stopped, stops=("t",)) == set()
    assert broken(**stopped, posted=(posted("a", 1), posted("b", 2, mode=Mode.INTERRUPT))) == set()
    assert broken(**stopped, posted=(posted("a", 2), posted("b", 1, mode=Mode.INTERRUPT))) == {"V6"}
    assert broken(**stopped, stops=None) == set(), "a history that does not say who was asked"


def test_a_message_that_is_rejected_breaks_the_sixth_rule() -> None:
    events = log((9, event(9, "turn.rejected", "b", text="No.")))
    assert broken(outcomes={"a": "completed", "b": "rejected"}, events=events) == {"V6"}


def test_a_run_in_which_nothing_was_completed_proves_nothing() -> None:
    empty = {name: {} for name in ("outcomes", "events", "commits", "trees", "epochs", "births")}
    assert broken(posted=(), **empty) == {"V6"}


def test_a_note_of_an_actor_breaks_the_sixth_rule() -> None:
    assert broken(notes=("answered with another sequence",)) == {"V6"}
