"""ECS with what an engine's lacks: client tokens, views that are late, and refusals.

A wire in front of the engine. The engine keeps clusters, task definitions, tasks, roles; the wire keeps to
what "Ensuring idempotency" in the API reference of ECS says of ``clientToken``: the same request again gets
the first answer, another with the same token a ``ConflictException``.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.fakes.engine import aws_client
from tests.fakes.wire import Answer, Wire

CLUSTER, FAMILY, BOUNDARY = "branchline", "branchline-worker", "branchline-worker-boundary"
_KIND = "application/x-amz-json-1.1"
UNSEEN_ROLE = (
    "ECS was unable to assume the role 'arn:aws:iam::1:role/x' that was provided for this task. Please verify"
    " that the role being passed has the proper trust relationship and permissions."
)


@dataclass
class Refusal:
    """The next ``times`` requests for an action are refused, once ``spare`` of them were let through."""

    action: str
    code: str
    message: str = "The wire says so."
    status: int = 400
    times: int = 1
    spare: int = 0


class EcsWire(Wire):
    """``hidden``: how many views of tasks show nothing yet. ``unplaced``: how many starts find no room.
    ``current``: a repeated start is answered with how the task is now. ``starts``: requests that started."""

    def __init__(self, engine_url: str) -> None:
        self.hidden = self.unplaced = 0
        self.current = False
        self.starts: list[dict[str, Any]] = []
        self.refusals: list[Refusal] = []
        self._tokens: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        self._starting = threading.Lock()
        super().__init__(engine_url)

    def answer(self, *, path: str, headers: dict[str, str], body: bytes) -> Answer:
        action = headers.get("X-Amz-Target", "").rpartition(".")[2] or _query_action(body)
        for refusal in self.refusals:
            if refusal.action != action or refusal.times <= 0:
                continue
            if refusal.spare > 0:
                refusal.spare -= 1
            else:
                refusal.times -= 1
                return _refused(refusal, is_query=not headers.get("X-Amz-Target"))
        if action in ("ListTasks", "DescribeTasks") and self.hidden > 0:
            self.hidden -= 1
            empty = {"taskArns": []} if action == "ListTasks" else {"tasks": [], "failures": []}
            return 200, _KIND, json.dumps(empty).encode()
        if action != "RunTask":
            return super().answer(path=path, headers=headers, body=body)
        with self._starting:
            answer = self._start(path=path, headers=headers, body=body)
        if self._counts_down(self.lose, action):
            raise ConnectionError
        return answer

    def _start(self, *, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if self.unplaced > 0:
            self.unplaced -= 1
            reason = "Capacity is unavailable at this time. Please try again later."
            said = {"tasks": [], "failures": [{"arn": "x", "reason": reason}]}
            return 200, _KIND, json.dumps(said).encode()
        asked = json.loads(body)
        token = asked.pop("clientToken")
        if token in self._tokens:
            return self._again(asked, *self._tokens[token], path=path, headers=headers)
        status, kind, content = self._pass_on(path=path, headers=headers, body=body)
        if status == 200:
            self.starts.append(asked)
            self._tokens[token] = (asked, json.loads(content))
        return status, kind, content

    def _again(
        self, asked: dict[str, Any], before: dict[str, Any], said: dict[str, Any], *, path: str, headers: Any
    ) -> Answer:
        arns = [task["taskArn"] for task in said["tasks"]]
        if asked != before:
            body = {"__type": "ConflictException", "message": "The token is used.", "resourceIds": arns}
            return 400, _KIND, json.dumps(body).encode()
        if not self.current:
            return 200, _KIND, json.dumps(said).encode()
        look = {**headers, "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.DescribeTasks"}
        body = json.dumps({"cluster": CLUSTER, "tasks": arns}).encode()
        return self._pass_on(path=path, headers={**look, "Content-Length": str(len(body))}, body=body)


def _query_action(body: bytes) -> str:
    return body.partition(b"Action=")[2].partition(b"&")[0].decode() if body.startswith(b"Action=") else ""


def _refused(refusal: Refusal, *, is_query: bool) -> Answer:
    if is_query:
        error = f"<Error><Code>{refusal.code}</Code><Message>{refusal.message}</Message></Error>"
        return refusal.status, "text/xml", f"<ErrorResponse>{error}</ErrorResponse>".encode()
    body = {"__type": refusal.code, "message": refusal.message}
    return refusal.status, _KIND, json.dumps(body).encode()


@contextmanager
def ecs_wire(engine_url: str) -> Iterator[EcsWire]:
    """A wire for the length of a block."""
    wire = EcsWire(engine_url)
    try:
        yield wire
    finally:
        wire.close()


def prepare(
    *, url: str, account: str, image: str = "branchline-worker", environment: Mapping[str, str] | None = None
) -> str:
    """What a stack makes: the cluster, the task definition with this image and these variables, the boundary,
    whose ARN is returned."""
    variables = [{"name": name, "value": value} for name, value in (environment or {}).items()]
    worker = {"name": "worker", "image": image, "essential": True, "environment": variables}
    with aws_client("ecs", url=url, account=account) as ecs:
        ecs.create_cluster(clusterName=CLUSTER)
        ecs.register_task_definition(
            family=FAMILY,
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="1024",
            memory="4096",
            containerDefinitions=[worker],
        )
    with aws_client("iam", url=url, account=account) as iam:
        everything = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
        }
        made = iam.create_policy(PolicyName=BOUNDARY, PolicyDocument=json.dumps(everything))
        return str(made["Policy"]["Arn"])


def ecs_environment(boundary: str) -> dict[str, str]:
    """What the stack tells the dispatcher of it."""
    return {
        "BRANCHLINE_LAUNCHER": "ecs",
        "BRANCHLINE_ECS_CLUSTER": CLUSTER,
        "BRANCHLINE_ECS_TASK": FAMILY,
        "BRANCHLINE_ECS_SUBNETS": "subnet-1, subnet-2",
        "BRANCHLINE_ECS_SECURITY_GROUP": "sg-1",
        "BRANCHLINE_WORKER_BOUNDARY": boundary,
        "BRANCHLINE_WORKER_ROLE_PATH": "/branchline/worker/",
    }
