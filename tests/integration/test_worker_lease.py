"""Two workers, one id: who works, who leaves, and what the loser can still do."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.fleet_records import Records, connected, fleet_records
from tests.integration.test_worker_ledger import alive, dead, lease_of
from worker.disk import Disk
from worker.errors import LeaseHeld, LeaseLost, WorkerError


@pytest.fixture
def found(engine_url: str, account: str) -> Iterator[Records]:
    with fleet_records(url=engine_url, account=account) as made:
        yield made


async def test_of_two_workers_one_works_and_the_other_says_why_it_leaves(found: Records) -> None:
    async with connected(found) as clients:
        first = lease_of(clients=clients, found=found, seconds=1.5)
        await first.acquire(evict=alive)
        keeping = asyncio.create_task(first.keep())
        second = lease_of(clients=clients, found=found, seconds=30, place="elsewhere")
        with pytest.raises(LeaseHeld, match="alive") as refused:
            await second.acquire(evict=alive)
        assert refused.value.epoch == first.epoch
        assert not first.lost.is_set()
        keeping.cancel()


async def test_of_many_that_start_at_once_exactly_one_works(found: Records) -> None:
    async with connected(found) as clients:
        leases = [lease_of(clients=clients, found=found, place=str(n)) for n in range(8)]
        results = await asyncio.gather(*(x.acquire(evict=dead) for x in leases), return_exceptions=True)
        winners = [r for r in results if not isinstance(r, BaseException)]
        assert len(winners) == 1
        assert all(isinstance(r, LeaseHeld) for r in results if isinstance(r, BaseException))


async def test_a_silent_owner_is_replaced_after_one_lease_and_notices_it(found: Records) -> None:
    async with connected(found) as clients:
        frozen = lease_of(clients=clients, found=found, seconds=0.6)
        await frozen.acquire(evict=alive)
        heir = lease_of(clients=clients, found=found, seconds=0.6, place="elsewhere")
        row = await heir.acquire(evict=alive)
        assert (heir.epoch, row.epoch, row.owner) == (frozen.epoch + 1, frozen.epoch + 1, heir.owner)
        waking = asyncio.create_task(frozen.keep())
        await asyncio.wait_for(frozen.lost.wait(), 10)
        await waking
        assert frozen.lapsed()


async def test_a_released_id_is_taken_at_once(found: Records) -> None:
    async with connected(found) as clients:
        first = lease_of(clients=clients, found=found, seconds=3600)
        await first.acquire(evict=alive)
        await first.release()
        second = lease_of(clients=clients, found=found, seconds=3600)
        await asyncio.wait_for(second.acquire(evict=alive), 10)
        assert second.epoch == first.epoch + 1


async def test_a_dead_owner_on_the_same_disk_is_replaced_at_once(found: Records) -> None:
    async with connected(found) as clients:
        await lease_of(clients=clients, found=found, seconds=3600).acquire(evict=alive)
        heir = lease_of(clients=clients, found=found, seconds=3600)
        await asyncio.wait_for(heir.acquire(evict=dead), 10)
        assert heir.epoch == 2


async def test_an_unknown_worker_id_is_told_what_to_check(found: Records) -> None:
    async with connected(found) as clients:
        lease = lease_of(clients=clients, found=found)
        lease._worker = "nobody-here-now"  # type: ignore[assignment]
        with pytest.raises(WorkerError, match="CONTAINER_ID"):
            await lease.acquire(evict=alive)


async def test_the_lock_of_a_disk_is_held_by_one(tmp_path: Path) -> None:
    one, other = Disk(tmp_path), Disk(tmp_path)
    assert one.place == other.place
    assert one.try_lock()
    assert not other.try_lock()


async def test_a_frozen_holder_of_the_lock_is_killed_by_its_successor(tmp_path: Path) -> None:
    program = f"""
import asyncio, os, signal
from pathlib import Path
from worker.disk import Disk
assert Disk(Path({str(tmp_path)!r})).try_lock()
print("held", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""
    import sys

    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, "worker", stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"

    async def not_the_owner() -> None:
        raise LeaseLost("somebody else is")

    with pytest.raises(LeaseLost):
        await Disk(tmp_path).lock(grace=0.1, prove=not_the_owner)
    assert holder.returncode is None

    async def the_owner() -> None:
        pass

    await Disk(tmp_path).lock(grace=0.1, prove=the_owner)
    assert await holder.wait() == -9
