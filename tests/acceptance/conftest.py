"""A fleet that several scenarios share; each uses threads of its own."""

from collections.abc import Iterator

import pytest

from tests.acceptance.fleet import Fleet, own_repository
from tests.fakes.model import ScriptedModel, serving_model


@pytest.fixture(scope="session")
def model() -> Iterator[ScriptedModel]:
    """A Messages API that does what the text says."""
    with serving_model() as served:
        yield served


@pytest.fixture(scope="session")
def fleet(model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A running fleet that was pointed at that model by its two variables."""
    with own_repository(tmp_path_factory.mktemp("fleet"), model_url=model.url) as running:
        yield running
