"""Which engines are asked, and what a test gets of one: clients, a table, queues, a worker id of its own.

A test module says which service it is about (``SERVICE``); each of its tests then runs on every engine of
that service. An engine that is not installed is skipped, unless it was asked for or CI runs this.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import boto3
import pytest
from botocore.config import Config

from contracts import names
from contracts.records import WorkerRecord
from contracts.words import ClientId, ProjectId, ThreadId, UserId, WorkerId
from dispatcher import aws as dispatcher_aws
from dispatcher.record import Recorder
from dispatcher.table import Table
from tests.conformance.engines import ENGINES, Engine, NotInstalled
from tests.conformance.lab import Lab
from worker import aws as worker_aws


def pytest_addoption(parser: pytest.Parser) -> None:
    """Both options are known when ``tests/conformance`` is named on the command line."""
    group = parser.getgroup("conformance")
    group.addoption("--engines", default=None, help="comma-separated names, or all that are local")
    group.addoption("--live", action="store_true", default=False, help="ask AWS too; costs a few cents")


def _chosen(config: pytest.Config, *, service: str) -> list[str]:
    asked = config.getoption("--engines", default=None)
    wanted = None if asked in (None, "all") else set(str(asked).split(","))
    local = [n for n in ENGINES[service] if n != "aws" and (wanted is None or n in wanted)]
    return [*local, "aws"] if config.getoption("--live", default=False) else local


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each engine of the module's service."""
    if "engine" in metafunc.fixturenames:
        service = metafunc.module.SERVICE
        chosen = [(service, name) for name in _chosen(metafunc.config, service=service)]
        metafunc.parametrize("engine", chosen, indirect=True, ids=[n for _, n in chosen], scope="session")


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The engine that is asked, for as long as its tests last."""
    service, name = request.param
    with contextlib.ExitStack() as stack:
        try:
            started = stack.enter_context(ENGINES[service][name](tmp_path_factory.mktemp(name)))
        except NotInstalled as reason:
            asked = request.config.getoption("--engines", default=None) is not None or name == "aws"
            if asked or os.environ.get("CI") == "true":
                pytest.fail(str(reason))
            pytest.skip(str(reason))
        if service == "dynamodb":
            started = stack.enter_context(_with_table(started))
        yield started


@pytest.fixture
def reached(engine: Engine) -> Iterator[Engine]:
    """The engine, with an environment in which every client reaches it."""
    with _pointed_at(engine):
        yield engine


@pytest.fixture
def worker() -> WorkerId:
    """An id that no other test has."""
    return names.worker_id(
        client=ClientId("conformance"), project=ProjectId("site"), user=UserId(secrets.token_hex(8))
    )


@contextlib.contextmanager
def _client(service: str) -> Iterator[Any]:
    config = Config(retries={"mode": "standard"}, read_timeout=40, max_pool_connections=20)
    client = boto3.Session().client(service, config=config)  # boto3's own session remembers credentials
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def sqs(reached: Engine) -> Iterator[Any]:
    """A blocking client of the queues."""
    with _client("sqs") as client:
        yield client


@pytest.fixture
def dynamodb(reached: Engine) -> Iterator[Any]:
    """A blocking client of the tables."""
    with _client("dynamodb") as client:
        yield client


@pytest.fixture
async def sender(reached: Engine) -> AsyncIterator[dispatcher_aws.Clients]:
    """The dispatcher's own clients."""
    async with dispatcher_aws.connect() as clients:
        yield clients


@pytest.fixture
async def receiver(reached: Engine) -> AsyncIterator[worker_aws.Aws]:
    """The worker's own clients."""
    async with worker_aws.connect() as clients:
        yield clients


@dataclass
class Made:
    """Queues of one test, deleted after it."""

    sqs: Any
    urls: list[str] = field(default_factory=list)

    def queue(self, **attributes: str) -> str:
        """A new queue; its URL."""
        name = f"branchline-conformance-{secrets.token_hex(8)}"
        return self.keep(self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def keep(self, url: str) -> str:
        """Delete this one too."""
        self.urls.append(url)
        return url

    def arn(self, url: str) -> str:
        """The name by which a redrive policy knows a queue."""
        shown = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(shown["Attributes"]["QueueArn"])


@pytest.fixture
def made(sqs: Any) -> Iterator[Made]:
    """A maker of queues."""
    maker = Made(sqs)
    yield maker
    for url in maker.urls:
        with contextlib.suppress(sqs.exceptions.QueueDoesNotExist):
            sqs.delete_queue(QueueUrl=url)


@pytest.fixture
def table_name(engine: Engine) -> str:
    """The table of all tests on this engine; each keeps to its own worker."""
    return engine.table


@contextlib.contextmanager
def _with_table(engine: Engine) -> Iterator[Engine]:
    """The engine with a table that the dispatcher's own code makes and that is deleted at the end."""
    name = f"branchline-conformance-{secrets.token_hex(8)}"
    with _pointed_at(engine):
        asyncio.run(_ensure(name))
    try:
        yield replace(engine, table=name)
    finally:
        with _pointed_at(engine), _client("dynamodb") as client:
            client.delete_table(TableName=name)


@contextlib.contextmanager
def _pointed_at(engine: Engine) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine.environment.items():
            patch.setenv(name, value)
        yield


async def _ensure(name: str) -> None:
    async with dispatcher_aws.connect() as clients:
        await Table(clients.dynamodb, name=name).ensure()


@pytest.fixture
async def lab(
    table_name: str, sender: dispatcher_aws.Clients, receiver: worker_aws.Aws, worker: WorkerId
) -> Lab:
    """A worker that was introduced, and both sides of its records."""
    table = Table(sender.dynamodb, name=table_name)
    await table.introduce(
        WorkerRecord(worker_id=worker, client="conformance", project="site", user="x", repo="r")
    )
    thread = ThreadId(f"t-{worker.rpartition('-')[2]}")
    return Lab(table=table, recorder=Recorder(table), receiver=receiver, worker=worker, thread=thread)
