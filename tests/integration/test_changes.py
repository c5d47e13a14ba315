"""The record of what a branch changed: in step with it, whole for every reader, written by its owner."""

import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from workspace_lab import Lab as GitLab
from workspace_lab import T, git, write

from contracts import changes as shapes
from contracts import records
from contracts.changes import ChangeRecord, ChangesRecord
from contracts.words import ThreadId, WorkerId
from tests.fakes.engine import aws_client
from tests.fakes.fleet_records import TABLE, Records, connected, fleet_records
from tests.integration.dispatcher_lab import TABLE as SITE_TABLE
from tests.integration.dispatcher_lab import WORKER, Lab
from tests.integration.test_worker_ledger import alive, dead, lease_of, ledger_of
from worker.aws import Aws
from worker.changes import Changes
from worker.lease import DynamoLease
from worker.workspace import GitWorkspace

A, B = ThreadId("a"), ThreadId("b")


@dataclass
class Desk:
    """One worker's records, lease and checkout."""

    found: Records
    clients: Aws
    lease: DynamoLease
    workspace: GitWorkspace

    def changes(self, lease: DynamoLease | None = None) -> Changes:
        """The writer, as a process that has just started has it."""
        ledger = ledger_of(clients=self.clients, found=self.found, lease=lease or self.lease)
        return Changes(
            aws=self.clients, table=TABLE, worker=self.found.worker, write=ledger.write, source=self.workspace
        )

    async def commit(self, thread: ThreadId, **files: str) -> str:
        await self.workspace.switch(thread)
        write(self.workspace.path, **files)
        sha = await self.workspace.checkpoint(thread_id=thread, turn_id=T, reason="x")
        assert sha is not None
        return sha

    def head(self, thread: ThreadId) -> ChangesRecord | None:
        item = self.found.get(shapes.head_key(self.found.worker, thread))
        return ChangesRecord.model_validate(item) if item else None

    def keys(self, thread: ThreadId) -> list[str]:
        """Sort keys of all change records of the thread."""
        pages = self.found.dynamodb.get_paginator("query").paginate(
            TableName=TABLE,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={
                ":pk": {"S": records.thread_pk(self.found.worker, thread)},
                ":sk": {"S": shapes.ALL_CHANGES},
            },
        )
        return [i["sk"]["S"] for page in pages for i in page["Items"]]


@pytest.fixture
async def desk(engine_url: str, account: str, tmp_path: Path) -> AsyncIterator[Desk]:
    with fleet_records(url=engine_url, account=account) as found:
        async with connected(found) as clients:
            lease = lease_of(clients=clients, found=found)
            await lease.acquire(evict=alive)
            found.record("a", 1)
            yield Desk(found, clients, lease, await GitLab(tmp_path).ready())


async def test_a_commit_is_in_the_record_and_the_next_one_replaces_it(desk: Desk) -> None:
    changes = desk.changes()
    first = await desk.commit(A, a_txt="a\n", b_txt="b\n")
    await changes.refresh(A)
    head = desk.head(A)
    assert head is not None
    assert (head.head, head.base_branch, head.files, head.shown) == (first, "main", 2, 2)
    assert head.base == git(desk.workspace.path, "rev-parse", "origin/main")
    second = await desk.commit(A, c_txt="c\n")
    await changes.refresh(A)
    head = desk.head(A)
    assert head is not None
    assert (head.head, head.shown) == (second, 3)
    assert desk.keys(A) == [*(f"change#{head.version}#{n:05}" for n in range(3)), "change#head"]
    file = desk.found.get(shapes.change_key(desk.found.worker, A, version=head.version, number=2))
    assert ChangeRecord.model_validate(file).patch == "@@ -0,0 +1 @@\n+c\n"


async def test_nothing_is_written_when_nothing_moved_even_by_a_new_process(desk: Desk) -> None:
    changes = desk.changes()
    await desk.commit(A, a_txt="a\n")
    await changes.refresh(A)
    before = desk.head(A)
    await changes.refresh(A)
    await desk.changes().refresh(A)
    await desk.changes().catch_up()
    assert desk.head(A) == before


async def test_a_worker_that_lost_its_id_writes_no_changes(desk: Desk) -> None:
    await desk.commit(A, a_txt="a\n")
    stale = desk.changes()
    await desk.lease.release()
    successor = lease_of(clients=desk.clients, found=desk.found, place="there")
    await successor.acquire(evict=dead)
    await stale.refresh(A)
    assert desk.keys(A) == []
    await desk.changes(successor).refresh(A)
    assert len(desk.keys(A)) == 2


async def test_what_a_death_left_behind_is_removed_with_the_next_version(desk: Desk) -> None:
    key = shapes.change_key(desk.found.worker, A, version="deadbeef", number=7)
    desk.found.put(ChangeRecord(path="x", status="added").write(key))
    await desk.commit(A, a_txt="a\n")
    await desk.changes().refresh(A)
    head = desk.head(A)
    assert head is not None
    assert desk.keys(A) == [f"change#{head.version}#00000", "change#head"]


