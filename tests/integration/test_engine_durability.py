"""What the embedded engine still knows after `kill -9`, torn files, full disks and cut-off compactions."""

import asyncio
import os
import random
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aioboto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.fakes.engine import (
    EngineProcess,
    aws_client,
    client_options,
    running_engine,
    wait_until,
)

pytestmark = pytest.mark.slow

ACCOUNT = "444455556666"
KILL_ROUNDS = 24


@contextmanager
def tables(engine: EngineProcess) -> Iterator[Any]:
    with aws_client("dynamodb", url=engine.url, account=ACCOUNT) as client:
        yield client


def create(db: Any, name: str = "facts", **options: Any) -> None:
    db.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": n, "AttributeType": t} for n, t in (("pk", "S"), ("sk", "N"))
        ],
        BillingMode="PAY_PER_REQUEST",
        **options,
    )


def put(db: Any, number: int, *, text: str = "", **options: Any) -> None:
    item = {"pk": {"S": "p"}, "sk": {"N": str(number)}, "text": {"S": text}}
    db.put_item(TableName="facts", Item=item, **options)


def numbers(db: Any) -> list[int]:
    pages = db.get_paginator("query").paginate(
        TableName="facts",
        KeyConditionExpression="pk = :p",
        ExpressionAttributeValues={":p": {"S": "p"}},
        ConsistentRead=True,
    )
    return [int(item["sk"]["N"]) for page in pages for item in page["Items"]]


def journal(directory: Path) -> Path:
    [path] = directory.glob("journal-*.jsonl")
    return path


class Writer(threading.Thread):
    """Counts up in one row and adds a row per step, in one transaction, until the engine is gone."""

    def __init__(self, engine: EngineProcess, *, first: int) -> None:
        super().__init__()
        self.engine = engine
        self.acknowledged = first - 1

    def run(self) -> None:
        with tables(self.engine) as db:
            try:
                while True:
                    step(db, self.acknowledged + 1)
                    self.acknowledged += 1
            except (BotoCoreError, ClientError):
                return


def step(db: Any, number: int) -> None:
    """Only the very next number may follow."""
    counter = {
        "TableName": "facts",
        "Key": {"pk": {"S": "counter"}, "sk": {"N": "0"}},
        "UpdateExpression": "SET n = :new",
        "ConditionExpression": "n = :old OR attribute_not_exists(n)",
        "ExpressionAttributeValues": {":new": {"N": str(number)}, ":old": {"N": str(number - 1)}},
    }
    row = {
        "TableName": "facts",
        "Item": {"pk": {"S": "p"}, "sk": {"N": str(number)}, "text": {"S": "x" * 200}},
    }
    db.transact_write_items(TransactItems=[{"Update": counter}, {"Put": row}])


def test_kill_9_at_random_moments_loses_no_acknowledged_write_and_keeps_order(tmp_path: Path) -> None:
    chance = random.Random(20)
    with running_engine(tmp_path, 0, "--compact-bytes", "4000") as engine:
        with tables(engine) as db:
            create(db)
        known = 0
        for _ in range(KILL_ROUNDS):
            writer = Writer(engine, first=known + 1)
            target = known + chance.randrange(1, 60)
            writer.start()
            wait_until(lambda writer=writer, target=target: writer.acknowledged >= target)
            engine.kill9()
            writer.join()
            engine.restart()
            with tables(engine) as db:
                found = numbers(db)
            assert found == list(range(1, len(found) + 1))
            assert writer.acknowledged <= len(found) <= writer.acknowledged + 1
            known = len(found)


def test_every_kind_of_write_is_there_after_kill_9(tmp_path: Path) -> None:
    with running_engine(tmp_path) as engine, tables(engine) as db:
        create(db, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})
        create(db, "dropped")
        db.delete_table(TableName="dropped")
        ttl = {"Enabled": True, "AttributeName": "ends"}
        db.update_time_to_live(TableName="facts", TimeToLiveSpecification=ttl)
        for number in range(4):
            put(db, number)
        db.delete_item(TableName="facts", Key={"pk": {"S": "p"}, "sk": {"N": "1"}})
        key = {"pk": {"S": "p"}, "sk": {"N": "2"}}
        add = {"Key": key, "UpdateExpression": "ADD n :n", "ExpressionAttributeValues": {":n": {"N": "5"}}}
        db.update_item(TableName="facts", **add)
        item = {"pk": {"S": "p"}, "sk": {"N": "9"}, "raw": {"B": b"\x00\xff"}}
        gone = {"pk": {"S": "p"}, "sk": {"N": "3"}}
        batch = [{"PutRequest": {"Item": item}}, {"DeleteRequest": {"Key": gone}}]
        db.batch_write_item(RequestItems={"facts": batch})
        before = db.describe_table(TableName="facts")["Table"]
        rows = db.scan(TableName="facts")["Items"]
        engine.restart()
        assert db.scan(TableName="facts")["Items"] == rows
        assert db.describe_table(TableName="facts")["Table"] == before
        assert db.list_tables()["TableNames"] == ["facts"]
        setting = db.describe_time_to_live(TableName="facts")["TimeToLiveDescription"]
        assert setting == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ends"}


