"""Where the preview is and what it shows stands in the worker's row: told once, by its owner only."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from contracts import records
from contracts.records import WorkerRecord
from contracts.words import ThreadId
from tests.fakes.fleet_records import Records, connected, fleet_records
from tests.fakes.preview import until
from tests.integration.test_worker_ledger import alive, dead, lease_of
from worker.lease import DynamoLease
from worker.ports import PreviewState
from worker.showing import Showing

URL = "http://127.0.0.1:4321"
READY = PreviewState(ready=True, url=URL)


@pytest.fixture
def found(engine_url: str, account: str) -> Iterator[Records]:
    with fleet_records(url=engine_url, account=account) as made:
        yield made


class Stage:
    """A preview whose state a test sets, and what was written because of it."""

    def __init__(self, lease: DynamoLease, row: WorkerRecord, **more: Any) -> None:
        self.state = PreviewState(ready=False, url=None)
        self.thread: ThreadId | None = None
        self.written: list[Mapping[str, str | None]] = []
        self._lease = lease
        self.showing = Showing(
            row=row, write=self._write, state=lambda: self.state, shows=lambda: self.thread, **more
        )

    async def _write(self, shown: Mapping[str, str | None]) -> None:
        await self._lease.show(shown)
        self.written.append(shown)

    def now(self, state: PreviewState, thread: str | None = None) -> None:
        self.state, self.thread = state, ThreadId(thread) if thread else None
        self.showing.ring()


@asynccontextmanager
async def telling(stage: Stage) -> AsyncIterator[None]:
    running = asyncio.create_task(stage.showing.run())
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def shown(found: Records) -> tuple[Any, Any, Any]:
    row = WorkerRecord.model_validate(found.get(records.worker_key(found.worker)))
    return row.preview_url, row.preview_problem, row.shows


async def test_the_row_says_where_the_preview_is_why_it_is_not_and_whose_branch_it_shows(
    found: Records,
) -> None:
    async with connected(found) as clients:
        lease = lease_of(clients=clients, found=found)
        stage = Stage(lease, await lease.acquire(evict=alive))
        async with telling(stage):
            stage.now(PreviewState(ready=False, url=None, problem="It is starting."), "a")
            await until(lambda: shown(found) == (None, "It is starting.", "a"))
            stage.now(READY, "a")
            await until(lambda: shown(found) == (URL, None, "a"))
            stage.now(READY, "b")
            await until(lambda: shown(found) == (URL, None, "b"))
        assert stage.written[-1] == {"shows": "b"}


async def test_a_change_that_is_none_is_not_written(found: Records) -> None:
    async with connected(found) as clients:
        lease = lease_of(clients=clients, found=found)
        stage = Stage(lease, await lease.acquire(evict=alive))
        async with telling(stage):
            stage.now(READY, "a")
            await until(lambda: len(stage.written) == 1)
            for _ in range(5):
                stage.showing.ring()
                await asyncio.sleep(0)
            stage.now(READY, "b")
            await until(lambda: len(stage.written) == 2)
        assert stage.written == [{"preview_url": URL, "shows": "a"}, {"shows": "b"}]


async def test_a_new_owner_takes_back_what_a_dead_one_said(found: Records) -> None:
    async with connected(found) as clients:
        killed = lease_of(clients=clients, found=found)
        await killed.acquire(evict=alive)
        await killed.show({"preview_url": URL, "preview_problem": None, "shows": "a"})
        heir = lease_of(clients=clients, found=found)
        stage = Stage(heir, await heir.acquire(evict=dead))
        async with telling(stage):
            await until(lambda: shown(found) == (None, None, None))


async def test_who_lost_the_worker_id_says_nothing_any_more(found: Records) -> None:
    async with connected(found) as clients:
        frozen = lease_of(clients=clients, found=found)
        stage = Stage(frozen, await frozen.acquire(evict=alive))
        heir = lease_of(clients=clients, found=found)
        await heir.acquire(evict=dead)
        await heir.show({"preview_url": URL, "preview_problem": None, "shows": "b"})
        stage.now(PreviewState(ready=False, url=None, problem="Mine broke."), "a")
        await asyncio.wait_for(stage.showing.run(), 20)
        assert stage.written == []
        assert shown(found) == (URL, None, "b")


async def test_who_gives_the_worker_id_up_leaves_no_address_behind(found: Records) -> None:
    async with connected(found) as clients:
        lease = lease_of(clients=clients, found=found)
        await lease.acquire(evict=alive)
        await lease.show({"preview_url": URL, "shows": "a"})
        await lease.release()
        assert shown(found) == (None, None, "a")


async def test_behind_a_port_mapping_the_address_given_is_told(found: Records) -> None:
    async with connected(found) as clients:
        lease = lease_of(clients=clients, found=found)
        stage = Stage(lease, await lease.acquire(evict=alive), url="http://10.0.0.7:5000")
        async with telling(stage):
            stage.now(READY)
            await until(lambda: shown(found) == ("http://10.0.0.7:5000", None, None))
