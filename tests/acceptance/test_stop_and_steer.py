"""A person changes their mind: stop, steer, interrupt."""

from pathlib import Path

from tests.acceptance.fleet import Fleet
from tests.fakes.engine import wait_until


def test_stop_ends_the_turn_keeps_its_work_and_says_so(fleet: Fleet, tmp_path: Path) -> None:
    message = fleet.send(f"do: write part.txt half\ndo: wait {tmp_path / 'never'}", thread="stopped")
    fleet.wait_for("stopped", "turn.tool", count=2)
    said = fleet.branchline("stop", "stopped")
    assert said.returncode == 0, said.stdout + said.stderr
    final = fleet.final("stopped", message)
    assert final["type"] == "turn.stopped"
    assert "committed" in final["data"]["text"]
    assert fleet.tree("thread-stopped")["part.txt"].strip() == "half"
    after = fleet.send("do: say Still here.", thread="stopped")
    assert fleet.final("stopped", after)["type"] == "turn.completed"


def test_stop_with_nothing_to_stop_is_no_error(fleet: Fleet) -> None:
    message = fleet.send("do: say Short.", thread="quiet")
    fleet.final("quiet", message)
    answer = fleet.api.post("/v1/threads/quiet/stop")
    assert answer.status_code == 200
    assert answer.json()["stopping"] == []


def test_a_steering_message_reaches_the_turn_that_runs(fleet: Fleet, tmp_path: Path) -> None:
    go = tmp_path / "go"
    text = f"do: write a.txt one\ndo: wait {go}\ndo: bash true\ndo: say First part."
    first = fleet.send(text, thread="steered")
    fleet.wait_for("steered", "turn.text")
    second = fleet.send("do: write extra.txt yes", thread="steered", mode="steer")
    wait_until(lambda: fleet.api.get("/v1/threads/steered").json()["messages"][-1]["message_id"] == second)
    go.touch()
    one, two = fleet.final("steered", first), fleet.final("steered", second)
    assert (one["type"], two["type"]) == ("turn.completed", "turn.completed")
    assert fleet.tree("thread-steered").keys() >= {"a.txt", "extra.txt"}
    if two["data"]["together_with"]:
        assert two["data"]["together_with"] == first
        (commit,) = fleet.commits("thread-steered")
        assert f"Branchline-Message: {first}" in commit
        assert f"Branchline-Message: {second}" in commit


def test_an_interrupting_message_runs_next(fleet: Fleet, tmp_path: Path) -> None:
    first = fleet.send(f"do: wait {tmp_path / 'never'}", thread="changed")
    fleet.wait_for("changed", "turn.text")
    second = fleet.send("do: write instead.txt this", thread="changed", mode="interrupt")
    assert fleet.final("changed", first)["type"] == "turn.stopped"
    assert fleet.final("changed", second)["type"] == "turn.completed"
    assert "instead.txt" in fleet.tree("thread-changed")