def test_a_transaction_repeated_with_its_token_after_a_crash_is_not_applied_twice(tmp_path: Path) -> None:
    with running_engine(tmp_path) as engine, tables(engine) as db:
        create(db)
        update = {
            "TableName": "facts",
            "Key": {"pk": {"S": "c"}, "sk": {"N": "0"}},
            "UpdateExpression": "ADD n :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }
        for _ in range(3):
            db.transact_write_items(TransactItems=[{"Update": update}], ClientRequestToken="same")
            engine.restart()
        assert db.get_item(TableName="facts", Key=update["Key"])["Item"]["n"] == {"N": "1"}


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_a_torn_last_line_is_dropped_and_writing_goes_on(tmp_path: Path, keep: float) -> None:
    with running_engine(tmp_path) as engine, tables(engine) as db:
        create(db)
        put(db, 1)
        whole = journal(tmp_path).stat().st_size
        put(db, 2, text="never acknowledged")
        engine.kill9()
        path = journal(tmp_path)
        os.truncate(path, whole + int((path.stat().st_size - whole) * keep))
        engine.restart()
        assert numbers(db) == [1]
        put(db, 3)
        engine.restart()
        assert numbers(db) == [1, 3]


def test_zeros_at_the_end_of_the_journal_count_as_torn(tmp_path: Path) -> None:
    with running_engine(tmp_path) as engine, tables(engine) as db:
        create(db)
        put(db, 1)
        engine.kill9()
        with journal(tmp_path).open("ab") as file:
            file.write(bytes(5000))
        engine.restart()
        assert numbers(db) == [1]


def test_damage_in_the_middle_stops_the_start_and_says_where(tmp_path: Path) -> None:
    with running_engine(tmp_path) as engine, tables(engine) as db:
        create(db)
        put(db, 1, text="first")
        put(db, 2)
        engine.kill9()
        path = journal(tmp_path)
        path.write_bytes(path.read_bytes().replace(b"first", b"fIrst"))
        with pytest.raises(RuntimeError, match="damaged at byte"):
            engine.restart()


@pytest.mark.parametrize("crash", ["before the rename", "after the rename"])
def test_a_crash_during_compaction_leaves_a_whole_state(tmp_path: Path, crash: str) -> None:
    with running_engine(tmp_path) as engine, tables(engine) as db:
        create(db)
        for number in range(5):
            put(db, number)
        engine.kill9()
        old = journal(tmp_path)
        contents = old.read_bytes()
        if crash == "before the rename":
            (tmp_path / "journal.tmp").write_bytes(contents[: len(contents) // 2])
            engine.restart()
        else:
            engine.restart()
            engine.kill9()
            outdated = contents.splitlines(keepends=True)[:-1]
            old.write_bytes(b"".join(outdated))
            engine.restart()
        assert numbers(db) == list(range(5))
        engine.restart()
        assert numbers(db) == list(range(5))
        assert [path.suffix for path in tmp_path.iterdir()].count(".tmp") == 0


def test_compaction_while_writing_keeps_the_file_small_and_loses_nothing(tmp_path: Path) -> None:
    with running_engine(tmp_path, 0, "--compact-bytes", "50000") as engine, tables(engine) as db:
        create(db)
        for number in range(600):
            put(db, number % 40, text=f"{number:0500d}")
        assert journal(tmp_path).stat().st_size < 200_000
        expected = db.scan(TableName="facts")["Items"]
        engine.restart()
        assert db.scan(TableName="facts")["Items"] == expected


async def test_writes_and_deletes_during_a_compaction_are_not_forgotten(tmp_path: Path) -> None:
    with running_engine(tmp_path, 0, "--compact-bytes", "1000") as engine, tables(engine) as db:
        create(db)
        for number in range(1000):
            put(db, number, text="x" * 100)
        writers = [change_at_random(engine, first=first, seed=first) for first in range(0, 1200, 200)]
        await asyncio.gather(*writers)
        expected = db.scan(TableName="facts")["Items"]
        generation = journal(tmp_path).name
        engine.restart()
        assert generation > "journal-00000004"
        assert db.scan(TableName="facts")["Items"] == expected


async def change_at_random(engine: EngineProcess, *, first: int, seed: int) -> None:
    chance = random.Random(seed)
    options = client_options(url=engine.url, account=ACCOUNT)
    async with aioboto3.Session().client("dynamodb", **options) as db:
        for step_number in range(200):
            key = {"pk": {"S": "p"}, "sk": {"N": str(first + chance.randrange(200))}}
            if chance.random() < 0.5:
                await db.delete_item(TableName="facts", Key=key)
            else:
                text = {"S": f"{step_number}" + "y" * 1000}
                await db.put_item(TableName="facts", Item={**key, "text": text})


def test_a_write_that_the_disk_refuses_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    with running_engine(tmp_path) as engine, tables(engine) as db:
        create(db)
        put(db, 1, text="before")
        limit = journal(tmp_path).stat().st_size + 300
        whole = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(engine.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        with pytest.raises(ClientError, match="Make room"):
            put(db, 1, text="after" * 1000)
        with pytest.raises(ClientError, match="Make room"):
            put(db, 2, text="after" * 1000)
        assert numbers(db) == [1]
        resource.prlimit(engine.process.pid, resource.RLIMIT_FSIZE, whole)
        put(db, 3)
        for _ in range(2):
            assert db.scan(TableName="facts")["Items"][0]["text"] == {"S": "before"}
            assert numbers(db) == [1, 3]
            engine.restart()


def test_an_expired_item_disappears_and_stays_away(tmp_path: Path) -> None:
    with running_engine(tmp_path, 0, "--reap-seconds", "0.05") as engine, tables(engine) as db:
        create(db)
        ttl = {"Enabled": True, "AttributeName": "ends"}
        db.update_time_to_live(TableName="facts", TimeToLiveSpecification=ttl)
        put(db, 1)
        past = {"pk": {"S": "p"}, "sk": {"N": "2"}, "ends": {"N": str(int(time.time()) - 5)}}
        db.put_item(TableName="facts", Item=past)
        wait_until(lambda: numbers(db) == [1])
        put(db, 2, ConditionExpression="attribute_not_exists(pk)")
        engine.restart()
        assert numbers(db) == [1, 2]
