"""The fleet under test: engine, dispatchers and seats as process groups, started again when they die."""

import asyncio
import contextlib
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.exceptions import BotoCoreError, ClientError

from contracts import names, records
from contracts.messages import Pointer
from contracts.words import MessageId, ThreadId
from tests.chaos.history import History
from tests.chaos.members import EngineMember, Member
from tests.chaos.places import Places, free_port
from tests.chaos.seats import Faults, Seat
from tests.fakes.engine import client_options

_LOOK = 0.1


class Fleet:
    """Everything that runs. ``supervise`` keeps it running until ``stop``."""

    def __init__(
        self, *, places: Places, history: History, dice: random.Random, faults: Faults,
        rivals: int, dispatchers: int,
    ) -> None:  # fmt: skip
        self.places, self.history, self.dice, self.faults = places, history, dice, faults
        self.seats = [
            Seat(
                project=project, places=places, history=history, dice=random.Random(dice.random()),
                disks=("a", "b") if number < rivals else ("a",), faults=faults,
            )
            for number, project in enumerate(places.projects)
        ]  # fmt: skip
        self.engine: EngineMember | None = None
        self.engine_held = False
        self.dispatcher_ports = [free_port() for _ in range(dispatchers)]
        self.dispatchers: dict[int, Member] = {}
        self.restarts = 0
        self.keeper: asyncio.Task[None] | None = None
        self.quiet = False
        self._chores: set[asyncio.Task[None]] = set()
        options = client_options(url=places.engine_url, account="123456789012")
        self.dynamodb: Any = boto3.client("dynamodb", **options)
        self.sqs: Any = boto3.client("sqs", **options)

    # ------------------------------------------------------------ starting

    async def start(self) -> None:
        """Engine, dispatchers, then workers, each once the one before answers."""
        self.start_engine()
        for port in self.dispatcher_ports:
            self._start_dispatcher(port)
        await self._answering()
        for seat in self.seats:
            seat.start(healthy=True)

    async def _answering(self) -> None:
        async with httpx.AsyncClient() as client, asyncio.timeout(60):
            for port in self.dispatcher_ports:
                while not await _healthy(client, port):
                    await asyncio.sleep(0.1)
            while not all(self._has_row(seat) for seat in self.seats):
                await asyncio.sleep(0.1)

    def _has_row(self, seat: Seat) -> bool:
        key = records.worker_key(self.places.worker(seat.project))
        return "Item" in self.dynamodb.get_item(TableName="branchline", Key=key)

    def start_engine(self) -> None:
        self.engine = EngineMember(
            home=self.places.home, port=self.places.engine_port, history=self.history,
            env=self.places.environment(),
        )  # fmt: skip

    def _start_dispatcher(self, port: int) -> None:
        fault = {} if self.quiet else self.faults.draw(self.dice, dispatcher=True)
        self.dispatchers[port] = Member(
            name="dispatcher", argv=[sys.executable, "-m", "dispatcher"],
            env=self.places.dispatcher_environment(port=port) | fault,
            log=self.places.home / "logs" / f"dispatcher-{port}.log", history=self.history, **fault,
        )  # fmt: skip

    # ------------------------------------------------------------ keeping it alive

    async def supervise(self) -> None:
        """Start again what died, until cancelled."""
        while True:
            if self.engine is not None and not self.engine.alive and not self.engine_held:
                self.start_engine()
            for port, member in self.dispatchers.items():
                self._tend_dispatcher(port, member)
            for seat in self.seats:
                self._tend(seat)
            await asyncio.sleep(_LOOK)

    def _tend_dispatcher(self, port: int, member: Member) -> None:
        if member.alive and member.stopped and not member.frozen:
            member.kill()  # hung at a failpoint
        if not member.alive:
            self._start_dispatcher(port)

    def _tend(self, seat: Seat) -> None:
        if seat.resting:
            return
        for member in seat.reap():
            self.later(self.wake_late(seat, member))
        if not seat.able and (self.quiet or self.dice.random() < 0.5):
            self.restarts += 1
            seat.start(healthy=self.quiet)

    async def wake_late(self, seat: Seat, member: Member) -> None:
        """Let a frozen process sleep past its lease, then wake it: it has to leave by itself, or go on as
        the owner it still is."""
        await asyncio.sleep(self.places.pace.lease * (1 + 4 * self.dice.random()))
        member.wake()

    def later(self, work: Any) -> None:
        """Run beside everything else."""
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    # ------------------------------------------------------------ coming to rest

    async def calm(self) -> None:
        """Everything healthy: nobody frozen, nobody with a failpoint."""
        self.quiet = True
        if self._chores:
            await asyncio.wait(self._chores)
        for seat in self.seats:
            for member in seat.members:
                member.wake()
                if "BRANCHLINE_FAULT" in _environ(member.pid):
                    member.kill()
        for member in self.dispatchers.values():
            if "BRANCHLINE_FAULT" in _environ(member.pid):
                member.kill()
        if self.engine is not None:
            self.engine.wake()

    async def open_messages(self) -> dict[str, int | None]:
        """How many messages have no outcome, by worker; None while the engine does not say."""
        return {seat.worker: await asyncio.to_thread(self._open, seat) for seat in self.seats}

    def _open(self, seat: Seat) -> int | None:
        try:
            found = self.dynamodb.query(
                TableName="branchline",
                KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
                ExpressionAttributeValues={
                    ":pk": {"S": records.worker_pk(self.places.worker(seat.project))},
                    ":sk": {"S": "open#"},
                },
                Select="COUNT",
                ConsistentRead=True,
            )
        except (BotoCoreError, ClientError):
            return None
        return int(found["Count"])

    def deliveries(self, seat: Seat) -> tuple[int, int]:
        """(visible, in flight) in the worker's queue."""
        wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        url = self.sqs.get_queue_url(QueueName=names.queue(self.places.worker(seat.project)))["QueueUrl"]
        told = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)["Attributes"]
        return int(told[wanted[0]]), int(told[wanted[1]])

    def dead_letters(self, seat: Seat) -> int:
        """How many deliveries of the worker found no end; the dispatcher's sweep puts settled ones away."""
        queue = names.dead_letters(self.places.worker(seat.project))
        url = self.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        told = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(told["Attributes"]["ApproximateNumberOfMessages"])

    def ring(self, seat: Seat, *, thread: str, sequence: int, message: str) -> None:
        """Send a message's pointer once more, as a queue that delivers twice or late does."""
        pointer = Pointer(
            thread_id=ThreadId(thread), sequence=sequence, message_id=MessageId(message)
        ).model_dump_json()
        with contextlib.suppress(BotoCoreError, ClientError):
            url = self.sqs.get_queue_url(QueueName=names.queue(self.places.worker(seat.project)))["QueueUrl"]
            self.sqs.send_message(QueueUrl=url, MessageBody=pointer)

    async def come_back(self) -> None:
        """Start a worker on each disk that the last one of its seat did not sit on: what an owner could not
        push before it died is on its disk alone, and goes to the remote when somebody comes back there."""
        for seat in self.seats:
            seat.resting = True
        await self.leave()
        for seat in self.seats:
            for disk in [d for d in seat.cleanly if d != seat.last_disk]:
                member = seat.start(disk=disk, healthy=True)
                if not await until(lambda m=member: m.is_ready or not m.alive, seconds=60):  # type: ignore[misc]
                    self.history.note(f"{seat.worker} (pid {member.pid}) did not come back to disk {disk}")
                await self.leave()

    async def leave(self) -> None:
        """Ask all workers to leave and wait for their end; one that takes longer than a minute is noted."""
        for seat in self.seats:
            for member in seat.members:
                member.ask_to_leave()
        gone = await until(lambda: not any(m.alive for s in self.seats for m in s.members), seconds=60)
        for seat in self.seats:
            for member in seat.members:
                if not gone and member.alive:
                    self.history.note(f"{member.name} (pid {member.pid}) did not leave within a minute")
                    member.kill()
            seat.reap()

    async def stop(self) -> None:
        """End everything, whatever state it is in."""
        everyone = [m for s in self.seats for m in s.members] + list(self.dispatchers.values())
        for member in [*everyone, *([self.engine] if self.engine else [])]:
            if member.alive:
                member.wake()
                member.kill()
        for task in list(self._chores):
            task.cancel()
        self.dynamodb.close()
        self.sqs.close()


async def until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Whether the condition came true in time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


async def _healthy(client: httpx.AsyncClient, port: int) -> bool:
    try:
        return (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
    except httpx.TransportError:
        return False


def _environ(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""