async def test_a_new_process_catches_up_with_its_own_threads_and_with_no_others(desk: Desk) -> None:
    changes = desk.changes()
    await desk.commit(A, a_txt="a\n")
    await changes.refresh(A)
    missed = await desk.commit(A, a_txt="a, later\n")
    await desk.commit(B, b_txt="another worker's thread, as it comes with a fetch\n")
    await desk.changes().catch_up()
    head = desk.head(A)
    assert head is not None
    assert head.head == missed
    assert desk.keys(B) == []


async def test_a_thread_that_was_deleted_gets_no_records(desk: Desk) -> None:
    await desk.commit(A, a_txt="a\n")
    desk.found.dynamodb.delete_item(TableName=TABLE, Key=records.thread_key(desk.found.worker, A))
    await desk.changes().refresh(A)
    assert desk.keys(A) == []


async def test_changes_beyond_one_transaction_arrive_whole(desk: Desk) -> None:
    await desk.commit(A, **{f"f{n:03}_txt": "x" * 30_000 for n in range(120)})
    await desk.changes().refresh(A)
    head = desk.head(A)
    assert head is not None
    assert (head.shown, len(desk.keys(A)), head.cut) == (120, 121, False)


# ---------------------------------------------------------------- the reader


def version(name: str, *, files: int) -> list[dict[str, Any]]:
    """The items of one version of thread t; every file says which one it is of."""
    thread = ThreadId("t")
    items = [
        ChangeRecord(path=f"f{n}", status="added", patch=f"{name} " + "x" * 50_000).write(
            shapes.change_key(WORKER, thread, version=name, number=n)
        )
        for n in range(files)
    ]
    head = ChangesRecord(
        version=name, base_branch="main", base="0", branch="thread-t", head=name, files=files, shown=files
    )
    return [*items, head.write(shapes.head_key(WORKER, thread))]


def test_a_thread_that_has_changed_nothing_says_so(site: Lab) -> None:
    thread = site.post("hello").json()["thread_id"]
    answer = site.client.get(f"/v1/threads/{thread}/changes")
    assert answer.status_code == 200
    nothing = {"files": 0, "insertions": 0, "deletions": 0}
    assert answer.json() == {"base": None, "head": None, "total": nothing, "files": [], "cut": False}
    assert site.client.get("/v1/threads/nobody/changes").json()["error"]["code"] == "unknown_thread"


def test_a_reader_never_sees_two_versions_in_one(site: Lab) -> None:
    site.post("hello", thread_id="t")
    seen: set[str] = set()
    ended = threading.Event()

    def replace() -> None:
        with aws_client("dynamodb", url=site.engine.url, account=site.account) as client:
            old: list[dict[str, Any]] = []
            for n in range(16):
                new = version(f"{n:04}", files=25 if n % 2 else 3)
                for item in new:
                    client.put_item(TableName=SITE_TABLE, Item=item)
                for item in old[:-1]:
                    client.delete_item(TableName=SITE_TABLE, Key={k: item[k] for k in ("pk", "sk")})
                old = new
        ended.set()

    writer = threading.Thread(target=replace)
    writer.start()
    while not ended.is_set():
        answer = site.client.get("/v1/threads/t/changes")
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE or answer.json()["head"] is None:
            continue
        sha = answer.json()["head"]["sha"]
        assert {f["patch"].split()[0] for f in answer.json()["files"]} == {sha}
        assert len(answer.json()["files"]) == answer.json()["total"]["files"]
        seen.add(sha)
    writer.join()
    assert len(seen) > 1


def test_a_version_with_a_hole_is_not_shown(site: Lab) -> None:
    site.post("hello", thread_id="t")
    *files, head = version("1", files=3)
    with aws_client("dynamodb", url=site.engine.url, account=site.account) as client:
        for item in (*files[:2], head):
            client.put_item(TableName=SITE_TABLE, Item=item)
        answer = site.client.get("/v1/threads/t/changes")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        client.put_item(TableName=SITE_TABLE, Item=files[2])
    assert len(site.client.get("/v1/threads/t/changes").json()["files"]) == 3


def test_the_worker_and_the_reader_mean_the_same_table_and_keys() -> None:
    worker, thread = WorkerId("w"), ThreadId("t")
    key = shapes.change_key(worker, thread, version="v", number=3)
    assert key == {"pk": {"S": "thread#w#t"}, "sk": {"S": "change#v#00003"}}
    assert key["sk"]["S"].startswith(shapes.version_prefix("v"))
    assert shapes.head_key(worker, thread)["sk"]["S"].startswith(shapes.ALL_CHANGES)
