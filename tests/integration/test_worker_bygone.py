"""What a disk still holds of threads that are no more, and files that nobody asked for in a long time."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from workspace_lab import A, B, Lab, M, T, end_turn, git, write

from contracts import names, records
from contracts.words import ThreadId
from tests.fakes.fleet_records import TABLE, Records, connected, fleet_records
from tests.fakes.memory import MemoryPreview
from worker.agent import ClaudeAgent
from worker.aws import Aws
from worker.bygone import Bygone
from worker.ledger import DynamoLedger
from worker.shelf import Shelf
from worker.uploads import Uploads
from worker.workspace import GitWorkspace

HELD = "refs/branchline/removed/thread-a/1"
UPLOAD = "0" * 32


@dataclass(kw_only=True)
class House:
    """One disk of a worker, its remote and its records. ``days``: how far the clock is ahead."""

    found: Records
    clients: Aws
    git: Lab
    workspace: GitWorkspace
    days: float = 0
    shelf: Shelf = field(init=False)
    config: Path = field(init=False)

    def __post_init__(self) -> None:
        self.config = self.git.root / "claude"
        self.shelf = Shelf(self.git.root / "uploads")

    def ledger(self, table: str) -> DynamoLedger:
        return DynamoLedger(
            aws=self.clients,
            table=table,
            worker=self.found.worker,
            owner="me",
            epoch=lambda: 1,
            lapsed=lambda: False,
            redact=lambda value: value,
        )

    def bygone(self, *, table: str = TABLE) -> Bygone:
        ledger = self.ledger(table)
        agent = ClaudeAgent(
            state_dir=self.git.root / "agent",
            config_dir=self.config,
            worker_marker="none",
            model_env={},
            redact=str,
        )
        uploads = Uploads(aws=self.clients, table=table, shelf=self.shelf, patiently=ledger.patiently)
        return Bygone(
            worker=self.found.worker,
            ledger=ledger,
            workspace=self.workspace,
            agent=agent,
            preview=MemoryPreview(),
            uploads=uploads,
            upload_days=30,
            now=lambda: (datetime.now(UTC) + timedelta(days=self.days)).timestamp(),
        )

    def furnish(self, thread_id: ThreadId) -> None:
        """A session and a file of the thread, as turns leave them."""
        session = str(names.session(worker=self.found.worker, thread_id=thread_id))
        for place in (f"projects/-w/{session}.jsonl", f"projects/-w/{session}/x.jsonl", f"tasks/{session}/1"):
            write(self.config, **{place.replace("/", "__").replace(".", "_"): "{}\n"})
        self.shelf.lay(thread_id, UPLOAD, "a.txt", content=b"sent")

    def sessions(self) -> set[ThreadId]:
        """Threads of which a session is left."""
        found = "".join(str(path) for path in self.config.rglob("*"))
        return {t for t in (A, B) if str(names.session(worker=self.found.worker, thread_id=t)) in found}

    def filed(self) -> set[ThreadId]:
        """Threads of which files are left."""
        return {t for t in (A, B) if self.shelf.place(t, UPLOAD, "a.txt").exists()}

    def refs(self) -> list[str]:
        """What is left of thread a in the checkout."""
        listed = git(self.workspace.path, "for-each-ref", "--format=%(refname)").splitlines()
        return [name for name in listed if "thread-a" in name]


@pytest.fixture
def found(engine_url: str, account: str) -> Iterator[Records]:
    with fleet_records(url=engine_url, account=account) as made:
        yield made


@pytest.fixture
async def house(found: Records, tmp_path: Path) -> AsyncIterator[House]:
    """Two threads with sessions and files; both worked here, b first, and a is checked out."""
    lab = Lab(tmp_path)
    worker = await lab.ready()
    for thread_id, name in ((B, "b"), (A, "a")):
        start = await worker.switch(thread_id, message_id=M)
        write(worker.path, **{f"{name}_txt": f"{name}\n"})
        if thread_id == A:
            await end_turn(worker, start.head)
        else:
            await worker.checkpoint(thread_id=B, turn_id=T, reason="test")
        found.record(thread_id, 1)
    async with connected(found) as clients:
        made = House(found=found, clients=clients, git=lab, workspace=worker)
        for thread_id in (A, B):
            made.furnish(thread_id)
        yield made


def row_goes(house: House, thread_id: ThreadId) -> None:
    """As after another disk has removed the thread."""
    key = records.thread_key(house.found.worker, thread_id)
    house.found.dynamodb.delete_item(TableName=TABLE, Key=key)


async def test_work_of_a_deleted_thread_that_is_nowhere_else_is_held_and_not_pushed(house: House) -> None:
    row_goes(house, A)
    threads = await house.bygone().clear(busy=set())
    assert threads == {B}
    await house.workspace.push_rest(threads=threads)
    assert git(house.git.remote, "branch", "--list", "thread-*").split() == ["thread-b"]
    assert house.refs() == [HELD]
    assert git(house.workspace.path, "show", f"{HELD}:a.txt") == "a"
    assert (house.sessions(), house.filed()) == ({B}, {B})
    assert not (house.workspace.path / "a.txt").exists()
    again = await house.workspace.switch(A)
    assert again.head == git(house.git.remote, "rev-parse", "main"), "a new thread of that name begins anew"


async def test_a_deleted_threads_branch_that_was_pushed_leaves_nothing(house: House) -> None:
    await house.workspace.push(thread_id=A)
    git(house.git.person, "push", "--quiet", "origin", "--delete", "thread-a")
    await house.workspace.fetch()
    row_goes(house, A)
    await house.bygone().clear(busy=set())
    assert house.refs() == []


async def test_what_people_still_have_on_the_remote_is_no_reason_to_hold_it_here(house: House) -> None:
    await house.workspace.push(thread_id=A)
    row_goes(house, A)
    await house.bygone().clear(busy=set())
    assert house.refs() == []
    assert git(house.git.remote, "branch", "--list", "thread-a") != ""


async def test_held_work_goes_when_a_thread_of_that_name_is_deleted_here(house: House) -> None:
    row_goes(house, A)
    await house.bygone().clear(busy=set())
    await house.workspace.remove(thread_id=A)
    assert house.refs() == []


async def test_records_that_cannot_be_read_cost_nothing_and_let_nothing_be_pushed(house: House) -> None:
    row_goes(house, A)
    before = house.refs()
    house.days = 1000
    assert await house.bygone(table="none").clear(busy=set()) is None
    assert house.refs() == before
    assert (house.sessions(), house.filed()) == ({A, B}, {A, B})


async def test_a_thread_that_is_about_to_be_removed_is_left_to_its_removal(house: House) -> None:
    before = house.refs()
    house.found.delete(A)
    assert await house.bygone().clear(busy=set()) == {A, B}
    assert house.refs() == before
    assert (house.sessions(), house.filed()) == ({A, B}, {A, B})


@pytest.mark.parametrize(
    ("days", "busy", "left"),
    [(29, set(), {A, B}), (31, set(), set()), (31, {B}, {B}), (31, None, {A, B})],
    ids=["touched", "untouched", "an open message", "open messages not known"],
)
async def test_files_of_threads_that_nobody_touches_go_but_no_session_and_no_branch(
    house: House, days: float, busy: set[ThreadId] | None, left: set[ThreadId]
) -> None:
    before = house.refs()
    house.days = days
    await house.bygone().clear(busy=busy)
    assert house.filed() == left
    assert (house.sessions(), house.refs()) == ({A, B}, before)


async def test_threads_of_many_pages_are_all_there(house: House) -> None:
    row = house.found.get(records.thread_key(house.found.worker, A))
    for number in range(8):
        thread_id = ThreadId(f"t{number}")
        wide = records.encode({**(row or {}), "thread_id": thread_id, "title": "x" * 300_000})
        house.found.put(wide | records.thread_key(house.found.worker, thread_id))
    threads = await house.ledger(TABLE).threads()
    assert len(threads) == 10
    assert all(touched.tzinfo for touched in threads.values())
