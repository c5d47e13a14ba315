"""F5: two workers have the same id, because a second was started or because the first was frozen.

One owns the id. The other leaves with status 0: at once and without a checkout when the owner lives, else
when it wakes. Until then its push and its transactions are refused, and what it committed stays on its disk
and is kept under ``refs/branchline/kept`` when a worker comes back there.
"""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.engine import wait_until
from tests.faults.lab import (
    OWNER,
    FaultLab,
    StrictWire,
    answered_once,
    fault_lab,
    freeze,
    is_frozen,
    strict_wire,
    until_there,
    wake,
)
from tests.integration.worker_lab import git

pytestmark = pytest.mark.slow

HOLDING = """#!/bin/sh
# Holds the first push that comes by until the file is there; later ones pass.
mkdir '{held}' 2>/dev/null || exit 0
while [ ! -e '{go}' ]; do sleep 0.05; done
"""


@pytest.fixture
def wire(engine_url: str) -> Iterator[StrictWire]:
    with strict_wire(engine_url) as made:
        yield made


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path, wire: StrictWire) -> Iterator[FaultLab]:
    with fault_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    return tmp_path / "elsewhere"


def owners(lab: FaultLab) -> list[int]:
    """The epochs of the remote's epoch ref, oldest first, one for each push."""
    (ref,) = git(lab.remote, "for-each-ref", "--format=%(refname)", "refs/branchline/epoch").splitlines()
    return [
        int(line.split()[1]) for line in git(lab.remote, "log", "--reverse", "--format=%s", ref).splitlines()
    ]


def test_the_second_of_two_says_why_it_leaves_and_touches_nothing(
    lab: FaultLab, elsewhere: Path, tmp_path: Path
) -> None:
    lab.post("a", 1, f"{until_there(tmp_path / 'go')}\ndo: write a.txt one")
    lab.begin()
    lab.wait_for("a", "turn.tool")
    second = lab.begin(disk=elsewhere)
    assert second.wait(timeout=60) == 0
    assert "owned by another worker" in (tmp_path / "worker-1.log").read_text()
    assert not lab.checkout(elsewhere).exists()
    (tmp_path / "go").touch()
    answered_once(lab, "a", 1)
    assert set(owners(lab)) == {1}


def test_a_frozen_owner_on_the_same_disk_is_killed_before_its_successor_works(
    lab: FaultLab, tmp_path: Path
) -> None:
    frozen = lab.begin()
    lab.post("a", 1, f"do: write a.txt one\n{until_there(tmp_path / 'go')}\ndo: write b.txt two")
    lab.wait_for("a", "turn.tool", count=2)
    freeze(frozen)
    lab.begin()
    assert frozen.wait(timeout=60) == -signal.SIGKILL
    lab.wait_for("a", "turn.resumed")
    (tmp_path / "go").touch()
    answered_once(lab, "a", 1)
    assert lab.tree("thread-a").keys() >= {"a.txt", "b.txt"}


def test_a_frozen_owner_that_wakes_in_mid_turn_changes_nothing(
    lab: FaultLab, wire: StrictWire, elsewhere: Path, tmp_path: Path
) -> None:
    frozen = lab.begin(real=True, AWS_ENDPOINT_URL=wire.url)
    go = tmp_path / "go"
    lab.post("a", 1, f"do: write a.txt frozen\ndo: wait {go}\ndo: write late.txt frozen")
    lab.wait_for("a", "turn.tool", count=2)
    freeze(frozen)
    lab.begin(real=True, disk=elsewhere)
    lab.wait_for("a", "turn.resumed")
    wake(frozen)
    assert frozen.wait(timeout=60) == 0
    assert "another worker owns" in (tmp_path / "worker-0.log").read_text()
    wait_until(lambda: not lab.marked())
    go.touch()
    answered_once(lab, "a", 1)
    assert set(wire.declined) & {
        ("UpdateItem", "ConditionalCheckFailedException"),
        ("TransactWriteItems", OWNER),
    }
    assert owners(lab) == sorted(owners(lab))


def test_an_owner_frozen_behind_its_commit_is_refused_and_its_work_is_kept_on_its_disk(
    lab: FaultLab, elsewhere: Path
) -> None:
    frozen = lab.begin(BRANCHLINE_FAULT="committed:hang")
    lab.post("a", 1, "do: write a.txt {pid}")
    wait_until(lambda: is_frozen(frozen), seconds=60)
    lost = git(lab.checkout(), "rev-parse", "thread-a")
    successor = lab.begin(disk=elsewhere)
    assert lab.outcome("a", 1) == "completed"
    wake(frozen)
    assert frozen.wait(timeout=60) == 0
    answered_once(lab, "a", 1)
    assert lab.tree("thread-a")["a.txt"] == str(successor.pid)
    assert owners(lab) == sorted(owners(lab))
    successor.terminate()
    assert successor.wait(timeout=60) == 0
    lab.begin()  # back on the disk of the one that lost
    lab.post("a", 2, "do: write b.txt two")
    answered_once(lab, "a", 2)
    assert len(lab.remote_commits("a-1")) == 1
    assert lab.tree("thread-a")["a.txt"] == str(successor.pid)
    kept = git(lab.checkout(), "for-each-ref", "--format=%(objectname)", "refs/branchline/kept/thread-a")
    assert lost in kept.splitlines()


def test_an_owner_frozen_before_its_outcome_has_its_transaction_refused(
    lab: FaultLab, wire: StrictWire, elsewhere: Path
) -> None:
    frozen = lab.begin(AWS_ENDPOINT_URL=wire.url, BRANCHLINE_FAULT="pushed:hang")
    lab.post("a", 1, "do: write a.txt {pid}")
    wait_until(lambda: is_frozen(frozen), seconds=60)
    lab.begin(disk=elsewhere)
    assert lab.outcome("a", 1) == "completed"  # from the commit it finds on the remote
    wake(frozen)
    assert frozen.wait(timeout=60) == 0
    answered_once(lab, "a", 1)
    assert wire.declined["TransactWriteItems", OWNER] > 0
    assert lab.tree("thread-a")["a.txt"] == str(frozen.pid)


def test_a_push_under_way_when_the_owner_is_replaced_is_refused_by_the_remote(
    lab: FaultLab, elsewhere: Path, tmp_path: Path
) -> None:
    frozen = lab.begin()
    held, go = tmp_path / "held", tmp_path / "push on"
    lab.post("a", 1, f"do: write a.txt {{pid}}\n{until_there(tmp_path / 'go')}")
    lab.wait_for("a", "turn.tool", count=2)
    hook = lab.remote / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(HOLDING.format(held=held, go=go))
    hook.chmod(0o755)
    (tmp_path / "go").touch()
    wait_until(held.exists, seconds=60)
    lost = git(lab.checkout(), "rev-parse", "thread-a")
    freeze(frozen)
    successor = lab.begin(disk=elsewhere)
    lab.wait_for("a", "turn.resumed")
    go.touch()
    wake(frozen)
    assert frozen.wait(timeout=60) == 0
    answered_once(lab, "a", 1)
    assert lost not in lab.remote_commits("a-1")
    assert lab.tree("thread-a")["a.txt"] == str(successor.pid)
    assert owners(lab) == sorted(owners(lab))
