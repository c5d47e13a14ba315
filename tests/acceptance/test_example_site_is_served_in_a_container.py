"""The first run with containers: the example site, installed and served by Astro from inside the image."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from contracts import names
from contracts.words import ClientId, ProjectId, UserId
from fleet import boxed, boxes
from fleet.project import EXAMPLE
from tests.acceptance.fleet import Fleet
from tests.container.box import IMAGE, image
from tests.container.walls import missing
from tests.fakes.engine import wait_until
from tests.fakes.model import ScriptedModel

# Building the image may take some minutes on a machine that has nothing of it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

WORKER = names.worker_id(client=ClientId("local"), project=ProjectId("site"), user=UserId("local"))
# As the worker: what is on its disk is its own, and its packages may be written by Claude Code's user.
_FILL = f"""
umask 007 && own=/workspace/.branchline-agent/{WORKER}/npm && mkdir -p "$own" &&
cp -r /cache/_cacache "$own" && chmod -R g+rwX "$own"
"""
_SECONDS = 300.0


def _npm_cache() -> Path:
    """npm's cache of this machine, with the packages of the example in it."""
    npm = shutil.which("npm")
    if npm is None:
        missing("npm's cache is needed, and there is no npm: install Node.js")
    asked = [str(npm), "config", "get", "cache"]
    cache = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    version = json.loads((EXAMPLE / "package.json").read_text())["dependencies"]["astro"]
    asked = [str(npm), "cache", "ls", f"astro@{version}"]
    if not subprocess.run(asked, capture_output=True, text=True).stdout.strip():
        missing("npm's cache has no packages of the example: run npm ci in examples/site once")
    return cache


@pytest.fixture
def site(model: ScriptedModel, tmp_path: Path) -> Iterator[tuple[Fleet, boxes.Engine]]:
    """A fleet with the example site, whose worker has been given packages, as there is no network here."""
    cache, engine = _npm_cache(), image()
    fleet = Fleet(
        tmp_path, ANTHROPIC_BASE_URL=model.url, ANTHROPIC_API_KEY="not-a-key", BRANCHLINE_RUNTIME="podman",
        BRANCHLINE_IMAGE=IMAGE,
    )  # fmt: skip
    disk = boxed.name_of(fleet.home, WORKER)
    places = [f"--volume={disk}:/workspace", f"--volume={cache}:/cache:ro"]
    walls = ["--rm", "--network=none", "--user=1000:3000", "--no-healthcheck"]
    try:
        engine.run("run", *walls, *places, "--entrypoint=sh", IMAGE, "-c", _FILL)
        yield fleet, engine
    finally:
        fleet.close()
        boxed.end(engine, fleet.home, grace=0)
        engine.run("volume", "rm", "--force", disk, check=False)
        shutil.rmtree(fleet.home, ignore_errors=True)


def _page(url: str) -> str:
    try:
        return httpx.get(url, trust_env=False, timeout=60).text
    except httpx.HTTPError:
        return ""


def test_astro_serves_the_example_on_the_mapped_port_and_shows_what_a_message_did(
    site: tuple[Fleet, boxes.Engine],
) -> None:
    fleet, engine = site
    fleet.up()
    text = "do: write src/pages/new.astro <h1>Made by a message</h1>\ndo: say Done."
    assert fleet.final("t1", fleet.post(text, thread="t1"))["type"] == "turn.completed"
    name = boxed.name_of(fleet.home, WORKER)
    url = f"http://{engine.run('port', name, '4321/tcp').stdout.strip()}"
    try:
        wait_until(lambda: "Made by a message" in _page(f"{url}/new"), seconds=_SECONDS)
    except AssertionError:
        logs = "tail -n 40 /workspace/.branchline/*/*preview*"
        said = engine.run("exec", name, "sh", "-c", logs, check=False)
        raise AssertionError(f"{_page(url)[:2000]}\n{said.stdout}{said.stderr}\n{fleet.logs()}") from None
    front = _page(url)
    assert "/@vite/client" in front, "the development server of Astro, and no other"
    assert re.search(r"<h1[^>]*>[^<]*\w", front)
    users = engine.run("exec", name, "ps", "-eo", "user:12,args").stdout
    assert re.search(r"^agent +\S*node\S* \S*astro\S* dev", users, re.MULTILINE), users
