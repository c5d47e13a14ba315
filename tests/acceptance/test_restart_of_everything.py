"""`up` is killed or stopped with a turn under way; started anew, everything goes on where it was."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.fleet import Fleet, own_repository
from tests.fakes.model import ScriptedModel


def stopped(fleet: Fleet) -> None:
    """Ctrl-C."""
    assert fleet.stop() == 0
    assert fleet.left() == set()


def killed(fleet: Fleet) -> None:
    """kill -9."""
    fleet.kill()


@pytest.mark.parametrize("end", [stopped, killed], ids=lambda f: f.__name__)
def test_a_turn_under_way_goes_on_after_everything_was_restarted(
    end: Callable[[Fleet], None], model: ScriptedModel, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    with own_repository(tmp_path / end.__name__, model_url=model.url) as fleet:
        done = fleet.send("do: write old.txt kept\ndo: say Old.", thread="old")
        fleet.final("old", done)
        text = (
            f"Restart {end.__name__}\ndo: write a.txt one\ndo: wait {go}\ndo: write b.txt two\ndo: say Both."
        )
        running = fleet.send(text, thread="under-way")
        fleet.wait_for("under-way", "turn.tool", count=2)
        waiting = fleet.send("do: write c.txt three", thread="under-way")
        before = fleet.events("old")
        end(fleet)
        go.touch()
        fleet.up()
        assert fleet.final("under-way", running)["type"] == "turn.completed"
        assert fleet.final("under-way", waiting)["type"] == "turn.completed"
        assert fleet.events("old") == before
        assert fleet.tree("thread-under-way").keys() >= {"a.txt", "b.txt", "c.txt"}
        ids = [e["id"] for e in fleet.events("under-way")]
        assert ids == list(range(1, len(ids) + 1))
        for message in (running, waiting):
            told = [m for m in fleet.commits("thread-under-way") if f"Branchline-Message: {message}" in m]
            assert len(told) == 1
        again = fleet.send("do: recall", thread="under-way")
        assert f"Restart {end.__name__}" in fleet.final("under-way", again)["data"]["text"]
