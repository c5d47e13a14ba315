"""The first run: no model configured, the example site, one sentence, and the new headline on the preview."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance.fleet import ROOT, Fleet
from tests.fakes.engine import wait_until
from worker.errors import WorkerError
from worker.node import find_node

HEADLINE = "Hello from Branchline"


@pytest.fixture
def first_run(tmp_path: Path) -> Iterator[Fleet]:
    ready = (
        ROOT / "examples" / "site" / "node_modules"
    ).is_dir()  # npm's cache is filled by the same install
    try:
        find_node(state_dir=tmp_path / "node")
    except WorkerError as error:
        ready = False
        reason = str(error)
    else:
        reason = "the example site's packages are not installed; run npm ci in examples/site once"
    if not ready:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    fleet = Fleet(tmp_path / "first")
    fleet.up()
    yield fleet
    fleet.close()


@pytest.mark.timeout(300)
def test_the_first_message_changes_the_headline_of_the_example_site(first_run: Fleet) -> None:
    assert "offline model" in first_run.said().lower()
    sent = first_run.branchline("send", f"change the headline to {HEADLINE}", "--thread", "hello")
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert "thread-hello" in sent.stdout
    (commit,) = first_run.commits("thread-hello")
    assert "Branchline-Message: " in commit
    assert "Branchline-Thread: hello" in commit
    assert any(HEADLINE in content for content in first_run.tree("thread-hello").values())
    assert not any(HEADLINE in content for content in first_run.tree("main").values())

    def shown() -> bool:
        try:
            return HEADLINE in httpx.get(f"http://127.0.0.1:{first_run.preview_port}/", timeout=30).text
        except httpx.TransportError:
            return False

    wait_until(shown, seconds=120)
