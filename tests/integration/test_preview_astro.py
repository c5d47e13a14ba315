"""The preview with the real Astro: needs the example site with its packages installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.fakes.preview import Stage, until
from worker.node import NodeMissing, find_node
from worker.preview_plan import Pace
from worker.preview_site import stamp_installed

pytestmark = pytest.mark.slow

SITE = Path(__file__).parents[2] / "examples" / "site"
READY = (SITE / "node_modules" / "astro").is_dir()


def git(path: Path, *argv: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "core.hooksPath=/dev/null")
    subprocess.run(["git", *identity, *argv], cwd=path, check=True, capture_output=True)


def new_enough(tmp_path: Path) -> bool:
    try:
        find_node(state_dir=tmp_path)
    except NodeMissing:
        return False
    return True


async def test_a_switch_of_branches_shows_in_the_preview_without_a_restart(tmp_path: Path) -> None:
    if not (READY and new_enough(tmp_path / "node")):
        missing = "examples/site/node_modules or a Node of 22.12 is missing"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    stage = Stage(tmp_path)
    stage.path.rmdir()
    shutil.copytree(SITE, stage.path, symlinks=True)
    stamp_installed(stage.path, dependencies="of another lock file")
    page = stage.path / "src" / "pages" / "index.astro"
    git(stage.path, "init", "-q", "-b", "main")
    (stage.path / ".gitignore").write_text("node_modules\n.astro\n")
    git(stage.path, "add", "-A")
    git(stage.path, "commit", "-qm", "one")
    git(stage.path, "switch", "-qc", "other")
    page.write_text("---\n---\n<html><body><h1>Quite another headline</h1></body></html>\n")
    git(stage.path, "commit", "-qam", "two")
    git(stage.path, "switch", "-q", "main")

    async def shows(text: str) -> bool:
        answer = await stage.get()
        return " 200 " in answer and text in answer

    async with stage.running(node=None, pace=Pace()) as server:
        await until(lambda: server.state.ready, within=300)  # may have to install and to build its cache
        assert not await shows("Quite another headline")
        git(stage.path, "switch", "-q", "other")
        server.switched()
        await until(lambda: shows("Quite another headline"), within=120)
    assert len(stage.announced) == 1
