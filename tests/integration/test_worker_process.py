"""The worker as a process: real git, the real Claude Code CLI, a scripted model.

What it does under faults (killed, frozen, cut off, two at once) is in ``tests/faults``.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.words import Mode
from tests.fakes.engine import wait_until
from tests.integration.worker_lab import Lab, git, worker_lab

pytestmark = pytest.mark.slow


@pytest.fixture
def lab(engine_url: str, account: str, tmp_path: Path) -> Iterator[Lab]:
    with worker_lab(engine_url=engine_url, account=account, folder=tmp_path) as made:
        yield made


def test_a_message_becomes_a_commit_and_an_answer(lab: Lab) -> None:
    lab.post("a", 1, "Write it\ndo: write a.txt one\ndo: say All done.")
    lab.start()
    assert lab.outcome("a", 1) == "completed"
    assert lab.tree("thread-a")["a.txt"].strip() == "one"
    (message,) = lab.log("thread-a")
    assert message.startswith("Write it")
    assert "Branchline-Message: a-1" in message
    assert "Branchline-Thread: a" in message
    (final,) = lab.data("a", "turn.completed")
    assert "All done." in final.text
    assert (final.changed, final.pushed, final.files) == (True, True, 1)
    assert final.cost_usd > 0
    types = [e.type for e in lab.events("a")]
    assert types.index("turn.started") < types.index("turn.tool") < types.index("turn.committed")
    assert types.index("turn.committed") < types.index("turn.pushed") < types.index("turn.completed")
    wait_until(lambda: lab.found.waiting() == (0, 0))


def test_a_turn_that_edits_nothing_makes_no_commit_and_says_so(lab: Lab) -> None:
    lab.post("a", 1, "do: say Just talking.")
    lab.start()
    assert lab.outcome("a", 1) == "completed"
    (final,) = lab.data("a", "turn.completed")
    assert (final.changed, final.commit) == (False, None)
    assert "no commit" in final.note
    assert "thread-a" not in git(lab.remote, "branch", "--list")


def test_the_second_message_remembers_the_first(lab: Lab) -> None:
    lab.start()
    lab.post("a", 1, "My favourite colour is teal.\ndo: say Noted.")
    assert lab.outcome("a", 1) == "completed"
    lab.post("a", 2, "do: recall")
    assert lab.outcome("a", 2) == "completed"
    assert "favourite colour is teal" in lab.data("a", "turn.completed")[1].text


def test_another_thread_preempts_and_the_first_goes_on_by_itself(lab: Lab, tmp_path: Path) -> None:
    lab.start()
    go = tmp_path / "go"
    lab.post("a", 1, f"do: write a1.txt one\ndo: wait {go}\ndo: write a2.txt two\ndo: say A is done.")
    lab.wait_for("a", "turn.tool", count=2)
    lab.post("b", 1, "do: write b.txt bee\ndo: say B is done.")
    assert lab.outcome("b", 1) == "completed"
    go.touch()
    assert lab.outcome("a", 1) == "completed"
    (interrupted,), (resumed,) = lab.data("a", "turn.interrupted"), lab.data("a", "turn.resumed")
    assert (interrupted.reason, interrupted.by_thread) == ("preempted", "b")
    assert resumed.reason == "preempted"
    a, b = lab.tree("thread-a"), lab.tree("thread-b")
    assert {"a1.txt", "a2.txt"} <= a.keys()
    assert "b.txt" not in a
    assert b["b.txt"].strip() == "bee"
    assert not {"a1.txt", "a2.txt"} & b.keys()
    sessions = {r.request.session_id for r in lab.model.requests}
    assert len(sessions) == 2
    checkpoints = [m for m in lab.log("thread-a") if "Branchline-Checkpoint:" in m]
    finals = [m for m in lab.log("thread-a") if "Branchline-Message: a-1" in m]
    assert (len(checkpoints), len(finals)) == (1, 1)


def test_a_steering_message_reaches_the_running_turn_and_shares_its_commit(lab: Lab, tmp_path: Path) -> None:
    lab.start()
    go = tmp_path / "go"
    lab.post("a", 1, f"do: write a.txt one\ndo: wait {go}\ndo: bash true\ndo: say First.")
    lab.wait_for("a", "turn.tool", count=2)
    lab.post("a", 2, "do: write steered.txt yes", mode=Mode.STEER)
    wait_until(lambda: lab.found.waiting() == (0, 2))
    go.touch()
    assert lab.outcome("a", 1) == "completed"
    assert lab.outcome("a", 2) == "completed"
    assert lab.tree("thread-a").keys() >= {"a.txt", "steered.txt"}
    (message,) = lab.log("thread-a")
    assert "Branchline-Message: a-1" in message
    assert "Branchline-Message: a-2" in message
    assert lab.data("a", "turn.completed")[1].together_with == "a-1"


def test_an_interrupting_message_ends_the_running_turn_and_runs_next(lab: Lab, tmp_path: Path) -> None:
    lab.start()
    lab.post("a", 1, f"do: write a.txt one\ndo: wait {tmp_path / 'never'}")
    lab.wait_for("a", "turn.tool", count=2)
    lab.post("a", 2, "do: say later")
    lab.post("a", 3, "do: write c.txt three", mode=Mode.INTERRUPT)
    assert [lab.outcome("a", n) for n in (1, 3, 2)] == ["stopped", "completed", "completed"]
    order = [e.message_id for e in lab.events("a") if e.type in ("turn.completed", "turn.stopped")]  # type: ignore[union-attr]
    assert order == ["a-1", "a-3", "a-2"]
    assert lab.tree("thread-a").keys() >= {"a.txt", "c.txt"}


def test_a_stop_ends_what_its_sender_saw_and_nothing_later(lab: Lab, tmp_path: Path) -> None:
    lab.start()
    lab.post("a", 1, f"do: write a.txt one\ndo: bash setsid nice sleep 1000 &\ndo: wait {tmp_path / 'never'}")
    lab.wait_for("a", "turn.tool", count=4)
    lab.post("a", 2, "do: write never.txt x")
    lab.post("a", 3, "do: write later.txt x")
    lab.found.stop("a", through=2)
    assert [lab.outcome("a", n) for n in (1, 2, 3)] == ["stopped", "stopped", "completed"]
    assert lab.tree("thread-a").keys() >= {"a.txt", "later.txt"}
    assert "never.txt" not in lab.tree("thread-a")
    wait_until(lambda: not lab.marked())
    changed = {e.message_id: e.data.changed for e in lab.events("a", "turn.stopped")}  # type: ignore[union-attr]
    assert changed == {"a-1": True, "a-2": False}


def test_every_line_of_the_log_says_worker_epoch_thread_turn_and_message(lab: Lab) -> None:
    lab.start()
    lab.post("a", 1, "do: say Hello.")
    assert lab.outcome("a", 1) == "completed"
    wait_until(lambda: "turn_ended" in lab.logs())
    lines = [json.loads(x) for x in lab.logs().splitlines()]
    (ended,) = [x for x in lines if x["action"] == "turn_ended"]
    assert ended["worker"] == lab.found.worker
    assert (ended["epoch"], ended["thread"], ended["message"]) == (1, "a", "a-1")
    assert ended["turn"] == lab.events("a", "turn.started")[0].turn_id  # type: ignore[union-attr]


def test_a_failed_turn_ends_with_one_clear_reply_and_its_edits_are_committed(lab: Lab) -> None:
    lab.start(BRANCHLINE_MAX_RETRIES="0")
    lab.post("a", 1, "do: write a.txt one\ndo: error 400")
    assert lab.outcome("a", 1) == "failed"
    (final,) = lab.data("a", "turn.failed")
    assert final.text
    assert "Traceback" not in final.text
    assert lab.tree("thread-a")["a.txt"].strip() == "one"


def test_an_idle_worker_leaves_and_releases_its_id(lab: Lab) -> None:
    worker = lab.start(AUTO_SHUTDOWN_MINUTES="0.01")
    assert worker.wait(timeout=60) == 0
    row = lab.found.row()
    assert (row.state, row.owner) == ("cold", None)


REFUSES_ONE = """#!/bin/sh
while read old new ref; do
    case $ref in *thread-a) echo "push declined: a secret was found" >&2; exit 1 ;; esac
done
"""


def test_a_branch_the_remote_refuses_for_good_keeps_the_worker_from_no_other(lab: Lab) -> None:
    hook = lab.remote / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(REFUSES_ONE)
    hook.chmod(0o755)
    first = lab.start()
    lab.post("a", 1, "do: write a.txt one")
    assert lab.outcome("a", 1) == "completed"
    assert "a secret was found" in lab.data("a", "turn.completed")[0].problem
    first.terminate()
    assert first.wait(timeout=60) == 0
    lab.start()
    lab.post("b", 1, "do: write b.txt two")
    assert lab.outcome("b", 1) == "completed"
    assert lab.tree("thread-b")["b.txt"].strip() == "two"
