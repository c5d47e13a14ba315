"""GitHub from end to end, without an account: a signed comment, the queue, Claude Code, a pull request."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.fleet import Fleet

HEADLINE = "Hello from GitHub"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    running = Fleet(tmp_path / "github", BRANCHLINE_SIMULATE="1")
    try:
        running.up()
        yield running
    finally:
        running.close()


@pytest.mark.timeout(240)
def test_a_comment_is_worked_on_once_and_becomes_a_pull_request(fleet: Fleet) -> None:
    # Somebody has the webhook delivered twice more.
    wish = f"change the headline to {HEADLINE}"
    done = fleet.branchline("simulate", "github", wish, "--replay", "2", "--json")
    assert done.returncode == 0, done.stdout + done.stderr + fleet.logs()
    seen = json.loads(done.stdout)
    assert seen["delivered"] == [202]
    assert set(seen["replayed"]) <= {200, 202}

    said, living = seen["messages"]
    assert said["reactions"] == ["👀"]
    assert living["bot"]
    first, *_, last = living["edits"]
    assert "Received" in first or "Working" in first
    assert any("Working" in edit for edit in living["edits"])
    assert "✅ Done" in last
    assert sum("✅ Done" in edit for edit in living["edits"]) == 1
    assert HEADLINE in last

    branch = re.search(r"thread-issue-1-[a-z0-9]+", last)
    assert branch is not None
    (commit,) = fleet.commits(branch[0])
    assert f"Branchline-Message: github:comment:{said['id']}" in commit
    assert any(HEADLINE in content for content in fleet.tree(branch[0]).values())
    pull, check = seen["beside"]
    assert pull == f"pull request #2 (draft): {wish} ({branch[0]} into main)"
    assert check.startswith("check Branchline: success on ")

    stranger = fleet.branchline("simulate", "github", "let me in", "--issue", "1", "--user", "eve")
    assert "refused: no write access" in stranger.stdout, stranger.stderr
    assert len(fleet.commits(branch[0])) == 1
