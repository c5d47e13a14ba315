"""Slack from end to end, without an account: signed mention, queue, Claude Code, commit, answer."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.fleet import Fleet

HEADLINE, TAGLINE = "Hello from Slack", "Typed in a thread"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    running = Fleet(tmp_path / "slack", BRANCHLINE_SIMULATE="1")
    try:
        running.up()
        yield running
    finally:
        running.close()


def simulate(fleet: Fleet, *arguments: str) -> dict[str, Any]:
    """Run the command and return how the thread looks at its end."""
    done = fleet.branchline("simulate", "slack", *arguments, "--json")
    assert done.returncode == 0, done.stdout + done.stderr + fleet.logs()
    return dict(json.loads(done.stdout))


@pytest.mark.timeout(240)
def test_a_mention_is_worked_on_once_and_answered_in_its_thread(fleet: Fleet) -> None:
    # Slack sends the event twice more, as it does when it got no answer in time.
    seen = simulate(fleet, f"change the headline to {HEADLINE}", "--replay", "2")
    assert {*seen["delivered"], *seen["replayed"]} == {200}
    said, living = seen["messages"]
    assert said["reactions"] == ["👀"]
    assert living["bot"]
    first, *_, last = living["edits"]
    assert "Received" in first or "Working" in first
    assert any("Working" in edit for edit in living["edits"])
    assert "Done" in last
    assert HEADLINE in last
    assert sum("Done" in edit for edit in living["edits"]) == 1
    assert living["buttons"][0] == "Show diff"

    branch = re.search(r"thread-[a-z0-9]+", last)
    assert branch is not None
    (commit,) = fleet.commits(branch[0])
    assert f"Branchline-Message: slack:T0STANDIN:C0BRANCH:{said['id']}" in commit
    assert any(HEADLINE in content for content in fleet.tree(branch[0]).values())

    # A reply in the thread needs no mention, and goes on where the first message ended.
    seen = simulate(fleet, f"change the tagline to {TAGLINE}", "--thread", seen["place"])
    texts = [message["text"] for message in seen["messages"] if message["bot"]]
    assert [("Done" in text, HEADLINE in text, TAGLINE in text) for text in texts] == [
        (True, True, False),
        (True, False, True),
    ]
    assert len(fleet.commits(branch[0])) == 2
    assert any(TAGLINE in content for content in fleet.tree(branch[0]).values())

    stranger = fleet.branchline("simulate", "slack", "let me in", "--user", "eve")
    assert "only eve sees this" in stranger.stdout, stranger.stderr
