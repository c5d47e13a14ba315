"""How long from an event to a browser: real dispatcher, embedded engine, open streams in another process.

An event is appended as a worker does (one transaction on the table), and its arrival is noted at every
stream, on the one monotonic clock of this machine: once from just before the append, once from when it had
landed. While the streams are measured, one more reader has opened the log and never reads. Prints a table;
``--json`` prints the numbers.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from contracts.events import Event, TextData, TurnText
from contracts.words import MessageId, ThreadId, TurnId, WorkerId
from dispatcher import aws
from dispatcher.record import Recorder
from dispatcher.table import Table
from tests.fakes.dispatcher import REGION, DispatcherProcess, running_dispatcher
from tests.fakes.engine import fresh_account, running_engine

WORKER = WorkerId("local-site-local")
THREAD = ThreadId("bench")
LOUD = 20_000
"""Characters of one event that the reader who does not read is sent as well: its buffers are soon full."""
AIM_SECONDS = 0.5


@dataclass
class Samples:
    """Seconds from before and after the append to the arrival, for so many open streams."""

    streams: int
    from_append: list[float] = field(default_factory=list)
    from_landed: list[float] = field(default_factory=list)


# ---------------------------------------------------------------- the readers' process


async def read(address: str, *, streams: int, after: int) -> None:
    """Open so many streams beyond an event; print a line per arrival: the event and when it came."""
    place = urlsplit(address)
    ready = asyncio.Semaphore(0)

    async def one() -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=2**20)
        request = f"GET /v1/threads/{THREAD}/events?after={after} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n"
        writer.write(request.encode())
        await reader.readuntil(b"\r\n\r\n")
        ready.release()
        while line := await reader.readline():
            if line.startswith(b"id: "):
                sys.stdout.write(f"{int(line[4:])} {time.monotonic()}\n")

    readers = [asyncio.create_task(one()) for _ in range(streams)]
    for _ in readers:
        await ready.acquire()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    flushing = asyncio.create_task(_flush())
    await asyncio.gather(flushing, *readers)


async def _flush() -> None:
    while True:
        await asyncio.sleep(0.05)
        sys.stdout.flush()


# ---------------------------------------------------------------- the bench


class Readers:
    """The streams, in a process of their own."""

    def __init__(self, address: str, *, streams: int, after: int) -> None:
        command = [sys.executable, "-m", "bench.streams", "--read", address]
        command += ["--streams", str(streams), "--after", str(after)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._lines = self._process.stdout
        self._streams = streams
        while self._lines.readline() != "ready\n":
            if self._process.poll() is not None:
                raise RuntimeError("the readers did not start")

    def arrivals(self, number: int) -> list[float]:
        """When the event with this number came to each stream. Events are asked for in order."""
        came: list[float] = []
        while len(came) < self._streams:
            line = self._lines.readline()
            if not line:
                raise RuntimeError("the readers ended")
            which, _, at = line.partition(" ")
            if int(which) == number:
                came.append(float(at))
        return came

    def close(self) -> None:
        """End them."""
        self._process.kill()
        self._process.wait()
        self._lines.close()


def open_and_never_read(dispatcher: DispatcherProcess) -> socket.socket:
    """A stream whose reader has gone to sleep, with small buffers."""
    place = urlsplit(dispatcher.url)
    sleeper = socket.socket()
    sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sleeper.connect((place.hostname, place.port))
    sleeper.sendall(f"GET /v1/threads/{THREAD}/events HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
    return sleeper


def event(number: int, *, characters: int) -> Event:
    return TurnText(
        id=number,
        thread_id=THREAD,
        time=datetime.now(UTC),
        message_id=MessageId("m"),
        turn_id=TurnId("t"),
        data=TextData(text="x" * characters),
    )


async def measure(recorder: Recorder, readers: Readers, *, events: int, samples: Samples, size: int) -> None:
    """Append events and note when each came to every stream."""
    for _ in range(events):
        began = time.monotonic()
        written = await recorder.append(
            worker=WORKER, thread_id=THREAD, make=lambda number: event(number, characters=size)
        )
        landed = time.monotonic()
        assert written is not None
        for at in await asyncio.to_thread(readers.arrivals, written.id):
            samples.from_append.append(at - began)
            samples.from_landed.append(at - landed)
        await asyncio.sleep(0.05)


async def bench(dispatcher: DispatcherProcess, *, counts: list[int], events: int) -> list[Samples]:
    """All measurements, one number of streams after the other."""
    found = []
    sleeper = open_and_never_read(dispatcher)
    async with aws.connect() as clients:
        recorder = Recorder(Table(clients.dynamodb, name="branchline"))
        for _ in range(60):  # more than the sleeper's buffers and the dispatcher's take
            await recorder.append(worker=WORKER, thread_id=THREAD, make=lambda n: event(n, characters=LOUD))
        for count in counts:
            samples = Samples(streams=count)
            after = await recorder.append(
                worker=WORKER, thread_id=THREAD, make=lambda n: event(n, characters=1)
            )
            assert after is not None
            readers = await asyncio.to_thread(Readers, dispatcher.url, streams=count, after=after.id)
            try:
                await measure(recorder, readers, events=events, samples=samples, size=200)
            finally:
                readers.close()
            found.append(samples)
    sleeper.close()
    return found


def spread(seconds: list[float]) -> tuple[float, float, float]:
    """Median, 95th percentile, maximum."""
    ordered = sorted(seconds)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))], ordered[-1]


def report(found: list[Samples], *, as_json: bool) -> None:
    """Print what was measured beside what was aimed at."""
    if as_json:
        print(json.dumps([vars(samples) for samples in found]))
        return
    print("event to browser: seconds, median / p95 / max, with one more reader that never reads")
    for samples in found:
        append = " / ".join(f"{x:.3f}" for x in spread(samples.from_append))
        landed = " / ".join(f"{x:.3f}" for x in spread(samples.from_landed))
        print(f"  {samples.streams:4d} streams   from the append {append}   from when it had landed {landed}")
    print(f"  aim, p95                  {AIM_SECONDS:.3f}")


def main() -> None:
    """Entry point, of the bench and of its readers' process."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=40, help="events for each number of streams")
    options.add_argument("--counts", type=int, nargs="+", default=[1, 50, 500], help="numbers of streams")
    options.add_argument("--json", action="store_true", help="print all samples as JSON")
    options.add_argument("--read", help=argparse.SUPPRESS)
    options.add_argument("--streams", type=int, default=1, help=argparse.SUPPRESS)
    options.add_argument("--after", type=int, default=0, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.read:
        asyncio.run(read(chosen.read, streams=chosen.streams, after=chosen.after))
        return
    with tempfile.TemporaryDirectory(prefix="branchline-bench-") as name:
        folder, account = Path(name), fresh_account()
        with (
            running_engine(folder / "engine") as engine,
            running_dispatcher(engine.url, account=account, cwd=folder) as dispatcher,
        ):
            posted = {"thread_id": THREAD, "text": "hello"}
            httpx.post(f"{dispatcher.url}/v1/threads", json=posted, timeout=30).raise_for_status()
            os.environ |= {
                "AWS_ENDPOINT_URL": engine.url,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_ACCESS_KEY_ID": account,
                "AWS_SECRET_ACCESS_KEY": "local",
            }
            found = asyncio.run(bench(dispatcher, counts=chosen.counts, events=chosen.events))
    report(found, as_json=chosen.json)


if __name__ == "__main__":
    main()
