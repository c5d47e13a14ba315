"""The AWS clients and the one place where their errors become the dispatcher's.

``AWS_ENDPOINT_URL``, region and credentials are boto's own business and are read by it. Holds no request.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aioboto3
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError

from dispatcher.errors import Overtaken, QueueMissing, Unavailable

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb.client import DynamoDBClient
    from types_aiobotocore_sqs.client import SQSClient

_LOST = {
    "ConditionalCheckFailed",
    "ProvisionedThroughputExceeded",
    "ThrottlingError",
    "TransactionConflict",
}
_OVERTAKEN = {
    "ConditionalCheckFailedException",
    "TransactionConflictException",
    "TransactionInProgressException",
}
_QUEUE_MISSING = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
_OURS = {"ValidationException", "SerializationException", "InvalidParameterValue", "InvalidMessageContents"}
FAULTS = (BotoCoreError, ClientError, OSError, TimeoutError)
"""Whatever a request may fail with."""
POLL_SECONDS = 20
"""How long a wait for messages of a queue lasts: the longest that SQS knows."""
_AGAIN = "Storage did not answer: try again in a moment."


@dataclass(frozen=True, kw_only=True)
class Clients:
    """Open clients, shared by all requests. ``polls`` waits for an answer longer than a long poll lasts."""

    dynamodb: "DynamoDBClient"
    sqs: "SQSClient"
    polls: "SQSClient"


@asynccontextmanager
async def connect() -> AsyncIterator[Clients]:
    """Open the clients for as long as the context lasts. Raises Unavailable when there is no region."""
    config = AioConfig(
        connect_timeout=2,
        read_timeout=10,
        max_pool_connections=50,
        retries={"mode": "standard", "total_max_attempts": 3},
    )
    session = aioboto3.Session()
    async with AsyncExitStack() as stack:
        try:
            dynamodb = await stack.enter_async_context(session.client("dynamodb", config=config))
            sqs = await stack.enter_async_context(session.client("sqs", config=config))
            patient = config.merge(AioConfig(read_timeout=POLL_SECONDS + 10))
            polls = await stack.enter_async_context(session.client("sqs", config=patient))
        except BotoCoreError as error:
            raise Unavailable(f"AWS is not configured: {error}") from error
        yield Clients(dynamodb=dynamodb, sqs=sqs, polls=polls)


@asynccontextmanager
async def service(name: str) -> AsyncIterator[Any]:
    """A client of another service, such as ``ecs``, that is asked seldom and not waited for long. Untyped:
    there are no stubs of it. Raises Unavailable when there is no region."""
    config = AioConfig(
        connect_timeout=2,
        read_timeout=6,
        max_pool_connections=10,
        retries={"mode": "standard", "total_max_attempts": 2},
    )
    session: Any = aioboto3.Session()
    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(session.client(name, config=config))
        except BotoCoreError as error:
            raise Unavailable(f"AWS is not configured: {error}") from error
        yield client


@contextmanager
def translated() -> Iterator[None]:
    """Raise Overtaken, QueueMissing or Unavailable for what boto raises; a fault of ours stays as it is."""
    try:
        yield
    except ClientError as error:
        raise _of(error) from error
    except (BotoCoreError, OSError) as error:
        raise Unavailable(_AGAIN) from error


def _of(error: ClientError) -> Exception:
    code = error.response.get("Error", {}).get("Code", "")
    if code == "TransactionCanceledException":
        return _cancelled(error)
    if code in _OVERTAKEN:
        return Overtaken()
    if code in _QUEUE_MISSING:
        return QueueMissing("The worker's queue is missing: try again in a moment.")
    if code in _OURS:
        return error
    return Unavailable(_AGAIN)


def _cancelled(error: ClientError) -> Exception:
    reasons = error.response.get("CancellationReasons", [])
    codes = {str(r.get("Code", "None")) for r in reasons} - {"None"}
    return Overtaken() if codes and codes <= _LOST else error
