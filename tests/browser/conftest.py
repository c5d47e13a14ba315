"""One fleet with a scripted model and one browser for the tests of a file."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Browser

from tests.acceptance.fleet import Fleet, own_repository
from tests.browser.lab import Window, chromium, running_browser
from tests.fakes.model import ScriptedModel, serving_model


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedModel]:
    """A Messages API that does what the text says."""
    chromium()
    with serving_model() as served:
        yield served


@pytest.fixture(scope="module")
def fleet(model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A running fleet on a small repository."""
    with own_repository(tmp_path_factory.mktemp("browser"), model_url=model.url) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser."""
    with running_browser() as running:
        yield running


@pytest.fixture
def window(browser: Browser, fleet: Fleet) -> Iterator[Window]:
    """A fresh window before the fleet."""
    with closing(Window(browser, fleet.url)) as opened:
        yield opened
