"""Workers that cannot be started, and what is said of them: each line that an alarm counts is written here by
the product and held against the pattern that is deployed."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from cdk import words
from contracts import names, records
from contracts.places import ReplyPointer
from contracts.words import ThreadId, WorkerId
from dispatcher.contact import Contact
from dispatcher.endings import Endings
from dispatcher.errors import Unavailable
from dispatcher.lambda_events import Rung
from dispatcher.lambda_rounds import Rounds
from dispatcher.record import Recorder
from dispatcher.rescue import Rescue
from dispatcher.rings import Ring
from dispatcher.settings import Settings
from dispatcher.sweep import Sweep
from dispatcher.verdicts import REFUSALS, WAKES_AT_ONCE
from dispatcher.wake import Wake
from tests.fakes.dispatcher import FakeLauncher
from tests.fakes.engine import EngineProcess, aws_client
from tests.integration.dispatcher_lab import WORKER, Lab, lab, table_of
from tests.integration.replies_lab import Clock

Line = Mapping[str, Any]


def counted(name: str, lines: Sequence[Line]) -> list[float]:
    """What CloudWatch Logs adds to a metric for these lines: a value for each that matches."""
    filter_ = words.OF_DISPATCHER[name]
    tests = re.findall(r'\$\.(\w+) = "([^"]*)"', filter_.pattern)
    plain = re.sub(r'\(?\$\.\w+ = "[^"]*"\)?', "x", filter_.pattern)
    assert plain == "{ " + " || ".join("x" * len(tests)) + " }", "a pattern that this reads"
    found = [json.loads(json.dumps(line, default=str)) for line in lines]
    found = [line for line in found if any(line.get(field) == word for field, word in tests)]
    if filter_.value == "1":
        return [1.0] * len(found)
    return [float(line[filter_.value.removeprefix("$.")]) for line in found]


class Moody:
    """A launcher. ``mood``: what it does when asked to start; ``blind``: it cannot say what runs."""

    def __init__(self) -> None:
        self.mood, self.blind, self.starts = "refuses", False, 0

    async def ensure(self, worker_id: WorkerId) -> bool:
        self.starts += 1
        if self.mood == "refuses":
            raise Unavailable("ECS has started no task: you have reached the limit of vCPUs.")
        return False

    async def running(self, worker_id: WorkerId) -> bool:
        if self.blind:
            raise Unavailable("ECS could not be asked.")
        return False


class House:
    """A sweep over the records of a lab, minute by minute."""

    def __init__(self, table: Any, launcher: Moody, *, letters: Any, unshown: Any) -> None:
        self.clock = Clock()
        recorder = Recorder(table)
        wake = Wake(table=table, launcher=launcher, recorder=recorder)
        endings = Endings(table=table, wake=wake)
        rescue = Rescue(table=table, wake=wake, recorder=recorder, endings=endings, pace=60, now=self.clock)
        unused: Any = None
        contact = Contact(table=table, queues=Nothing())  # type: ignore[arg-type]
        self.sweep = Sweep(
            table=table,
            rescue=rescue,
            letters=letters,
            contact=contact,
            people=Nothing(),  # type: ignore[arg-type]
            unshown=unshown,
            settings=Settings(repo="example.invalid/site.git"),
        )
        self.rounds = Rounds(sweep=self.sweep, replies=unused, rings=unused)

    async def minutes(self, count: int) -> Sequence[Line]:
        """What is logged in so many rounds."""
        with capture_logs() as lines:
            for _ in range(count):
                self.clock.tick(60)
                await self.rounds.sweep()
        return lines


class Nothing:
    """Stands for parts that have nothing to do here, or that fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def care(self, worker: WorkerId) -> None:
        if self._error is not None:
            raise self._error

    async def seed(self, fleet: object) -> None:
        """Nobody."""

    async def make(self, worker: WorkerId) -> str:
        return "http://127.0.0.1/q"

    async def ring_all(self) -> None:
        if self._error is not None:
            raise self._error

    async def hide(self, rings: object, *, seconds: float) -> None:
        """Nothing is in a queue."""


@asynccontextmanager
async def house(
    site: Lab, monkeypatch: pytest.MonkeyPatch, launcher: Moody, *, letters: Any = None, unshown: Any = None
) -> AsyncIterator[House]:
    async with table_of(site, monkeypatch) as table:
        yield House(table, launcher, letters=letters or Nothing(), unshown=unshown)


@pytest.fixture
def quiet(engine: EngineProcess, launcher: FakeLauncher, tmp_path: Path) -> Any:
    """A lab whose own sweep has looked once and then waits."""
    with lab(engine, launcher, tmp_path, BRANCHLINE_SWEEP_SECONDS="3600") as made:
        made.post("do it", thread_id="a").raise_for_status()
        yield made


def reasons(site: Lab, thread: str) -> list[str]:
    return [e["data"]["reason"] for e in site.events(thread) if e["type"] == "worker.stopped"]


