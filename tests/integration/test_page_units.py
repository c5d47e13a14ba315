"""The page's own unit tests, with the Node.js that builds the page: its fold, its patches, its words."""

import os
import subprocess
from pathlib import Path

import pytest

from worker.node import NodeMissing, find_node

PAGE = Path(__file__).resolve().parents[2] / "page"
STRIPS_TYPES = (22, 18)
SECONDS = 110


def _missing(why: str) -> None:
    """Nothing may be skipped where everything has to run."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def test_the_units_of_the_page_pass_in_node(tmp_path: Path) -> None:
    try:
        tools = find_node(state_dir=tmp_path)
    except NodeMissing as error:
        _missing(str(error))
        return
    if tuple(map(int, tools.version.split(".")[:2])) < STRIPS_TYPES:
        _missing(f"Node {tools.version} does not run TypeScript: 22.18 or newer is needed.")
    if not (PAGE / "node_modules" / "fast-check").is_dir():
        _missing("The page's packages are not installed: run ./scripts/page.")
    files = sorted((PAGE / "test").glob("*.test.ts"))
    assert files
    done = subprocess.run(
        [tools.node, "--test", *files], cwd=PAGE, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "pass 0" not in done.stdout
