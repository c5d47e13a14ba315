"""The heart of it: the newcomer is answered first, and the interrupted turn goes on by itself."""

from pathlib import Path

from tests.acceptance.fleet import Fleet
from tests.fakes.model import ScriptedModel


def test_second_thread_preempts_and_first_resumes(fleet: Fleet, model: ScriptedModel, tmp_path: Path) -> None:
    go = tmp_path / "go"
    text = (
        "Build the page\ndo: write page.txt half\\n\n"
        "do: bash (setsid sh -c 'while :; do echo stray >> stray.txt; nice sleep 0.01; done') & true\n"
        f"do: wait {go}\ndo: append page.txt whole\ndo: say The page is built."
    )
    long = fleet.send(text, thread="page")
    fleet.wait_for("page", "turn.tool", count=4)
    short = fleet.send("do: write footer.txt year\ndo: say Footer done.", thread="footer")
    assert fleet.final("footer", short)["type"] == "turn.completed"
    assert not [e for e in fleet.events("page") if e["type"] == "turn.completed"]
    go.touch()
    assert fleet.final("page", long)["type"] == "turn.completed"

    story = [e["type"] for e in fleet.events("page") if e["type"] in ("turn.interrupted", "turn.resumed")]
    assert story == ["turn.interrupted", "turn.resumed"]
    (interrupted,) = fleet.events("page", "turn.interrupted")
    assert interrupted["data"]["reason"] == "preempted"
    assert interrupted["data"]["by_thread"] == "footer"
    assert "goes on by itself" in interrupted["data"]["text"]

    page, footer = fleet.tree("thread-page"), fleet.tree("thread-footer")
    assert page["page.txt"].split() == ["half", "whole"]
    assert footer["footer.txt"].strip() == "year"
    assert "footer.txt" not in page
    assert not {"page.txt", "stray.txt"} & footer.keys()
    assert [m for m in fleet.commits("thread-page") if f"Branchline-Message: {long}" in m][1:] == []
    sessions = {r.request.session_id for r in model.requests if "Build the page" in r.text}
    assert len(sessions) == 1


def test_a_message_that_waits_is_told_how_many_are_ahead(fleet: Fleet, tmp_path: Path) -> None:
    go = tmp_path / "go"
    first = fleet.send(f"do: wait {go}\ndo: say One.", thread="line")
    fleet.wait_for("line", "turn.text")
    second = fleet.send("do: say Two.", thread="line")
    (queued,) = fleet.wait_for("line", "message.queued")
    assert queued["message_id"] == second
    assert queued["data"]["ahead"] == 1
    go.touch()
    assert fleet.final("line", first)["id"] < fleet.final("line", second)["id"]
