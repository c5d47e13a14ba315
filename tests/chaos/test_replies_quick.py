"""Replies under kills in small: people write in Slack and on GitHub, dispatchers die around their posts."""

from pathlib import Path

import pytest

from tests.chaos import bench, reply_rules
from tests.chaos.history import found_in
from tests.chaos.reply_history import told_in
from tests.chaos.reply_town import Town
from tests.chaos.traffic import Manners

pytestmark = pytest.mark.slow

WEIGHTS = {"kill at a post": 5, "kill worker": 3, "kill dispatcher": 2, "be unkind": 4}


@pytest.mark.timeout(420)
async def test_whoever_dies_each_message_is_answered_once_in_slack_and_on_github(tmp_path: Path) -> None:
    plan = bench.Plan(
        seed=6,
        home=tmp_path / "run",
        kills=6,
        minutes=1,
        workers=2,
        rivals=0,
        dispatchers=2,
        every=1.0,
        manners=Manners(threads=6, rest=1.0),
        weights=WEIGHTS,
        around=Town(seed=6),
    )
    verdict = await bench.run(plan)
    assert verdict.violations == {rule: [] for rule in verdict.violations}
    assert int(verdict.counts["kills"]) >= 4
    assert int(verdict.counts["asked in Slack"]) >= 1
    assert int(verdict.counts["asked on GitHub"]) >= 1
    told = told_in(plan.home / "history.jsonl")
    assert told is not None
    assert verdict.violations.items() >= reply_rules.judge(verdict.found, told).items()
    assert found_in(plan.home / "history.jsonl") == verdict.found
