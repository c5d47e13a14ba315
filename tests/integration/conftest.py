"""Fixtures of the tests that start a dispatcher: an engine of the file's own, a launcher, both together."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.dispatcher import FakeLauncher, running_launcher
from tests.fakes.engine import EngineProcess, running_engine
from tests.integration.dispatcher_lab import Lab, lab


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    with running_engine(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest.fixture
def launcher() -> Iterator[FakeLauncher]:
    with running_launcher() as launcher:
        yield launcher


@pytest.fixture
def site(engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path) -> Iterator[Lab]:
    with lab(engine, launcher, tmp_path) as site:
        yield site
