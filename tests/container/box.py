"""A worker in its real image, hardened as on Fargate, beside an engine, a model and a dispatcher outside."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from contracts import names
from contracts.words import ClientId, ProjectId, UserId
from fleet import boxed, boxes
from fleet.image.__main__ import main as build_image
from fleet.ports import any_free
from fleet.problem import Problem
from tests.container.walls import missing
from tests.fakes.dispatcher import environment, running_dispatcher
from tests.fakes.engine import wait_until
from tests.fakes.model import ScriptedModel, serving_model
from tests.integration.worker_lab import bare_remote, git

ROOT = Path(__file__).resolve().parents[2]
# Of this checkout: another one's tests on the same machine have theirs.
IMAGE = f"localhost/branchline-test-worker:{boxed.mark_of(ROOT)}"
TURN_SECONDS = 90.0


def image() -> boxes.Engine:
    """The image of this checkout, built here, and the engine that has it."""
    try:
        engine = boxes.find(state=ROOT / ".branchline", wanted="podman")
    except Problem as problem:
        missing(problem.sentence)
        raise
    if os.geteuid() != 0 and not engine.has_image("docker.io/library/python:3.13-slim-bookworm"):
        missing("the base images are made as root: run ./scripts/build --local-base once")
    assert build_image(["--engine", "podman", "--local-base", "--tag", IMAGE]) == 0
    return engine


def inside(url: str) -> str:
    """An address on this machine's loopback as it is in the container."""
    return url.replace("//127.0.0.1:", f"//{boxed.HOST}:")


def remote_for_all(folder: Path, **files: str) -> Path:
    """A bare repository that also the worker in a container may push to, who is nobody here."""
    remote = bare_remote(folder, **files)
    git(remote, "config", "core.sharedRepository", "0666")
    for place in (remote, *remote.rglob("*")):
        place.chmod(0o777 if place.is_dir() else 0o666)
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(parent.stat().st_mode | 0o055)
    return remote


class Box:
    """One container of a worker, and what it talks with."""

    def __init__(self, *, engine: boxes.Engine, folder: Path, model: ScriptedModel, engine_url: str) -> None:
        self.engine, self.folder, self.model = engine, folder, model
        self.name = f"branchline-test-{uuid4().hex[:8]}"
        self.remote = remote_for_all(folder)
        self.port = any_free()
        self.worker = names.worker_id(
            client=ClientId("local"), project=ProjectId("site"), user=UserId("local")
        )
        self.engine_url = engine_url
        self.api = httpx.Client(timeout=30)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, env: Mapping[str, str]) -> None:
        """Run the container; ``env`` is what the worker is told."""
        box = boxed.Box(
            name=self.name, volume=self.name, home="test", image=IMAGE, port=self.port, env=env,
            loopback=True, limits=boxed.Limits(memory="2g", pids=512, cpus=2),
        )  # fmt: skip
        argv = list(boxed.run_argv(self.engine, box))
        argv[-1:] = ["--volume", f"{self.remote}:{self.remote}", IMAGE]
        with (self.folder / "worker.log").open("wb") as log:
            self.process = subprocess.Popen(
                argv, env={**self.engine.env, **env}, stdout=log, stderr=log, start_new_session=True
            )

    def told(self, **more: str) -> dict[str, str]:
        """The worker's environment, as the launcher on one machine would give it."""
        return {
            "CONTAINER_ID": self.worker,
            "AWS_ENDPOINT_URL": inside(self.engine_url),
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_SECRET_ACCESS_KEY": "the-workers-secret",
            "GITHUB_TOKEN": "the-workers-token",
            "BRANCHLINE_TABLE": "branchline",
            "BRANCHLINE_SESSIONS": "records",
            "BRANCHLINE_PREVIEW_URL": f"http://127.0.0.1:{self.port}",
            "ANTHROPIC_BASE_URL": inside(self.model.url),
            "ANTHROPIC_API_KEY": "the-models-key",
            **more,
        }

    def logs(self) -> str:
        return (self.folder / "worker.log").read_text()

    def exec(self, *argv: str, user: str = "0") -> str:
        """Run a program in the container; its output."""
        done = self.engine.run("exec", "--user", user, self.name, *argv, check=False)
        return done.stdout + done.stderr

    def stop(self) -> int:
        """SIGTERM, as Fargate sends it; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    # ------------------------------------------------------------ through the dispatcher

    def post(self, text: str, *, thread: str) -> str:
        answer = self.api.post("/v1/threads", json={"thread_id": thread, "text": text})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["message_id"])

    def events(self, thread: str, type_: str | None = None) -> list[dict[str, Any]]:
        answer = self.api.get(f"/v1/threads/{thread}/events", params={"follow": "false"})
        answer.raise_for_status()
        found = [json.loads(x[5:]) for x in answer.text.splitlines() if x.startswith("data:")]
        return [e for e in found if type_ is None or e["type"] == type_]

    def final(self, thread: str, message_id: str) -> dict[str, Any]:
        """Wait for the message's final event."""
        finals = ("turn.completed", "turn.stopped", "turn.failed", "turn.rejected")

        def found() -> dict[str, Any] | None:
            assert self.process is None or self.process.poll() is None, self.logs()[-4000:]
            events = self.events(thread)
            return next((e for e in events if e["type"] in finals and e["message_id"] == message_id), None)

        try:
            return dict(wait_until(found, seconds=TURN_SECONDS))
        except AssertionError:
            told = "\n".join(str(e)[:300] for e in self.events(thread))
            raise AssertionError(f"no outcome:\n{told}\n{self.logs()[-6000:]}") from None

    def wait_for(self, thread: str, type_: str, *, count: int = 1) -> None:
        """Wait until the log holds so many events of a type."""
        wait_until(lambda: len(self.events(thread, type_)) >= count, seconds=TURN_SECONDS)

    def tree(self, branch: str) -> dict[str, str]:
        """File name to content on a branch of the remote."""
        found = git(self.remote, "ls-tree", "-r", "--name-only", branch).splitlines()
        return {n: git(self.remote, "show", f"{branch}:{n}") for n in found}

    def close(self) -> None:
        self.engine.run("rm", "--force", "--volumes", self.name, check=False)
        self.engine.run("volume", "rm", "--force", self.name, check=False)
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.api.close()


@contextmanager
def worker_in_a_box(*, engine_url: str, account: str, folder: Path, preview: str) -> Iterator[Box]:
    """A dispatcher, a model, a remote and a started container."""
    engine = image()
    with serving_model() as model:
        box = Box(engine=engine, folder=folder, model=model, engine_url=engine_url)
        config = folder / "branchline.toml"
        config.write_text(
            f'[project.site]\nclient = "local"\nrepo = "{box.remote}"\n'
            f"preview.command = {json.dumps(preview)}\n"
            '[user.local]\nprojects = ["site"]\n'
        )
        try:
            own = {"BRANCHLINE_CONFIG": str(config), "BRANCHLINE_TABLE": "branchline", "BRANCHLINE_REPO": ""}
            with running_dispatcher(engine_url, account=account, cwd=folder, **own) as dispatcher:
                box.api.base_url = httpx.URL(dispatcher.url)
                box.post("do: say Hello.", thread="first")  # makes the worker's row
                box.start(box.told(AWS_ACCESS_KEY_ID=account))
                yield box
        finally:
            box.close()


__all__ = ["Box", "environment", "pytest", "worker_in_a_box"]
