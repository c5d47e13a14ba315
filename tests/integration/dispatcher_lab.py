"""What the dispatcher's integration tests share: a dispatcher before an engine, and a look behind both."""

import http.client
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts import records
from contracts.words import ThreadId, WorkerId
from dispatcher import aws
from dispatcher.table import Table
from tests.fakes.dispatcher import REGION, DispatcherProcess, FakeLauncher, running_dispatcher
from tests.fakes.engine import EngineProcess, aws_client, fresh_account

WORKER = WorkerId("local-site-local")
TABLE = "branchline"


@dataclass(frozen=True, kw_only=True)
class Lab:
    """One account of an engine with one dispatcher. ``client`` talks to it over HTTP."""

    engine: EngineProcess
    account: str
    dispatcher: DispatcherProcess
    launcher: FakeLauncher
    client: httpx.Client

    def post(self, text: str, *, thread: str | None = None, **more: Any) -> httpx.Response:
        """A message for a thread that is there, or for a new one."""
        address = "/v1/threads" if thread is None else f"/v1/threads/{thread}/messages"
        return self.client.post(address, json={"text": text, **more})

    def events(self, thread: str) -> list[dict[str, Any]]:
        """The whole log, as the table holds it."""
        found = self.items(records.thread_pk(WORKER, ThreadId(thread)), "event#")
        return [records.read_event(i).model_dump(mode="json") for i in found]

    def items(self, pk: str, prefix: str) -> list[dict[str, Any]]:
        """Everything in a part of the table."""
        with aws_client("dynamodb", url=self.engine.url, account=self.account) as client:
            pages = client.get_paginator("query").paginate(
                TableName=TABLE,
                ConsistentRead=True,
                KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
                ExpressionAttributeValues={":pk": {"S": pk}, ":sk": {"S": prefix}},
            )
            return [item for page in pages for item in page["Items"]]

    def count(self) -> int:
        """How many records of messages there are (workers' own rows, which are made at start, aside)."""
        with aws_client("dynamodb", url=self.engine.url, account=self.account) as client:
            items = client.scan(TableName=TABLE, ConsistentRead=True)["Items"]
        own = ("worker", "binding#")
        return len([i for i in items if i["pk"]["S"] != "workers" and not i["sk"]["S"].startswith(own)])

    def pointers(self) -> list[dict[str, Any]]:
        """Take all pointers out of the worker's queue."""
        taken: list[dict[str, Any]] = []
        with aws_client("sqs", url=self.engine.url, account=self.account) as client:
            url = client.get_queue_url(QueueName="branchline-local-site-local")["QueueUrl"]
            while True:
                got = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
                if not got.get("Messages"):
                    return taken
                for message in got["Messages"]:
                    taken.append(httpx.Response(200, content=message["Body"]).json())
                    client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def wipe(self) -> None:
        """Forget all threads, pointers and starts; the worker's row, its queue and the table stay."""
        with aws_client("dynamodb", url=self.engine.url, account=self.account) as client:
            pages = client.get_paginator("scan").paginate(TableName=TABLE, ProjectionExpression="pk, sk")
            for item in [item for page in pages for item in page["Items"]]:
                if not item["sk"]["S"].startswith(("worker", "binding#", WORKER)):
                    client.delete_item(TableName=TABLE, Key=item)
        with aws_client("sqs", url=self.engine.url, account=self.account) as client:
            for url in client.list_queues().get("QueueUrls", []):
                client.purge_queue(QueueUrl=url)
        self.launcher.asked.clear()
        self.launcher.running.clear()

    def update_worker(self, **plain: Any) -> None:
        """Write fields of the worker's row, as its owner would."""
        with aws_client("dynamodb", url=self.engine.url, account=self.account) as client:
            client.update_item(
                TableName=TABLE,
                Key=records.worker_key(WORKER),
                UpdateExpression="SET " + ", ".join(f"#{n} = :{n}" for n in plain),
                ExpressionAttributeNames={f"#{n}": n for n in plain},
                ExpressionAttributeValues={f":{n}": v for n, v in records.encode(plain).items()},
            )

    def finish(self, thread: str, sequence: int, *, outcome: str = "completed") -> None:
        """End a message, as its worker would: outcome on the message, turn record gone."""
        with aws_client("dynamodb", url=self.engine.url, account=self.account) as client:
            client.transact_write_items(
                TransactItems=[
                    {
                        "Update": {
                            "TableName": TABLE,
                            "Key": records.message_key(WORKER, ThreadId(thread), sequence),
                            "UpdateExpression": "SET outcome = :o",
                            "ExpressionAttributeValues": {":o": {"S": outcome}},
                        }
                    },
                    {
                        "Delete": {
                            "TableName": TABLE,
                            "Key": records.open_key(WORKER, ThreadId(thread), sequence),
                        }
                    },
                ]
            )


@contextmanager
def lab(
    engine: EngineProcess, launcher: FakeLauncher, cwd: Path, *, account: str | None = None, **more: str
) -> Iterator[Lab]:
    """A dispatcher in an account of its own, with the launcher given."""
    account = account or fresh_account()
    launched = {"BRANCHLINE_LAUNCHER_URL": launcher.url, "BRANCHLINE_LAUNCHER_TOKEN": launcher.token, **more}
    with running_dispatcher(engine.url, account=account, cwd=cwd, **launched) as dispatcher:
        with httpx.Client(base_url=dispatcher.url, timeout=30) as client:
            yield Lab(engine=engine, account=account, dispatcher=dispatcher, launcher=launcher, client=client)


@asynccontextmanager
async def table_of(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Table]:
    """The lab's table through the dispatcher's own adapter, for a second writer."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", lab.engine.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", lab.account)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    async with aws.connect() as clients:
        yield Table(clients.dynamodb, name=TABLE)


class Gate:
    """Stands between dispatcher and engine and passes everything on, until ``closed`` names a target.

    ``closed``: a request whose ``X-Amz-Target`` ends with it is not passed on; ``shut`` is called instead.
    """

    def __init__(self, engine_url: str) -> None:
        self.closed: str | None = None
        self.shut: Any = None
        self._engine = engine_url.removeprefix("http://")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._endpoint())
        self._server.daemon_threads = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def _endpoint(self) -> type[BaseHTTPRequestHandler]:
        gate = self

        class Endpoint(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if gate.closed and str(self.headers["X-Amz-Target"]).endswith(gate.closed):
                    gate.shut()
                    return
                engine = http.client.HTTPConnection(gate._engine)
                engine.request("POST", self.path, body=body, headers=dict(self.headers))
                answer = engine.getresponse()
                content = answer.read()
                engine.close()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.getheader("Content-Type", ""))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: Any) -> None:
                """Say nothing."""

        return Endpoint

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
