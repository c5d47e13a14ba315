"""`branchline up --runtime podman`: each worker in a container of its own, and none left afterwards."""

import base64
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fleet import boxed
from tests.acceptance.fleet import ROOT
from tests.container.box import IMAGE, image
from tests.container.fleet_of_boxes import Boxes
from tests.fakes.engine import wait_until
from tests.fakes.model import ScriptedModel
from tests.integration.worker_lab import git

# Building the image may take some minutes on a machine that has nothing of it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def place(model: ScriptedModel, tmp_path: Path) -> Iterator[Boxes]:
    made = Boxes(tmp_path, model_url=model.url, engine=image())
    try:
        yield made
    finally:
        made.close()


def _page(url: str) -> str:
    try:
        return httpx.get(url, trust_env=False).text.strip()
    except httpx.HTTPError:
        return ""


def _branch(remote: Path, name: str) -> str:
    return git(remote, "show", f"thread-{name}:{name}.txt").strip()


def test_two_workers_have_a_container_a_volume_and_a_preview_each_and_leave_none(place: Boxes) -> None:
    fleet = place.fleet
    fleet.up()
    sent = {
        name: place.post(f"do: write {name}.txt by {name}\ndo: say Done.", project=name)
        for name in place.remotes
    }
    for name, message in sent.items():
        assert fleet.final(name, message)["type"] == "turn.completed"
        assert _branch(place.remotes[name], name) == f"by {name}"
    assert len(place.running()) == 2
    urls = {name: place.preview(worker) for name, worker in zip(place.remotes, place.workers(), strict=True)}
    assert len(set(urls.values())) == 2
    for name, url in urls.items():
        assert 33000 <= (httpx.URL(url).port or 0) < 34000
        wait_until(lambda name=name, url=url: _page(f"{url}/{name}.txt") == f"by {name}", seconds=30)
    assert fleet.stop() == 0, fleet.said()
    assert place.running() == []
    assert not fleet.left()


_LOOK = """
import os, socket, urllib.error, urllib.request
def ask(name, url, **headers):
    try:
        request = urllib.request.Request(url, headers=headers, data=b"{}" if name == "engine" else None)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        said = opener.open(request, timeout=5).status
    except urllib.error.HTTPError as error:
        said = error.code
    except OSError as error:
        said = "no"
    print(name, said)
for place in ("127.0.0.1", "10.0.2.2", "10.0.2.15", "host.containers.internal"):
    for name, port in (("dispatcher", DISPATCHER), ("stranger", STRANGER)):
        ask(name, f"http://{place}:{port}/healthz", Host="localhost:8080")
ask("model", os.environ["ANTHROPIC_BASE_URL"] + "/nothing")
ask("engine", "http://127.0.0.1:ENGINE/")
ask("dispatcher through git's door", "http://127.0.0.1:ENGINE/v1/threads")
"""


def test_claude_codes_shell_reaches_the_model_and_nothing_else_of_this_machine(
    place: Boxes, model: ScriptedModel
) -> None:
    place.fleet.up()
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        ports = {
            "DISPATCHER": httpx.URL(str(place.fleet.api.base_url)).port,
            "STRANGER": stranger.getsockname()[1],
            "ENGINE": json.loads((place.fleet.home / "ports.json").read_text())["engine"],
        }
        script = _LOOK
        for name, port in ports.items():
            script = script.replace(name, str(port))
        given = base64.b64encode(script.encode()).decode()
        shell = f"echo {given} | base64 -d | python3 - > said.txt 2>&1; env > env.txt"
        sent = place.post(f"do: bash {shell}\ndo: say Done.", project="one")
        assert place.fleet.final("one", sent)["type"] == "turn.completed"
    said = git(place.remotes["one"], "show", "thread-one:said.txt").splitlines()
    assert said[:8] == ["dispatcher no", "stranger no"] * 4
    assert said[8].startswith("model ")
    assert said[8] != "model no"
    # The engine is where it is for the worker, and knows nobody without the key, which is not told.
    assert said[9:11] == ["engine 403", "dispatcher through git's door 405"]
    key = json.loads((place.fleet.home / "credentials.json").read_text())["AWS_ACCESS_KEY_ID"]
    known = git(place.remotes["one"], "show", "thread-one:env.txt")
    assert key not in known
    assert "AWS_" not in known


def test_containers_of_a_killed_run_are_ended_by_the_next_and_its_work_is_kept(place: Boxes) -> None:
    fleet = place.fleet
    fleet.up()
    first = place.post("do: write one.txt before\ndo: say Done.", project="one")
    assert fleet.final("one", first)["type"] == "turn.completed"
    assert fleet.process is not None
    # One that nobody watches any more: what serves it was killed, and it was started by this home.
    stray = boxed.name_of(fleet.home, place.workers()[1])
    own = boxed.Box(
        name=stray, volume=stray, home=boxed.mark_of(fleet.home), image=IMAGE, port=33999, env=(),
        limits=boxed.Limits(),
    )  # fmt: skip
    argv = list(boxed.run_argv(place.engine, own))
    argv[2:2] = ["--detach", "--entrypoint", "sleep"]
    fleet.process.kill()
    fleet.process.wait()
    subprocess.run([*argv, "1000"], env=place.engine.env, check=True, capture_output=True)
    assert stray in place.running()
    fleet.up()
    assert stray not in place.running()
    second = place.post("do: recall\ndo: write one.txt after\ndo: say Done.", project="one")
    assert fleet.final("one", second)["type"] == "turn.completed"
    assert _branch(place.remotes["one"], "one") == "after"
    assert fleet.stop() == 0, fleet.said()


def test_what_is_missing_is_said_with_what_to_do(tmp_path: Path, place: Boxes) -> None:
    env = {**place.fleet.environment, "BRANCHLINE_IMAGE": "localhost/branchline-none:latest"}
    command = [sys.executable, "-m", "fleet", "up"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "build it with ./scripts/build" in done.stderr
    nothing = {**env, "PATH": str(tmp_path)}
    (tmp_path / "git").symlink_to(str(shutil.which("git")))
    done = subprocess.run(command, env=nothing, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "podman was not found; install it" in done.stderr
    assert "--runtime process" in done.stderr
