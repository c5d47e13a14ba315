"""What the tests of replies share: an engine's table and queue through the dispatcher's own adapters, logs
written as dispatcher and worker would, and a clock that stands still."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from contracts import names
from contracts.events import EVENT, Event
from contracts.messages import Author
from contracts.places import ReplyPointer
from contracts.words import Frontend, MessageId, Mode, ThreadId, WorkerId
from dispatcher import aws
from dispatcher.parts import Draft
from dispatcher.places import Places
from dispatcher.posting import Dialect
from dispatcher.record import Recorder
from dispatcher.replies import Replies
from dispatcher.rings import Rings
from dispatcher.table import Table
from tests.fakes.dispatcher import REGION
from tests.fakes.poster import MemoryPoster, PlainDialect

WORKER = WorkerId("local-site-local")
TABLE = "branchline"


class Clock:
    """A monotonic clock that moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def tick(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass(frozen=True, kw_only=True)
class Lab:
    """One account of an engine."""

    clients: aws.Clients
    table: Table
    places: Places
    rings: Rings
    recorder: Recorder

    async def message(
        self, thread: str, number: int, *, text: str | None = None, frontend: Frontend = Frontend.SLACK
    ) -> MessageId:
        """Record a message, as ingest does; its id is ``THREAD-NUMBER``."""
        message_id = MessageId(f"{thread}-{number}")
        await self.recorder.record(
            Draft(
                worker_id=WORKER,
                project="site",
                asked_project=None,
                thread_id=ThreadId(thread),
                thread_is_given=True,
                message_id=message_id,
                text=text or f"text {number}",
                mode=Mode.QUEUE,
                frontend=frontend,
                author=Author(id="u", name="Una"),
            )
        )
        return message_id

    async def tell(self, thread: str, message_id: MessageId, type_: str, **data: Any) -> None:
        """Append an event of a turn, as a worker does."""
        turn = names.turn(worker=WORKER, thread_id=ThreadId(thread), sequence=1)

        def make(number: int) -> Event:
            return EVENT.validate_python(
                {
                    "type": type_,
                    "id": number,
                    "thread_id": thread,
                    "time": datetime.now(UTC),
                    "message_id": message_id,
                    "turn_id": turn,
                    "data": data,
                }
            )

        assert await self.recorder.append(worker=WORKER, thread_id=ThreadId(thread), make=make) is not None

    async def start(self, thread: str, message_id: MessageId) -> None:
        """The turn begins."""
        more = {"branch": f"thread-{thread}", "base": "0", "session_id": "s", "attempt": 1}
        await self.tell(thread, message_id, "turn.started", **more)

    async def answer(self, thread: str, message_id: MessageId, text: str = "Done.") -> None:
        """The turn is completed."""
        await self.tell(thread, message_id, "turn.completed", text=text)

    async def show(self, thread: str, address: str, *, frontend: Frontend = Frontend.SLACK) -> None:
        """Show a thread in a place."""
        await self.places.remember(frontend, address, WORKER, ThreadId(thread))

    async def unshown(self) -> list[str]:
        """Threads that the sweep would ring for."""
        return [row.thread_id for row in await self.places.unshown()]

    def replies(
        self,
        *posters: MemoryPoster,
        clock: Clock,
        dialect: Dialect | None = None,
        places: Places | None = None,
    ) -> Replies:
        """A consumer with a memory of its own."""
        chosen = dialect or PlainDialect()
        frontends: Mapping[Frontend, Any] = {poster.frontend: (chosen, poster) for poster in posters}
        return Replies(table=self.table, places=places or self.places, frontends=frontends, now=clock)


def pointer(thread: str) -> ReplyPointer:
    """What a ring for a thread carries."""
    return ReplyPointer(worker_id=WORKER, thread_id=ThreadId(thread))


async def look_until_done(replies: Replies, thread: str, *, clock: Clock, most: int = 60) -> None:
    """Look again whenever the consumer asks for it, without waiting."""
    for _ in range(most):
        wait = await replies.look(pointer(thread))
        if wait is None:
            return
        clock.tick(wait)
    raise AssertionError("there is always more to do")


@asynccontextmanager
async def lab(*, url: str, account: str) -> AsyncIterator[Lab]:
    """The table and the replies queue in an account of an engine."""
    wanted = {
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": account,
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        async with aws.connect() as clients:
            table, rings = Table(clients.dynamodb, name=TABLE), Rings(clients.sqs)
            await table.ensure()
            yield Lab(
                clients=clients,
                table=table,
                places=Places(clients.dynamodb, table=TABLE),
                rings=rings,
                recorder=Recorder(table, rings),
            )
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
