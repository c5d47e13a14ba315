"""Claude Code's sessions in the table: the SDK's own contracts, order, size, fences, faults."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from agent_lab import finish, laboratory
from botocore.exceptions import EndpointConnectionError
from claude_agent_sdk import SessionStore
from claude_agent_sdk.testing import run_session_store_conformance
from test_worker_ledger import Lab, alive, dead, lease_of, ledger_of

from contracts import names, records
from contracts.sessions import SLICE
from contracts.words import ThreadId
from tests.fakes.fleet_records import TABLE, Records, connected, fleet_records
from worker import session_files
from worker.agent import session_folder
from worker.errors import LeaseLost
from worker.session_store import ThreadStore
from worker.session_table import Moved, SessionTable
from worker.sessions import Sessions

A = ThreadId("a")
KEY = {"project_key": "p", "session_id": "s"}
PROJECT = "-a-checkout"


@pytest.fixture
def found(engine_url: str, account: str) -> Iterator[Records]:
    with fleet_records(url=engine_url, account=account) as made:
        yield made


@pytest.fixture
async def lab(found: Records) -> AsyncIterator[Lab]:
    async with connected(found) as clients:
        lease = lease_of(clients=clients, found=found)
        await lease.acquire(evict=alive)
        found.record("a", 1)
        yield Lab(found, clients, lease, ledger_of(clients=clients, found=found, lease=lease))


def table_of(lab: Lab, *, place: str = "disk-a", **changes: Any) -> SessionTable:
    made = SessionTable(
        aws=lab.clients,
        table=TABLE,
        worker=lab.found.worker,
        write=lab.ledger.write,
        patiently=lab.ledger.patiently,
        place=place,
        days=30,
    )
    return replace(made, **changes)


def store_of(lab: Lab, thread: ThreadId = A) -> ThreadStore:
    return ThreadStore(table=table_of(lab), thread_id=thread)


class Disk:
    """A disk with Claude Code's folder, and the sessions kept of it."""

    def __init__(self, lab: Lab, folder: Path, *, table: SessionTable | None = None) -> None:
        self.config_dir = folder / "claude"
        self.session = names.session(worker=lab.found.worker, thread_id=A)
        made = table or table_of(lab, place=folder.name)
        self.sessions = Sessions(table=made, config_dir=self.config_dir, project=PROJECT)

    @property
    def transcript(self) -> Path:
        return self.config_dir / "projects" / PROJECT / f"{self.session}.jsonl"

    def file(self, name: str) -> Path:
        return self.transcript.with_suffix("") / name

    def task(self, name: str) -> Path:
        return self.config_dir / "tasks" / str(self.session) / name

    def write(self, content: str | bytes, *, to: Path | None = None) -> None:
        path = to or self.transcript
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(content if isinstance(content, bytes) else content.encode())


def rows(lab: Lab) -> list[dict[str, Any]]:
    """Every item of the thread's sessions."""
    pages = lab.found.dynamodb.get_paginator("query").paginate(
        TableName=TABLE,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
        ExpressionAttributeValues={
            ":pk": {"S": records.thread_pk(lab.found.worker, A)},
            ":sk": {"S": "session#"},
        },
    )
    return [item for page in pages for item in page["Items"]]


