"""People who write: each thread posts again and again until its message is accepted, some of them twice."""

import asyncio
import random
from dataclasses import dataclass, field

import httpx

from contracts.words import Mode
from tests.chaos.fleet import Fleet
from tests.chaos.history import History, Posted

_RETRY = 0.3


@dataclass(frozen=True, kw_only=True)
class Manners:
    """How people write. Chances are 0..1, ``rest`` is the mean pause of a thread in seconds.
    ``twice``: the same request once more. ``again``: twice a second, the delivery of any earlier message."""

    threads: int = 16
    outstanding: int = 3
    rest: float = 1.5
    twice: float = 0.1
    again: float = 0.3
    steer: float = 0.05
    interrupt: float = 0.05
    stop: float = 0.02
    only_talk: float = 0.1
    limit: int | None = None


@dataclass(kw_only=True)
class Traffic:
    """Posts to the fleet until told to stop. ``posted`` is what was accepted, ``stops`` the threads in which
    somebody asked to stop, accepted or not."""

    fleet: Fleet
    history: History
    manners: Manners
    dice: random.Random
    posted: list[Posted] = field(default_factory=list)
    stops: set[str] = field(default_factory=set)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    open: dict[str, int] = field(default_factory=dict)

    async def run(self) -> None:
        """All threads at once; each gets a generator of its own, so that one's luck is not another's."""
        async with httpx.AsyncClient(timeout=5) as client:
            writers = [
                self._write(client, number, random.Random(self.dice.random()))
                for number in range(self.manners.threads)
            ]
            await asyncio.gather(self._count(), *writers)

    async def _count(self) -> None:
        """How much is unanswered, so that people wait for answers now and then."""
        while not self.over.is_set():
            found = await self.fleet.open_messages()
            self.open |= {worker: n for worker, n in found.items() if n is not None}
            if self.posted and self.dice.random() < self.manners.again:
                await asyncio.to_thread(self._deliver_again, self.dice.choice(self.posted))
            await asyncio.sleep(0.5)

    def _deliver_again(self, old: Posted) -> None:
        seat = next(s for s in self.fleet.seats if s.worker == old.worker)
        self.fleet.ring(seat, thread=old.thread_id, sequence=old.sequence, message=old.message_id)

    async def _write(self, client: httpx.AsyncClient, number: int, dice: random.Random) -> None:
        seat = self.fleet.seats[number % len(self.fleet.seats)]
        thread, wrote = f"t{number}", 0
        per_seat = max(self.manners.threads // len(self.fleet.seats), 1) * self.manners.outstanding
        while not self.over.is_set():
            await self._rest(dice.expovariate(1 / self.manners.rest))
            if self.manners.limit is not None and len(self.posted) >= self.manners.limit:
                return
            if self.over.is_set() or self.open.get(seat.worker, 0) >= per_seat:
                continue
            wrote += 1
            if wrote > 1 and dice.random() < self.manners.stop:
                await self._stop(client, thread)
            else:
                await self._post(client, dice, seat.project, thread, f"{thread}-{wrote}")

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.over.wait()
        except TimeoutError:
            return

    async def _post(
        self, client: httpx.AsyncClient, dice: random.Random, project: str, thread: str, name: str
    ) -> None:
        mode = self._mode(dice)
        files, text = script(name, dice=dice, only_talk=dice.random() < self.manners.only_talk)
        body = {
            "text": text, "thread_id": thread, "project": project, "message_id": name, "mode": str(mode),
        }  # fmt: skip
        sequence = await self._until_accepted(client, dice, body)
        worker = self.fleet.places.worker(project)
        self.posted.append(
            Posted(
                message_id=name, thread_id=thread, worker=worker, mode=mode, sequence=sequence, files=files
            )
        )
        self.history.add(thread, "accepted", message=name, sequence=sequence, mode=str(mode))
        if dice.random() < self.manners.twice:
            again = await self._until_accepted(client, dice, body)
            if again != sequence:
                self.history.note(f"{name} was accepted as {sequence} and as {again}")

    def _mode(self, dice: random.Random) -> Mode:
        steer, interrupt = self.manners.steer, self.manners.interrupt
        weights = [1 - steer - interrupt, steer, interrupt]
        return dice.choices([Mode.QUEUE, Mode.STEER, Mode.INTERRUPT], weights)[0]

    async def _until_accepted(
        self, client: httpx.AsyncClient, dice: random.Random, body: dict[str, str]
    ) -> int:
        while True:
            url = f"http://127.0.0.1:{dice.choice(self.fleet.dispatcher_ports)}/v1/threads"
            try:
                answer = await client.post(url, json=body)
            except httpx.TransportError as error:
                self.history.add(body["thread_id"], "refused", message=body["message_id"], why=repr(error))
            else:
                if answer.status_code == 202:
                    return int(answer.json()["sequence"])
                self.history.add(
                    body["thread_id"], "refused", message=body["message_id"], why=answer.status_code
                )
                if answer.status_code < 500 and answer.status_code != 429:
                    self.history.note(f"{body['message_id']}: {answer.status_code} {answer.text[:200]}")
            await asyncio.sleep(_RETRY)

    async def _stop(self, client: httpx.AsyncClient, thread: str) -> None:
        self.stops.add(thread)
        try:
            answer = await client.post(
                f"http://127.0.0.1:{self.fleet.dispatcher_ports[0]}/v1/threads/{thread}/stop"
            )
            self.history.add(thread, "stop", status=answer.status_code)
        except httpx.TransportError as error:
            self.history.add(thread, "stop", status=repr(error))


def script(name: str, *, dice: random.Random, only_talk: bool = False) -> tuple[dict[str, str], str]:
    """What a message's turn writes, and the text that makes it do so. Files are named after the message."""
    lines = [f"Please do {name}.", "do: say [by {pid}]"]
    if dice.random() < 0.5:
        lines.append(f"do: stream {dice.randrange(80, 800)} 10")
    files = {} if only_talk else {f"m/{name}.txt": name}
    for path, content in files.items():
        lines.append(f"do: write {path} {content}")
        lines.append(f"do: write last.txt {name} by {{pid}}")
    if dice.random() < 0.1:
        lines.append("do: bash setsid sleep 600 & true")
    if dice.random() < 0.5:
        lines.append(f"do: stream {dice.randrange(80, 400)} 10")
    lines.append(f"do: say [by {{pid}}] did {name}")
    return files, "\n".join(lines)
