"""What the warm pool decides: which slot a worker gets, and what becomes of each slot, whatever ECS shows."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import pool
from contracts.pool import Slot
from contracts.words import WorkerId
from contracts.worker_policy import Account, policy, slot_policy
from dispatcher.pool_rules import (
    BECOMES_SECONDS,
    OLDEST_START_SECONDS,
    STUCK_SECONDS,
    UNSEEN_SECONDS,
    Plan,
    SlotRecord,
    candidates,
    is_alive,
    plan,
)

NOW = 1_000_000.0
OLD, NEW = "task-definition/w:1", "task-definition/w:2"
STATES = ("made", "free", "claimed", "worker", "retired")
HERE = Account(id="123456789012", region="eu-central-1", table="branchline", replies="branchline-replies")
Tasks = dict[str, dict[str, Any]]


def slot(number: int, *, state: str = "free", ago: float = 100.0, **more: Any) -> SlotRecord:
    plain = {"slot": f"slot_{number:016x}", "state": state, "since": NOW - ago, **more}
    if state != "made":
        plain.setdefault("task", f"t{number}")
    if state in ("claimed", "worker"):
        plain.setdefault("worker", f"a-b-{number}")
    return SlotRecord.model_validate(plain)


def task(status: str = "RUNNING", *, revision: str = NEW, **more: str) -> dict[str, Any]:
    wanted = "STOPPED" if status in ("STOPPING", "DEPROVISIONING", "STOPPED") else "RUNNING"
    return {"lastStatus": status, "desiredStatus": wanted, "taskDefinitionArn": revision, **more}


def planned(slots: list[SlotRecord], tasks: Tasks, *, wanted: int = 1, **more: Any) -> Plan:
    return plan(slots, tasks, **{"wanted": wanted, "revision": NEW, "epochs": {}, "now": NOW, **more})


def named(slots: Any) -> list[int]:
    return [int(s.slot.removeprefix("slot_"), 16) for s in slots]


# ---------------------------------------------------------------- who gets which


def test_the_oldest_one_that_runs_comes_first() -> None:
    slots = [slot(1, ago=10), slot(2, ago=90), slot(3, ago=50), slot(4, state="claimed", ago=99)]
    assert named(candidates(slots, {f"t{n}": task() for n in (1, 2, 3, 4)})) == [2, 3, 1]


@pytest.mark.parametrize(
    "shown",
    [
        task("PENDING"),
        task("PROVISIONING"),
        task("STOPPING"),
        task("STOPPED"),
        task(healthStatus="UNHEALTHY"),
        {**task(), "desiredStatus": "STOPPED"},
        None,
    ],
)
def test_one_that_does_not_run_or_is_ill_is_passed_over(shown: dict[str, Any] | None) -> None:
    tasks = {"t2": task(healthStatus="HEALTHY"), **({"t1": shown} if shown else {})}
    assert named(candidates([slot(1, ago=99), slot(2, ago=1)], tasks)) == [2]


# ---------------------------------------------------------------- what the sweep does


def test_as_many_are_added_as_are_missing_and_a_start_counts() -> None:
    assert planned([], {}, wanted=3).add == 3
    found = planned([slot(1), slot(2, state="made"), slot(3, state="claimed")], {"t1": task()}, wanted=3)
    assert found.add == 1
    assert named(found.run) == [2]


def test_what_is_too_much_is_retired_the_youngest_first_and_starts_before_those() -> None:
    slots = [slot(1, ago=10), slot(2, ago=90), slot(3, ago=99), slot(4, state="made", ago=999)]
    found = planned(slots, {"t1": task(), "t2": task(), "t3": task("PENDING")}, wanted=1)
    assert named(found.retire) == [1, 3, 4]
    assert (found.add, found.run) == (0, ())


def test_those_of_an_older_revision_go_once_as_many_new_ones_run() -> None:
    slots, tasks = [slot(1), slot(2)], {"t1": task(revision=OLD), "t2": task(revision=OLD)}
    assert planned(slots, tasks, wanted=2) == Plan(add=2)
    slots += [slot(3), slot(4)]
    assert planned(slots, {**tasks, "t3": task(), "t4": task("PENDING")}, wanted=2) == Plan()
    assert named(planned(slots, {**tasks, "t3": task(), "t4": task()}, wanted=2).retire) == [1, 2]
    assert planned([slot(1), slot(2)], tasks, wanted=2, revision=None) == Plan(), "nobody knows which is new"


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        (slot(1), task(healthStatus="UNHEALTHY")),
        (slot(1, ago=STUCK_SECONDS + 1), task("PENDING")),
        (slot(1), task("STOPPING")),
        (slot(1, state="made", ago=OLDEST_START_SECONDS + 1), None),
        (slot(1, unseen=NOW - BECOMES_SECONDS - 1), None),
    ],
)
def test_one_that_is_ill_stuck_or_lost_is_replaced(record: SlotRecord, shown: dict[str, Any] | None) -> None:
    found = planned([record], {"t1": shown} if shown else {})
    assert (named(found.retire), found.add) == ([1], 1)


def test_a_claimed_one_is_settled_when_its_workers_epoch_rises_and_stopped_when_it_does_not() -> None:
    claimed = slot(1, state="claimed", ago=2 * BECOMES_SECONDS + 1, epoch=4)
    shown = {"t1": task()}
    worker = WorkerId("a-b-1")
    assert named(planned([claimed], shown, wanted=0, epochs={worker: 5}).settle) == [1]
    assert planned([claimed], shown, wanted=0, epochs={worker: 5}).stop == ()
    assert named(planned([claimed], shown, wanted=0, epochs={worker: 4}).stop) == [1]
    early = claimed.model_copy(update={"since": NOW - BECOMES_SECONDS})
    assert planned([early], shown, wanted=0, epochs={worker: 4}) == Plan()


@pytest.mark.parametrize("state", ["free", "claimed", "worker", "retired"])
def test_role_and_record_stay_until_the_task_has_stopped(state: str) -> None:
    record = slot(1, state=state, ago=1)
    for status in ("PENDING", "RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING"):
        assert planned([record], {"t1": task(status)}).remove == (), status
    assert named(planned([record], {"t1": task("STOPPED")}).remove) == [1]
    assert planned([record], {}).remove == (), "ECS may show it again"
    assert named(planned([record], {}).miss) == [1]
    for ago, gone in ((UNSEEN_SECONDS - 1, []), (UNSEEN_SECONDS + 1, [1])):
        lost = record.model_copy(update={"unseen": NOW - ago})
        assert named(planned([lost], {}).remove) == gone
    seen_again = record.model_copy(update={"unseen": NOW - 9 * UNSEEN_SECONDS})
    assert planned([seen_again], {"t1": task()}).remove == ()
    assert named(planned([seen_again], {"t1": task()}).miss) == [1]


RECORDS = st.lists(
    st.tuples(
        st.sampled_from(STATES),
        st.floats(0, 30 * 3600),
        st.none() | st.floats(0, 2 * UNSEEN_SECONDS),
        st.none()
        | st.builds(
            task,
            st.sampled_from(["PENDING", "RUNNING", "STOPPING", "STOPPED"]),
            revision=st.sampled_from([OLD, NEW]),
            healthStatus=st.sampled_from(["HEALTHY", "UNHEALTHY", "UNKNOWN"]),
        ),
        st.integers(0, 1),
    ),
    max_size=8,
)


def made_of(drawn: Any) -> tuple[list[SlotRecord], Tasks, dict[WorkerId, int]]:
    slots, tasks, epochs = [], {}, {}
    for number, (state, ago, unseen, shown, epoch) in enumerate(drawn):
        since = NOW - unseen if unseen is not None else None
        slots.append(slot(number, state=state, ago=ago, unseen=since))
        if shown is not None and state != "made":
            tasks[f"t{number}"] = shown
        epochs[WorkerId(f"a-b-{number}")] = epoch
    return slots, tasks, epochs


@given(RECORDS, st.integers(0, 4), st.sampled_from([OLD, NEW, None]))
def test_whatever_there_is_no_worker_is_ended_and_the_pool_comes_to_its_size(
    drawn: Any, wanted: int, revision: str | None
) -> None:
    slots, tasks, epochs = made_of(drawn)
    found = planned(slots, tasks, wanted=wanted, revision=revision, epochs=epochs)
    became = {s.slot for s in slots if s.state == "worker"} | {s.slot for s in found.settle}
    assert not became & {s.slot for s in (*found.retire, *found.stop, *found.run)}
    assert {s.state for s in found.retire} <= {"made", "free"}
    assert {s.state for s in found.stop} <= {"claimed", "retired"}
    assert {s.state for s in found.run} <= {"made"}
    assert {s.state for s in found.settle} <= {"claimed"}
    for gone in found.remove:
        shown = tasks.get(gone.task or "")
        assert shown is None or shown["lastStatus"] == "STOPPED"
    touched = [s.slot for s in (*found.retire, *found.stop, *found.run, *found.settle, *found.remove)]
    assert len(touched) == len(set(touched)), "one thing at a time with each"
    waiting = [s for s in slots if s.state in ("made", "free") and s not in found.remove]
    left = [s for s in waiting if s not in found.retire]
    old = [s for s in left if s.task in tasks and tasks[s.task]["taskDefinitionArn"] == OLD]
    if revision == NEW:
        assert len(left) - len(old) + found.add == wanted
    if wanted == 0:
        assert left == []


@given(RECORDS, st.integers(0, 4))
def test_carried_out_again_and_again_it_comes_to_rest(drawn: Any, wanted: int) -> None:
    """ECS starts and stops what it is told to; what was claimed stays with its worker."""
    slots, tasks, epochs = made_of(drawn)
    now = NOW
    for _ in range(8):
        found = planned(slots, tasks, wanted=wanted, epochs=epochs, now=now)
        slots, tasks = carried_out(found, slots, tasks, now=now)
        now += UNSEEN_SECONDS + 1
    final = planned(slots, tasks, wanted=wanted, epochs=epochs, now=now)
    assert (final.add, final.run, final.retire, final.stop, final.settle, final.remove) == (0, *[()] * 5)
    free = [s for s in slots if s.state == "free"]
    assert len(free) == wanted


def carried_out(
    found: Plan, slots: list[SlotRecord], tasks: Tasks, *, now: float
) -> tuple[list[SlotRecord], Tasks]:
    after = {s.slot: s for s in slots}
    tasks = {arn: t if is_alive(t) else task("STOPPED") for arn, t in tasks.items()}
    first = 100 + len(after) + max(named(slots), default=0)
    for gone in found.remove:
        del after[gone.slot]
    for number, record in [
        *((first + n, slot(first + n, state="made")) for n in range(found.add)),
        *((n, s) for n, s in zip(named(found.run), found.run, strict=True)),
    ]:
        after[record.slot] = record.model_copy(update={"state": "free", "task": f"t{number}", "since": now})
        tasks[f"t{number}"] = task()
    for record in (*found.retire, *found.stop):
        if record.state in ("made", "free"):
            after[record.slot] = record.model_copy(update={"state": "retired"})
        if record.task in tasks:
            tasks[record.task] = task("STOPPED")
    for record in found.settle:
        after[record.slot] = record.model_copy(update={"state": "worker"})
    for record in found.miss:
        if record.slot in after:
            lost = now if record.unseen is None else None
            after[record.slot] = after[record.slot].model_copy(update={"unseen": lost})
    return list(after.values()), tasks


# ---------------------------------------------------------------- what a slot may do


@given(st.text() | st.from_regex(r"slot_[0-9a-f]{15,17}", fullmatch=True))
def test_a_name_that_is_none_is_allowed_nothing(text: str) -> None:
    if pool.is_slot(text):
        (statement,) = slot_policy(Slot(text), account=HERE)["Statement"]
        assert statement["Action"] == ["dynamodb:GetItem"]
        assert statement["Resource"] == HERE.arn("dynamodb", "table/branchline")
        assert statement["Condition"] == {
            "ForAllValues:StringLike": {"dynamodb:LeadingKeys": [f"pool#{text}"]},
            "Null": {"dynamodb:LeadingKeys": "false"},
        }
    else:
        with pytest.raises(ValueError, match="no slot"):
            slot_policy(Slot(text), account=HERE)


def test_no_worker_may_read_the_pool_or_a_letter() -> None:
    written = str(policy(WorkerId("a-b-c"), account=HERE))
    assert "pool" not in written


def test_a_letter_says_whose_worker_it_is() -> None:
    name = Slot("slot_0123456789abcdef")
    item = pool.letter(name, WorkerId("a-b-c"), variables={"A": "b"})
    assert pool.addressee(item) == "a-b-c"
    assert pool.variables(item) == {"A": "b"}
    assert item["pk"] == {"S": f"pool#{name}"}
    assert pool.record_key(name)["pk"] == {"S": "pool"}
