"""Fargate's stand-in: for each task that an engine's ECS knows it starts the real worker as a process, on a
disk of the task's own that goes with it, and says when it has ended.

Polls ECS as nobody else would have to; reads of a task what Fargate reads (container, variables).
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.fakes.ecs import CLUSTER
from tests.fakes.engine import aws_client

_EVERY_SECONDS = 0.05
ADDRESS = "127.0.0.2"
"""What each task is told of its own address: this machine's, and none that a worker would think of itself."""


class Fargate:
    """``env``: what the task definition gives each container. ``ran``: the ARNs of all tasks, in order;
    ``codes``: with what status those ended that ECS knows to have ended."""

    def __init__(self, *, url: str, account: str, folder: Path, env: Mapping[str, str]) -> None:
        self._where = {"url": url, "account": account}
        self._folder, self._env = folder, dict(env)
        self.ran: list[str] = []
        self.codes: dict[str, int] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._closing = threading.Event()
        self._metadata = _metadata()
        self._threads = [
            threading.Thread(target=self._metadata.serve_forever, kwargs={"poll_interval": 0.01}),
            threading.Thread(target=self._follow),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def running(self) -> list[str]:
        """ARNs of the tasks whose process lives."""
        return [arn for arn, process in self._processes.items() if process.poll() is None]

    def processes(self) -> list[int]:
        """Process ids of the workers that live."""
        return [p.pid for p in self._processes.values() if p.poll() is None]

    def logs(self) -> str:
        return "".join(p.read_text(errors="replace") for p in sorted(self._folder.glob("*.log")))

    def _follow(self) -> None:
        with aws_client("ecs", **self._where) as ecs:
            while not self._closing.wait(_EVERY_SECONDS):
                for arn in ecs.list_tasks(cluster=CLUSTER)["taskArns"]:
                    if arn not in self._processes:
                        (task,) = ecs.describe_tasks(cluster=CLUSTER, tasks=[arn])["tasks"]
                        self._start(arn, task)
                for arn, process in self._processes.items():
                    if process.poll() is not None and arn not in self.codes:
                        shutil.rmtree(self._disk(arn), ignore_errors=True)
                        ecs.stop_task(cluster=CLUSTER, task=arn, reason="Essential container in task exited")
                        self.codes[arn] = process.returncode

    def _disk(self, arn: str) -> Path:
        return self._folder / arn.rpartition("/")[2]

    def _start(self, arn: str, task: Mapping[str, Any]) -> None:
        (container,) = task["overrides"]["containerOverrides"]
        assert container["name"] == "worker"
        host, port = self._metadata.server_address[:2]
        env = {
            **self._env,
            **{pair["name"]: pair["value"] for pair in container["environment"]},
            "WORKSPACE_PATH": str(self._disk(arn)),
            "ECS_CONTAINER_METADATA_URI_V4": f"http://{host!s}:{port}/v4/{len(self.ran)}",
        }
        with (self._folder / f"{len(self.ran)}.log").open("wb") as log:
            self._processes[arn] = subprocess.Popen(
                [sys.executable, "-m", "worker"], env=env, stdout=log, stderr=log, start_new_session=True
            )
        self.ran.append(arn)

    def close(self) -> None:
        """End all tasks as ECS does: asked first, then killed."""
        self._closing.set()
        self._threads[1].join()
        for process in self._processes.values():
            if process.poll() is None:
                process.terminate()
        for process in self._processes.values():
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._metadata.shutdown()
        self._metadata.server_close()
        self._threads[0].join()


def _metadata() -> ThreadingHTTPServer:
    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            networks = [{"NetworkMode": "awsvpc", "IPv4Addresses": [ADDRESS]}]
            body = json.dumps({"Name": "worker", "Networks": networks}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)


@contextmanager
def fargate(*, url: str, account: str, folder: Path, env: Mapping[str, str]) -> Iterator[Fargate]:
    """A stand-in for the length of a block."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Fargate(url=url, account=account, folder=folder, env=env)
    try:
        yield made
    finally:
        made.close()
