"""Tasks of Fargate whose workers run in their image, hardened as there, each at an address of its own."""

import json
import secrets
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from fleet import boxed, boxes
from fleet.ports import any_free
from tests.container.box import inside
from tests.fakes.fargate import Fargate, Task


class Containers(Fargate):
    """``engine`` runs them; ``remotes`` are folders that stand for repositories elsewhere. Each task has an
    address of this machine's loopback that nobody else listens on, so ports are what they are on AWS."""

    def __init__(self, *, engine: boxes.Engine, remotes: Sequence[Path], **more: Any) -> None:
        self.engine, self._remotes = engine, remotes
        self._mark = f"branchline-test-{uuid4().hex[:8]}"
        self._network = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(256)}"
        super().__init__(**more)

    def name(self, number: int) -> str:
        """Of a task's container, and of the volume that is its disk."""
        return f"{self._mark}-{number}"

    def address(self, number: int) -> str:
        return f"{self._network}.{number + 2}"

    def _begin(self, task: Task) -> "subprocess.Popen[bytes]":
        env = self._reachable(task.env)
        name = self.name(task.number)
        box = boxed.Box(
            name=name, volume=name, home=self._mark, image=task.image, port=any_free(), env=env,
            limits=boxed.Limits(memory="2g", pids=512, cpus=2), loopback=True,
        )  # fmt: skip
        own = ["--publish", f"{task.address}:{boxed.INSIDE_PORT}:{boxed.INSIDE_PORT}"]
        own += [f"--volume={remote}:{remote}" for remote in self._remotes]
        argv = list(boxed.run_argv(self.engine, box))
        argv[-1:] = [*own, task.image, *task.command]
        with self.log(task.number).open("wb") as log:
            return subprocess.Popen(
                argv, env={**self.engine.env, **env}, stdout=log, stderr=log, start_new_session=True
            )

    def _reachable(self, env: Mapping[str, str]) -> dict[str, str]:
        """What is on this machine's loopback is not on theirs."""
        return {name: inside(value) for name, value in env.items()}

    def inspect(self, number: int) -> dict[str, Any]:
        """How a task's container is walled in, as the engine has it."""
        shown = self.engine.run("container", "inspect", "--format", "json", self.name(number)).stdout
        (found,) = json.loads(shown)
        return dict(found)

    def _kill(self, number: int, process: "subprocess.Popen[bytes]") -> None:
        self.engine.run("kill", "--signal", str(int(signal.SIGKILL)), self.name(number), check=False)

    def _clear(self, number: int) -> None:
        self.engine.run("rm", "--force", "--volumes", self.name(number), check=False)
        self.engine.run("volume", "rm", "--force", self.name(number), check=False)
