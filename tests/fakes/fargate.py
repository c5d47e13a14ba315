"""Fargate's stand-in: for each task that an engine's ECS knows it starts a real worker, on a disk of the
task's own that goes with it, and tells ECS, and whoever listens to its events, when it has ended.

Polls ECS as nobody else would have to; reads of a task and of its definition what Fargate reads (container,
image, command, variables), and asks one that ECS has stopped to leave. In what a worker runs is said by a
kind: here a process of this machine, in ``tests.container.tasks`` its image.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.fakes.ecs import CLUSTER
from tests.fakes.engine import aws_client

_EVERY_SECONDS = 0.05
_STOP_SECONDS = 30.0
_OF_THE_MACHINE = ("PATH", "HOME", "LANG", "TMPDIR")
_ENDED = ("taskArn", "clusterArn", "taskDefinitionArn", "lastStatus", "desiredStatus", "stoppedReason")

Event = Mapping[str, Any]
Heard = Callable[[Event], object]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a worker is started with. ``number``: from 0; ``address``: its own; ``env``: all variables;
    ``command``: instead of the image's own, if it is not empty."""

    number: int
    address: str
    image: str
    env: Mapping[str, str]
    command: tuple[str, ...] = ()


class Fargate(ABC):
    """``ran``: the ARNs of all tasks, in order; ``codes``: with what status those ended that ECS knows to
    have ended. ``heard`` gets an event for each end, after ECS knows of it; ``telling`` is cleared to have
    ECS hear of no end for a while, as it is always late by some seconds."""

    def __init__(self, *, url: str, account: str, folder: Path, heard: Heard = lambda _: None) -> None:
        self._where = {"url": url, "account": account}
        self._folder, self._heard = folder, heard
        folder.mkdir(parents=True, exist_ok=True)
        self.ran: list[str] = []
        self.codes: dict[str, int] = {}
        self.telling = threading.Event()
        self.telling.set()
        self._asked: set[str] = set()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._closing = threading.Event()
        self._metadata = _metadata(self.address)
        self._threads = [
            threading.Thread(target=self._metadata.serve_forever, kwargs={"poll_interval": 0.01}),
            threading.Thread(target=self._follow),
        ]
        for thread in self._threads:
            thread.start()

    # ------------------------------------------------------------ what a kind says

    @abstractmethod
    def address(self, number: int) -> str:
        """A task's own address, where its preview is."""

    @abstractmethod
    def _begin(self, task: Task) -> "subprocess.Popen[bytes]":
        """Start the worker. What is started passes SIGTERM on, and leaves with the worker's status."""

    @abstractmethod
    def _kill(self, number: int, process: "subprocess.Popen[bytes]") -> None:
        """End it at once, with all it has started."""

    @abstractmethod
    def _clear(self, number: int) -> None:
        """Its disk goes."""

    # ------------------------------------------------------------ what there is

    @property
    def running(self) -> list[str]:
        """ARNs of the tasks whose worker lives."""
        return [arn for arn, process in list(self._processes.items()) if process.poll() is None]

    def lose(self) -> None:
        """All that runs is gone at once, as when a machine fails."""
        for number, process in enumerate(list(self._processes.values())):
            if process.poll() is None:
                self._kill(number, process)

    def logs(self) -> str:
        """What all workers have said."""
        return "".join(p.read_text(errors="replace") for p in sorted(self._folder.glob("*.log")))

    def log(self, number: int) -> Path:
        """Where a worker's words go."""
        return self._folder / f"{number}.log"

    def disk(self, number: int) -> Path:
        """A folder for a task's own files."""
        return self._folder / f"disk-{number}"

    # ------------------------------------------------------------ following ECS

    def _follow(self) -> None:
        with aws_client("ecs", **self._where) as ecs:
            while not self._closing.wait(_EVERY_SECONDS):
                listed = ecs.list_tasks(cluster=CLUSTER)["taskArns"]
                for arn in listed:
                    if arn not in self._processes:
                        self._start(arn, ecs)
                for number, (arn, process) in enumerate(self._processes.items()):
                    if arn not in listed and arn not in self._asked:
                        self._asked.add(arn)
                        process.terminate()
                    if process.poll() is not None and arn not in self.codes and self.telling.is_set():
                        self._clear(number)
                        self._tell(arn, process.returncode, ecs)

    def _start(self, arn: str, ecs: Any) -> None:
        (task,) = ecs.describe_tasks(cluster=CLUSTER, tasks=[arn])["tasks"]
        described = ecs.describe_task_definition(taskDefinition=task["taskDefinitionArn"])
        (container,) = described["taskDefinition"]["containerDefinitions"]
        (override,) = task["overrides"]["containerOverrides"]
        assert override["name"] == container["name"] == "worker"
        number = len(self.ran)
        host, port = self._metadata.server_address[:2]
        env = {pair["name"]: pair["value"] for pair in (*container["environment"], *override["environment"])}
        env["ECS_CONTAINER_METADATA_URI_V4"] = f"http://{host!s}:{port}/v4/{number}"
        made = Task(
            number=number,
            address=self.address(number),
            image=container["image"],
            env=env,
            command=tuple(override.get("command") or ()),
        )
        self._processes[arn] = self._begin(made)
        self.ran.append(arn)

    def _tell(self, arn: str, code: int, ecs: Any) -> None:
        """ECS first: whoever hears of the end and asks it is to find it so."""
        ecs.stop_task(cluster=CLUSTER, task=arn, reason="Essential container in task exited")
        self.codes[arn] = code
        (task,) = ecs.describe_tasks(cluster=CLUSTER, tasks=[arn])["tasks"]
        self._heard(
            {
                "source": "aws.ecs",
                "detail-type": "ECS Task State Change",
                "resources": [arn],
                "detail": {
                    **{name: task[name] for name in _ENDED},
                    "stopCode": "EssentialContainerExited",
                    "containers": [{"name": "worker", "lastStatus": "STOPPED", "exitCode": code}],
                },
            }
        )

    def close(self) -> None:
        """End all tasks as ECS does: asked first, then killed. Nobody hears of it any more."""
        self._closing.set()
        self._threads[1].join()
        for process in self._processes.values():
            if process.poll() is None:
                process.terminate()
        for number, process in enumerate(self._processes.values()):
            try:
                process.wait(timeout=_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._kill(number, process)
                process.wait()
            self._clear(number)
        self._metadata.shutdown()
        self._metadata.server_close()
        self._threads[0].join()


class Processes(Fargate):
    """Each worker is a process of this machine: nothing of its image, and little to wait for."""

    def address(self, number: int) -> str:
        """This machine's, and none that a worker would think of itself."""
        return "127.0.0.2"

    def _begin(self, task: Task) -> "subprocess.Popen[bytes]":
        machine = {name: os.environ[name] for name in _OF_THE_MACHINE if name in os.environ}
        env = {**machine, **task.env, "WORKSPACE_PATH": str(self.disk(task.number))}
        _, *arguments = task.command or ("python", "-m", "worker")
        with self.log(task.number).open("wb") as log:
            return subprocess.Popen(
                [sys.executable, *arguments], env=env, stdout=log, stderr=log, start_new_session=True
            )

    def _kill(self, number: int, process: "subprocess.Popen[bytes]") -> None:
        os.killpg(process.pid, signal.SIGKILL)

    def _clear(self, number: int) -> None:
        shutil.rmtree(self.disk(number), ignore_errors=True)


def _metadata(address: Callable[[int], str]) -> ThreadingHTTPServer:
    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            own = address(int(self.path.rpartition("/")[2]))
            networks = [{"NetworkMode": "awsvpc", "IPv4Addresses": [own]}]
            body = json.dumps({"Name": "worker", "Networks": networks}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