def noise(size: int) -> str:
    """A line that hardly gets smaller."""
    return json.dumps({"type": "user", "content": os.urandom(size // 2).hex()}) + "\n"


# ------------------------------------------------------------ the SDK's contracts


async def test_the_sdks_own_contracts_hold(lab: Lab) -> None:
    threads = (ThreadId(f"c{n}") for n in range(100))

    def fresh() -> SessionStore:
        thread = next(threads)
        lab.found.record(thread, 1)
        return cast(SessionStore, store_of(lab, thread))

    await run_session_store_conformance(fresh)


async def test_lines_stay_in_order_however_they_come(lab: Lab) -> None:
    store = store_of(lab)
    sent = [[{"type": "x", "n": 100 * batch + n} for n in range(batch + 1)] for batch in range(12)]
    for batch in sent:
        await store.append(KEY, batch)
    assert await store.load(KEY) == [entry for batch in sent for entry in batch]


async def test_lines_are_there_once_when_the_answer_to_their_write_got_lost(lab: Lab) -> None:
    lost = [True]

    async def write(parts: Sequence[dict[str, Any]]) -> bool:
        done = await lab.ledger.write(parts)
        if lost and any("head" in str(p) for p in parts):
            lost.clear()
            raise EndpointConnectionError(endpoint_url="gone")
        return done

    store = ThreadStore(table=table_of(lab, write=write), thread_id=A)
    with pytest.raises(EndpointConnectionError):
        await store.append(KEY, [{"type": "x", "n": 1}])
    await store.append(KEY, [{"type": "x", "n": 1}])
    await store.append(KEY, [{"type": "x", "n": 1}])
    assert await store.load(KEY) == [{"type": "x", "n": 1}] * 2


async def test_of_two_writes_that_began_from_the_same_head_one_lands(lab: Lab) -> None:
    table = table_of(lab)
    new = table.new(scope="p", session="s", name="main")
    await table.extend(A, new, after=0, data=b"one\n", digest="d")
    with pytest.raises(Moved):
        await table.extend(A, new, after=0, data=b"two\n", digest="e")
    heads = await table.heads(A, scope="p", session="s")
    assert await table.content(A, heads["main"]) == b"one\n"


async def test_a_worker_whose_epoch_is_over_appends_nothing(lab: Lab, tmp_path: Path) -> None:
    disk, store = Disk(lab, tmp_path), store_of(lab)
    disk.write("{}\n")
    await disk.sessions.keep(A)
    before = rows(lab)
    successor = lease_of(clients=lab.clients, found=lab.found)
    await successor.acquire(evict=dead)
    with pytest.raises(LeaseLost):
        await store.append(KEY, [{"type": "x"}])
    disk.write("{}\n")
    await disk.sessions.keep(A)
    assert rows(lab) == before


# ------------------------------------------------------------ a disk goes, another comes


async def test_a_session_of_several_megabytes_is_split_and_comes_back_as_it_was(
    lab: Lab, tmp_path: Path
) -> None:
    one, two = Disk(lab, tmp_path / "one"), Disk(lab, tmp_path / "two")
    for size in (100, 3_000_000, 10, 1_500_000):
        one.write(noise(size))
        await one.sessions.keep(A)
    for _ in range(40):  # more than what is read at once
        one.write("x" * 200_000 + "\n")
    one.write("not whole")
    one.write(b"\0\xff long output", to=one.file("tool-results/a.txt"))
    one.write("{}\n", to=one.file("subagents/agent-1.jsonl"))
    one.write('{"id": "1"}', to=one.task("1.json"))
    one.write("", to=one.task(".lock"))
    await one.sessions.keep(A)
    items = rows(lab)
    assert len(items) > 10
    assert max(len(i["content"]["B"]) for i in items if "content" in i) == SLICE
    await two.sessions.lay(A)
    assert two.transcript.read_bytes() + b"not whole" == one.transcript.read_bytes()
    assert two.transcript.stat().st_mode & 0o777 == 0o600
    assert two.file("tool-results/a.txt").read_bytes() == b"\0\xff long output"
    assert two.file("subagents/agent-1.jsonl").read_text() == "{}\n"
    assert two.task("1.json").read_text() == '{"id": "1"}'
    assert not two.task(".lock").exists()


async def test_what_a_second_disk_adds_is_appended_and_the_first_disk_learns_of_it(
    lab: Lab, tmp_path: Path
) -> None:
    one, two = Disk(lab, tmp_path / "one"), Disk(lab, tmp_path / "two")
    one.write("1\n")
    await one.sessions.keep(A)
    await two.sessions.lay(A)
    two.write("2\n")
    two.write("t", to=two.task("1.json"))
    await two.sessions.keep(A)
    await one.sessions.lay(A)
    assert one.transcript.read_text() == "1\n2\n"
    assert [i["generation"]["N"] for i in rows(lab) if "generation" in i] == ["1", "1"]


async def test_nothing_in_the_store_is_as_without_one(lab: Lab, tmp_path: Path) -> None:
    disk = Disk(lab, tmp_path)
    await disk.sessions.lay(A)
    await disk.sessions.keep(A)
    assert not disk.config_dir.exists()
    assert rows(lab) == []
    disk.write("1\n")
    await disk.sessions.lay(A)
    assert disk.transcript.read_text() == "1\n"


async def test_a_transcript_that_was_rewritten_replaces_what_was_kept(lab: Lab, tmp_path: Path) -> None:
    one, two = Disk(lab, tmp_path / "one"), Disk(lab, tmp_path / "two")
    one.write(noise(1_000_000))
    await one.sessions.keep(A)
    one.transcript.write_text("another\n")
    await one.sessions.keep(A)
    assert len(rows(lab)) == 2
    await two.sessions.lay(A)
    assert two.transcript.read_text() == "another\n"


async def test_a_disk_that_began_anew_does_not_overwrite_a_longer_memory(lab: Lab, tmp_path: Path) -> None:
    one, two = Disk(lab, tmp_path / "one"), Disk(lab, tmp_path / "two")
    one.write("1\n2\n3\n")
    await one.sessions.keep(A)
    two.write("began without it\n")  # as when it could not be read
    await two.sessions.keep(A)
    await two.sessions.lay(A)
    assert two.transcript.read_text() == "1\n2\n3\n"


async def test_what_was_laid_and_could_not_be_read_is_replaced_by_what_came_after(
    lab: Lab, tmp_path: Path
) -> None:
    one, two, three = (Disk(lab, tmp_path / name) for name in ("one", "two", "three"))
    one.write("unreadable\n")
    await one.sessions.keep(A)
    await two.sessions.lay(A)
    two.transcript.write_text("anew\n")
    await two.sessions.keep(A)
    await three.sessions.lay(A)
    assert three.transcript.read_text() == "anew\n"


async def test_a_task_that_was_removed_does_not_come_back(lab: Lab, tmp_path: Path) -> None:
    one, two = Disk(lab, tmp_path / "one"), Disk(lab, tmp_path / "two")
    one.write("1\n")
    one.write("t", to=one.task("1.json"))
    await one.sessions.keep(A)
    one.task("1.json").unlink()
    await one.sessions.keep(A)
    await two.sessions.lay(A)
    assert not two.task("1.json").exists()


async def test_an_old_session_is_written_anew_before_its_first_slices_expire(
    lab: Lab, tmp_path: Path
) -> None:
    now = [1_000_000_000.0]
    table = table_of(lab, now=lambda: now[0], place="one")
    one, two = Disk(lab, tmp_path / "one", table=table), Disk(lab, tmp_path / "two", table=table)
    one.write("1\n")
    await one.sessions.keep(A)
    assert {i["expires"]["N"] for i in rows(lab)} == {str(1_000_000_000 + 60 * 86400)}
    now[0] += 31 * 86400
    one.write("2\n")
    await one.sessions.keep(A)
    assert {i["expires"]["N"] for i in rows(lab)} == {str(1_000_000_000 + 91 * 86400)}
    now[0] += 59 * 86400
    await two.sessions.lay(A)
    assert two.transcript.read_text() == "1\n2\n"
    two.transcript.unlink()
    now[0] += 2 * 86400
    await two.sessions.lay(A)
    assert not two.transcript.exists()
    two.write("anew\n")
    await two.sessions.keep(A)
    two.transcript.unlink()
    await two.sessions.lay(A)
    assert two.transcript.read_text() == "anew\n"


async def test_a_session_with_a_lost_slice_is_not_laid(lab: Lab, tmp_path: Path) -> None:
    one, two = Disk(lab, tmp_path / "one"), Disk(lab, tmp_path / "two")
    one.write(noise(1_000_000))
    await one.sessions.keep(A)
    slices = [i for i in rows(lab) if "content" in i]
    key = {"pk": slices[0]["pk"], "sk": slices[0]["sk"]}
    lab.found.dynamodb.delete_item(TableName=TABLE, Key=key)
    await two.sessions.lay(A)
    assert not two.config_dir.exists()


# ------------------------------------------------------------ a turn that runs


@pytest.mark.slow
async def test_a_turn_that_runs_is_written_before_it_ends(lab: Lab, tmp_path: Path) -> None:
    session, go = names.session(worker=lab.found.worker, thread_id=A), tmp_path / "go"
    async with laboratory(tmp_path) as work:
        folder, table = session_folder(work.repo), table_of(lab)
        kept = Sessions(table=table, config_dir=work.folder / "claude", project=folder, flush_seconds=0)
        turn = work.turn(
            f"My colour is teal.\ndo: bash echo hi\ndo: wait {go}\ndo: say Done.", session=session
        )
        run = await work.agent().start(replace(turn, grown=partial(kept.ring, A)))
        reading = asyncio.create_task(finish(run))
        async with asyncio.timeout(60):
            while b"teal" not in await transcript_of(table, session):
                await asyncio.sleep(0.05)
        assert not reading.done()
        go.touch()
        _, result = await reading
        await kept.keep(A)
        assert result.ended == "completed"
        (written,) = (work.folder / "claude" / "projects" / folder).glob("*.jsonl")
        assert await transcript_of(table, session) == written.read_bytes()


async def transcript_of(table: SessionTable, session: UUID) -> bytes:
    heads = await table.heads(A, scope="", session=str(session))
    return await table.content(A, heads["main"]) if "main" in heads else b""


# ------------------------------------------------------------ faults and ends


@pytest.mark.parametrize(
    "error", [EndpointConnectionError(endpoint_url="x"), ValueError("x"), LeaseLost("x")]
)
async def test_a_store_that_refuses_everything_raises_nothing_and_is_caught_up_later(
    lab: Lab, tmp_path: Path, error: Exception
) -> None:
    async def refuse(_: Any) -> Any:
        raise error

    broken = table_of(lab, write=refuse, patiently=refuse, place="one")
    (tmp_path / "one").mkdir()
    disk = Disk(lab, tmp_path / "one", table=broken)
    disk.write("1\n")
    await disk.sessions.lay(A)
    await disk.sessions.keep(A)
    assert rows(lab) == []
    well, two = Disk(lab, tmp_path / "one"), Disk(lab, tmp_path / "two")
    well.write("2\n")
    await well.sessions.keep(A)
    await two.sessions.lay(A)
    assert two.transcript.read_text() == "1\n2\n"


async def test_a_thread_that_is_deleted_takes_its_session_with_it(lab: Lab, tmp_path: Path) -> None:
    disk = Disk(lab, tmp_path)
    disk.write(noise(4_000_000))
    disk.write("t", to=disk.task("1.json"))
    await disk.sessions.keep(A)
    assert len(rows(lab)) > 7
    lab.found.put(
        records.StopRecord(thread_id=A, through=1, delete=True).write(records.delete_key(lab.found.worker, A))
    )
    await lab.ledger.forget(A)
    assert rows(lab) == []
    disk.write("2\n")
    await disk.sessions.keep(A)
    assert rows(lab) == [], "what is late leaves nothing behind"


async def test_names_from_the_agents_folder_lead_nowhere_else(tmp_path: Path) -> None:
    session = UUID(int=1)
    for name in ("sub/../../../x", "tasks/..", "/etc/x", "sub//x", "other/x", "tasks/a/../../b", "sub/a\n"):
        assert not session_files.is_name(name)
        with pytest.raises(ValueError, match="no file"):
            session_files.lay(tmp_path, PROJECT, session, {"main": b"1\n", name: b"x"})
    assert list(tmp_path.iterdir()) == []
    outside = tmp_path / "secret"
    outside.write_text("secret")
    main = tmp_path / "claude/projects" / PROJECT / f"{session}.jsonl"
    main.with_suffix("").mkdir(parents=True)
    main.write_text("1\n")
    (main.with_suffix("") / "link.txt").symlink_to(outside)
    found = await asyncio.to_thread(session_files.grown, tmp_path / "claude", session, {}, [])
    assert set(found["files"]) == {"main"}
