"""Fixtures for all tests: one embedded engine for the whole run, a fresh account for each test."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.fakes.engine import fresh_account, running_engine

# A shared machine is no judge of the time that an example takes, or that making one takes.
settings.register_profile("branchline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("branchline")


@pytest.fixture(scope="session")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an engine that lives as long as the run."""
    with running_engine(tmp_path_factory.mktemp("engine")) as engine:
        yield engine.url


@pytest.fixture
def account() -> str:
    """A twelve-digit account of this test's own: its tables and queues are nobody else's."""
    return fresh_account()
