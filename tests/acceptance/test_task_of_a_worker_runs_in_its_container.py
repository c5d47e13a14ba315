"""As on AWS, without an account: a request to the deployed Lambda becomes a task of ECS, and the task is the
worker's real image, walled in as on Fargate."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from fleet import boxed
from tests.container.box import IMAGE, image, remote_for_all
from tests.container.tasks import Containers
from tests.container.walls import missing
from tests.integration.cloud_lab import Cloud, cloud_of

# Building the image may take some minutes on a machine that has nothing of it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    engine = image()
    if shutil.which("slirp4netns") is None:
        missing("a task has a network of its own: install slirp4netns")
    remote = remote_for_all(tmp_path / "git")
    with cloud_of(
        partial(Containers, engine=engine, remotes=[remote]),
        folder=tmp_path,
        remote=remote,
        preview='exec python3 -m http.server "$PORT" --bind "$HOST"',
        image=IMAGE,
        BRANCHLINE_PREVIEW_HOST="0.0.0.0",
        BRANCHLINE_PREVIEW_PORT=str(boxed.INSIDE_PORT),
        WORKSPACE_PATH="/workspace",
        # A preview that is looked at keeps a worker up only while a connection is open.
        AUTO_SHUTDOWN_MINUTES="0.3",
    ) as made:
        yield made


def _page(url: str) -> str:
    try:
        return httpx.get(url, trust_env=False).text.strip()
    except httpx.HTTPError:
        return ""


def test_a_message_to_the_lambda_is_answered_by_a_container_that_leaves_and_comes_again(cloud: Cloud) -> None:
    tasks = cloud.fargate
    assert isinstance(tasks, Containers)
    cloud.post("Write it\ndo: write a.txt from the first\ndo: say Done.", thread="t1")
    cloud.answered("t1")
    assert cloud.types("t1")[:2] == ["message.received", "worker.starting"]
    assert "a.txt" in cloud.files("thread-t1")
    shown = f"http://{tasks.address(0)}:{boxed.INSIDE_PORT}"
    cloud.until(lambda: cloud.row().preview_url == shown, thread="t1")
    cloud.until(lambda: _page(f"{shown}/a.txt") == "from the first", thread="t1")
    _is_walled_in(tasks, 0)

    cloud.until(lambda: list(tasks.codes.values()) == [0], thread="t1")
    assert cloud.statuses() == ["STOPPED"], "it was idle, and has left by itself"
    assert len(cloud.ended) == 1
    left = tasks.engine.run("ps", "--all", "--format", "{{.Names}}").stdout.split()
    assert tasks.name(0) not in left

    cloud.post("Go on\ndo: recall\ndo: write b.txt from the second\ndo: say Done.", thread="t1")
    cloud.answered("t1", times=2)
    assert {"a.txt", "b.txt"} <= cloud.files("thread-t1"), "the work was on the remote, not on the first disk"
    assert len(cloud.ecs.starts) == len(tasks.ran) == 2
    again = f"http://{tasks.address(1)}:{boxed.INSIDE_PORT}"
    cloud.until(lambda: _page(f"{again}/b.txt") == "from the second", thread="t1")


def _is_walled_in(tasks: Containers, number: int) -> None:
    found = tasks.inspect(number)
    assert found["HostConfig"]["ReadonlyRootfs"] is True
    assert {name.removeprefix("CAP_") for name in found["EffectiveCaps"]} == set(boxed.CAPABILITIES)
    assert found["HostConfig"]["Memory"] == 2 << 30
    assert found["HostConfig"]["PidsLimit"] == 512
