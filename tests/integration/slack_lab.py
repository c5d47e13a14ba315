"""What the Slack tests share: Slack's stand-in, the whole dispatcher before an engine, a worker's pen."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from contracts import names
from contracts.events import EVENT, Event
from contracts.records import MessageRecord
from contracts.words import Frontend, MessageId, ThreadId, WorkerId
from dispatcher import slack_door
from dispatcher.app import create_app
from dispatcher.settings import Settings
from fleet.standin.slack import APP_TOKEN, BOT_TOKEN, SECRET, SlackStandIn
from fleet.standin.slack_world import BOT_USER, TEAM, Json, Message
from tests.integration import replies_lab

CHANNEL, OTHER, UNKNOWN, DIRECT = "C0SITE", "C0SHOP", "C0NOBODY", "D0ADA"
ADA, BOB, EVE = "U0ADA", "U0BOB", "U0EVE"
MENTION = f"<@{BOT_USER}>"
SECONDS = 30.0
_FILE = f"""
[project.site]
repo = "https://github.com/acme/site.git"
slack_channels = ["{TEAM}/{CHANNEL}"]

[project.shop]
repo = "https://github.com/acme/shop.git"
slack_channels = ["{TEAM}/{OTHER}"]

[user.ada]
projects = ["site", "shop"]
slack = ["{TEAM}/{ADA}"]

[user.bob]
projects = ["site"]
slack = ["{TEAM}/{BOB}"]
"""


@dataclass(frozen=True, kw_only=True)
class Lab:
    """``slack``: the workspace; ``url``: the dispatcher; ``records``: its table and rings."""

    slack: SlackStandIn
    url: str
    records: replies_lab.Lab
    sent: list[Json] = field(default_factory=list)

    async def says(
        self, text: str, *, user: str = ADA, channel: str = CHANNEL, root: str | None = None
    ) -> Message:
        """Somebody writes, and Slack sends every event of it; each is acknowledged with 200."""
        message, events = self.slack.says(channel=channel, user=user, text=text, thread_ts=root)
        for event in events:
            await self.send(event)
        return message

    async def send(self, body: Json, **more: Any) -> httpx.Response:
        """Deliver an event or a button, which is acknowledged."""
        self.sent.append(body)
        answer = await self.deliver(body, **more)
        assert answer.status_code == 200, answer.text
        return answer

    async def deliver(self, body: Json, **more: Any) -> httpx.Response:
        """Deliver an event or a button, whatever comes of it."""
        return await asyncio.to_thread(self.slack.deliver, body, to=self.url, **more)

    async def thread(self, message: Message, *, channel: str = CHANNEL) -> tuple[WorkerId, ThreadId]:
        """The thread that the message's place shows."""
        address = f"{TEAM}/{channel}/{message.thread_ts or message.ts}"
        found = await self.records.places.thread_at(Frontend.SLACK, address)
        assert found is not None
        return found

    async def recorded(self, message: Message, *, channel: str = CHANNEL) -> list[MessageRecord]:
        """What is recorded in the thread of a message."""
        worker, thread_id = await self.thread(message, channel=channel)
        return await self.records.table.messages(worker=worker, thread_id=thread_id)

    async def nothing_recorded(self) -> bool:
        """Whether no worker has any thread."""
        workers = await self.records.table.workers()
        return not [row for w in workers for row in await self.records.table.threads(w)]

    async def tell(self, message: Message, type_: str, *, channel: str = CHANNEL, **data: Any) -> None:
        """Append an event of the message's turn, as its worker does, and ring."""
        worker, thread_id = await self.thread(message, channel=channel)
        turn = names.turn(worker=worker, thread_id=thread_id, sequence=1)
        message_id = MessageId(f"slack:{TEAM}:{channel}:{message.ts}")

        def make(number: int) -> Event:
            of = (
                {"message_id": message_id, "turn_id": turn} if type_.startswith(("turn.", "message.")) else {}
            )
            plain = {"type": type_, "id": number, "thread_id": thread_id, "time": datetime.now(UTC)}
            return EVENT.validate_python({**plain, **of, "data": data})

        assert await self.records.recorder.append(worker=worker, thread_id=thread_id, make=make) is not None

    async def start(self, message: Message, *, channel: str = CHANNEL) -> None:
        """The message's turn begins."""
        more = {"branch": "thread-x", "base": "0", "session_id": "s", "attempt": 1}
        await self.tell(message, "turn.started", channel=channel, **more)

    async def complete(self, message: Message, text: str, *, channel: str = CHANNEL, **more: Any) -> None:
        """The message's turn is completed with a commit."""
        proof = {
            "changed": True,
            "commit": "abcdef1234567890",
            "branch": "thread-x",
            "files": 1,
            "pushed": True,
        }
        await self.tell(message, "turn.completed", channel=channel, text=text, **{**proof, **more})

    def posts(self, message: Message, *, channel: str = CHANNEL) -> list[Message]:
        """What the bot has posted in the message's Slack thread."""
        return self.slack.world.posts(channel, message.thread_ts or message.ts)

    def whispers(self, *, to: str = ADA) -> list[str]:
        """What one person was told."""
        return [whisper.text for whisper in self.slack.world.whispers if whisper.user == to]


async def until(look: Callable[[], object], *, seconds: float = SECONDS) -> None:
    """Wait for something to be so."""
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, "it did not become so in time"
        await asyncio.sleep(0.02)


async def quiet(lab: Lab) -> None:
    """Wait until the replies have looked at everything: nothing is listed as not shown any more."""
    deadline = time.monotonic() + SECONDS
    while await lab.records.unshown():
        assert time.monotonic() < deadline, "there is always something to show"
        await asyncio.sleep(0.05)


@contextmanager
def served() -> Iterator[str]:
    """The dispatcher's application on a free port, in a thread of its own; its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(Settings(), frontdoors=[slack_door.DOOR])
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    running = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    running.start()
    try:
        deadline = time.monotonic() + SECONDS
        while not server.started:
            assert running.is_alive(), "the dispatcher did not start"
            assert time.monotonic() < deadline, "the dispatcher did not start in time"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        running.join(SECONDS)
        listener.close()


@asynccontextmanager
async def lab(
    *,
    engine_url: str,
    account: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    socket_mode: bool = False,
) -> AsyncIterator[Lab]:
    """A workspace and a dispatcher that is its app."""
    file = tmp_path / "branchline.toml"
    file.write_text(_FILE)
    with SlackStandIn() as slack:
        for channel in (CHANNEL, OTHER, UNKNOWN):
            slack.world.open(channel)
        slack.world.open(DIRECT, direct=True)
        given = {
            "BRANCHLINE_CONFIG": str(file),
            "BRANCHLINE_SLACK_API_URL": slack.url,
            "SLACK_BOT_TOKEN": BOT_TOKEN,
            "SLACK_SIGNING_SECRET": SECRET,
            "SLACK_APP_TOKEN": APP_TOKEN if socket_mode else "",
        }
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        async with replies_lab.lab(url=engine_url, account=account) as records:
            with served() as url:
                yield Lab(slack=slack, url=url, records=records)
