"""What the product relies on in DynamoDB, asked with plain requests."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from contracts import records
from contracts.words import WorkerId

SERVICE = "dynamodb"
ABSENT = "attribute_not_exists(pk)"


@pytest.fixture
def pk(worker: WorkerId) -> str:
    """A partition of this test's own."""
    return records.worker_pk(worker)


def item(pk: str, sk: str, **plain: Any) -> records.Item:
    return {**records.key(pk, sk), **records.encode(plain)}


def put(table: str, content: records.Item, *, absent: bool = True) -> dict[str, Any]:
    condition = {"ConditionExpression": ABSENT} if absent else {}
    return {"Put": {"TableName": table, "Item": content, **condition}}


def get(dynamodb: Any, table: str, pk: str, sk: str) -> dict[str, Any] | None:
    found = dynamodb.get_item(TableName=table, Key=records.key(pk, sk), ConsistentRead=True).get("Item")
    return records.decode(found) if found else None


def query(dynamodb: Any, table: str, pk: str, prefix: str, **more: Any) -> dict[str, Any]:
    return dict(
        dynamodb.query(
            TableName=table,
            ConsistentRead=True,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={":pk": {"S": pk}, ":sk": {"S": prefix}},
            **more,
        )
    )


def reasons(error: ClientError) -> list[str]:
    assert error.response["Error"]["Code"] == "TransactionCanceledException"
    return [r["Code"] for r in error.response["CancellationReasons"]]


def test_of_many_that_put_the_same_absent_item_one_wins(dynamodb: Any, table_name: str, pk: str) -> None:
    def attempt(number: int) -> str:
        try:
            dynamodb.put_item(
                TableName=table_name, Item=item(pk, "race", n=number), ConditionExpression=ABSENT
            )
        except dynamodb.exceptions.ConditionalCheckFailedException:
            return "lost"
        return "won"

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(attempt, range(8))) == ["lost"] * 7 + ["won"]


def test_of_many_transactions_that_move_the_same_counter_none_is_lost(
    dynamodb: Any, table_name: str, pk: str
) -> None:
    dynamodb.put_item(TableName=table_name, Item=item(pk, "row", n=0))

    def attempt(number: int) -> int:
        update = {
            "TableName": table_name,
            "Key": records.key(pk, "row"),
            "UpdateExpression": "SET n = n + :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }
        mark = put(table_name, item(pk, f"mark#{number}"))
        for _ in range(200):
            try:
                dynamodb.transact_write_items(TransactItems=[{"Update": update}, mark])
            except dynamodb.exceptions.TransactionCanceledException as error:
                if "ConditionalCheckFailed" in reasons(error):
                    return 0  # applied before, although it was said to be cancelled
            else:
                return 1
        return 0

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, range(12))) == 12
    row = get(dynamodb, table_name, pk, "row")
    assert row is not None
    assert row["n"] == 12
    assert len(query(dynamodb, table_name, pk, "mark#")["Items"]) == 12


def test_a_cancelled_transaction_names_its_reasons_in_order_and_writes_nothing(
    dynamodb: Any, table_name: str, worker: WorkerId, pk: str
) -> None:
    dynamodb.put_item(
        TableName=table_name,
        Item={**records.worker_key(worker), **records.encode({"epoch": 2, "owner": "b"})},
    )
    dynamodb.put_item(TableName=table_name, Item=item(pk, "taken"))
    stale = records.owned(table=table_name, worker=worker, owner="a", epoch=1)
    fresh = records.owned(table=table_name, worker=worker, owner="b", epoch=2)
    free, taken = put(table_name, item(pk, "free")), put(table_name, item(pk, "taken"))
    for parts, expected in (
        ([stale, free], ["ConditionalCheckFailed", "None"]),
        ([fresh, free, taken], ["None", "None", "ConditionalCheckFailed"]),
        ([stale, free, taken], ["ConditionalCheckFailed", "None", "ConditionalCheckFailed"]),
    ):
        with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as cancelled:
            dynamodb.transact_write_items(TransactItems=parts)
        assert reasons(cancelled.value) == expected
    assert get(dynamodb, table_name, pk, "free") is None
    dynamodb.transact_write_items(TransactItems=[fresh, free])
    assert get(dynamodb, table_name, pk, "free") is not None


