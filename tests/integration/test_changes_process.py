"""What a turn changed, as a real worker records it: soon after the turn, and after a death as well."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts import changes
from contracts.words import ThreadId
from tests.fakes.engine import wait_until
from tests.integration.worker_lab import Lab, worker_lab

pytestmark = pytest.mark.slow


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[Lab]:
    with worker_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


def recorded(lab: Lab, thread: str) -> dict[str, Any]:
    """The head of the thread's changes; empty without one."""
    return lab.found.get(changes.head_key(lab.found.worker, ThreadId(thread))) or {}


def until_recorded(lab: Lab, thread: str, sha: str) -> None:
    wait_until(lambda: recorded(lab, thread).get("head") == sha, seconds=60)


def test_what_a_turn_changed_is_in_the_record_soon_after_it(lab: Lab) -> None:
    lab.post("a", 1, "do: write a.txt one\ndo: edit README.md A project => Our project")
    lab.start()
    assert lab.outcome("a", 1) == "completed"
    (commit,) = lab.data("a", "turn.committed")
    until_recorded(lab, "a", commit.sha)
    head = recorded(lab, "a")
    assert (head["files"], head["insertions"], head["deletions"]) == (2, 2, 1)


def test_a_checkpoint_is_in_the_record_while_its_turn_waits(lab: Lab) -> None:
    lab.start()
    go = lab.folder / "go"
    lab.post("a", 1, f"do: write half.txt half\ndo: wait {go}")
    lab.wait_for("a", "turn.tool", count=2)
    lab.post("b", 1, f"do: wait {go}")
    lab.wait_for("a", "turn.interrupted")
    (commit,) = lab.data("a", "turn.committed")
    until_recorded(lab, "a", commit.sha)
    assert lab.found.outcome("a", 1) is None
    go.touch()
    assert lab.outcome("b", 1) == "completed"


def test_changes_that_a_killed_worker_did_not_record_are_recorded_by_the_next(lab: Lab) -> None:
    lab.post("a", 1, "do: write a.txt one")
    first = lab.start(BRANCHLINE_FAULT="recorded:kill")
    assert lab.outcome("a", 1) == "completed"
    first.wait(timeout=30)
    assert recorded(lab, "a") == {}
    lab.start()
    (commit,) = lab.data("a", "turn.committed")
    until_recorded(lab, "a", commit.sha)
