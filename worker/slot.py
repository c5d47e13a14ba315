"""A slot of the warm pool: ``python -m worker.slot`` waits to be told whose worker it is, and becomes it.

Until then it has no ``CONTAINER_ID``, no checkout, and a role that may read its letter and nothing else.
When the letter is there the same role has been given the worker's policy; IAM shows that a moment later,
here sooner than there, so the slot asks until it is let in and only then runs ``python -m worker`` in its
own place. It becomes one worker, once; whatever goes wrong ends it, and a task is started instead.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts import names, pool, records
from contracts.pool import Slot
from contracts.records import BindingRecord
from contracts.words import WorkerId
from worker import aws
from worker.errors import WorkerError
from worker.log import configure, get_logger
from worker.redact import Redactor
from worker.settings import secrets
from worker.signals import drain_on_signals

log = get_logger()

EXIT_OK, EXIT_BROKEN, EXIT_USAGE = 0, 1, 2
_IN_A_ROW = 3


class SlotSettings(BaseSettings):
    """What a slot is told from outside."""

    model_config = SettingsConfigDict(env_prefix="BRANCHLINE_", frozen=True, extra="ignore")

    slot: Slot
    """The slot's name."""
    table: str = "branchline"
    """Name of the DynamoDB table."""
    alive: Path | None = None
    """File that is touched after each look: its age is this slot's health."""
    slot_look_seconds: float = Field(default=1.0, gt=0)
    """Seconds between two looks for the letter."""
    slot_refused_seconds: float = Field(default=60, gt=0)
    """Seconds a slot may be refused its letter: so long IAM may take to show a new role."""
    slot_settle_seconds: float = Field(default=40, gt=0)
    """Seconds from the letter until it must be let in as its worker."""
    slot_ask_seconds: float = Field(default=0.2, gt=0)
    """Seconds between two tries to be let in."""
    log_level: str = "info"
    """Least level that is logged: debug, info, warning, error."""

    @field_validator("slot")
    @classmethod
    def _is_one(cls, given: Slot) -> Slot:
        pool.letter_pk(given)
        return given


@dataclass(frozen=True, kw_only=True)
class Called:
    """Whose worker a slot is to become, and the environment variables that this worker has besides."""

    worker: WorkerId
    variables: Mapping[str, str]


class Waiting:
    """One slot, from its start to its worker. ``leaving`` is set when it was asked to leave."""

    def __init__(self, *, settings: SlotSettings, clients: aws.Aws, leaving: asyncio.Event) -> None:
        self._settings, self._clients, self._leaving = settings, clients, leaving

    async def called(self) -> Called | None:
        """What to become, once the worker's records and its queue are open to this slot; None when the slot
        was asked to leave before. Raises WorkerError when it is refused for too long."""
        log.info("slot_waits", slot=self._settings.slot)
        called = await self._told()
        if called is None:
            return None
        worker = called.worker
        log.info("slot_told", slot=self._settings.slot, worker=worker)
        began = time.monotonic()
        row = 0
        while row < _IN_A_ROW:
            row = row + 1 if await self._is_let_in(worker, since=began) else 0
            if row < _IN_A_ROW and await self._leaves_within(self._settings.slot_ask_seconds):
                return None
        log.info("slot_becomes", worker=worker, seconds=round(time.monotonic() - began, 2))
        return called

    async def _told(self) -> Called | None:
        looked = time.monotonic()
        while True:
            item = await self._asked(self._letter, since=looked, patience=self._settings.slot_refused_seconds)
            if item:
                return Called(worker=pool.addressee(item), variables=pool.variables(item))
            if item is not None:
                looked = time.monotonic()
                self._touch()
            if await self._leaves_within(self._settings.slot_look_seconds):
                return None

    async def _letter(self) -> records.Item:
        got = await self._clients.dynamodb.get_item(
            TableName=self._settings.table, Key=pool.letter_key(self._settings.slot), ConsistentRead=True
        )
        return dict(got.get("Item", {}))

    async def _is_let_in(self, worker: WorkerId, *, since: float) -> bool:
        async def ask() -> records.Item:
            return await self._ask_as(worker)

        self._touch()
        found = await self._asked(ask, since=since, patience=self._settings.slot_settle_seconds)
        return found is not None

    async def _ask_as(self, worker: WorkerId) -> records.Item:
        """One request to each service that the worker needs before it can say anything."""
        bound = await self._clients.dynamodb.query(
            TableName=self._settings.table,
            ConsistentRead=True,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={
                ":pk": {"S": records.worker_pk(worker)},
                ":sk": {"S": "binding#"},
            },
        )
        urls = [BindingRecord.read(item).queue_url for item in bound["Items"]]
        for url in [u for u in urls if u.rpartition("/")[2] == names.queue(worker)]:
            await self._clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return {}

    async def _asked(
        self, ask: Callable[[], Awaitable[records.Item]], *, since: float, patience: float
    ) -> records.Item | None:
        """The answer; None when there is none now. Raises WorkerError when it was refused for too long."""
        try:
            return await ask()
        except aws.FAULTS as error:
            if time.monotonic() - since > patience and not aws.passing(error):
                raise WorkerError(f"{self._settings.slot} is refused what it needs: {error}") from error
            log.warning("slot_not_answered", slot=self._settings.slot, problem=str(error)[:300])
            return None

    async def _leaves_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._leaving.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _touch(self) -> None:
        try:
            if self._settings.alive is not None:
                self._settings.alive.touch()
        except OSError as error:  # whoever looks at its age will see it
            log.warning("slot_not_touched", problem=str(error))


async def wait(settings: SlotSettings) -> Called | None:
    """What to become, or None when there is none to be. Raises WorkerError."""
    leaving = asyncio.Event()
    drain_on_signals(leaving)
    async with aws.connect() as clients:
        return await Waiting(settings=settings, clients=clients, leaving=leaving).called()


def main() -> int:
    """Entry point of ``python -m worker.slot``; returns only if there is no worker to become."""
    try:
        settings = SlotSettings()  # type: ignore[call-arg]  # read from the environment
    except ValidationError as error:
        for problem in error.errors():
            sys.stderr.write(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}\n")
        return EXIT_USAGE
    configure(level=settings.log_level, redactor=Redactor(secrets=secrets()))
    try:
        called = asyncio.run(wait(settings))
    except WorkerError as error:
        log.error("slot_stopped", reason=str(error))
        return EXIT_BROKEN
    if called is not None:
        become(called)
    return EXIT_OK


def become(called: Called) -> NoReturn:
    """Run this worker in the place of this program. Nothing differs for it from any other start."""
    kept = {name: value for name, value in os.environ.items() if name != pool.VARIABLE}
    argv = [sys.executable, "-m", "worker"]
    os.execve(sys.executable, argv, {**kept, **called.variables, "CONTAINER_ID": called.worker})  # noqa: S606 - its own interpreter


if __name__ == "__main__":
    sys.exit(main())