def test_a_transaction_that_is_repeated_with_its_token_is_applied_once(
    dynamodb: Any, table_name: str, pk: str
) -> None:
    dynamodb.put_item(TableName=table_name, Item=item(pk, "row", n=0))
    token = str(uuid.uuid4())

    def add(amount: int) -> None:
        update = {
            "TableName": table_name,
            "Key": records.key(pk, "row"),
            "UpdateExpression": "SET n = n + :amount",
            "ExpressionAttributeValues": {":amount": {"N": str(amount)}},
        }
        dynamodb.transact_write_items(TransactItems=[{"Update": update}], ClientRequestToken=token)

    add(5)
    add(5)
    assert get(dynamodb, table_name, pk, "row") == {"pk": pk, "sk": "row", "n": 5}
    with pytest.raises(ClientError) as refused:
        add(6)
    assert refused.value.response["Error"]["Code"] == "IdempotentParameterMismatchException"
    assert get(dynamodb, table_name, pk, "row") == {"pk": pk, "sk": "row", "n": 5}


def test_an_update_sets_adds_removes_and_returns_what_came_of_it(
    dynamodb: Any, table_name: str, pk: str
) -> None:
    dynamodb.put_item(TableName=table_name, Item=item(pk, "row", beat=1, cost=0.25, owner="a", stack=["x"]))
    answer = dynamodb.update_item(
        TableName=table_name,
        Key=records.key(pk, "row"),
        UpdateExpression="SET beat = beat + :one, cost = cost + :cost, #state = :up REMOVE #owner",
        ConditionExpression="beat = :one AND #owner = :owner",
        ExpressionAttributeNames={"#owner": "owner", "#state": "state"},
        ExpressionAttributeValues=records.encode({":one": 1, ":cost": 0.1, ":up": "up", ":owner": "a"}),
        ReturnValues="ALL_NEW",
    )
    found = records.decode(answer["Attributes"])
    assert found == {"pk": pk, "sk": "row", "beat": 2, "cost": 0.35, "state": "up", "stack": ["x"]}


def test_an_update_whose_condition_fails_changes_and_makes_nothing(
    dynamodb: Any, table_name: str, pk: str
) -> None:
    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.update_item(
            TableName=table_name,
            Key=records.key(pk, "row"),
            UpdateExpression="SET repo = :repo",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeValues={":repo": {"S": "x"}},
        )
    assert get(dynamodb, table_name, pk, "row") is None


def test_every_kind_of_value_comes_back_as_it_was_written(dynamodb: Any, table_name: str, pk: str) -> None:
    plain = {
        "text": "Grüße \U0001f44b \u0001",
        "empty": "",
        "yes": True,
        "nothing": None,
        "whole": 12_345_678_901_234,
        "part": 0.1,
        "list": [1, "a", []],
        "map": {"k": {"deep": False}},
    }
    dynamodb.put_item(TableName=table_name, Item=item(pk, "row", **plain))
    assert get(dynamodb, table_name, pk, "row") == {"pk": pk, "sk": "row", **plain}


def test_a_query_finds_what_begins_with_a_prefix_in_the_order_of_the_sort_key(
    dynamodb: Any, table_name: str, pk: str
) -> None:
    for sk in ("open#b#000000000010", "open#a#stop", "open#a#000000000002", "opera", "open#", "thread#a"):
        dynamodb.put_item(TableName=table_name, Item=item(pk, sk))
    found = [i["sk"]["S"] for i in query(dynamodb, table_name, pk, "open#")["Items"]]
    assert found == ["open#", "open#a#000000000002", "open#a#stop", "open#b#000000000010"]
    [first] = query(dynamodb, table_name, pk, "open#a", Limit=1)["Items"]
    assert first["sk"]["S"] == "open#a#000000000002"


