"""The preview with the real Astro: needs the example site with its packages installed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import aiohttp
import pytest

from tests.fakes.dispatcher import FakeLauncher
from tests.fakes.engine import EngineProcess
from tests.fakes.preview import Stage, until
from tests.integration.dispatcher_lab import lab
from tests.integration.test_preview_proxy import Browser
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


def staged(tmp_path: Path) -> Stage:
    """The example site on branch ``main``, and with another headline on branch ``other``."""
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
    return stage


async def test_a_switch_of_branches_shows_in_the_preview_without_a_restart(tmp_path: Path) -> None:
    stage = staged(tmp_path)

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


async def test_through_the_dispatcher_the_site_is_whole_and_an_open_page_hears_of_a_switch(
    engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path
) -> None:
    stage = staged(tmp_path)
    async with stage.running(node=None, pace=Pace()) as server:
        await until(lambda: server.state.ready, within=300)
        with lab(engine, launcher, tmp_path, BRANCHLINE_PREVIEW_PORT=str(stage.port)) as made:
            made.update_worker(state="up", owner="somebody", preview_url=server.url)
            async with aiohttp.ClientSession() as session:
                browser = Browser(made, session)
                async with browser.ask() as answer:
                    page = await answer.text()
                assert (answer.status, "<h1" in page) == (200, True)
                async with browser.ask("/@vite/client") as answer:
                    token = re.search(r'wsToken = "([^"]+)"', await answer.text())
                assert token is not None
                address = f"/?token={token[1]}"
                async with browser.socket(address, Origin=browser.origin) as socket:
                    assert (await socket.receive_json())["type"] == "connected"
                    assert await server.connections() == 1
                    git(stage.path, "switch", "-q", "other")
                    server.switched()
                    while (await socket.receive_json(timeout=120))["type"] != "full-reload":
                        pass

                    async def shows() -> bool:
                        return await browser.shows("Quite another headline")

                    await until(shows, within=120)

                async def nobody() -> bool:
                    return await server.connections() == 0

                await until(nobody)
