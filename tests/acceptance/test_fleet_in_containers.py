"""`branchline up --runtime podman`: each worker in a container of its own, and none left afterwards."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from contracts import names
from contracts.words import ClientId, ProjectId, UserId, WorkerId
from fleet import boxed, boxes
from tests.acceptance.fleet import ROOT, Fleet
from tests.container.box import IMAGE, image
from tests.fakes.engine import wait_until
from tests.fakes.model import ScriptedModel
from tests.integration.worker_lab import bare_remote, git

# Building the image may take some minutes on a machine that has nothing of it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

_SERVE = 'exec python3 -m http.server \\"$PORT\\" --bind \\"$HOST\\"'


class Boxes:
    """A fleet of two projects, whose workers run in containers."""

    def __init__(self, folder: Path, *, model_url: str, engine: boxes.Engine) -> None:
        self.engine = engine
        self.remotes = {name: bare_remote(folder / name) for name in ("one", "two")}
        config = folder / "branchline.toml"
        tables = [
            f'[project.{name}]\nclient = "local"\nrepo = "{remote}"\npreview.command = "{_SERVE}"\n'
            for name, remote in self.remotes.items()
        ]
        config.write_text("".join(tables) + '[user.local]\nprojects = ["one", "two"]\n')
        self.fleet = Fleet(
            folder, ANTHROPIC_BASE_URL=model_url, ANTHROPIC_API_KEY="not-a-key", BRANCHLINE_RUNTIME="podman",
            BRANCHLINE_IMAGE=IMAGE, BRANCHLINE_CONFIG=str(config), GITHUB_TOKEN="of-no-use-there",
        )  # fmt: skip

    def post(self, text: str, *, project: str) -> str:
        """A message for the project's thread, which bears its name."""
        body = {"thread_id": project, "project": project, "text": text}
        answer = self.fleet.api.post("/v1/threads", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["message_id"])

    def preview(self, worker: WorkerId) -> str:
        """Where the worker's preview is reached from here."""
        name = boxed.name_of(self.fleet.home, worker)
        return f"http://{self.engine.run('port', name, '4321/tcp').stdout.strip()}"

    def running(self) -> list[str]:
        return boxed.left(self.engine, self.fleet.home)

    def close(self) -> None:
        self.fleet.close()
        volumes = [boxed.name_of(self.fleet.home, worker) for worker in self.workers()]
        boxed.end(self.engine, self.fleet.home, grace=0)
        self.engine.run("volume", "rm", "--force", *volumes, check=False)
        shutil.rmtree(self.fleet.home, ignore_errors=True)

    def workers(self) -> list[WorkerId]:
        """Their ids, in the order of the projects."""
        return [
            names.worker_id(client=ClientId("local"), project=ProjectId(name), user=UserId("local"))
            for name in self.remotes
        ]


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
