"""What the preview does next, from facts alone."""

from dataclasses import replace

import pytest

from worker.preview_plan import Facts, Install, Pace, Site, Start, Stop, Wait, backoff, next_action

PACE = Pace()
ASTRO = Site(kind="astro", dependencies="lock-1")
SHELL = Site(kind="shell")
NONE = Site(kind="none")
STOPPED = Facts(now=100.0, site=ASTRO, installed="lock-1", serving=None)
STARTING = replace(STOPPED, serving=ASTRO, started_at=99.0)
SERVING = replace(STARTING, answered=True)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (STOPPED, Start()),
        (replace(STOPPED, site=SHELL, installed=None), Start()),
        (replace(STOPPED, installed=None), Install()),
        (replace(STOPPED, installed="lock-0"), Install()),
        (replace(STOPPED, site=NONE), Wait(seconds=None)),
        (replace(STOPPED, node_problem="Node is old."), Wait(seconds=None, problem="Node is old.")),
        (replace(STOPPED, port_problem="Taken."), Wait(seconds=PACE.port_every, problem="Taken.")),
        (replace(STOPPED, installed=None, port_problem="Taken."), Install()),
        (replace(STOPPED, not_before=103.0), Wait(seconds=3.0)),
        (replace(STOPPED, failures=3), Install()),
        (replace(STOPPED, failures=3, reinstalled=True), Start()),
        (replace(STOPPED, site=SHELL, failures=3), Start()),
        (STARTING, Wait(seconds=PACE.starting_every)),
        (replace(STARTING, started_at=-21.0), Stop(failed=True)),
        (SERVING, Wait(seconds=PACE.probe_every)),
        (replace(SERVING, misses=2), Wait(seconds=PACE.probe_every)),
        (replace(SERVING, misses=3), Stop(failed=True)),
        (replace(SERVING, site=replace(ASTRO, dependencies="lock-2")), Stop()),
        (replace(SERVING, site=NONE), Stop()),
        (replace(SERVING, node_problem=None, port_problem="our own"), Wait(seconds=PACE.probe_every)),
    ],
)
def test_the_next_action_follows_from_the_facts(facts: Facts, expected: object) -> None:
    assert next_action(facts, pace=PACE) == expected


def test_the_wait_after_failures_doubles_up_to_a_cap() -> None:
    waits = [backoff(failures, pace=PACE) for failures in range(10)]
    assert waits == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert backoff(10_000, pace=PACE) == 30.0
