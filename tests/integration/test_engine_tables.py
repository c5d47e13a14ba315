"""Tables of the embedded engine, seen through the real client: what our code relies on."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aioboto3
import pytest
from botocore.exceptions import ClientError

from tests.fakes.engine import EngineProcess, aws_client, client_options, fresh_account, running_engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    with running_engine(tmp_path_factory.mktemp("engine")) as process:
        yield process


@pytest.fixture
def account() -> str:
    return fresh_account()


@pytest.fixture
def db(engine: EngineProcess, account: str) -> Iterator[Any]:
    with aws_client("dynamodb", url=engine.url, account=account) as client:
        create(client)
        yield client


def create(client: Any) -> None:
    client.create_table(
        TableName="rows",
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
    )


def key(sk: str = "a") -> dict[str, Any]:
    return {"pk": {"S": "p"}, "sk": {"S": sk}}


def put(db: Any, sk: str = "a", *, value: str = "v", **options: Any) -> None:
    db.put_item(TableName="rows", Item={**key(sk), "value": {"S": value}}, **options)


def value(db: Any, sk: str = "a") -> str:
    return str(db.get_item(TableName="rows", Key=key(sk), ConsistentRead=True)["Item"]["value"]["S"])


def query(db: Any, prefix: str, **options: Any) -> dict[str, Any]:
    return dict(
        db.query(
            TableName="rows",
            KeyConditionExpression="pk = :p AND begins_with(sk, :s)",
            ExpressionAttributeValues={":p": {"S": "p"}, ":s": {"S": prefix}},
            ConsistentRead=True,
            **options,
        )
    )


def all_keys(db: Any) -> list[str]:
    return sort_keys(db.scan(TableName="rows", ConsistentRead=True))


def sort_keys(page: dict[str, Any]) -> list[str]:
    return [item["sk"]["S"] for item in page["Items"]]


def test_a_conditional_put_succeeds_once_and_shows_who_was_first(db: Any) -> None:
    put(db, value="first", ConditionExpression="attribute_not_exists(pk)")
    with pytest.raises(db.exceptions.ConditionalCheckFailedException) as refused:
        put(
            db,
            value="second",
            ConditionExpression="attribute_not_exists(pk)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    assert refused.value.response["Item"]["value"] == {"S": "first"}
    assert value(db) == "first"


async def test_of_many_racing_conditional_puts_exactly_one_wins(
    engine: EngineProcess, account: str, db: Any
) -> None:
    async with aioboto3.Session().client(
        "dynamodb", **client_options(url=engine.url, account=account)
    ) as client:
        outcomes = await asyncio.gather(
            *(
                client.put_item(TableName="rows", Item=key(), ConditionExpression="attribute_not_exists(pk)")
                for _ in range(8)
            ),
            return_exceptions=True,
        )
    assert sum(not isinstance(outcome, ClientError) for outcome in outcomes) == 1


def test_a_failed_transaction_names_each_reason_and_changes_nothing(db: Any) -> None:
    put(db, "taken", value="old")
    fresh = {"Put": {"TableName": "rows", "Item": {**key("new")}}}
    clash = {
        "Put": {
            "TableName": "rows",
            "Item": key("taken"),
            "ConditionExpression": "attribute_not_exists(pk)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
    }
    with pytest.raises(db.exceptions.TransactionCanceledException) as refused:
        db.transact_write_items(TransactItems=[fresh, clash])
    reasons = refused.value.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["None", "ConditionalCheckFailed"]
    assert reasons[1]["Item"]["value"] == {"S": "old"}
    assert all_keys(db) == ["taken"]


def test_a_transaction_applies_all_its_parts(db: Any) -> None:
    put(db, "gone")
    put(db, "checked", value="yes")
    db.transact_write_items(
        TransactItems=[
            {"Put": {"TableName": "rows", "Item": {**key("new"), "value": {"S": "n"}}}},
            {"Delete": {"TableName": "rows", "Key": key("gone")}},
            {
                "Update": {
                    "TableName": "rows",
                    "Key": key("count"),
                    "UpdateExpression": "ADD n :one",
                    "ExpressionAttributeValues": {":one": {"N": "1"}},
                }
            },
            {
                "ConditionCheck": {
                    "TableName": "rows",
                    "Key": key("checked"),
                    "ConditionExpression": "#v = :yes",
                    "ExpressionAttributeNames": {"#v": "value"},
                    "ExpressionAttributeValues": {":yes": {"S": "yes"}},
                }
            },
        ]
    )
    assert all_keys(db) == ["checked", "count", "new"]


def test_a_query_pages_through_a_prefix_in_both_directions(db: Any) -> None:
    for sk in ("e#1", "e#2", "e#3", "e#4", "e#5", "x#1"):
        put(db, sk)
    first = query(db, "e#", Limit=2)
    second = query(db, "e#", Limit=2, ExclusiveStartKey=first["LastEvaluatedKey"])
    third = query(db, "e#", Limit=2, ExclusiveStartKey=second["LastEvaluatedKey"])
    assert [sort_keys(page) for page in (first, second, third)] == [["e#1", "e#2"], ["e#3", "e#4"], ["e#5"]]
    assert "LastEvaluatedKey" not in third
    assert sort_keys(query(db, "e#", ScanIndexForward=False, Limit=1)) == ["e#5"]


def test_an_update_returns_the_new_image(db: Any) -> None:
    answer = db.update_item(
        TableName="rows",
        Key=key(),
        UpdateExpression="SET epoch = if_not_exists(epoch, :zero) + :one",
        ExpressionAttributeValues={":zero": {"N": "0"}, ":one": {"N": "1"}},
        ReturnValues="ALL_NEW",
    )
    assert answer["Attributes"]["epoch"] == {"N": "1"}


def test_accounts_do_not_see_each_other(engine: EngineProcess, db: Any) -> None:
    with aws_client("dynamodb", url=engine.url, account=fresh_account()) as stranger:
        assert stranger.list_tables()["TableNames"] == []


def test_an_action_that_would_not_be_journaled_is_refused(db: Any) -> None:
    with pytest.raises(ClientError, match="embedded engine has no ExecuteStatement"):
        db.execute_statement(Statement="SELECT * FROM rows")


def test_an_index_answers_after_a_restart_and_after_further_writes(tmp_path: Path, account: str) -> None:
    with running_engine(tmp_path) as engine, aws_client("dynamodb", url=engine.url, account=account) as db:
        create(db)
        index = {
            "IndexName": "by-value",
            "KeySchema": [{"AttributeName": "value", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
        }
        db.update_table(
            TableName="rows",
            AttributeDefinitions=[{"AttributeName": "value", "AttributeType": "S"}],
            GlobalSecondaryIndexUpdates=[{"Create": index}],
        )
        put(db, "a", value="open")
        put(db, "b", value="open")
        engine.restart()
        put(db, "b", value="closed")
        found = db.query(
            TableName="rows",
            IndexName="by-value",
            KeyConditionExpression="#v = :v",
            ExpressionAttributeNames={"#v": "value"},
            ExpressionAttributeValues={":v": {"S": "open"}},
        )
        assert sort_keys(found) == ["a"]
