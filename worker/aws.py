"""The two AWS clients of the worker, opened once. Knows nothing of what is asked of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aioboto3
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_sqs import SQSClient
else:
    DynamoDBClient = SQSClient = Any

UNREACHABLE = (OSError, TimeoutError)
"""Beside botocore's own errors: what a connection may fail with."""
FAULTS = (BotoCoreError, ClientError, *UNREACHABLE)
"""Whatever a request may fail with."""
_BUSY = {
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "ThrottlingException",
    "TransactionConflictException",
    "TransactionInProgressException",
}


def passing(error: BaseException) -> bool:
    """Whether the same request may work later: not one that AWS has understood and refused."""
    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))
        return status >= 500 or error.response["Error"]["Code"] in _BUSY
    return isinstance(error, FAULTS)


@dataclass(frozen=True, kw_only=True)
class Aws:
    """DynamoDB and SQS. ``AWS_ENDPOINT_URL`` and credentials are read by boto as everywhere."""

    dynamodb: DynamoDBClient
    sqs: SQSClient


@asynccontextmanager
async def connect(*, queues: int = 40) -> AsyncIterator[Aws]:
    """Open both clients; ``queues`` is how many long polls may be pending at once."""
    session = aioboto3.Session()
    table = AioConfig(
        connect_timeout=3,
        read_timeout=5,
        max_pool_connections=20,
        # The callers try again themselves, for as long as the lease allows.
        retries={"mode": "standard", "total_max_attempts": 2},
    )
    # A long poll holds its connection for 20 s; every queue needs one of its own.
    poll = AioConfig(
        connect_timeout=3, read_timeout=30, max_pool_connections=queues + 20, retries={"mode": "standard"}
    )
    async with (
        session.client("dynamodb", config=table) as dynamodb,
        session.client("sqs", config=poll) as sqs,
    ):
        yield Aws(dynamodb=dynamodb, sqs=sqs)
