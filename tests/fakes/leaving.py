"""ECS and SQS as a fleet that is destroyed meets them, by the API reference: what an engine does at once
takes its time there, and lists end.

ECS: ``StopTask`` turns a task's *desired* status at once, and ``ListTasks`` goes by that one; its *last*
status follows when the container has left. SQS: ``ListQueues`` gives 1,000 at most, and says that there are
more only to who has said how many they want.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.fakes.wire import Answer, Wire

_KIND = "application/x-amz-json-1.1"
_MOST = 1000


class Leaving(Wire):
    """``tasks``: looks (DescribeTasks) until a task that was stopped is gone, by its ARN. ``queues``: names.
    ``looked``: how many looks there were."""

    def __init__(self) -> None:
        self.tasks: dict[str, int] = {}
        self.stopped: set[str] = set()
        self.queues: list[str] = []
        self.looked = 0
        super().__init__("http://127.0.0.1:1")

    @property
    def there(self) -> set[str]:
        """Tasks whose container has not left."""
        return {task for task, looks in self.tasks.items() if looks > 0}

    def answer(self, *, path: str, headers: dict[str, str], body: bytes) -> Answer:
        action = headers["X-Amz-Target"].rpartition(".")[2]
        told = getattr(self, f"_{action}")(json.loads(body))
        return 200, _KIND, json.dumps(told).encode()

    def _ListTasks(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - as AWS calls it
        wanted = asked.get("desiredStatus", "RUNNING")
        found = [t for t in self.tasks if (t in self.stopped) == (wanted == "STOPPED")]
        return {"taskArns": found}

    def _StopTask(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self.stopped.add(asked["task"])
        return {"task": {"taskArn": asked["task"]}}

    def _DescribeTasks(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        assert len(asked["tasks"]) <= 100, "ECS refuses more"
        self.looked += 1
        for task in self.stopped & set(asked["tasks"]):
            self.tasks[task] -= 1
        known = [t for t in asked["tasks"] if t in self.tasks]
        return {
            "tasks": [
                {"taskArn": t, "lastStatus": "RUNNING" if t in self.there else "STOPPED"} for t in known
            ],
            "failures": [{"arn": t, "reason": "MISSING"} for t in asked["tasks"] if t not in self.tasks],
        }

    def _ListQueues(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        begin, most = int(asked.get("NextToken", 0)), asked.get("MaxResults", _MOST)
        page = self.queues[begin : begin + most]
        more = "MaxResults" in asked and begin + most < len(self.queues)
        return {"QueueUrls": [f"{self.url}/1/{name}" for name in page]} | (
            {"NextToken": str(begin + most)} if more else {}
        )

    def _DeleteQueue(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self.queues.remove(asked["QueueUrl"].rpartition("/")[2])
        return {}


@contextmanager
def leaving() -> Iterator[Leaving]:
    """For the length of a block."""
    cloud = Leaving()
    try:
        yield cloud
    finally:
        cloud.close()
