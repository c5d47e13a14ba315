"""The chaos bench in small: about a minute of kills, takeovers and failpoints with a fixed seed."""

from pathlib import Path

import pytest

from contracts.faults import POINTS
from tests.chaos import bench
from tests.chaos.history import found_in
from tests.chaos.rules import judge
from tests.chaos.seats import Faults
from tests.chaos.traffic import Manners

pytestmark = pytest.mark.slow


@pytest.mark.timeout(420)
async def test_a_fleet_that_is_killed_twenty_times_keeps_its_promises(tmp_path: Path) -> None:
    plan = bench.Plan(
        seed=20,
        home=tmp_path / "run",
        kills=20,
        minutes=3,
        workers=2,
        rivals=1,
        every=1.5,
        manners=Manners(threads=6),
        faults=Faults(points=POINTS, chance=0.2),
    )
    verdict = await bench.run(plan)
    assert verdict.violations == {rule: [] for rule in verdict.violations}
    assert verdict.counts["kills"] >= 10
    assert verdict.counts["messages accepted"] > 10
    assert judge(found_in(plan.home / "history.jsonl")) == verdict.violations