def test_a_range_between_two_sort_keys_includes_both_ends(dynamodb: Any, table_name: str, pk: str) -> None:
    for number in range(1, 6):
        dynamodb.put_item(TableName=table_name, Item=item(pk, f"event#{number:012d}"))
    found = dynamodb.query(
        TableName=table_name,
        ConsistentRead=True,
        KeyConditionExpression="pk = :pk AND sk BETWEEN :low AND :high",
        ExpressionAttributeValues=records.encode(
            {":pk": pk, ":low": f"event#{2:012d}", ":high": f"event#{4:012d}"}
        ),
    )["Items"]
    assert [int(i["sk"]["S"][-3:]) for i in found] == [2, 3, 4]


def test_a_page_holds_one_megabyte_and_the_next_begins_where_it_ended(
    dynamodb: Any, table_name: str, pk: str
) -> None:
    for number in range(8):
        dynamodb.put_item(TableName=table_name, Item=item(pk, f"big#{number}", text="x" * 300_000))
    first = query(dynamodb, table_name, pk, "big#")
    assert 1 <= len(first["Items"]) <= 4
    second = query(dynamodb, table_name, pk, "big#", ExclusiveStartKey=first["LastEvaluatedKey"])
    together = [i["sk"]["S"] for i in [*first["Items"], *second["Items"]]]
    assert together == [f"big#{n}" for n in range(len(together))]


def test_an_item_of_four_hundred_kilobytes_is_taken_and_a_larger_one_refused_for_good(
    dynamodb: Any, table_name: str, pk: str
) -> None:
    room = 400 * 1024 - len(f"pk{pk}skbigtext".encode())
    dynamodb.put_item(TableName=table_name, Item=item(pk, "big", text="x" * room))
    larger = item(pk, "big", text="x" * (room + 1))
    with pytest.raises(ClientError) as refused:
        dynamodb.put_item(TableName=table_name, Item=larger)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    with pytest.raises(ClientError) as refused:
        dynamodb.transact_write_items(TransactItems=[put(table_name, larger, absent=False)])
    code = refused.value.response["Error"]["Code"]
    assert code == "ValidationException" or reasons(refused.value) == ["ValidationError"]


def test_a_transaction_takes_a_hundred_parts_and_not_one_more(
    dynamodb: Any, table_name: str, pk: str
) -> None:
    parts = [put(table_name, item(pk, f"part#{n:03d}")) for n in range(101)]
    with pytest.raises(ClientError) as refused:
        dynamodb.transact_write_items(TransactItems=parts)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    dynamodb.transact_write_items(TransactItems=parts[:100])
    assert len(query(dynamodb, table_name, pk, "part#")["Items"]) == 100


def test_a_transaction_of_more_than_four_megabytes_is_refused_for_good(
    dynamodb: Any, table_name: str, pk: str
) -> None:
    parts = [put(table_name, item(pk, f"part#{n:03d}", text="x" * 390_000)) for n in range(12)]
    with pytest.raises(ClientError) as refused:
        dynamodb.transact_write_items(TransactItems=parts)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert query(dynamodb, table_name, pk, "part#")["Items"] == []


def test_a_transaction_does_not_touch_an_item_twice(dynamodb: Any, table_name: str, pk: str) -> None:
    parts = [put(table_name, item(pk, "same"), absent=False) for _ in range(2)]
    with pytest.raises(ClientError) as refused:
        dynamodb.transact_write_items(TransactItems=parts)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert get(dynamodb, table_name, pk, "same") is None


def test_the_table_expires_items_by_the_attribute_of_the_records(dynamodb: Any, table_name: str) -> None:
    shown = dynamodb.describe_time_to_live(TableName=table_name)["TimeToLiveDescription"]
    assert shown["TimeToLiveStatus"] in ("ENABLED", "ENABLING")
    assert shown["AttributeName"] == records.TTL_ATTRIBUTE


def test_a_table_that_is_not_there_or_is_there_already_has_its_own_error(
    dynamodb: Any, table_name: str
) -> None:
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
        dynamodb.describe_table(TableName=table_name + "-gone")
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
        get(dynamodb, table_name + "-gone", "a", "b")
    with pytest.raises(dynamodb.exceptions.ResourceInUseException):
        dynamodb.create_table(TableName=table_name, **records.TABLE_SCHEMA)