async def test_a_start_that_is_refused_for_good_is_told_once_and_counted_for_as_long_as_it_lasts(
    quiet: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    moody = Moody()
    async with house(quiet, monkeypatch, moody) as there:
        lines = await there.minutes(REFUSALS - 1)
        assert (counted("StartsRefused", lines), reasons(quiet, "a")) == ([], [])
        lines = await there.minutes(20)
        assert counted("StartsRefused", lines) == [1.0] * 20
        assert counted("StuckTurns", lines) == [], "it was not started, so nothing was left untouched"
        assert moody.starts == REFUSALS + 19, "it is tried each minute"
        (told,) = reasons(quiet, "a")
        assert "cannot be started" in told
        await asyncio.to_thread(quiet.post, "and this", thread_id="b")
        await there.minutes(2)
        assert (len(reasons(quiet, "a")), len(reasons(quiet, "b"))) == (1, 1)

        moody.mood = "starts"
        assert counted("StartsRefused", await there.minutes(1)) == []
        moody.mood = "refuses"
        assert counted("StartsRefused", await there.minutes(REFUSALS - 1)) == [], "counted anew"


async def test_what_could_not_be_started_is_tried_at_the_very_next_look_and_counted_by_the_minute(
    quiet: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    moody = Moody()
    async with house(quiet, monkeypatch, moody) as there:
        for _ in range(10):
            there.clock.tick(1)
            await there.rounds.sweep()
        assert (moody.starts, reasons(quiet, "a")) == (10, [])
        moody.mood = "starts"
        await there.rounds.sweep()
        await there.rounds.sweep()
        assert moody.starts == 11


async def test_looks_that_come_soon_after_one_another_count_once(
    quiet: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of each worker of the cluster is a sweep, and a fleet may have thousands in a day."""
    moody = Moody()
    moody.mood = "starts"
    async with house(quiet, monkeypatch, moody) as there:
        for _ in range(50):
            there.clock.tick(0.5)
            await there.rounds.sweep()
        assert moody.starts == 1
        lines = await there.minutes(WAKES_AT_ONCE)
        assert counted("StuckTurns", lines) == [1.0]
        assert moody.starts == WAKES_AT_ONCE


async def test_the_end_of_a_task_is_a_look_at_that_worker_alone_and_no_round(
    quiet: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    moody = Moody()
    moody.mood = "starts"
    async with house(quiet, monkeypatch, moody) as there:
        with capture_logs() as lines:
            await there.rounds.sweep(names.short(WorkerId("somebody-else-s")))
            assert moody.starts == 0
            await there.rounds.sweep(names.short(WORKER))
        assert moody.starts == 1
        assert counted(words.SWEEPS, lines) == [], "a clock that has stopped would not show"


async def test_a_sweep_that_stands_or_finds_faults_shows_in_what_is_counted(
    quiet: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    moody = Moody()
    moody.mood = "starts"
    async with house(quiet, monkeypatch, moody) as there:
        lines = await there.minutes(3)
        assert counted(words.SWEEPS, lines) == [1.0] * 3
        assert counted(words.SWEEP_BROKEN, lines) == []
        moody.blind = True
        assert counted(words.SWEEP_BROKEN, await there.minutes(3)) == [1.0] * 3
    async with house(quiet, monkeypatch, moody, letters=Nothing(ZeroDivisionError())) as there:
        assert counted(words.SWEEP_BROKEN, await there.minutes(1))[0] == 1.0
    async with house(quiet, monkeypatch, moody, unshown=Nothing(Unavailable("x"))) as there:
        moody.blind = False
        lines = await there.minutes(2)
        assert counted(words.SWEEPS, lines) == [], "a sweep that never comes to its end stands"
        assert counted(words.SWEEP_BROKEN, lines)


async def test_how_long_somebody_has_waited_for_a_worker_is_a_number_in_the_sweeps_line(
    quiet: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(quiet, monkeypatch, Moody()) as there:
        (waited,) = counted(words.OLDEST, await there.minutes(1))
        assert 0 <= waited < 3600
        age(quiet, "a", hours=2)
        (waited,) = counted(words.OLDEST, await there.minutes(1))
        assert 7200 <= waited < 10_800
        begin(quiet, "a")
        assert counted(words.OLDEST, await there.minutes(1)) == [0.0], "its turn has begun"


async def test_replies_that_cannot_be_looked_at_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Late:
        async def look(self, pointer: object, *, is_last: bool) -> None:
            if is_last:
                await asyncio.Event().wait()
            raise Unavailable("Storage did not answer.")

    unused: Any = None
    rounds = Rounds(sweep=unused, replies=Late(), rings=Nothing())  # type: ignore[arg-type]
    with capture_logs() as lines:
        for receives in (1, 20):
            pointer = ReplyPointer(worker_id=WORKER, thread_id=ThreadId("a"))
            ring = Ring(receipt="r", pointer=pointer, receives=receives)
            assert await rounds.look([Rung(message_id="m", ring=ring)], seconds=0.2) == ["m"]
    assert counted(words.REPLIES_LATE, lines) == [1.0, 1.0]


def age(site: Lab, thread: str, *, hours: int) -> None:
    """Let the thread's first message have waited for so long."""
    set_open(site, thread, "received", hours=hours)


def begin(site: Lab, thread: str) -> None:
    set_open(site, thread, "state", value="running")


def set_open(site: Lab, thread: str, name: str, *, hours: int = 0, value: str = "") -> None:
    value = value or (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
    with aws_client("dynamodb", url=site.engine.url, account=site.account) as client:
        client.update_item(
            TableName="branchline",
            Key=records.open_key(WORKER, ThreadId(thread), 1),
            UpdateExpression="SET #n = :v",
            ExpressionAttributeNames={"#n": name},
            ExpressionAttributeValues={":v": {"S": value}},
        )
